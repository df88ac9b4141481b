"""How each kind of metric becomes a quantity: from states that add up, from distinct values, or from its events."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal

from apps.billable_metrics.definitions import Aggregation, MetricDefinition, TimeUnit
from apps.billable_metrics.formulas import EXACT
from apps.billable_metrics.measuring import Dimensions
from apps.common.database import raw_cursor
from apps.usage import binary
from apps.usage.deltas import DAY
from apps.usage.selectors.states import (
    EVER,
    MICROS_SQL,
    State,
    States,
    Stretch,
    read_matched,
    states_of,
    stretch_of,
)
from apps.usage.selectors.windows import GroupUsage, MeasuredUsage, UsageWindow, divided, in_order, micros, rounded

_SECONDS = {TimeUnit.SECOND: 1, TimeUnit.MINUTE: 60, TimeUnit.HOUR: 3_600, TimeUnit.DAY: 86_400}

Reader = Callable[
    [Sequence[UsageWindow], "dt.datetime | None", "dt.datetime | None", "Sequence[str] | None"], list[MeasuredUsage]
]


def reader_of(definition: MetricDefinition) -> Reader:
    if definition.aggregation == Aggregation.UNIQUE_COUNT:
        return measure_distinct
    if definition.aggregation == Aggregation.PERCENTILE:
        return measure_percentiles
    return measure_levels if definition.states_levels else measure_states


# --- Quantities that are put together from states --------------------------------------------------------------------


def measure_states(
    windows: Sequence[UsageWindow],
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None,
    group_by: Sequence[str] | None,
) -> list[MeasuredUsage]:
    stretches = [stretch_of(window) for window in windows]
    carried = [position for position, window in enumerate(windows) if window.version.carries_over]
    before = [
        Stretch(stretches[position].customer_id, stretches[position].version, EVER, stretches[position].start)
        for position in carried
    ]
    states = states_of([*stretches, *before], stored_before=stored_before, group_by=group_by)
    at_start: list[States] = [{} for _ in windows]
    for position, found in zip(carried, states[len(windows) :], strict=True):
        at_start[position] = found
    return [
        _usage_of(window, found, before_it, as_of, group_by)
        for window, found, before_it in zip(windows, states, at_start, strict=False)
    ]


def _usage_of(
    window: UsageWindow,
    states: States,
    carried: States,
    as_of: dt.datetime | None,
    group_by: Sequence[str] | None,
) -> MeasuredUsage:
    total = quantity_of(window, _whole(states), _whole(carried), as_of)
    count = sum(state.event_count for state in states.values())
    names = window.version.group_by if group_by is None else group_by
    groups = [
        GroupUsage(
            dimensions,
            quantity_of(window, states.get(dimensions, State()), carried.get(dimensions, State()), as_of),
            states[dimensions].event_count if dimensions in states else 0,
        )
        for dimensions in (sorted({*states, *carried}, key=in_order) if names else ())
    ]
    return MeasuredUsage(total, count, tuple(groups))


def _whole(states: States) -> State:
    """A state of all of them, not to be changed: most windows have just one."""
    if len(states) == 1:
        [only] = states.values()
        return only
    return merged_states(states.values())


def merged_states(states: Iterable[State]) -> State:
    """A state of all of them, which may be changed."""
    whole = State()
    for state in states:
        whole.absorb(state)
    return whole


def quantity_of(window: UsageWindow, state: State, carried: State, as_of: dt.datetime | None) -> Decimal:
    """The metric's quantity, rounded once. What no event decides is zero."""
    definition = window.version.definition
    aggregation = definition.aggregation
    if aggregation == Aggregation.COUNT:
        return Decimal(state.event_count)
    if aggregation == Aggregation.AVERAGE:
        return divided(state.total, Decimal(state.event_count)) if state.event_count else Decimal(0)
    if aggregation == Aggregation.TIME_WEIGHTED_SUM:
        return _over_time(window, state, carried.total, as_of)
    if aggregation == Aggregation.SUM:
        value: Decimal | None = EXACT.add(carried.total, state.total)
    elif aggregation == Aggregation.LATEST:
        value = carried.latest if state.latest is None else state.latest
    else:
        # The level at the start of a period is one of the values in it.
        known = [state.highest if aggregation == Aggregation.MAX else state.lowest, carried.latest]
        values = [number for number in known if number is not None]
        value = None if not values else max(values) if aggregation == Aggregation.MAX else min(values)
    return rounded(value or Decimal(0))


def _over_time(window: UsageWindow, state: State, at_start: Decimal, as_of: dt.datetime | None) -> Decimal:
    """The level times how long it stood: what stood at the start, and each change from its own instant on.

    The sum over changes of value * (end - instant) is end * sum(value) - sum(value * instant), which needs no order.
    """
    start, end = micros(window.start_at), _weighted_until(window, as_of)
    if end <= start:
        return Decimal(0)
    changes = EXACT.subtract(EXACT.multiply(state.total, end), state.time_total)
    weighted = EXACT.add(EXACT.multiply(at_start, end - start), changes)
    return divided(weighted, _divisor(window))


def _weighted_until(window: UsageWindow, as_of: dt.datetime | None) -> int:
    return micros(window.end_at if as_of is None else min(window.end_at, as_of))


def _divisor(window: UsageWindow) -> Decimal:
    """How many microseconds make one unit of time."""
    unit = window.version.definition.time_unit
    if unit == TimeUnit.PERIOD:
        return Decimal(micros(window.end_at) - micros(window.start_at))
    return Decimal(_SECONDS[unit] * 10**6)


# --- Distinct values -------------------------------------------------------------------------------------------------

# Of each value a day's bucket keeps when it was first and last seen, which settles the days at both ends of a window
# as well: the first counts if the value was last seen after the start, the last if it was first seen before the end.
# A value that changed after the cutoff may have been seen at times that were voided since; so it is always young.
_READ_DISTINCT = """
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b, %b, %b, %b, %b, %b) AS asked(
            position, customer_id, version_id, start_at, end_at, first_day
        )
    ), cutoff AS (
        SELECT coalesce(%b::timestamptz, 'infinity') AS stored_before
    ), seen AS (
        SELECT asked.position, found.dims, found.value, found.stamp FROM asked CROSS JOIN LATERAL (
            SELECT dims, value, last_stamp AS stamp FROM cutoff, usage_value
            WHERE customer_id = asked.customer_id AND metric_version_id = asked.version_id
              AND day >= asked.first_day AND day < asked.end_at
              AND (last_at >= asked.start_at AND first_at < asked.end_at OR last_stamp >= stored_before)
            UNION ALL
            SELECT dims, value, NULL FROM cutoff, usage_value_delta
            WHERE customer_id = asked.customer_id AND metric_version_id = asked.version_id
              AND day >= asked.first_day AND day < asked.end_at
              AND last_at >= asked.start_at AND first_at < asked.end_at AND stamp < stored_before
        ) found
    )
    SELECT position, {dims} AS dims, grouping(dims) = 1 AS is_total, count(DISTINCT value),
           bool_or(stamp >= stored_before)
    FROM seen, cutoff GROUP BY GROUPING SETS ((position), (position, dims))
    UNION ALL
    SELECT NULL, NULL, NULL, metric_version_id, NULL FROM usage_cache WHERE state = 'ready'
"""


def measure_distinct(
    windows: Sequence[UsageWindow],
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None,
    group_by: Sequence[str] | None,
) -> list[MeasuredUsage]:
    """Count distinct values. The parts by dimension do not add up: one value may be seen in several."""
    stretches = [stretch_of(window) for window in windows]
    asked = [
        Stretch(stretch.customer_id, stretch.version, EVER, stretch.end) if stretch.version.carries_over else stretch
        for stretch in stretches
    ]
    counted = _distinct_from_cache(asked, stored_before, group_by)
    left = [position for position, found in enumerate(counted) if found is None]
    for position, found in zip(
        left, _distinct_from_events([asked[position] for position in left], stored_before, group_by), strict=True
    ):
        counted[position] = found
    states = states_of(stretches, stored_before=stored_before, group_by=group_by)
    return [
        _distinct_usage(found or {}, {dims: state.event_count for dims, state in events.items()})
        for found, events in zip(counted, states, strict=True)
    ]


# Distinct values by dimensions; None for all of them together.
_Distinct = dict["Dimensions | None", int]


def _distinct_usage(counted: _Distinct, event_counts: dict[Dimensions, int]) -> MeasuredUsage:
    groups = sorted((dims for dims in counted if dims), key=in_order)
    return MeasuredUsage(
        Decimal(counted.get(None, 0)),
        sum(event_counts.values()),
        tuple(GroupUsage(dims, Decimal(counted[dims]), event_counts.get(dims, 0)) for dims in groups),
    )


def _distinct_from_cache(
    asked: Sequence[Stretch], stored_before: dt.datetime | None, group_by: Sequence[str] | None
) -> list[_Distinct | None]:
    """The counts that the cache settles; None where events must be read: a part of a day, or a bucket too young."""
    found: list[_Distinct | None] = [
        {} if _is_settled_by_days(stretch) and _is_whole(stretch, group_by) else None for stretch in asked
    ]
    chosen = [position for position, counts in enumerate(found) if counts is not None]
    if not chosen:
        return found
    ready: set[int] = set()
    young: set[int] = set()
    with raw_cursor() as cursor:
        binary.register(cursor)
        cursor.execute(
            _READ_DISTINCT.format(dims="dims"),
            [*_asked_for_values([(position, asked[position]) for position in chosen]), stored_before],
        )
        for position, dims, is_total, count, is_young in cursor:
            if position is None:
                ready.add(int(count))
                continue
            if is_young:
                young.add(position)
            counts = found[position]
            if counts is not None and (is_total or group_by is None or len(group_by) > 0):
                counts[None if is_total else tuple(dims)] = count
    for position in chosen:
        if position in young or asked[position].version.pk not in ready:
            found[position] = None
    return found


def _is_settled_by_days(stretch: Stretch) -> bool:
    """Whether the stretch is more than a part of one day, of which a value's first and last time tell too little."""
    return stretch.start == EVER or stretch.start % DAY == 0 or stretch.start // DAY < (stretch.end - 1) // DAY


def _is_whole(stretch: Stretch, group_by: Sequence[str] | None) -> bool:
    return group_by is None or not group_by or list(group_by) == list(stretch.version.group_by)


def _asked_for_values(asked: Sequence[tuple[int, Stretch]]) -> list[binary.BinaryArray]:
    return [
        binary.integers([position for position, _ in asked]),
        binary.bigints([stretch.customer_id for _, stretch in asked]),
        binary.bigints([stretch.version.pk for _, stretch in asked]),
        binary.timestamps([stretch.start for _, stretch in asked]),
        binary.timestamps([stretch.end for _, stretch in asked]),
        binary.timestamps([EVER if stretch.start == EVER else stretch.start // DAY * DAY for _, stretch in asked]),
    ]


def _distinct_from_events(
    asked: Sequence[Stretch], stored_before: dt.datetime | None, group_by: Sequence[str] | None
) -> list[_Distinct]:
    found: list[_Distinct] = [{} for _ in asked]
    statement = """
        SELECT position, dims, grouping(dims) = 1, count(DISTINCT value) {matched}
        GROUP BY GROUPING SETS ((position), (position, dims))
    """
    for positions in _by_version(asked):
        chosen = [asked[position] for position in positions]
        rows = read_matched(chosen, statement, stored_before=stored_before, group_by=group_by)
        for index, dims, is_total, count in rows:
            found[positions[index]][None if is_total else tuple(dims)] = count
    return found


def _by_version(stretches: Sequence[Stretch]) -> list[list[int]]:
    """Positions by metric version, since a statement over events is that of one."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for position, stretch in enumerate(stretches):
        found[stretch.version.pk].append(position)
    return list(found.values())


# --- Quantities that only the events themselves tell -----------------------------------------------------------------


def measure_percentiles(
    windows: Sequence[UsageWindow],
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None,
    group_by: Sequence[str] | None,
) -> list[MeasuredUsage]:
    """The smallest value that at least so many percent of the values do not exceed (nearest rank)."""
    found: list[dict[Dimensions | None, tuple[Decimal, int]]] = [{} for _ in windows]
    stretches = [stretch_of(window) for window in windows]
    for positions in _by_version(stretches):
        rank = windows[positions[0]].version.definition.percentile_rank or Decimal(100)
        statement = f"""
            SELECT position, dims, grouping(dims) = 1, count(*),
                   (array_agg(value ORDER BY value))[ceil(count(*) * {rank:f}::numeric / 100)::integer]
            {{matched}} GROUP BY GROUPING SETS ((position), (position, dims))
        """
        rows = read_matched(
            [stretches[position] for position in positions],
            statement,
            stored_before=stored_before,
            group_by=group_by,
        )
        for index, dims, is_total, count, value in rows:
            found[positions[index]][None if is_total else tuple(dims)] = (rounded(value), count)
    return [_usage_by_group(counted) for counted in found]


def _usage_by_group(counted: dict[Dimensions | None, tuple[Decimal, int]]) -> MeasuredUsage:
    total, count = counted.get(None, (Decimal(0), 0))
    groups = sorted((dims for dims in counted if dims), key=in_order)
    return MeasuredUsage(total, count, tuple(GroupUsage(dims, *counted[dims]) for dims in groups))


def measure_levels(
    windows: Sequence[UsageWindow],
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None,
    group_by: Sequence[str] | None,
) -> list[MeasuredUsage]:
    """Levels that events state, each weighted by the time until the next: of the same dimensions, added up over all."""
    weighted = _weighted_levels(windows, stored_before, as_of, group_by)
    usages = []
    for window, levels in zip(windows, weighted, strict=True):
        divisor = _divisor(window)
        groups = [
            GroupUsage(dims, divided(product, divisor), count)
            for dims, (product, count) in sorted(levels.items(), key=lambda item: in_order(item[0]))
        ]
        whole = sum((product for product, _ in levels.values()), Decimal(0))
        usages.append(
            MeasuredUsage(
                divided(whole, divisor),
                sum(count for _, count in levels.values()),
                tuple(group for group in groups if group.dimensions),
            )
        )
    return usages


def _weighted_levels(
    windows: Sequence[UsageWindow],
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None,
    group_by: Sequence[str] | None,
) -> list[dict[Dimensions, tuple[Decimal, int]]]:
    found: list[dict[Dimensions, tuple[Decimal, int]]] = [{} for _ in windows]
    stretches = [stretch_of(window) for window in windows]
    for positions in _by_version(stretches):
        chosen = [stretches[position] for position in positions]
        names = group_by if group_by is None or group_by else chosen[0].version.group_by
        before = [Stretch(stretch.customer_id, stretch.version, EVER, stretch.start) for stretch in chosen]
        carried: list[dict[Dimensions, Decimal]] = [{} for _ in chosen]
        if chosen[0].version.carries_over:
            statement = (
                "SELECT position, dims, (array_agg(value ORDER BY occurred_at DESC, id DESC))[1]"
                " {matched} GROUP BY position, dims"
            )
            for index, dims, level in read_matched(before, statement, stored_before=stored_before, group_by=names):
                carried[index][tuple(dims)] = level
        statement = f"""
            SELECT position, dims, {MICROS_SQL}, value {{matched}} ORDER BY position, dims, occurred_at, id
        """
        rows = read_matched(chosen, statement, stored_before=stored_before, group_by=names)
        changes: list[dict[Dimensions, list[tuple[int, Decimal]]]] = [defaultdict(list) for _ in chosen]
        for index, dims, at, level in rows:
            changes[index][tuple(dims)].append((int(at), level))
        for index, position in enumerate(positions):
            until = _weighted_until(windows[position], as_of)
            for dims in {*carried[index], *changes[index]}:
                product = _weighted(chosen[index].start, until, carried[index].get(dims), changes[index].get(dims, []))
                found[position][dims] = (product, len(changes[index].get(dims, [])))
    return found


def _weighted(start: int, until: int, level: Decimal | None, changes: Sequence[tuple[int, Decimal]]) -> Decimal:
    """Levels times microseconds, from ``start`` to ``until``; ``level`` is what stood before."""
    product, at, stands = Decimal(0), start, level or Decimal(0)
    for changed_at, new_level in changes:
        if changed_at >= until:
            break
        product = EXACT.add(product, EXACT.multiply(stands, changed_at - at))
        at, stands = changed_at, new_level
    return EXACT.add(product, EXACT.multiply(stands, max(until - at, 0)))
