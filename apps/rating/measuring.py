"""What was used in a window, in the detail that the charge asks for.

Most charges ask for a quantity. A matrix asks for it by dimension values, a rule about failures by outcome, a
percentage for the single transactions, and seats for the level on each day. However many windows there are, each of
these is read at once.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import groupby

from apps.billable_metrics.models import MetricVersion
from apps.common.errors import BillingError
from apps.pricing.charge_models.base import NOTHING_USED, ZERO, LevelDays, Usage, UsageGroup
from apps.pricing.charge_models.matrix import Matrix, Values
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charges import Charge, RatedCharge
from apps.pricing.money import EXACT, sum_exactly
from apps.pricing.periods import ONE_DAY, Period, start_of_day
from apps.usage.selectors import (
    DailyLevels,
    GroupUsage,
    MeasuredUsage,
    UsageWindow,
    daily_levels,
    event_values,
    measure_usage,
    rounded,
)


class MetricDoesNotFit(BillingError):
    """A metric whose definition in force does not tell what the price asks for."""

    code = "metric_does_not_fit_price"

    def __init__(self, version: MetricVersion, need: str) -> None:
        super().__init__(f"“{version.metric}” {need}. Define the metric so, or change the price.")


@dataclass(frozen=True, slots=True)
class Meter:
    """How the usage of a window is measured for a charge: the same for every customer who pays it in that window.

    ``window`` has the zone in which days are counted; ``of_days`` is the length of the whole nominal period.
    ``by_day`` and ``by_transaction`` say what a quantity does not tell. ``names`` are the properties that usage is
    split by: the dimensions of a matrix, and the outcome where failed units are treated in their own way.
    """

    charge: Charge
    version: MetricVersion
    window: Period
    of_days: int
    by_day: bool
    by_transaction: bool
    names: tuple[str, ...]

    @property
    def group_by(self) -> tuple[str, ...] | None:
        """What usage is read by: the metric's own dimensions, which are in the cache, wherever they tell enough."""
        return None if self.names and set(self.names) <= set(self.version.group_by) else self.names

    def window_of(self, customer_id: int) -> UsageWindow:
        return UsageWindow(customer_id, self.version, self.window.start_at, self.window.end_at)


def meter_of(charge: Charge, version: MetricVersion, window: Period, of_days: int) -> Meter:
    """The meter of a charge. Raises MetricDoesNotFit for a metric that cannot be measured so."""
    model, definition = charge.model, version.definition
    dimensions = model.dimensions if isinstance(model, Matrix) else ()
    by_day = isinstance(model, Seats)
    by_transaction = isinstance(model, Percentage) and model.needs_transactions
    # A metric that names no failed outcomes knows of none, so there is nothing to be free.
    by_outcome = charge.free_failures != 0 and definition.tells_failures
    names = (*dimensions, definition.outcome_property) if by_outcome else dimensions
    if by_day and not definition.carries_over:
        raise MetricDoesNotFit(version, "begins anew with each period, while seats are held over it")
    if (dimensions or by_transaction) and not definition.adds_up:
        what = "by dimensions" if dimensions else "by transaction"
        raise MetricDoesNotFit(version, f"is no count and no sum, so its usage cannot be priced {what}")
    return Meter(charge, version, window, of_days, by_day, by_transaction, tuple(dict.fromkeys(names)))


@dataclass(frozen=True, slots=True)
class ChargedUsage:
    """What was measured for a charge, and by how many events: all of them, and those of each group of the usage."""

    usage: Usage
    event_count: int
    events_by_group: tuple[int, ...] = ()


NO_USAGE = ChargedUsage(NOTHING_USED, 0)


def measure_charges(
    asked: Sequence[tuple[int, Meter]], *, stored_before: dt.datetime | None, as_of: dt.datetime | None
) -> list[ChargedUsage]:
    """Measure the usage of customers, each by a meter; results are in the order of ``asked``.

    The number of statements follows from the kinds of meters, not from how many there are. ``stored_before`` and
    ``as_of`` are those of ``measure_usage``.
    """
    found: list[ChargedUsage] = [NO_USAGE] * len(asked)
    by_kind: defaultdict[tuple[bool, bool, tuple[str, ...] | None], list[int]] = defaultdict(list)
    for position, (_, meter) in enumerate(asked):
        by_kind[meter.by_day, meter.by_transaction, meter.group_by].append(position)
    for (by_day, by_transaction, group_by), positions in by_kind.items():
        meters = [asked[position][1] for position in positions]
        windows = [asked[position][1].window_of(asked[position][0]) for position in positions]
        measured: Iterable[ChargedUsage]
        if by_day:
            days = [days_of(meter.window) for meter in meters]
            levels = daily_levels(list(zip(windows, days, strict=True)), stored_before=stored_before, as_of=as_of)
            measured = map(_of_levels, meters, levels)
        elif by_transaction:
            measured = map(_of_transactions, event_values(windows, stored_before=stored_before))
        else:
            usages = measure_usage(windows, stored_before=stored_before, as_of=as_of, group_by=group_by)
            measured = map(_of_quantity, usages) if group_by == () else map(_of_groups, meters, usages)
        for position, usage in zip(positions, measured, strict=True):
            found[position] = usage
    return found


def _of_quantity(measured: MeasuredUsage) -> ChargedUsage:
    return ChargedUsage(Usage(measured.quantity, count=measured.event_count), measured.event_count)


@dataclass(slots=True)
class _Part:
    """What is put together of the groups with the same values."""

    quantity: Decimal = ZERO
    failed: Decimal = ZERO
    event_count: int = 0

    def add(self, group: GroupUsage, *, has_failed: bool) -> None:
        self.quantity = EXACT.add(self.quantity, group.quantity)
        if has_failed:
            self.failed = EXACT.add(self.failed, group.quantity)
        self.event_count += group.event_count


def _of_groups(meter: Meter, measured: MeasuredUsage) -> ChargedUsage:
    """The measured groups, put together by the dimensions of the charge: the metric may have more of them."""
    model, version = meter.charge.model, meter.version
    names = meter.group_by or tuple(version.group_by)
    places = [names.index(name) for name in model.dimensions] if isinstance(model, Matrix) else []
    by_outcome = meter.charge.free_failures != 0 and version.definition.tells_failures
    outcome_place = names.index(version.outcome_property) if by_outcome else None
    parts: defaultdict[Values, _Part] = defaultdict(_Part)
    for group in measured.groups:
        has_failed = outcome_place is not None and group.dimensions[outcome_place] in version.outcome_values
        parts[tuple(group.dimensions[place] for place in places)].add(group, has_failed=has_failed)
    failed = ZERO
    for part in parts.values():
        failed = EXACT.add(failed, part.failed)
    groups = tuple(UsageGroup(values, part.quantity, part.failed) for values, part in parts.items())
    return ChargedUsage(
        Usage(measured.quantity, failed=failed, count=measured.event_count, groups=groups),
        measured.event_count,
        tuple(part.event_count for part in parts.values()),
    )


def events_of_line(charge: Charge, measured: ChargedUsage, rated: RatedCharge) -> int:
    """How many events a line is formed of: of a matrix, those that its row prices."""
    if rated.bound:
        return 0
    if not isinstance(charge.model, Matrix):
        return measured.event_count
    matrix = charge.model
    return sum(
        event_count
        for group, event_count in zip(measured.usage.groups, measured.events_by_group, strict=True)
        if (group.quantity or group.failed) and matrix.rows[matrix.row_for(group.values)].values == rated.values
    )


def _of_transactions(values: tuple[Decimal, ...]) -> ChargedUsage:
    return ChargedUsage(Usage(rounded(sum_exactly(values)), count=len(values), transactions=values), len(values))


def _of_levels(meter: Meter, found: DailyLevels) -> ChargedUsage:
    """The level on each day, and as the quantity the one on average over the window's days."""
    levels = tuple(LevelDays(level, len(list(days))) for level, days in groupby(found.levels))
    of_all_days = ZERO
    for level in levels:
        of_all_days = EXACT.add(of_all_days, EXACT.multiply(level.quantity, level.days))
    average = rounded(EXACT.divide(of_all_days, len(found.levels)))
    return ChargedUsage(Usage(average, levels=levels, of_days=meter.of_days), found.event_count)


@lru_cache(maxsize=4_096)
def days_of(window: Period) -> tuple[dt.datetime, ...]:
    """The instants at which the window's days begin, the first that of the window itself."""
    first, last = window.first_date, window.last_date
    begins = {start_of_day(first + number * ONE_DAY, window.zone) for number in range(1, (last - first).days + 1)}
    return (window.start_at, *sorted(begin for begin in begins if window.start_at < begin < window.end_at))
