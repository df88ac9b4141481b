"""What would become of events if they were stored, by looking only.

Storing them and taking it back would say the same, but leaves dead rows behind in the log for each one.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from django.db import connection

from apps.billable_metrics.selectors import summed_properties_by_event_type
from apps.customers.selectors import customers_by_subject
from apps.usage.events import EventInput, canonical_json, key_of, payload_hash
from apps.usage.models import UsageSource
from apps.usage.services import EventConflict, RecordedBatch

_STORED = """
    SELECT batch.position - 1, stored.payload_hash
    FROM unnest(%s::integer[], %s::smallint[], %s::uuid[]) WITH ORDINALITY AS batch(source_id, kind, key, position)
    JOIN usage_event_key stored USING (source_id, kind, key)
"""


def foresee(events: Sequence[EventInput]) -> RecordedBatch:
    """What ``record_events`` would answer now. A repeat counts as such within these events, not beyond."""
    hashes = [payload_hash(event, canonical_json(event.data)) for event in events]
    known = _stored_hashes(events)
    customers = customers_by_subject({event.subject for event in events})
    measured = summed_properties_by_event_type()
    first: dict[tuple[str, str], bytes] = {}
    accepted = unattributed = duplicates = 0
    conflicts: list[EventConflict] = []
    for index, (event, digest) in enumerate(zip(events, hashes, strict=True)):
        key = event.source, event.event_id
        kept = known.get(index) or first.get(key)
        if kept is None:
            first[key] = digest
            accepted += 1
            unattributed += event.subject not in customers or event.type not in measured
        elif kept == digest:
            duplicates += 1
        else:
            conflicts.append(EventConflict(index=index, source=event.source, event_id=event.event_id))
    return RecordedBatch(accepted, duplicates, unattributed, tuple(conflicts))


def _stored_hashes(events: Sequence[EventInput]) -> dict[int, bytes]:
    """The payload hashes of the events that are stored, by place."""
    names = {event.source for event in events}
    sources = dict(UsageSource.objects.filter(name__in=names).values_list("name", "id"))
    keys = [key_of(event.event_id) for event in events]
    with connection.cursor() as cursor:
        cursor.execute(
            _STORED,
            [
                [sources.get(event.source) for event in events],
                [kind for kind, _ in keys],
                [uuid.UUID(bytes=key) for _, key in keys],
            ],
        )
        return {index: digest.bytes for index, digest in cursor.fetchall()}
