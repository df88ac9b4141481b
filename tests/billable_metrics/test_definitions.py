"""Definitions of metrics: what is refused, at which field, and how they read in words."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apps.billable_metrics.definitions import (
    Aggregation,
    FilterOperator,
    MetricDefinition,
    OutcomePolicy,
    PropertyFilter,
    read_filters,
)
from apps.common.errors import InvalidInput


def definition(**changes: Any) -> MetricDefinition:
    fields: dict[str, Any] = {
        "event_type": "llm.completion",
        "aggregation": Aggregation.SUM,
        "value_property": "tokens",
        **changes,
    }
    return MetricDefinition(**fields)


def condition(operator: FilterOperator, *values: str, name: str = "model") -> PropertyFilter:
    return PropertyFilter(name, operator, values)


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"event_type": ""}, "event_type", "Name the type"),
        ({"event_type": "a\nb"}, "event_type", "Name the type"),
        ({"event_type": "e" * 201}, "event_type", "Name the type"),
        ({"aggregation": Aggregation.COUNT}, "value_property", "A count takes no value"),
        (
            {"aggregation": Aggregation.COUNT, "value_property": "", "value_expression": "a + b"},
            "value_expression",
            "A count takes no value",
        ),
        ({"value_property": ""}, "value_property", "Name the property that holds the value"),
        ({"value_expression": "a + b"}, "value_expression", "not both"),
        ({"value_property": "", "value_expression": "a +"}, "value_expression", "is no expression"),
        (
            {"aggregation": Aggregation.UNIQUE_COUNT, "value_property": "", "value_expression": "a + b"},
            "value_expression",
            "not of an expression",
        ),
        ({"aggregation": Aggregation.AVERAGE, "carries_over": True}, "carries_over", "begins anew"),
        ({"aggregation": Aggregation.PERCENTILE}, "percentile_rank", "Say which percentile"),
        ({"percentile_rank": Decimal(95)}, "percentile_rank", "Only a percentile"),
        ({"aggregation": Aggregation.PERCENTILE, "percentile_rank": Decimal(0)}, "percentile_rank", "above 0"),
        ({"aggregation": Aggregation.PERCENTILE, "percentile_rank": Decimal(101)}, "percentile_rank", "above 0"),
        (
            {"aggregation": Aggregation.PERCENTILE, "percentile_rank": Decimal("99.99999")},
            "percentile_rank",
            "at most 4 decimals",
        ),
        ({"filters": (condition(FilterOperator.EQ, "x", name=""),)}, "filters", "names the property"),
        ({"filters": (condition(FilterOperator.EQ),)}, "filters", "takes one value"),
        ({"filters": (condition(FilterOperator.EQ, "a", "b"),)}, "filters", "takes one value"),
        ({"filters": (condition(FilterOperator.IN),)}, "filters", "needs a value"),
        ({"filters": (condition(FilterOperator.EXISTS, "a"),)}, "filters", "takes no value"),
        ({"filters": (condition(FilterOperator.GT, "many"),)}, "filters", "no number to compare with"),
        ({"filters": (condition(FilterOperator.GT, "NaN"),)}, "filters", "no number to compare with"),
        ({"filters": (condition(FilterOperator.GT, "1e99"),)}, "filters", "no number to compare with"),
        ({"filters": (condition(FilterOperator.EQ, "v" * 501),)}, "filters", "at most 500 characters"),
        ({"filters": (condition(FilterOperator.EXISTS),) * 21}, "filters", "at most 20 filters"),
        ({"group_by": ("a", "a")}, "group_by", "each dimension once"),
        ({"group_by": tuple("abcdefghi")}, "group_by", "at most 8 dimensions"),
        ({"group_by": ("",)}, "group_by", "name of a property"),
        ({"outcome_property": "status"}, "outcome_values", "List the outcomes"),
        ({"outcome_values": ("failed",)}, "outcome_property", "holds the outcome"),
        ({"outcome_policy": OutcomePolicy.ONLY, "outcome_values": ("ok",)}, "outcome_property", "holds the outcome"),
        ({"outcome_policy": OutcomePolicy.ONLY, "outcome_property": "status"}, "outcome_values", "List the outcomes"),
        (
            {
                "outcome_policy": OutcomePolicy.ONLY,
                "outcome_property": "status",
                "outcome_values": ("o" * 201,),
            },
            "outcome_values",
            "at most 200 characters",
        ),
    ],
)
def test_what_defines_no_quantity_is_refused_at_its_field(changes: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        definition(**changes).check()
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ("model", "A filter is"),
        ({"property": "a", "operator": "eq", "value": "x"}, "has no “value”"),
        ({"property": "a", "operator": "like", "values": ["x"]}, "The operators are eq, ne, in"),
        ({"property": None, "operator": "exists"}, "names the property"),
        ({"property": "a", "operator": "eq", "values": {"x": 1}}, "a list of texts"),
        ({"property": "a", "operator": "eq", "values": [["x"]]}, "texts, numbers or true and false"),
        ({"property": "a", "operator": "eq", "values": ["\0"]}, "texts, numbers or true and false"),
    ],
)
def test_what_is_no_filter_is_refused(stored: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        read_filters([stored])


def test_values_of_filters_are_read_as_texts() -> None:
    [read] = read_filters(
        [{"property": "a", "operator": "in", "values": ["x", 7, Decimal("1.50"), True, Decimal("0.0")]}]
    )
    assert read.values == ("x", "7", "1.5", "true", "0")
    assert read_filters([read.as_json()]) == (read,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "Sum of tokens over llm.completion events"),
        (
            {"aggregation": Aggregation.PERCENTILE, "percentile_rank": Decimal("95.0000")},
            "tokens of llm.completion events, percentile 95",
        ),
        (
            {
                "filters": (condition(FilterOperator.IN, "large", "small"),),
                "outcome_property": "status",
                "outcome_policy": OutcomePolicy.EXCLUDE,
                "outcome_values": ("failed",),
                "group_by": ("region",),
                "carries_over": True,
            },
            "Sum of tokens over llm.completion events where model is one of large, small and status is none of failed, "
            "by region, carried over between periods",
        ),
    ],
)
def test_a_definition_reads_in_words(changes: dict[str, Any], words: str) -> None:
    assert definition(**changes).describe() == words
