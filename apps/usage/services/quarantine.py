"""Events that are held until staff decide: too old to be taken as they come, and not thrown away either."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from django.contrib.auth.models import User
from django.db import transaction

from apps.common.database import raw_cursor
from apps.common.errors import BillingError, InvalidInput
from apps.usage.events import EventInput, canonical_json
from apps.usage.models import QuarantinedEvent, QuarantineState
from apps.usage.names import source_ids
from apps.usage.partitions import refuse_archived
from apps.usage.services.recording import EventBatch, RecordedBatch, record_batches

DECIDED_AT_ONCE = 10_000
# Each month of released events is a partition; a time before this is a fault of the sender's clock.
EARLIEST = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)

# In the order of the key, so that two batches with the same events wait for one another and never deadlock.
_HOLD = """
    INSERT INTO usage_quarantined_event AS known (
        source_id, event_id, type, subject, occurred_at, data, times_received, reason, received_at, last_received_at,
        api_key_id, state, decision_reason
    )
    SELECT source_id, event_id, type, subject, occurred_at, data::jsonb, times, %b, %b, %b, %b::bigint, 'waiting', ''
    FROM unnest(%b::integer[], %b::text[], %b::text[], %b::text[], %b::timestamptz[], %b::text[], %b::integer[])
        AS held(source_id, event_id, type, subject, occurred_at, data, times)
    ORDER BY source_id, event_id
    ON CONFLICT (source_id, event_id) DO UPDATE SET
        times_received = known.times_received + excluded.times_received,
        last_received_at = greatest(known.last_received_at, excluded.last_received_at)
    RETURNING xmax = 0
"""


class NothingWaits(BillingError):
    code = "nothing_waits"

    def __init__(self) -> None:
        super().__init__("None of these events waits any more: they are released or discarded already.")


@dataclass(frozen=True, slots=True)
class Released:
    """What became of released events: stored, or known already under their source and ID."""

    stored: int
    duplicates: int
    conflicts: int


def quarantine_events(
    *, events: Sequence[EventInput], reason: str, api_key_id: int | None, received_at: dt.datetime
) -> int:
    """Hold events for staff to decide, once for each (source, id), and return how many are new.

    Events are shaped as for ``record_events``; an event that comes again, with whatever content, is only counted.
    """
    if not events:
        return 0
    sources = source_ids({event.source for event in events})
    times = Counter((event.source, event.event_id) for event in events)
    first = {(event.source, event.event_id): event for event in reversed(events)}
    held = [first[key] for key in sorted(first)]
    with raw_cursor() as cursor:
        cursor.execute(
            _HOLD,
            [
                reason,
                received_at,
                received_at,
                api_key_id,
                [sources[event.source] for event in held],
                [event.event_id for event in held],
                [event.type for event in held],
                [event.subject for event in held],
                [event.occurred_at for event in held],
                [canonical_json(event.data).decode() for event in held],
                [times[event.source, event.event_id] for event in held],
            ],
        )
        return sum(is_new for (is_new,) in cursor)


@transaction.atomic
def take_batches(
    batches: Sequence[EventBatch], *, held_before: dt.datetime, received_at: dt.datetime
) -> list[RecordedBatch]:
    """Store the batches of several requests in one transaction, but hold events from before ``held_before``."""
    young = [[index for index, event in enumerate(one.events) if event.occurred_at >= held_before] for one in batches]
    recorded = record_batches(
        [
            EventBatch([batch.events[index] for index in indexes], batch.api_key_id)
            for batch, indexes in zip(batches, young, strict=True)
        ]
    )
    outcomes = []
    for batch, indexes, outcome in zip(batches, young, recorded, strict=True):
        old = [event for event in batch.events if event.occurred_at < held_before]
        reason = f"Older than is taken: from before {held_before:%-d %b %Y, %H:%M} UTC"
        quarantine_events(events=old, reason=reason, api_key_id=batch.api_key_id, received_at=received_at)
        conflicts = tuple(replace(conflict, index=indexes[conflict.index]) for conflict in outcome.conflicts)
        outcomes.append(replace(outcome, conflicts=conflicts, quarantined=len(old)))
    return outcomes


@transaction.atomic
def release_events(*, ids: Collection[int], reason: str, actor: User | None, now: dt.datetime) -> Released:
    """Store held events as if they had been taken when they came; their age does not matter any more."""
    waiting = _waiting(ids)
    too_early = [event.event_id for event in waiting if event.occurred_at < EARLIEST]
    if too_early:
        raise InvalidInput(f"“{too_early[0]}” is from before {EARLIEST:%Y}: its time is wrong. Discard it.")
    utc = [event.occurred_at.astimezone(dt.UTC) for event in waiting]
    refuse_archived({(instant.year, instant.month) for instant in utc})
    by_key: defaultdict[int | None, list[EventInput]] = defaultdict(list)
    for event in waiting:
        by_key[event.api_key_id].append(
            EventInput(event.source.name, event.event_id, event.type, event.subject, event.occurred_at, event.data)
        )
    recorded = record_batches([EventBatch(events, api_key_id) for api_key_id, events in by_key.items()])
    _decide(waiting, QuarantineState.RELEASED, reason, actor, now)
    return Released(
        stored=sum(batch.accepted for batch in recorded),
        duplicates=sum(batch.duplicates for batch in recorded),
        conflicts=sum(len(batch.conflicts) for batch in recorded),
    )


@transaction.atomic
def discard_events(*, ids: Collection[int], reason: str, actor: User | None, now: dt.datetime) -> int:
    """Decide that held events are not stored. They stay on the list, with the reason."""
    waiting = _waiting(ids)
    _decide(waiting, QuarantineState.DISCARDED, reason, actor, now)
    return len(waiting)


def _waiting(ids: Collection[int]) -> list[QuarantinedEvent]:
    if len(ids) > DECIDED_AT_ONCE:
        raise InvalidInput(f"At most {DECIDED_AT_ONCE:,} events are decided at once. Choose fewer.")
    locked = QuarantinedEvent.objects.waiting().filter(pk__in=ids).select_for_update(of=("self",))
    waiting = list(locked.select_related("source").order_by("pk"))
    if not waiting:
        raise NothingWaits
    return waiting


def _decide(
    events: Sequence[QuarantinedEvent], state: QuarantineState, reason: str, actor: User | None, now: dt.datetime
) -> None:
    text = reason.strip()
    if not text:
        raise InvalidInput("Say why: the reason stays with the events.", field="reason")
    QuarantinedEvent.objects.filter(pk__in=[event.pk for event in events]).update(
        state=state, decided_at=now, decided_by=actor, decision_reason=text
    )
