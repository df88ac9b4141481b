"""An event is worth the same to Python, which measures it as it arrives, and to the SQL that measures stored ones."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal
from typing import Any

from django.db import connection
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.billable_metrics.definitions import (
    Aggregation,
    FilterOperator,
    MetricDefinition,
    OutcomePolicy,
    PropertyFilter,
)
from apps.billable_metrics.measuring import Measured, explain, measurer
from apps.usage.events import ExactDecoder, canonical_json
from apps.usage.metric_sql import metric_sql, quoted

NAMES = ["a", "b", "a.b", "b.a.b", "it's", "50%", "{b}", 'a"b', "b\\", "µ", "", "%s", "$1", "a.", "📈"]
names = st.sampled_from([name for name in NAMES if name])
TEXTS = [
    *(
        "",
        "x",
        "it's",
        '"',
        "%",
        "%%",
        "%s",
        "\\",
        "\\'",
        "{a}",
        "$1",
        "--",
        "NULL",
        "true",
        "1.5",
        "1.50",
        "007",
        "-0",
    ),
    *("-1.5", "1e3", " 5", "5 ", "5\n", "٣", "ß", "1" * 19, "x" * 201, "📈" * 200, "é" * 201, "é" * 200),
]
texts = st.one_of(st.sampled_from(TEXTS), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
numbers = st.one_of(
    st.integers(-9, 9),
    st.integers(-(10**60), 10**60),
    st.decimals(-100, 100, places=3),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-1, max_value=1, places=60),
    st.sampled_from([Decimal("-0.0"), Decimal("1.50"), Decimal("1e100"), Decimal("1e-100"), Decimal("1e2")]),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
members = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2)
    ),
    max_leaves=5,
)
datas = st.dictionaries(st.sampled_from(NAMES), members, max_size=6)

numeric_operators = st.sampled_from([FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE])
bounds = st.one_of(st.integers(-9, 9).map(str), st.sampled_from(["1.50", "-0", "0.000001", "1e20"]))
conditions = st.one_of(
    st.builds(PropertyFilter, names, numeric_operators, st.tuples(bounds)),
    st.builds(PropertyFilter, names, st.sampled_from([FilterOperator.EXISTS, FilterOperator.NOT_EXISTS])),
    st.builds(PropertyFilter, names, st.sampled_from([FilterOperator.EQ, FilterOperator.NE]), st.tuples(texts)),
    st.builds(
        PropertyFilter,
        names,
        st.sampled_from([FilterOperator.IN, FilterOperator.NOT_IN]),
        st.lists(texts, min_size=1, max_size=3).map(tuple),
    ),
)
EXPRESSIONS = ["a + b", "a.b * 2 - b", "'it\\'s' / '50%'", "max(a, b, 0)", "ceil(a / 3) + '{b}'", "round(a / b)"]
worth = st.one_of(
    st.just({"aggregation": Aggregation.COUNT}),
    st.builds(lambda name: {"aggregation": Aggregation.SUM, "value_property": name}, names),
    st.builds(lambda name: {"aggregation": Aggregation.UNIQUE_COUNT, "value_property": name}, names),
    st.builds(lambda text: {"aggregation": Aggregation.MAX, "value_expression": text}, st.sampled_from(EXPRESSIONS)),
)
outcomes = st.one_of(
    st.just({}),
    st.builds(
        lambda name, policy, values: {
            "outcome_property": name,
            "outcome_policy": policy,
            "outcome_values": tuple(values),
        },
        names,
        st.sampled_from([OutcomePolicy.EXCLUDE, OutcomePolicy.ONLY]),
        st.lists(texts, min_size=1, max_size=2),
    ),
)
definitions = st.builds(
    lambda worth, filters, group_by, outcome: MetricDefinition(
        event_type="work", filters=tuple(filters), group_by=tuple(group_by), **worth, **outcome
    ),
    worth,
    st.lists(conditions, max_size=2),
    st.lists(names, unique=True, max_size=3),
    outcomes,
)


def by_sql(definition: MetricDefinition, stored: str) -> Measured | None:
    """What the SQL of the metric makes of one event."""
    parts = metric_sql(definition)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {parts.dimensions}, {parts.value} "  # noqa: S608  # every text in it is quoted: that is the test
            f"FROM (SELECT 'work'::text AS type, {quoted(stored)}::jsonb AS data) event WHERE {parts.conditions}"
        )
        row = cursor.fetchone()
    if row is None or row[1] is None:
        return None
    return tuple(row[0]), None if definition.aggregation == Aggregation.COUNT else row[1]


class PythonAndSqlAgree(TestCase):
    @settings(max_examples=600)
    @given(definition=definitions, data=datas)
    @example(
        definition=MetricDefinition("work", Aggregation.SUM, value_property="a.b", group_by=("a.b", "b")),
        data={"a.b": None, "a": {"b": Decimal("1.50")}, "b": ["x"]},
    )
    @example(
        definition=MetricDefinition("work", Aggregation.COUNT, filters=(PropertyFilter("a.b", FilterOperator.EXISTS),)),
        data={"a": [{"b": 1}]},
    )
    def test_one_event(self, definition: MetricDefinition, data: dict[str, Any]) -> None:
        stored = canonical_json(data).decode()

        measured = measurer(definition)(data)

        with decimal.localcontext(prec=10_000):
            assert by_sql(definition, stored) == measured
            assert measurer(definition)(json.loads(stored, cls=ExactDecoder)) == measured

    @settings(max_examples=400)
    @given(definition=definitions, data=datas)
    def test_there_is_a_reason_exactly_when_an_event_does_not_count(
        self, definition: MetricDefinition, data: dict[str, Any]
    ) -> None:
        assert bool(explain(definition, data)) == (measurer(definition)(data) is None)
