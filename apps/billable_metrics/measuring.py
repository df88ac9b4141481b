"""What one event is worth to a metric, computed from its data as it arrives.

``apps.usage.metric_sql`` says the same in SQL for events that are stored; tests hold the two together, and the nightly
comparison of the usage cache with the events does so on real data.

A property is a key of the data, or else a path into it with dots. A *number* is a JSON number, or a text that is a
plain one. The *text* of a property is that of a text, a number or a boolean; lists and objects have none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from apps.billable_metrics.definitions import (
    NUMERIC_COMPARISONS,
    Aggregation,
    FilterOperator,
    MetricDefinition,
    PropertyFilter,
)
from apps.billable_metrics.formulas import EXACT

# Texts in the key of a bucket are bounded; a longer one is cut and told apart by its hash.
LONGEST_DIMENSION = 200
KEPT_OF_LONGER = 100
MOST_SHOWN = 60

Data = Mapping[str, Any]
Dimensions = tuple[str | None, ...]
Value = int | Decimal | str | None
Measured = tuple[Dimensions, Value]
# None: the event does not count. The value of a count is None as well, that of a distinct count a text.
Measurer = Callable[[Data], Measured | None]

is_plain_number = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?", re.ASCII).fullmatch


def property_of(data: Data, name: str) -> Any:
    """The value of a property; None when it is missing or null."""
    value = data.get(name)
    if value is None and "." in name:
        value = data
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


def number_in(value: Any) -> int | Decimal | None:
    """The number that a property's value holds, as such or as plain text."""
    kind = type(value)
    if kind is int or kind is Decimal:
        return value  # type: ignore[no-any-return]
    if kind is str and is_plain_number(value):
        return Decimal(value)
    return None


def text_in(value: Any) -> str | None:
    """The text of a property's value: 1.50 reads 1.5, and true reads true."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is Decimal:
        return format(value.normalize(EXACT), "f") if value else "0"
    return None


def dimension_in(value: Any) -> str | None:
    """The text of a property's value as the key of a bucket holds it."""
    text = text_in(value)
    if text is None or len(text) <= LONGEST_DIMENSION:
        return text
    return f"{text[:KEPT_OF_LONGER]}…{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"


def measurer(definition: MetricDefinition) -> Measurer:
    """Return a function that measures one event's data, made once for each metric."""
    value_of = _value_reader(definition)
    dimensions_of = _dimension_reader(definition.group_by)
    conditions = [_condition(condition) for condition in definition.conditions]
    if definition.aggregation == Aggregation.COUNT:
        if not conditions:
            return lambda data: (dimensions_of(data), None)
        return lambda data: (dimensions_of(data), None) if all(holds(data) for holds in conditions) else None

    name = definition.value_property
    if definition.measures_numbers and name and "." not in name and not definition.group_by and not conditions:
        return _measurer_of_plain_number(name)

    def measure(data: Data) -> Measured | None:
        value = value_of(data)
        if value is None:
            return None
        for holds in conditions:
            if not holds(data):
                return None
        return dimensions_of(data), value

    return measure


def _measurer_of_plain_number(name: str) -> Measurer:
    """The commonest metric by far, and run for every event: the number of one property, and nothing else."""

    def measure(data: Data) -> Measured | None:
        value = data.get(name)
        if type(value) is not int:
            value = number_in(value)
            if value is None:
                return None
        return (), value

    return measure


def explain(definition: MetricDefinition, data: Data) -> tuple[str, ...]:
    """Why the data of an event of the metric's type does not count, in sentences; empty when it does."""
    reasons = [
        f"Not met: {condition.describe()}. Here it is {_shown(property_of(data, condition.name))}."
        for condition in definition.conditions
        if not _condition(condition)(data)
    ]
    if definition.aggregation != Aggregation.COUNT and _value_reader(definition)(data) is None:
        reasons.append(_why_no_value(definition, data))
    return tuple(reasons)


def _why_no_value(definition: MetricDefinition, data: Data) -> str:
    if definition.aggregation == Aggregation.UNIQUE_COUNT:
        name = definition.value_property
        return f"No value in {name}, which is {_shown(property_of(data, name))}."
    found = {name: property_of(data, name) for name in definition.numeric_properties}
    if any(number_in(value) is not None for value in found.values()):
        return f"{definition.value_expression} divides by zero here."
    return "No number in " + ", or ".join(f"{name}, which is {_shown(value)}" for name, value in found.items()) + "."


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    text = text_in(value) or ""
    text = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"
    return f"“{text}”" if isinstance(value, str) else text


def _value_reader(definition: MetricDefinition) -> Callable[[Data], Value]:
    name = definition.value_property
    if definition.aggregation == Aggregation.UNIQUE_COUNT:
        return lambda data: text_in(property_of(data, name))
    formula = definition.formula
    if formula is None:
        if "." in name:
            return lambda data: number_in(property_of(data, name))
        return lambda data: number_in(data.get(name))
    names = formula.properties

    def compute(data: Data) -> Decimal | None:
        found = ((name, number_in(property_of(data, name))) for name in names)
        return formula.value({name: Decimal(number) for name, number in found if number is not None})

    return compute


def _dimension_reader(names: tuple[str, ...]) -> Callable[[Data], Dimensions]:
    if not names:
        return lambda data: ()
    if len(names) == 1:
        [name] = names
        return lambda data: (dimension_in(property_of(data, name)),)
    return lambda data: tuple(dimension_in(property_of(data, name)) for name in names)


def _condition(condition: PropertyFilter) -> Callable[[Data], bool]:
    name, operator = condition.name, condition.operator
    if operator in NUMERIC_COMPARISONS:
        compare = _COMPARISONS[operator]
        bound = condition.number

        def holds(data: Data) -> bool:
            number = number_in(property_of(data, name))
            return number is not None and compare(number, bound)

        return holds
    if operator == FilterOperator.EXISTS:
        return lambda data: property_of(data, name) is not None
    if operator == FilterOperator.NOT_EXISTS:
        return lambda data: property_of(data, name) is None
    values = frozenset(condition.values)
    if operator in (FilterOperator.NE, FilterOperator.NOT_IN):
        return lambda data: text_in(property_of(data, name)) not in values
    return lambda data: text_in(property_of(data, name)) in values


_COMPARISONS: Mapping[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.GT: lambda number, bound: number > bound,
    FilterOperator.GTE: lambda number, bound: number >= bound,
    FilterOperator.LT: lambda number, bound: number < bound,
    FilterOperator.LTE: lambda number, bound: number <= bound,
}
