"""A metric in SQL: which stored events count, by which dimensions, and with which value.

It says the same as ``apps.billable_metrics.measuring`` does for events that arrive, and is written from the metric's
definition alone. All of its texts are quoted as literals, so that a statement stands by itself: it can be put into a
larger one, into an annotation of the ORM, and in front of a person who asks what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from apps.billable_metrics.definitions import (
    NUMERIC_COMPARISONS,
    Aggregation,
    FilterOperator,
    MetricDefinition,
    PropertyFilter,
)
from apps.billable_metrics.measuring import KEPT_OF_LONGER, LONGEST_DIMENSION

_COMPARISONS = {
    FilterOperator.GT: ">",
    FilterOperator.GTE: ">=",
    FilterOperator.LT: "<",
    FilterOperator.LTE: "<=",
}
NO_DIMENSIONS = "'{}'::text[]"


@dataclass(frozen=True, slots=True)
class MetricSql:
    """The parts of a statement over ``event``, an alias of the event log or of rows with its columns.

    ``conditions`` leaves out the customer, time and attribution. ``value`` is numeric, a text for a count of distinct
    values, and 1 for a count; an event with NULL does not count. ``dimensions`` is a text array.
    """

    conditions: str
    value: str
    dimensions: str


def metric_sql(
    definition: MetricDefinition, *, group_by: Sequence[str] | None = None, alias: str = "event"
) -> MetricSql:
    """Write the metric over the columns of ``alias``; ``group_by`` overrides the metric's own dimensions."""
    data = f"{alias}.data"
    conditions = [f"{alias}.type = {quoted(definition.event_type)}"]
    conditions += [_condition(condition, data) for condition in definition.conditions]
    dimensions = definition.group_by if group_by is None else group_by
    return MetricSql(
        conditions=" AND ".join(conditions),
        value=_value(definition, data),
        dimensions=dimensions_sql(dimensions, data),
    )


def readable_sql(definition: MetricDefinition, *, where: Sequence[str]) -> str:
    """The statement that finds the events a metric counts, as people read it; its own conditions follow ``where``."""
    parts = metric_sql(definition)
    own = [f"event.type = {quoted(definition.event_type)}"]
    own += [_condition(condition, "event.data") for condition in definition.conditions]
    columns = [f"{parts.value} AS value"]
    if definition.group_by:
        columns.append(f"{parts.dimensions} AS dimensions")
    if definition.aggregation != Aggregation.COUNT:
        own.append(f"{parts.value} IS NOT NULL")
    selected, conditions = ",\n       ".join(columns), "\n  AND ".join([*where, *own])
    return f"SELECT {selected}\nFROM usage_event event\nWHERE {conditions}"


def dimensions_sql(names: Sequence[str], data: str) -> str:
    if not names:
        return NO_DIMENSIONS
    return f"ARRAY[{', '.join(_dimension(name, data) for name in names)}]"


def quoted(text: str) -> str:
    """A text as an SQL literal, for statements that are run without parameters."""
    return sql.Literal(text).as_string().removesuffix("::text")


def property_sql(name: str, data: str) -> str:
    """The value of a property as jsonb: a key of the data, or else a path into it with dots."""
    whole = f"{data} -> {quoted(name)}"
    if "." not in name:
        return f"({whole})"
    steps = " -> ".join(quoted(step) for step in name.split("."))
    return f"coalesce(nullif({whole}, 'null'), {data} -> {steps})"


def condition_sql(condition: PropertyFilter, data: str) -> str:
    """A condition by itself, as staff ask it of any events."""
    return _condition(condition, data)


def _value(definition: MetricDefinition, data: str) -> str:
    if definition.aggregation == Aggregation.COUNT:
        return "1::numeric"
    if definition.aggregation == Aggregation.UNIQUE_COUNT:
        return f"usage_text({property_sql(definition.value_property, data)})"
    formula = definition.formula
    if formula is not None:
        return formula.sql(lambda name: f"usage_number({property_sql(name, data)})")
    return f"usage_number({property_sql(definition.value_property, data)})"


def _dimension(name: str, data: str) -> str:
    return f"usage_dimension({property_sql(name, data)}, {LONGEST_DIMENSION}, {KEPT_OF_LONGER})"


def _condition(condition: PropertyFilter, data: str) -> str:
    value = property_sql(condition.name, data)
    operator = condition.operator
    if operator in NUMERIC_COMPARISONS:
        return f"usage_number({value}) {_COMPARISONS[operator]} {format(condition.number, 'f')}::numeric"
    if operator == FilterOperator.EXISTS:
        return f"nullif({value}, 'null') IS NOT NULL"
    if operator == FilterOperator.NOT_EXISTS:
        return f"nullif({value}, 'null') IS NULL"
    texts = f"usage_text({value})"
    listed = ", ".join(quoted(text) for text in condition.values)
    if operator in (FilterOperator.NE, FilterOperator.NOT_IN):
        return f"({texts} IS NULL OR {texts} NOT IN ({listed}))"
    return f"{texts} IN ({listed})"
