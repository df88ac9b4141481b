"""What a metric measures of a month's events, the plain way: all events in memory, one after another.

A second opinion on the measuring of the product, which works in SQL and in parts.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from apps.billable_metrics.definitions import Aggregation, MetricDefinition, TimeUnit, ValuesAre
from apps.billable_metrics.measuring import measurer
from apps.pricing.charge_models.base import LevelDays, Usage, UsageGroup
from tests.scenarios.vendors import FIRST_DAY, BilledEvent

DAYS = 30
_Measured = tuple[BilledEvent, tuple[str | None, ...], Any]
_HOURS = {TimeUnit.HOUR: Decimal(24), TimeUnit.DAY: Decimal(1), TimeUnit.PERIOD: 1 / Decimal(DAYS)}


def usage_of(definition: MetricDefinition, events: Sequence[BilledEvent], dimensions: Sequence[str]) -> Usage:
    """``dimensions`` are those of the metric that a matrix prices by, in its order."""
    measure = measurer(definition)
    measured = []
    for event in sorted((one for one in events if one.type == definition.event_type), key=lambda one: one.at):
        found = measure(event.data)
        if found is not None:
            measured.append((event, found[0], Decimal(1) if found[1] is None else found[1]))
    if definition.aggregation == Aggregation.UNIQUE_COUNT:
        return Usage(Decimal(len({value for _, _, value in measured})))
    numbers = [(event.at, Decimal(str(value))) for event, _, value in measured]
    if definition.carries_over:
        levels = _levels(definition, numbers)
        return Usage(_average(levels), levels=levels, of_days=DAYS)
    return Usage(
        _quantity(definition, numbers),
        failed=sum(
            (Decimal(str(value)) for event, _, value in measured if _failed(definition, event)), start=Decimal(0)
        ),
        count=len(measured),
        transactions=tuple(value for _, value in numbers),
        groups=_groups(definition, measured, dimensions) if dimensions else (),
    )


def _failed(definition: MetricDefinition, event: BilledEvent) -> bool:
    return definition.tells_failures and event.data.get(definition.outcome_property) in definition.outcome_values


def _groups(
    definition: MetricDefinition, measured: Sequence[_Measured], dimensions: Sequence[str]
) -> tuple[UsageGroup, ...]:
    places = [definition.group_by.index(name) for name in dimensions]
    quantities: defaultdict[tuple[str | None, ...], Decimal] = defaultdict(Decimal)
    failed: defaultdict[tuple[str | None, ...], Decimal] = defaultdict(Decimal)
    for event, all_values, value in measured:
        values = tuple(all_values[place] for place in places)
        quantities[values] += Decimal(str(value))
        failed[values] += Decimal(str(value)) if _failed(definition, event) else 0
    return tuple(UsageGroup(values, quantity, failed[values]) for values, quantity in quantities.items())


def _quantity(definition: MetricDefinition, numbers: list[tuple[dt.datetime, Decimal]]) -> Decimal:
    values = [value for _, value in numbers]
    if definition.aggregation in (Aggregation.SUM, Aggregation.COUNT):
        return sum(values, start=Decimal(0))
    if definition.aggregation == Aggregation.TIME_WEIGHTED_SUM:
        levels = _levels(definition, numbers)
        days = sum((level.quantity * level.days for level in levels), start=Decimal(0))
        return days * _HOURS[definition.time_unit]
    if not values:
        return Decimal(0)
    return {
        Aggregation.MAX: max(values),
        Aggregation.LATEST: values[-1],
        Aggregation.AVERAGE: sum(values, start=Decimal(0)) / len(values),
    }[definition.aggregation]


def _levels(definition: MetricDefinition, numbers: list[tuple[dt.datetime, Decimal]]) -> tuple[LevelDays, ...]:
    """The level on each day of the month; an event holds from its day on."""
    adds = definition.aggregation == Aggregation.SUM or (
        definition.aggregation == Aggregation.TIME_WEIGHTED_SUM and definition.values_are == ValuesAre.CHANGES
    )
    level = Decimal(0)
    levels = []
    for day in (FIRST_DAY + dt.timedelta(days=number) for number in range(DAYS)):
        for at, value in numbers:
            if at.date() == day:
                level = level + value if adds else value
        levels.append(LevelDays(level, 1))
    return tuple(levels)


def _average(levels: tuple[LevelDays, ...]) -> Decimal:
    return sum((level.quantity for level in levels), start=Decimal(0)) / DAYS
