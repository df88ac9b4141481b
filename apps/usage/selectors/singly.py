"""Usage as some prices ask for it: the values of the single events, and a level day by day.

Both say of the same events the same as ``measure_usage`` does, only in more detail.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.billable_metrics.definitions import Aggregation
from apps.usage.selectors.quantities import measure_usage
from apps.usage.selectors.readers import merged_states, quantity_of
from apps.usage.selectors.states import EVER, State, Stretch, read_matched, states_of, stretch_of
from apps.usage.selectors.windows import UsageWindow, micros

# What these come to at the end of a day follows from what stood before the window and from each day's own events.
_CARRIED_BY_STATES = frozenset([Aggregation.SUM, Aggregation.LATEST, Aggregation.MAX, Aggregation.MIN])


@dataclass(frozen=True, slots=True)
class DailyLevels:
    """A level at the end of each part of a window, in order, and how many events fall into the window."""

    levels: tuple[Decimal, ...]
    event_count: int


def event_values(windows: Sequence[UsageWindow], *, stored_before: dt.datetime | None) -> list[tuple[Decimal, ...]]:
    """The value of each event that a window measures, in the order of time; one statement for each metric version.

    Only metrics of numbers have such values. ``stored_before`` is as in ``measure_usage``.
    """
    found: list[list[Decimal]] = [[] for _ in windows]
    by_version: defaultdict[int, list[int]] = defaultdict(list)
    for position, window in enumerate(windows):
        by_version[window.version.pk].append(position)
    for positions in by_version.values():
        rows = read_matched(
            [stretch_of(windows[position]) for position in positions],
            "SELECT position, value {matched} ORDER BY position, occurred_at, id",
            stored_before=stored_before,
            group_by=(),
        )
        for index, value in rows:
            found[positions[index]].append(value)
    return [tuple(values) for values in found]


def daily_levels(
    windows: Sequence[tuple[UsageWindow, Sequence[dt.datetime]]],
    *,
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None = None,
) -> list[DailyLevels]:
    """What each window's metric measures at the end of each of its parts, as ``measure_usage`` would for the part.

    Beside each window stand the instants at which its parts begin, the first that of the window itself: the days of
    some zone. The metrics must carry over. The number of statements is fixed.
    """
    found: list[DailyLevels | None] = [None] * len(windows)
    by_state = [
        position
        for position, (window, _) in enumerate(windows)
        if window.version.definition.aggregation in _CARRIED_BY_STATES
    ]
    others = [position for position in range(len(windows)) if position not in set(by_state)]
    for positions, read in ((by_state, _from_states), (others, _by_measuring)):
        chosen = [windows[position] for position in positions]
        for position, levels in zip(positions, read(chosen, stored_before, as_of), strict=True):
            found[position] = levels
    return [levels for levels in found if levels is not None]


_Windows = Sequence[tuple[UsageWindow, Sequence[dt.datetime]]]


def _from_states(windows: _Windows, stored_before: dt.datetime | None, as_of: dt.datetime | None) -> list[DailyLevels]:
    """What stood before the window is read once; each day then adds its own events to it."""
    before = [Stretch(window.customer_id, window.version, EVER, micros(window.start_at)) for window, _ in windows]
    parts = [parts_of(window, begins) for window, begins in windows]
    stretches = [*before, *(stretch_of(part) for several in parts for part in several)]
    states = states_of(stretches, stored_before=stored_before)
    of_parts = iter(states[len(windows) :])
    levels = []
    for several, at_start in zip(parts, states, strict=False):
        carried, event_count = merged_states(at_start.values()), 0
        of_window = []
        for part in several:
            state: State = merged_states(next(of_parts).values())
            of_window.append(quantity_of(part, state, carried, as_of))
            event_count += state.event_count
            carried.absorb(state)
        levels.append(DailyLevels(tuple(of_window), event_count))
    return levels


def _by_measuring(windows: _Windows, stored_before: dt.datetime | None, as_of: dt.datetime | None) -> list[DailyLevels]:
    parts = [parts_of(window, begins) for window, begins in windows]
    measured = iter(
        measure_usage([part for several in parts for part in several], stored_before=stored_before, as_of=as_of)
    )
    levels = []
    for several in parts:
        usages = [next(measured) for _ in several]
        levels.append(
            DailyLevels(tuple(usage.quantity for usage in usages), sum(usage.event_count for usage in usages))
        )
    return levels


def parts_of(window: UsageWindow, begins: Sequence[dt.datetime]) -> list[UsageWindow]:
    """The window cut where each part begins."""
    ends = [*begins[1:], window.end_at]
    return [
        UsageWindow(window.customer_id, window.version, start_at, end_at)
        for start_at, end_at in zip(begins, ends, strict=True)
    ]
