"""Why an event does not count, in words."""

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
)
from apps.billable_metrics.measuring import explain

TOKENS = MetricDefinition("llm.completion", Aggregation.SUM, value_property="tokens")
LARGE = MetricDefinition(
    "llm.completion",
    Aggregation.COUNT,
    filters=(PropertyFilter("model", FilterOperator.EQ, ("large",)), PropertyFilter("n", FilterOperator.GT, ("3",))),
)
GOOD = MetricDefinition(
    "llm.completion",
    Aggregation.COUNT,
    outcome_property="status",
    outcome_policy=OutcomePolicy.EXCLUDE,
    outcome_values=("failed",),
)
RATE = MetricDefinition("llm.completion", Aggregation.SUM, value_expression="tokens / seconds")
USERS = MetricDefinition("llm.completion", Aggregation.UNIQUE_COUNT, value_property="user")


@pytest.mark.parametrize(
    ("definition", "data", "reasons"),
    [
        (TOKENS, {"tokens": "12"}, ()),
        (TOKENS, {}, ("No number in tokens, which is missing.",)),
        (TOKENS, {"tokens": "many"}, ("No number in tokens, which is “many”.",)),
        (TOKENS, {"tokens": [1]}, ("No number in tokens, which is a list.",)),
        (TOKENS, {"tokens": True}, ("No number in tokens, which is true.",)),
        (LARGE, {"model": "large", "n": 4}, ()),
        (
            LARGE,
            {"model": "small", "n": Decimal("2.50")},
            ("Not met: model is large. Here it is “small”.", "Not met: n > 3. Here it is 2.5."),
        ),
        (GOOD, {"status": "failed"}, ("Not met: status is none of failed. Here it is “failed”.",)),
        (RATE, {"tokens": 5}, ("tokens / seconds divides by zero here.",)),
        (RATE, {}, ("No number in tokens, which is missing, or seconds, which is missing.",)),
        (USERS, {"user": {"id": 1}}, ("No value in user, which is an object.",)),
    ],
)
def test_why_an_event_does_not_count(
    definition: MetricDefinition, data: dict[str, Any], reasons: tuple[str, ...]
) -> None:
    assert explain(definition, data) == reasons
