"""What usage comes to, from the cache where it is exact and from the events where it is not.

A window is cut into whole days, the hours at its two ends, and what is left of an hour. Days and hours are read from
buckets and from the deltas that are not folded into them yet, both by one statement and so of one instant; the rest
is read from the events. With a ``stored_before`` cutoff, a bucket that holds anything younger is left out, and its
stretch is read from the events as well. So a read costs the same however many events a period holds.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.formulas import EXACT
from apps.billable_metrics.measuring import Dimensions
from apps.billable_metrics.models import MetricVersion
from apps.common.database import raw_cursor
from apps.usage import binary
from apps.usage.deltas import DAY, HOUR
from apps.usage.metric_sql import metric_sql
from apps.usage.selectors.windows import UsageWindow, micros

EVER = -(2**63)  # PostgreSQL's -infinity.


@dataclass(slots=True)
class State:
    """What some events come to, so that two of them can be put together exactly."""

    event_count: int = 0
    total: Decimal = Decimal(0)
    time_total: Decimal = Decimal(0)
    lowest: Decimal | None = None
    highest: Decimal | None = None
    latest_at: dt.datetime | None = None
    latest_id: int | None = None
    latest: Decimal | None = None

    def absorb(self, other: State) -> None:
        self.event_count += other.event_count
        self.total = EXACT.add(self.total, other.total)
        self.time_total = EXACT.add(self.time_total, other.time_total)
        if other.lowest is not None:
            self.lowest = other.lowest if self.lowest is None else min(self.lowest, other.lowest)
        if other.highest is not None:
            self.highest = other.highest if self.highest is None else max(self.highest, other.highest)
        if other.latest_at is not None and (
            self.latest_at is None or (other.latest_at, other.latest_id or 0) > (self.latest_at, self.latest_id or 0)
        ):
            self.latest_at, self.latest_id, self.latest = other.latest_at, other.latest_id, other.latest


States = dict[Dimensions, State]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A half-open stretch of event time of one customer and metric version, in microseconds since 2000."""

    customer_id: int
    version: MetricVersion
    start: int
    end: int


def stretch_of(window: UsageWindow) -> Stretch:
    return Stretch(window.customer_id, window.version, micros(window.start_at), micros(window.end_at))


def states_of(
    stretches: Sequence[Stretch], *, stored_before: dt.datetime | None, group_by: Sequence[str] | None = ()
) -> list[States]:
    """The states of each stretch by dimensions: by those of the metric, or by the properties in ``group_by``."""
    found: list[States] = [{} for _ in stretches]
    from_cache: list[tuple[int, Stretch]] = []
    from_events: list[tuple[int, Stretch]] = []
    for position, stretch in enumerate(stretches):
        cacheable = group_by is None or set(group_by) <= set(stretch.version.group_by)
        (from_cache if cacheable else from_events).append((position, stretch))
    while from_cache:
        pieces = [_cut(position, stretch) for position, stretch in from_cache]
        from_events.extend(edge for piece in pieces for edge in piece.edges)
        from_cache = _read_cache(
            [piece for piece in pieces if piece.has_hours], stored_before, group_by, found, from_events
        )
    _read_events(from_events, stored_before, group_by, found)
    return found


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch cut at full hours and days of UTC. ``edges`` are the parts of hours before and behind."""

    position: int
    stretch: Stretch
    hour_start: int
    day_start: int
    day_end: int
    hour_end: int
    edges: list[tuple[int, Stretch]] = field(default_factory=list)

    @property
    def has_hours(self) -> bool:
        return self.hour_start < self.hour_end


def _cut(position: int, stretch: Stretch) -> _Piece:
    start, end = stretch.start, stretch.end
    hour_start = EVER if start == EVER else -(-start // HOUR) * HOUR
    hour_end = end // HOUR * HOUR
    if hour_start >= hour_end:
        return _Piece(position, stretch, 0, 0, 0, 0, [(position, stretch)] if start < end else [])
    day_start = EVER if start == EVER else -(-start // DAY) * DAY
    day_end = end // DAY * DAY
    if day_start >= day_end:
        day_start = day_end = hour_end
    edges = [(start, hour_start), (hour_end, end)]
    return _Piece(
        position,
        stretch,
        hour_start,
        day_start,
        day_end,
        hour_end,
        [(position, _part(stretch, first, last)) for first, last in edges if first < last],
    )


def _part(stretch: Stretch, start: int, end: int) -> Stretch:
    return Stretch(stretch.customer_id, stretch.version, start, end)


# How states are put together, of whichever rows that hold them: one way for reading, folding, building and comparing.
MERGED_SQL = """
    sum(event_count) AS event_count, sum(total) AS total, sum(time_total) AS time_total, min(lowest) AS lowest,
    max(highest) AS highest
"""
MERGED_LATEST_SQL = """
    max(latest_at) AS latest_at,
    (array_agg(latest_id ORDER BY latest_at DESC NULLS LAST, latest_id DESC))[1] AS latest_id,
    (array_agg(latest ORDER BY latest_at DESC NULLS LAST, latest_id DESC))[1] AS latest
"""
STATE_COLUMNS = "event_count, total, time_total, lowest, highest, latest_at, latest_id, latest"

# One statement, so that a fold that commits meanwhile is seen whole or not at all. A first row tells which metric
# versions have a whole cache; others name the buckets that hold more than the cutoff allows.
_READ_CACHE = """
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS asked(
            position, customer_id, version_id, hour_start, day_start, day_end, hour_end
        )
    ), cutoff AS (
        SELECT coalesce(%b::timestamptz, 'infinity') AS stored_before
    ), bucket AS (
        SELECT asked.position, found.* FROM asked CROSS JOIN LATERAL (
            SELECT * FROM usage_bucket WHERE customer_id = asked.customer_id AND metric_version_id = asked.version_id
                AND grain = 1 AND starts_at >= asked.day_start AND starts_at < asked.day_end
            UNION ALL
            SELECT * FROM usage_bucket WHERE customer_id = asked.customer_id AND metric_version_id = asked.version_id
                AND grain = 0 AND starts_at >= asked.hour_start AND starts_at < asked.day_start
            UNION ALL
            SELECT * FROM usage_bucket WHERE customer_id = asked.customer_id AND metric_version_id = asked.version_id
                AND grain = 0 AND starts_at >= asked.day_end AND starts_at < asked.hour_end
        ) found
    ), part AS (
        SELECT position, {dims} AS dims, {state} FROM bucket, cutoff WHERE last_stamp < stored_before
        UNION ALL
        SELECT asked.position, {dims} AS dims, {state}
        FROM cutoff, asked JOIN usage_delta delta ON delta.customer_id = asked.customer_id
            AND delta.metric_version_id = asked.version_id
            AND delta.hour >= asked.hour_start AND delta.hour < asked.hour_end
        WHERE delta.stamp < stored_before
    )
    SELECT position, NULL::smallint AS grain, NULL::timestamptz AS starts_at, dims, {merged}, {latest}
    FROM part GROUP BY position, dims HAVING sum(event_count) > 0
    UNION ALL
    SELECT position, grain, starts_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM bucket, cutoff WHERE last_stamp >= stored_before GROUP BY position, grain, starts_at
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, metric_version_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM usage_cache WHERE state = 'ready'
"""


def _read_cache(
    pieces: Sequence[_Piece],
    stored_before: dt.datetime | None,
    group_by: Sequence[str] | None,
    found: list[States],
    from_events: list[tuple[int, Stretch]],
) -> list[tuple[int, Stretch]]:
    """Add what the cache knows to ``found``, and to ``from_events`` what it cannot know.

    Returns what is to be read again: the rest of stretches that had a bucket which is too young for the cutoff.
    """
    if not pieces:
        return []
    whole: list[tuple[int, Dimensions, State]] = []
    ready: set[int] = set()
    young: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(_read_cache_sql(pieces, group_by), [*_asked(pieces), stored_before])
        for index, grain, starts_at, dims, *state in cursor:
            if index is None:
                ready.add(int(state[0]))
            elif grain is None:
                whole.append((index, tuple(dims), _state_of_row(state)))
            else:
                start = micros(starts_at)
                young[index].append((start, start + (DAY if grain else HOUR)))
    again: list[tuple[int, Stretch]] = []
    for index, piece in enumerate(pieces):
        inner = (piece.position, _part(piece.stretch, piece.hour_start, piece.hour_end))
        if piece.stretch.version.pk not in ready:
            from_events.append(inner)
        elif index in young:
            rest, raw = _without(inner[1], young[index])
            again.extend((piece.position, part) for part in rest)
            from_events.extend((piece.position, part) for part in raw)
    for index, dims, merged in whole:
        piece = pieces[index]
        if piece.stretch.version.pk in ready and index not in young:
            dimensions = _projected(dims, piece.stretch.version, group_by)
            found[piece.position].setdefault(dimensions, State()).absorb(merged)
    return again


def _asked(pieces: Sequence[_Piece]) -> list[binary.BinaryArray]:
    return [
        binary.integers(range(len(pieces))),
        binary.bigints([piece.stretch.customer_id for piece in pieces]),
        binary.bigints([piece.stretch.version.pk for piece in pieces]),
        binary.timestamps([piece.hour_start for piece in pieces]),
        binary.timestamps([piece.day_start for piece in pieces]),
        binary.timestamps([piece.day_end for piece in pieces]),
        binary.timestamps([piece.hour_end for piece in pieces]),
    ]


def _read_cache_sql(pieces: Sequence[_Piece], group_by: Sequence[str] | None) -> str:
    needs_latest = any(piece.stretch.version.aggregation in LATEST for piece in pieces)
    is_split = group_by is None or len(group_by) > 0
    return _READ_CACHE.format(
        dims="dims" if is_split else "'{}'::text[]",
        state=STATE_COLUMNS,
        merged=MERGED_SQL,
        latest=MERGED_LATEST_SQL if needs_latest else NO_LATEST_SQL,
    )


def _projected(dims: Dimensions, version: MetricVersion, group_by: Sequence[str] | None) -> Dimensions:
    if group_by is None or not dims:
        return dims
    values = dict(zip(version.group_by, dims, strict=True))
    return tuple(values[name] for name in group_by)


def _without(stretch: Stretch, taken: Sequence[tuple[int, int]]) -> tuple[list[Stretch], list[Stretch]]:
    """The stretch less the parts that are taken out, and these parts."""
    rest, at = [], stretch.start
    for start, end in sorted(taken):
        if at < start:
            rest.append(_part(stretch, at, start))
        at = max(at, end)
    if at < stretch.end:
        rest.append(_part(stretch, at, stretch.end))
    return rest, [_part(stretch, start, end) for start, end in sorted(taken)]


def _state_of_row(row: Sequence[Any]) -> State:
    count, total, time_total, lowest, highest, latest_at, latest_id, latest = row
    return State(
        event_count=int(count),
        total=total or Decimal(0),
        time_total=time_total or Decimal(0),
        lowest=lowest,
        highest=highest,
        latest_at=latest_at,
        latest_id=latest_id,
        latest=latest,
    )


# An event's instant in microseconds since 2000, exactly.
MICROS_SQL = "(extract(epoch FROM occurred_at) * 1000000 - 946684800000000)"
NO_LATEST_SQL = "NULL::timestamptz AS latest_at, NULL::bigint AS latest_id, NULL::numeric AS latest"
TOTALLED = frozenset([Aggregation.SUM, Aggregation.AVERAGE, Aggregation.TIME_WEIGHTED_SUM])
EXTREMES = frozenset([Aggregation.MAX, Aggregation.MIN])
LATEST = frozenset([Aggregation.LATEST, *EXTREMES])


def state_sql(aggregation: str, *, counting: str = "") -> str:
    """The state of a group of measured events; columns that the aggregation does not need are empty.

    ``counting`` is a FILTER clause for the events that count.
    """
    total = time_total = lowest = highest = "NULL::numeric"
    latest = NO_LATEST_SQL
    if aggregation in TOTALLED:
        total = f"sum(value) {counting}"
    if aggregation == Aggregation.TIME_WEIGHTED_SUM:
        time_total = f"sum(value * {MICROS_SQL}) {counting}"
    if aggregation in EXTREMES:
        lowest, highest = f"min(value) {counting}", f"max(value) {counting}"
    if aggregation in LATEST:
        order = "ORDER BY occurred_at DESC, id DESC"
        latest = (
            f"max(occurred_at) {counting} AS latest_at, (array_agg(id {order}) {counting})[1] AS latest_id,"
            f" (array_agg(value {order}) {counting})[1] AS latest"
        )
    return (
        f"count(*) {counting} AS event_count, {total} AS total, {time_total} AS time_total, {lowest} AS lowest,"
        f" {highest} AS highest, {latest}"
    )


# Each stretch is read by itself through the index on (customer, type, event time), in the partitions of its own
# months only. OFFSET 0 keeps the value from being computed twice.
_MATCHED = """
    FROM unnest(%b, %b, %b, %b) AS asked(position, customer_id, start_at, end_at)
    CROSS JOIN LATERAL (
        SELECT {value} AS value, {dimensions} AS dims, event.occurred_at, event.id
        FROM usage_event event
        WHERE event.customer_id = asked.customer_id
          AND event.occurred_at >= asked.start_at AND event.occurred_at < asked.end_at
          AND event.attributed_at < coalesce(%b::timestamptz, 'infinity')
          AND coalesce(event.voided_at, 'infinity') >= coalesce(%b::timestamptz, 'infinity')
          AND {conditions}
        OFFSET 0
    ) matched
    WHERE value IS NOT NULL
"""


def _read_events(
    stretches: Sequence[tuple[int, Stretch]],
    stored_before: dt.datetime | None,
    group_by: Sequence[str] | None,
    found: list[States],
) -> None:
    """Add the states of these stretches to ``found``, from the events themselves: one statement a metric version."""
    by_version: defaultdict[int, list[tuple[int, Stretch]]] = defaultdict(list)
    for position, stretch in stretches:
        by_version[stretch.version.pk].append((position, stretch))
    for chosen in by_version.values():
        rows = read_matched(
            [stretch for _, stretch in chosen],
            f"SELECT position, dims, {state_sql(chosen[0][1].version.aggregation)} {{matched}} GROUP BY position, dims",
            stored_before=stored_before,
            group_by=group_by,
        )
        for index, dims, *state in rows:
            position = chosen[index][0]
            found[position].setdefault(tuple(dims), State()).absorb(_state_of_row(state))


def read_matched(
    stretches: Sequence[Stretch], statement: str, *, stored_before: dt.datetime | None, group_by: Sequence[str] | None
) -> list[tuple[Any, ...]]:
    """Run a statement over the events that one metric version counts in each stretch.

    In ``statement``, ``{matched}`` stands for the FROM clause that gives position, value, dims, occurred_at and id.
    """
    if not stretches:
        return []
    parts = metric_sql(stretches[0].version.definition, group_by=group_by)
    matched = _MATCHED.format(
        value=_literally(parts.value),
        dimensions=_literally(parts.dimensions),
        conditions=_literally(parts.conditions),
    )
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(
            statement.replace("{matched}", matched),
            [
                binary.integers(range(len(stretches))),
                binary.bigints([stretch.customer_id for stretch in stretches]),
                binary.timestamps([stretch.start for stretch in stretches]),
                binary.timestamps([stretch.end for stretch in stretches]),
                stored_before,
                stored_before,
            ],
        )
        return list(cursor)


def _literally(text: str) -> str:
    """A part of a statement in which a percent sign stands for itself, beside placeholders."""
    return text.replace("%", "%%")
