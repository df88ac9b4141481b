"""Measuring usage: the one reader of quantities."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence

from apps.usage.selectors.readers import Reader, reader_of
from apps.usage.selectors.windows import MeasuredUsage, UsageWindow


def measure_usage(
    windows: Sequence[UsageWindow],
    *,
    stored_before: dt.datetime | None,
    as_of: dt.datetime | None = None,
    group_by: Sequence[str] | None = (),
) -> list[MeasuredUsage]:
    """Measure any number of windows with a fixed number of statements; results are in the order of ``windows``.

    ``stored_before`` counts only what was known before that instant: events whose customer was known, and not yet
    voided. None counts all there is. ``as_of`` ends the time over which a level is weighted, for a period that still
    runs. ``group_by`` names properties to split by; None: the metric's own dimensions. Those are read from the cache,
    others from the events.
    """
    measured: list[MeasuredUsage | None] = [None] * len(windows)
    by_kind: defaultdict[Reader, list[int]] = defaultdict(list)
    for position, window in enumerate(windows):
        by_kind[reader_of(window.version.definition)].append(position)
    for read, positions in by_kind.items():
        chosen = [windows[position] for position in positions]
        for position, usage in zip(positions, read(chosen, stored_before, as_of, group_by), strict=True):
            measured[position] = usage
    return [usage for usage in measured if usage is not None]
