"""Storing usage events, and attributing them to customers."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import psycopg.errors
from django.db import OperationalError, connection, transaction

from apps.billable_metrics.selectors import summed_properties_by_event_type
from apps.common.errors import BillingError
from apps.customers.selectors import customers_by_subject
from apps.usage import binary
from apps.usage.events import EventInput, canonical_json, key_of, payload_hash
from apps.usage.names import note_event_types, source_ids
from apps.usage.partitions import ensure_months, ensure_partitions
from apps.usage.selectors import raw_cursor, unattributed_subjects

__all__ = [
    "EventBatch",
    "EventConflict",
    "EventInput",
    "RecordedBatch",
    "UsageIsArriving",
    "attribute_events",
    "ensure_partitions",
    "record_batches",
    "record_events",
    "settle_cutoff",
]

ATTRIBUTE_AT_ONCE = 5_000
SUBJECTS_AT_ONCE = 1_000
SETTLE_PATIENCE = "15s"

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)

# Rows come sorted by key, so that two batches with the same keys wait for one another and never deadlock.
# The key table decides what is new; only that reaches the log.
_STORE = """
    WITH input AS MATERIALIZED (
        SELECT nextval('usage_event_id_seq') AS id, batch.*
        FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS batch(
            source_id, kind, key, payload_hash, event_id, type, subject, customer_id, occurred_at, data
        )
    ), fresh AS (
        INSERT INTO usage_event_key (source_id, kind, key, event_pk, payload_hash, occurred_at)
        SELECT source_id, kind, key, id, payload_hash, occurred_at FROM input
        ON CONFLICT DO NOTHING
        RETURNING event_pk
    ), stored AS (
        INSERT INTO usage_event (id, source_id, event_id, type, subject, customer_id, attributed_at,
                                 occurred_at, stored_at, data, api_key_id)
        SELECT id, source_id, event_id, type, subject, customer_id,
               CASE WHEN customer_id IS NOT NULL THEN %b::timestamptz END,
               occurred_at, %b::timestamptz, data::jsonb, %b::bigint
        FROM fresh JOIN input ON input.id = fresh.event_pk
        RETURNING customer_id IS NULL OR type <> ALL (%b::text[]) AS is_unattributed
    )
    SELECT count(*), count(*) FILTER (WHERE is_unattributed) FROM stored
"""

_DIFFERING = """
    SELECT batch.position, stored.event_pk
    FROM unnest(%b, %b, %b, %b) WITH ORDINALITY AS batch(source_id, kind, key, payload_hash, position)
    JOIN usage_event_key stored USING (source_id, kind, key)
    WHERE stored.payload_hash <> batch.payload_hash
    ORDER BY batch.position
"""

# A client that repeats a conflict for ever counts it up; it does not fill the table.
_RECORD_CONFLICTS = """
    INSERT INTO usage_conflict AS known (first_event_id, payload_hash, source_id, event_id, type, subject,
                                         occurred_at, data, times_received, received_at, last_received_at,
                                         api_key_id)
    SELECT batch.*, %b::timestamptz, %b::timestamptz, %b::bigint
    FROM unnest(%b::bigint[], %b::bytea[], %b::integer[], %b::text[], %b::text[], %b::text[],
                %b::timestamptz[], %b::text[]::jsonb[], %b::integer[]) AS batch
    ON CONFLICT (first_event_id, payload_hash) DO UPDATE SET
        times_received = known.times_received + excluded.times_received,
        last_received_at = greatest(known.last_received_at, excluded.last_received_at)
"""

_ATTRIBUTE = """
    UPDATE usage_event event SET customer_id = found.customer_id, attributed_at = %b::timestamptz
    FROM (
        SELECT waiting.id, waiting.occurred_at, known.customer_id
        FROM unnest(%b::text[], %b::bigint[]) AS known(subject, customer_id)
        JOIN usage_event waiting ON waiting.subject = known.subject AND waiting.customer_id IS NULL
        LIMIT %b
        FOR UPDATE OF waiting SKIP LOCKED
    ) found
    WHERE event.id = found.id AND event.occurred_at = found.occurred_at
"""


class UsageIsArriving(BillingError):
    """A batch that takes too long to store keeps the cutoff from being settled."""

    code = "usage_is_arriving"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "Usage is being stored right now that takes longer than usual, so there is no safe cutoff yet. "
            "Try again in a minute."
        )


@dataclass(frozen=True, slots=True)
class EventConflict:
    """An event that was not stored: its source and ID were used before, with another payload.

    ``index`` is its place in the batch.
    """

    index: int
    source: str
    event_id: str


@dataclass(frozen=True, slots=True)
class RecordedBatch:
    """What became of a batch. Accepted, duplicates and conflicts add up to its size.

    ``unattributed`` counts the accepted events whose subject is no customer or whose type no metric measures.
    """

    accepted: int = 0
    duplicates: int = 0
    unattributed: int = 0
    conflicts: tuple[EventConflict, ...] = ()


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What one request sends: its events, and the key it was sent with."""

    events: Sequence[EventInput]
    api_key_id: int | None


class _Row(msgspec.Struct, frozen=True, gc=False):
    """An event on its way into the database. ``index`` is its place in the batch."""

    source_id: int
    kind: int
    key: bytes
    index: int
    payload_hash: bytes
    data: bytes
    occurred_at: dt.datetime


def record_batches(batches: Sequence[EventBatch]) -> list[RecordedBatch]:
    """Store the batches of several requests in one transaction, and say of each what became of it, in order.

    An event that stands in two of them counts for the first. Called inside a transaction, it commits with that one.
    """
    with transaction.atomic():
        return [record_events(events=batch.events, api_key_id=batch.api_key_id) for batch in batches]


def record_events(*, events: Sequence[EventInput], api_key_id: int | None) -> RecordedBatch:
    """Store a batch, each (source, id) once for ever, in one transaction that has committed on return.

    A repeat with the same payload is a duplicate, one with another payload a conflict, which is recorded; the
    first stays either way. Called inside a transaction, it commits with that one.
    """
    if not events:
        return RecordedBatch()
    sources = source_ids({event.source for event in events})
    note_event_types({event.type for event in events})
    rows = sorted(
        (_row(index, event, sources) for index, event in enumerate(events)),
        key=lambda row: (row.source_id, row.kind, row.key, row.index),
    )
    ensure_months({(row.occurred_at.year, row.occurred_at.month) for row in rows})
    firsts = _firsts(rows)
    customers = customers_by_subject({event.subject for event in events})
    with transaction.atomic():
        stamp = _stamp()
        accepted, unattributed = _store(events, firsts, customers, stamp, api_key_id)
        conflicts: tuple[EventConflict, ...] = ()
        if accepted < len(rows):
            conflicts = _record_conflicts(events, rows, stamp, api_key_id)
    return RecordedBatch(
        accepted=accepted,
        duplicates=len(events) - accepted - len(conflicts),
        unattributed=unattributed,
        conflicts=conflicts,
    )


def settle_cutoff() -> dt.datetime:
    """Return an instant for ``stored_before``: what it cuts off can never change any more.

    Every event attributed before it has committed, and none will ever be given an earlier stamp. Waits for
    the batches that are being stored right now, and must not be called inside a transaction, which would hold
    up all later ones. Raises UsageIsArriving when a batch does not end in time.
    """
    try:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [SETTLE_PATIENCE])
            cursor.execute("SELECT usage_settle()")
            cutoff: dt.datetime = cursor.fetchone()[0]
            return cutoff
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise UsageIsArriving from error
        raise


def attribute_events() -> int:
    """Give stored events to the customers that their subjects have become, and return how many there were."""
    attributed, after = 0, ""
    while subjects := unattributed_subjects(after=after, limit=SUBJECTS_AT_ONCE):
        known = customers_by_subject(subjects)
        while known and (count := _attribute_some(known)):
            attributed += count
        after = subjects[-1]
    return attributed


def _row(index: int, event: EventInput, sources: Mapping[str, int]) -> _Row:
    kind, key = key_of(event.event_id)
    data = canonical_json(event.data)
    return _Row(
        source_id=sources[event.source],
        kind=kind,
        key=key,
        index=index,
        payload_hash=payload_hash(event, data),
        data=data,
        occurred_at=event.occurred_at.astimezone(dt.UTC),
    )


def _firsts(rows: Sequence[_Row]) -> list[_Row]:
    """The first row of each key; rows are sorted by key, then by place in the batch."""
    firsts: list[_Row] = []
    for row in rows:
        last = firsts[-1] if firsts else None
        if last is None or (last.key, last.kind, last.source_id) != (row.key, row.kind, row.source_id):
            firsts.append(row)
    return firsts


def _stamp() -> dt.datetime:
    """Take the shared lock that ``settle_cutoff`` waits for, and then the instant of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_stamp()")
        stamp: dt.datetime = cursor.fetchone()[0]
        return stamp


def _store(
    events: Sequence[EventInput],
    rows: Sequence[_Row],
    customers: Mapping[str, int],
    stamp: dt.datetime,
    api_key_id: int | None,
) -> tuple[int, int]:
    """Insert what is new; return how many that were, and how many of them are unattributed."""
    ordered = [events[row.index] for row in rows]
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(
            _STORE,
            [
                *_keys(rows),
                binary.texts(event.event_id.encode() for event in ordered),
                binary.texts(event.type.encode() for event in ordered),
                binary.texts(event.subject.encode() for event in ordered),
                binary.bigints(customers.get(event.subject) for event in ordered),
                binary.timestamps((row.occurred_at - _EPOCH) // _MICROSECOND for row in rows),
                binary.texts(row.data for row in rows),
                stamp,
                stamp,
                api_key_id,
                list(summed_properties_by_event_type()),
            ],
        )
        found = cursor.fetchone()
    if found is None:
        raise RuntimeError("the insert returned no counts")
    accepted, unattributed = found
    return accepted, unattributed


def _keys(rows: Sequence[_Row]) -> list[binary.BinaryArray]:
    return [
        binary.integers(row.source_id for row in rows),
        binary.smallints(row.kind for row in rows),
        binary.uuids(row.key for row in rows),
        binary.byteas(row.payload_hash for row in rows),
    ]


def _record_conflicts(
    events: Sequence[EventInput], rows: Sequence[_Row], stamp: dt.datetime, api_key_id: int | None
) -> tuple[EventConflict, ...]:
    """Find the rows whose stored payload is another one, record them, and return them in batch order.

    Every row is compared with what is stored now, also the ones that were just accepted, so that a repeat
    inside the batch is judged like any other.
    """
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(_DIFFERING, _keys(rows))
        differing = [(rows[position - 1], first) for position, first in cursor]
        if differing:
            times = Counter((first, row.payload_hash) for row, first in differing)
            once = {(first, row.payload_hash): row for row, first in reversed(differing)}
            known = sorted(once)
            refused = [(once[key], events[once[key].index]) for key in known]
            cursor.execute(
                _RECORD_CONFLICTS,
                [
                    stamp,
                    stamp,
                    api_key_id,
                    [first for first, _ in known],
                    [digest for _, digest in known],
                    [row.source_id for row, _ in refused],
                    [event.event_id for _, event in refused],
                    [event.type for _, event in refused],
                    [event.subject for _, event in refused],
                    [row.occurred_at for row, _ in refused],
                    [row.data.decode() for row, _ in refused],
                    [times[key] for key in known],
                ],
            )
    indexes = sorted(row.index for row, _ in differing)
    return tuple(
        EventConflict(index=index, source=events[index].source, event_id=events[index].event_id) for index in indexes
    )


@transaction.atomic
def _attribute_some(known: Mapping[str, int]) -> int:
    with raw_cursor() as cursor:
        cursor.execute(_ATTRIBUTE, [_stamp(), list(known), list(known.values()), ATTRIBUTE_AT_ONCE])
        return cursor.rowcount
