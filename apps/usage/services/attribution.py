"""Giving stored events to the customers that their subjects have become."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from django.db import transaction

from apps.billable_metrics import catalogue
from apps.common.database import raw_cursor
from apps.customers.selectors import customers_by_subject
from apps.usage.cloudevents import decode_json
from apps.usage.deltas import HOUR, CountedEvent, Deltas
from apps.usage.selectors.unattributed import unattributed_subjects
from apps.usage.selectors.windows import micros
from apps.usage.services.recording import begin

ATTRIBUTE_AT_ONCE = 5_000
SUBJECTS_AT_ONCE = 1_000

_ATTRIBUTE = """
    UPDATE usage_event event SET customer_id = found.customer_id, attributed_at = %b::timestamptz
    FROM (
        SELECT waiting.id, waiting.occurred_at, known.customer_id
        FROM unnest(%b::text[], %b::bigint[]) AS known(subject, customer_id)
        JOIN usage_event waiting ON waiting.subject = known.subject AND waiting.customer_id IS NULL
        WHERE waiting.voided_at IS NULL
        LIMIT %b
        FOR UPDATE OF waiting SKIP LOCKED
    ) found
    WHERE event.id = found.id AND event.occurred_at = found.occurred_at
    RETURNING event.id, event.customer_id, event.occurred_at, event.type, event.data::text
"""


def attribute_events() -> int:
    """Give stored events to the customers that their subjects have become, and return how many there were."""
    attributed, after = 0, ""
    while subjects := unattributed_subjects(after=after, limit=SUBJECTS_AT_ONCE):
        known = customers_by_subject(subjects)
        while known and (count := _attribute_some(known)):
            attributed += count
        after = subjects[-1]
    return attributed


@transaction.atomic
def _attribute_some(customers: Mapping[str, int]) -> int:
    stamp, edition, _ = begin(0)
    known = catalogue.current(edition)
    deltas = Deltas()
    with raw_cursor() as cursor:
        cursor.execute(_ATTRIBUTE, [stamp, list(customers), list(customers.values()), ATTRIBUTE_AT_ONCE])
        rows = cursor.fetchall()
    by_type: defaultdict[str, list[CountedEvent]] = defaultdict(list)
    for event_pk, customer_id, occurred_at, event_type, data in rows:
        occurred = micros(occurred_at)
        by_type[event_type].append(
            CountedEvent(event_pk, customer_id, occurred, occurred - occurred % HOUR, decode_json(data.encode()))
        )
    for event_type, counted in by_type.items():
        deltas.add(counted, known.by_type.get(event_type, ()))
    deltas.write(stamp=stamp)
    return len(rows)
