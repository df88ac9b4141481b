"""What a metric measures, as a value: it decides which events match, what each is worth, and how that adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db import models

from apps.billable_metrics.formulas import (
    EXACT,
    LONGEST_NAME,
    Formula,
    is_property_name,
    is_unicode,
    parse_formula,
)
from apps.common.errors import InvalidInput

MOST_FILTERS = 20
MOST_FILTER_VALUES = 200
LONGEST_FILTER_VALUE = 500
MOST_DIMENSIONS = 8
RANK_DECIMALS = 4


class Aggregation(models.TextChoices):
    """How the events of a period become one quantity."""

    COUNT = "count", "Count of events"
    SUM = "sum", "Sum"
    MAX = "max", "Largest value"
    MIN = "min", "Smallest value"
    AVERAGE = "average", "Average"
    UNIQUE_COUNT = "unique_count", "Count of distinct values"
    LATEST = "latest", "Latest value"
    TIME_WEIGHTED_SUM = "time_weighted_sum", "Time-weighted sum"
    PERCENTILE = "percentile", "Percentile"


class FilterOperator(models.TextChoices):
    """``gt`` and the like compare numbers; the others compare a property's text."""

    EQ = "eq", "is"
    NE = "ne", "is not"
    IN = "in", "is one of"
    NOT_IN = "not_in", "is none of"
    EXISTS = "exists", "is present"
    NOT_EXISTS = "not_exists", "is missing"
    GT = "gt", ">"
    GTE = "gte", "≥"
    LT = "lt", "<"
    LTE = "lte", "≤"


class OutcomePolicy(models.TextChoices):
    """Whether an event's outcome decides if it counts, such as a failed generation that is not charged."""

    ALL = "all", "Every event counts; prices may tell failed outcomes apart"
    EXCLUDE = "exclude", "Events with these outcomes do not count"
    ONLY = "only", "Only events with these outcomes count"


class ValuesAre(models.TextChoices):
    """What an event of a time-weighted sum tells."""

    CHANGES = "changes", "Each event adds to the level, or takes from it"
    LEVELS = "levels", "Each event states the new level"


class TimeUnit(models.TextChoices):
    """What a time-weighted sum is counted in: gigabyte-hours, or the average over the period."""

    SECOND = "second", "Per second"
    MINUTE = "minute", "Per minute"
    HOUR = "hour", "Per hour"
    DAY = "day", "Per day of 24 hours"
    PERIOD = "period", "Average over the period"


NUMERIC_COMPARISONS = frozenset([FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE])
SEVERAL_VALUES = frozenset([FilterOperator.IN, FilterOperator.NOT_IN])
PRESENCE = frozenset([FilterOperator.EXISTS, FilterOperator.NOT_EXISTS])
_OF_NUMBERS = frozenset(Aggregation) - {Aggregation.COUNT, Aggregation.UNIQUE_COUNT}
CAN_CARRY_OVER = frozenset(
    [
        Aggregation.SUM,
        Aggregation.MAX,
        Aggregation.MIN,
        Aggregation.UNIQUE_COUNT,
        Aggregation.LATEST,
        Aggregation.TIME_WEIGHTED_SUM,
    ]
)


@dataclass(frozen=True, slots=True)
class PropertyFilter:
    """A condition on one property of an event's data. Values are texts; a number is written plainly."""

    name: str
    operator: FilterOperator
    values: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"property": self.name, "operator": self.operator.value, "values": list(self.values)}

    @classmethod
    def read(cls, stored: Any, *, field_name: str = "filters") -> PropertyFilter:
        """Read a filter from JSON. Raises InvalidInput."""
        if not isinstance(stored, Mapping):
            raise InvalidInput('A filter is {"property", "operator", "values"}.', field=field_name)
        unknown = set(stored) - {"property", "operator", "values"}
        if unknown:
            raise InvalidInput(f"A filter has no “{min(map(str, unknown))}”.", field=field_name)
        try:
            operator = FilterOperator(stored.get("operator", ""))
        except ValueError:
            raise InvalidInput(f"The operators are {', '.join(FilterOperator.values)}.", field=field_name) from None
        values = stored.get("values", [])
        if isinstance(values, str | int | Decimal):
            values = [values]
        if not isinstance(values, list | tuple):
            raise InvalidInput("The values of a filter are a list of texts.", field=field_name)
        name = stored.get("property", "")
        if not isinstance(name, str):
            raise InvalidInput("A filter names the property that it looks at.", field=field_name)
        return cls(name, operator, tuple(_filter_text(value, field_name) for value in values))

    def check(self, *, field_name: str = "filters") -> None:
        _check_name(self.name, field_name, "A filter names the property that it looks at.")
        count = len(self.values)
        label = self.operator.label
        if self.operator in PRESENCE and count:
            raise InvalidInput(f"“{label}” takes no value.", field=field_name)
        if self.operator in SEVERAL_VALUES and not 1 <= count <= MOST_FILTER_VALUES:
            raise InvalidInput(f"“{label}” needs a value, and takes {MOST_FILTER_VALUES} at most.", field=field_name)
        if self.operator not in PRESENCE | SEVERAL_VALUES and count != 1:
            raise InvalidInput(f"“{label}” takes one value.", field=field_name)
        for value in self.values:
            _check_text(value, LONGEST_FILTER_VALUE, field_name, "A value of a filter")
        if self.operator in NUMERIC_COMPARISONS:
            _number_of_text(self.values[0], field_name)

    @property
    def number(self) -> Decimal:
        """The number that a numeric comparison compares with."""
        return _number_of_text(self.values[0], "filters")

    def describe(self) -> str:
        words = self.operator.label
        values = ", ".join(self.values)
        return f"{self.name} {words} {values}".rstrip()


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """All that decides a quantity.

    The value of an event is the number in ``value_property`` or the result of ``value_expression``; a count needs
    neither, and a count of distinct values takes any text or number of ``value_property``. ``group_by`` names the
    dimensions that prices use. With the policy ``all``, ``outcome_values`` only name the outcomes that count as failed,
    and each price says what it makes of those. ``carries_over`` makes it a level metric: what stood at the end of a
    period stands at the start of the next. ``percentile_rank`` is in percent, by nearest rank.
    """

    event_type: str
    aggregation: Aggregation
    value_property: str = ""
    value_expression: str = ""
    filters: tuple[PropertyFilter, ...] = ()
    group_by: tuple[str, ...] = ()
    outcome_property: str = ""
    outcome_policy: OutcomePolicy = OutcomePolicy.ALL
    outcome_values: tuple[str, ...] = ()
    carries_over: bool = False
    values_are: ValuesAre = ValuesAre.CHANGES
    time_unit: TimeUnit = TimeUnit.HOUR
    percentile_rank: Decimal | None = None
    _formula: list[Formula | None] = field(default_factory=list, compare=False, repr=False, hash=False)

    @property
    def formula(self) -> Formula | None:
        """The expression, read once."""
        if not self._formula:
            self._formula.append(parse_formula(self.value_expression) if self.value_expression else None)
        return self._formula[0]

    @property
    def measures_numbers(self) -> bool:
        return self.aggregation in _OF_NUMBERS

    @property
    def numeric_properties(self) -> tuple[str, ...]:
        """The properties that must hold numbers in an event for it to be worth something."""
        if not self.measures_numbers:
            return ()
        return self.formula.properties if self.formula else (self.value_property,)

    @property
    def conditions(self) -> tuple[PropertyFilter, ...]:
        """The filters, and the outcome policy as one more."""
        if self.outcome_policy == OutcomePolicy.ALL:
            return self.filters
        operator = FilterOperator.NOT_IN if self.outcome_policy == OutcomePolicy.EXCLUDE else FilterOperator.IN
        return (*self.filters, PropertyFilter(self.outcome_property, operator, self.outcome_values))

    @property
    def states_levels(self) -> bool:
        return self.aggregation == Aggregation.TIME_WEIGHTED_SUM and self.values_are == ValuesAre.LEVELS

    @property
    def adds_up(self) -> bool:
        """Whether the quantities of any parts of the events make the quantity of the whole."""
        return self.aggregation in (Aggregation.COUNT, Aggregation.SUM)

    @property
    def tells_failures(self) -> bool:
        """Whether prices may treat failed outcomes in their own way: every event counts, and some count as failed."""
        return bool(self.outcome_policy == OutcomePolicy.ALL and self.outcome_values and self.adds_up)

    @property
    def is_mergeable(self) -> bool:
        """Whether quantities of stretches of time can be put together from stored parts of them, exactly.

        A percentile cannot; nor can levels weighted by the time to the next event, which may come late.
        """
        return self.aggregation != Aggregation.PERCENTILE and not self.states_levels

    def check(self) -> None:
        """Raise InvalidInput, which names the field and the mend, unless this defines a quantity."""
        if not is_property_name(self.event_type):
            raise InvalidInput("Name the type of the events that are measured.", field="event_type")
        self._check_value()
        self._check_kind()
        if len(self.filters) > MOST_FILTERS:
            raise InvalidInput(f"A metric has at most {MOST_FILTERS} filters.", field="filters")
        for condition in self.filters:
            condition.check()
        self._check_dimensions()
        self._check_outcome()

    def _check_value(self) -> None:
        if self.aggregation == Aggregation.COUNT:
            if self.value_property or self.value_expression:
                name = "value_property" if self.value_property else "value_expression"
                raise InvalidInput("A count takes no value. Leave this empty, or choose Sum.", field=name)
            return
        if self.aggregation == Aggregation.UNIQUE_COUNT and self.value_expression:
            raise InvalidInput(
                "Distinct values are those of one property, not of an expression.", field="value_expression"
            )
        if self.value_property and self.value_expression:
            raise InvalidInput("Give a property or an expression, not both.", field="value_expression")
        if self.value_expression:
            parse_formula(self.value_expression)
        else:
            _check_name(
                self.value_property, "value_property", "Name the property that holds the value, such as input_tokens."
            )

    def _check_kind(self) -> None:
        if self.carries_over and self.aggregation not in CAN_CARRY_OVER:
            label = Aggregation(self.aggregation).label.lower()
            raise InvalidInput(f"A level carries over; a {label} begins anew with each period.", field="carries_over")
        rank = self.percentile_rank
        if (self.aggregation == Aggregation.PERCENTILE) != (rank is not None):
            raise InvalidInput(
                "Say which percentile, such as 95." if rank is None else "Only a percentile takes a rank.",
                field="percentile_rank",
            )
        if rank is not None and not 0 < rank <= 100:
            raise InvalidInput("A percentile lies above 0 and not above 100.", field="percentile_rank")
        if rank is not None and rank != round(rank, RANK_DECIMALS):
            raise InvalidInput(f"A percentile has at most {RANK_DECIMALS} decimals.", field="percentile_rank")

    def _check_dimensions(self) -> None:
        if len(self.group_by) > MOST_DIMENSIONS:
            raise InvalidInput(f"A metric has at most {MOST_DIMENSIONS} dimensions.", field="group_by")
        if len(set(self.group_by)) < len(self.group_by):
            raise InvalidInput("Name each dimension once.", field="group_by")
        for name in self.group_by:
            _check_name(name, "group_by", "A dimension is the name of a property.")

    def _check_outcome(self) -> None:
        if self.outcome_policy == OutcomePolicy.ALL and not (self.outcome_property or self.outcome_values):
            return
        _check_name(
            self.outcome_property, "outcome_property", "Name the property that holds the outcome, such as status."
        )
        if not 1 <= len(self.outcome_values) <= MOST_FILTER_VALUES:
            raise InvalidInput("List the outcomes, such as failed.", field="outcome_values")
        for outcome in self.outcome_values:
            _check_text(outcome, LONGEST_NAME, "outcome_values", "An outcome")

    def describe(self) -> str:
        """What is measured, in words: the same sentence on every screen."""
        return _in_words(self)


def read_filters(stored: Sequence[Any], *, field_name: str = "filters") -> tuple[PropertyFilter, ...]:
    return tuple(PropertyFilter.read(one, field_name=field_name) for one in stored)


def _in_words(definition: MetricDefinition) -> str:
    value = definition.value_expression or definition.value_property
    events = f"{definition.event_type} events"
    what = {
        Aggregation.COUNT: f"Number of {events}",
        Aggregation.SUM: f"Sum of {value} over {events}",
        Aggregation.MAX: f"Largest {value} of {events}",
        Aggregation.MIN: f"Smallest {value} of {events}",
        Aggregation.AVERAGE: f"Average {value} of {events}",
        Aggregation.UNIQUE_COUNT: f"Number of distinct values of {value} in {events}",
        Aggregation.LATEST: f"Latest {value} of {events}",
        Aggregation.TIME_WEIGHTED_SUM: f"{value} of {events}, weighted by time",
        Aggregation.PERCENTILE: f"{value} of {events}, percentile {_shown(definition.percentile_rank)}",
    }[definition.aggregation]
    if definition.aggregation == Aggregation.TIME_WEIGHTED_SUM:
        what += f" ({TimeUnit(definition.time_unit).label.lower()})"
    if definition.conditions:
        what += " where " + " and ".join(condition.describe() for condition in definition.conditions)
    if definition.group_by:
        what += ", by " + ", ".join(definition.group_by)
    return what + (", carried over between periods" if definition.carries_over else "")


def _shown(rank: Decimal | None) -> str:
    return "" if rank is None else format(rank.normalize(), "f")


def _check_name(name: str, field_name: str, sentence: str) -> None:
    if not name:
        raise InvalidInput(sentence, field=field_name)
    if not is_property_name(name):
        raise InvalidInput(
            f"The name of a property has at most {LONGEST_NAME} characters, none of them control characters.",
            field=field_name,
        )


def _check_text(text: str, longest: int, field_name: str, what: str) -> None:
    if len(text) > longest or "\x00" in text or not is_unicode(text):
        raise InvalidInput(f"{what} has at most {longest} characters.", field=field_name)


def _filter_text(value: Any, field_name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        number = Decimal(value)
        return format(number.normalize(EXACT) if number else Decimal(0), "f")
    if not isinstance(value, str) or "\x00" in value:
        raise InvalidInput("The values of a filter are texts, numbers or true and false.", field=field_name)
    return value


def _number_of_text(text: str, field_name: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or (number and abs(number.adjusted()) > 30) or len(number.as_tuple().digits) > 60:
        raise InvalidInput(f"“{text}” is no number to compare with.", field=field_name)
    return number
