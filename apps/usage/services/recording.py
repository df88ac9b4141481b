"""Storing usage events: each once for ever, with what they add to the usage cache, in one transaction."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, islice

import psycopg.errors
from django.db import OperationalError, connection, transaction

from apps.billable_metrics import catalogue
from apps.billable_metrics.catalogue import Catalogue, Edition
from apps.common.database import raw_cursor
from apps.common.errors import BillingError
from apps.customers.selectors import BY_SUBJECT_SQL
from apps.usage import binary
from apps.usage.deltas import EPOCH, HOUR, CountedEvent, Deltas
from apps.usage.events import EventInput, canonical_json, key_of, payload_hash
from apps.usage.names import note_event_types, source_ids
from apps.usage.partitions import ensure_months

SETTLE_PATIENCE = "15s"
# One value of the sequence of primary keys stands for as many of them: see the migration.
IDS_AT_ONCE = 10_000

_MICROSECOND = dt.timedelta(microseconds=1)

_BEGIN = f"""
    SELECT begun.stamp, begun.versions, begun.newest,
           array(SELECT nextval('usage_event_id_seq') FROM generate_series(1, %b)), found.subjects, found.customer_ids
    FROM usage_stamp() AS begun CROSS JOIN (
        SELECT array_agg(subject ORDER BY rank) AS subjects, array_agg(customer_id ORDER BY rank) AS customer_ids
        FROM ({BY_SUBJECT_SQL}) known
    ) found
"""

# Keys are inserted in their order, so that two batches with the same ones wait for one another and never deadlock.
# The key table decides what is new; only that reaches the log. Of two alike in one batch the first is new.
_STORE = """
    WITH input AS MATERIALIZED (
        SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS batch(
            id, source_id, kind, key, payload_hash, event_id, type, subject, customer_id, occurred_at, data, api_key_id
        )
    ), fresh AS (
        INSERT INTO usage_event_key (key, source_id, kind, event_pk, payload_hash, occurred_at)
        SELECT key, source_id, kind, id, payload_hash, occurred_at FROM input
        ORDER BY key, source_id, kind, id
        ON CONFLICT DO NOTHING
        RETURNING event_pk
    ), stored AS (
        INSERT INTO usage_event (id, source_id, event_id, type, subject, customer_id, attributed_at,
                                 occurred_at, stored_at, data, api_key_id)
        SELECT id, source_id, event_id, type, subject, customer_id,
               CASE WHEN customer_id IS NOT NULL THEN %b::timestamptz END,
               occurred_at, %b::timestamptz, data::jsonb, api_key_id
        FROM fresh JOIN input ON input.id = fresh.event_pk
    )
    SELECT CASE WHEN count(*) < %b THEN coalesce(array_agg(event_pk), '{}') END FROM fresh
"""

_DIFFERING = """
    SELECT batch.position, stored.event_pk
    FROM unnest(%b, %b, %b, %b) WITH ORDINALITY AS batch(source_id, kind, key, payload_hash, position)
    JOIN usage_event_key stored USING (key, source_id, kind)
    WHERE stored.payload_hash <> batch.payload_hash
    ORDER BY batch.position
"""

# A client that repeats a conflict for ever counts it up; it does not fill the table.
_RECORD_CONFLICTS = """
    INSERT INTO usage_conflict AS known (received_at, last_received_at, first_event_id, payload_hash, source_id,
                                         event_id, type, subject, occurred_at, data, times_received, api_key_id)
    SELECT %b::timestamptz, %b::timestamptz, batch.*
    FROM unnest(%b::bigint[], %b::uuid[], %b::integer[], %b::text[], %b::text[], %b::text[],
                %b::timestamptz[], %b::text[]::jsonb[], %b::integer[], %b::bigint[]) AS batch
    ON CONFLICT (first_event_id, payload_hash) DO UPDATE SET
        times_received = known.times_received + excluded.times_received,
        last_received_at = greatest(known.last_received_at, excluded.last_received_at)
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
    """What became of a batch. Accepted, duplicates, conflicts and quarantined add up to its size.

    ``unattributed`` counts the accepted events whose subject is no customer or whose type no metric measures.
    """

    accepted: int = 0
    duplicates: int = 0
    unattributed: int = 0
    conflicts: tuple[EventConflict, ...] = ()
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class EventBatch:
    """What one request sends: its events, and the key it was sent with."""

    events: Sequence[EventInput]
    api_key_id: int | None


@dataclass(slots=True)
class _Columns:
    """A batch by columns, in the order it was sent."""

    events: list[EventInput]
    api_keys: list[int | None]
    source_ids: list[int]
    kinds: list[int]
    keys: list[bytes]
    hashes: list[bytes]
    datas: list[bytes]
    occurred: list[int]
    customers: list[int | None] = field(default_factory=list)

    def keys_at(self, positions: Sequence[int]) -> list[binary.BinaryArray]:
        return [
            binary.integers([self.source_ids[position] for position in positions]),
            binary.smallints([self.kinds[position] for position in positions]),
            binary.uuids([self.keys[position] for position in positions]),
            binary.uuids([self.hashes[position] for position in positions]),
        ]


def record_events(*, events: Sequence[EventInput], api_key_id: int | None) -> RecordedBatch:
    """Store a batch, each (source, id) once for ever, in one transaction that has committed on return.

    A repeat with the same payload is a duplicate, one with another payload a conflict, which is recorded; the
    first stays either way. Called inside a transaction, it commits with that one.
    """
    return record_batches([EventBatch(events, api_key_id)])[0]


def record_batches(batches: Sequence[EventBatch]) -> list[RecordedBatch]:
    """Store the batches of several requests in one transaction, and say of each what became of it, in order.

    Of events alike in source and ID the first counts, whichever batch it stands in.
    """
    columns = _columns(batches)
    size = len(columns.events)
    if not size:
        return [RecordedBatch() for _ in batches]
    with transaction.atomic():
        begun = begin(size, {event.subject for event in columns.events})
        ids = list(islice(chain.from_iterable(range(first, first + IDS_AT_ONCE) for first in begun.first_ids), size))
        columns.customers = [begun.customers.get(event.subject) for event in columns.events]
        known, stamp = catalogue.current(begun.edition), begun.stamp
        fresh = _store(columns, ids, stamp)
        positions = range(len(ids)) if fresh is None else [at for at, pk in enumerate(ids) if pk in fresh]
        _add_to_cache(columns, ids, positions, known, stamp)
        conflicts = {} if fresh is None else _record_conflicts(columns, stamp)
    return _outcomes(batches, columns, positions, conflicts, known)


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


def _columns(batches: Sequence[EventBatch]) -> _Columns:
    events = [event for batch in batches for event in batch.events]
    sources = source_ids({event.source for event in events})
    note_event_types({event.type for event in events})
    datas = [canonical_json(event.data) for event in events]
    keys = [key_of(event.event_id) for event in events]
    instants = [event.occurred_at for event in events]
    if instants:
        _ensure_partitions_for(instants)
    return _Columns(
        events=events,
        api_keys=[batch.api_key_id for batch in batches for _ in batch.events],
        source_ids=[sources[event.source] for event in events],
        kinds=[kind for kind, _ in keys],
        keys=[key for _, key in keys],
        hashes=[payload_hash(event, data) for event, data in zip(events, datas, strict=True)],
        datas=datas,
        occurred=[(instant - EPOCH) // _MICROSECOND for instant in instants],
    )


def _ensure_partitions_for(instants: Sequence[dt.datetime]) -> None:
    first, last = (instant.astimezone(dt.UTC) for instant in (min(instants), max(instants)))
    months = {(first.year, first.month), (last.year, last.month)}
    if len(months) > 1:
        utc = (instant.astimezone(dt.UTC) for instant in instants)
        months = {(instant.year, instant.month) for instant in utc}
    ensure_months(months)


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction that stores or attributes events: its instant, and what it may rely on until its end."""

    stamp: dt.datetime
    edition: Edition
    first_ids: list[int]
    customers: dict[str, int]


def begin(size: int, subjects: Collection[str] = ()) -> Begun:
    """Take the shared lock that ``settle_cutoff`` waits for, then the instant of this transaction, and primary keys.

    The lock is held until commit; so a metric version that is committed and settled is known to all that follow. The
    customers of ``subjects`` are looked up on the way, which spares a round trip.
    """
    wanted = list(subjects)
    with raw_cursor() as cursor:
        cursor.execute(_BEGIN, [-(-size // IDS_AT_ONCE), wanted, wanted], prepare=True)
        found = cursor.fetchone()
    if found is None:
        raise RuntimeError("the database did not begin")
    stamp, versions, newest, firsts, known, customer_ids = found
    customers = dict(zip(known or (), customer_ids or (), strict=True))
    return Begun(stamp, (versions, newest), firsts, customers)


def _store(columns: _Columns, ids: Sequence[int], stamp: dt.datetime) -> set[int] | None:
    """Insert what is new; return the primary keys of that, or None when it is all."""
    events = columns.events
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(
            _STORE,
            [
                binary.bigints(ids),
                binary.integers(columns.source_ids),
                binary.smallints(columns.kinds),
                binary.uuids(columns.keys),
                binary.uuids(columns.hashes),
                binary.texts([event.event_id.encode() for event in events]),
                binary.texts([event.type.encode() for event in events]),
                binary.texts([event.subject.encode() for event in events]),
                binary.bigints(columns.customers),
                binary.timestamps(columns.occurred),
                binary.texts(columns.datas),
                binary.bigints(columns.api_keys),
                stamp,
                stamp,
                len(ids),
            ],
            prepare=True,
        )
        found = cursor.fetchone()
    if found is None:
        raise RuntimeError("the insert returned no keys")
    return None if found[0] is None else set(found[0])


def _add_to_cache(
    columns: _Columns, ids: Sequence[int], positions: Sequence[int], known: Catalogue, stamp: dt.datetime
) -> None:
    rows = zip(ids, columns.customers, columns.occurred, columns.events, strict=True)
    fresh = rows if len(positions) == len(ids) else compress(rows, map(set(positions).__contains__, range(len(ids))))
    by_type: defaultdict[str, list[CountedEvent]] = defaultdict(list)
    for pk, customer, instant, event in fresh:
        if customer is not None:
            by_type[event.type].append(CountedEvent(pk, customer, instant, instant - instant % HOUR, event.data))
    deltas = Deltas()
    for event_type, counted in by_type.items():
        deltas.add(counted, known.by_type.get(event_type, ()))
    deltas.write(stamp=stamp)


def _record_conflicts(columns: _Columns, stamp: dt.datetime) -> dict[int, None]:
    """Find the events whose stored payload is another one, record them, and return their positions in order.

    Every event is compared with what is stored now, also the ones that were just accepted, so that a repeat
    inside the batch is judged like any other.
    """
    events = columns.events
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(_DIFFERING, columns.keys_at(range(len(events))))
        differing = [(position - 1, first) for position, first in cursor]
        if differing:
            times = Counter((first, columns.hashes[at]) for at, first in differing)
            once = {(first, columns.hashes[at]): at for at, first in reversed(differing)}
            known = sorted(once)
            refused = [once[key] for key in known]
            cursor.execute(
                _RECORD_CONFLICTS,
                [
                    stamp,
                    stamp,
                    binary.bigints([first for first, _ in known]),
                    binary.uuids([digest for _, digest in known]),
                    binary.integers([columns.source_ids[at] for at in refused]),
                    binary.texts([events[at].event_id.encode() for at in refused]),
                    binary.texts([events[at].type.encode() for at in refused]),
                    binary.texts([events[at].subject.encode() for at in refused]),
                    binary.timestamps([columns.occurred[at] for at in refused]),
                    binary.texts([columns.datas[at] for at in refused]),
                    binary.integers([times[key] for key in known]),
                    binary.bigints([columns.api_keys[at] for at in refused]),
                ],
            )
    return dict.fromkeys(at for at, _ in differing)


def _outcomes(
    batches: Sequence[EventBatch],
    columns: _Columns,
    positions: Sequence[int],
    conflicts: dict[int, None],
    known: Catalogue,
) -> list[RecordedBatch]:
    is_new = bytearray(len(columns.events))
    for at in positions:
        is_new[at] = True
    # Whoever has no customer, or a type that nothing measures.
    is_left = [
        customer is None or event.type not in known.by_type
        for customer, event in zip(columns.customers, columns.events, strict=True)
    ]
    outcomes, start = [], 0
    for batch in batches:
        end = start + len(batch.events)
        accepted = sum(is_new[start:end])
        refused = tuple(
            EventConflict(index=at - start, source=columns.events[at].source, event_id=columns.events[at].event_id)
            for at in conflicts
            if start <= at < end
        )
        outcomes.append(
            RecordedBatch(
                accepted=accepted,
                duplicates=len(batch.events) - accepted - len(refused),
                unattributed=sum(compress(is_left[start:end], is_new[start:end])),
                conflicts=refused,
            )
        )
        start = end
    return outcomes
