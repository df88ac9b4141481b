"""Measured usage is what a naive recomputation finds, to the last decimal."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.billable_metrics.models import Aggregation, BillableMetric, MetricVersion
from apps.customers.models import Customer
from apps.usage.events import EventInput
from apps.usage.models import UsageEvent
from apps.usage.selectors import MeasuredUsage, UsageWindow, events_of, measure_usage
from apps.usage.services import record_events, settle_cutoff
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import NOON, event

HOUR = dt.timedelta(hours=1)
NOTHING = MeasuredUsage(quantity=Decimal(0), event_count=0)


@pytest.fixture
def acme(db: None) -> Customer:
    customer: Customer = CustomerFactory(external_id="acme")
    return customer


def window(customer: Customer, metric: BillableMetric, *, hours: int = 1) -> UsageWindow:
    return UsageWindow(customer.pk, metric.current_version, NOON, NOON + hours * HOUR)


def test_a_sum_adds_up_its_property_and_a_count_counts(acme: Customer) -> None:
    tokens, calls = BillableMetricFactory(), BillableMetricFactory(aggregation=Aggregation.COUNT, value_property="")
    record_events(
        events=[event("a"), event("b", data={"input_tokens": Decimal("0.5")}), event("c", data={})], api_key_id=None
    )

    assert measure_usage([window(acme, tokens), window(acme, calls)], stored_before=None) == [
        MeasuredUsage(quantity=Decimal("100.5"), event_count=2),
        MeasuredUsage(quantity=Decimal(3), event_count=3),
    ]


def test_windows_are_half_open(acme: Customer) -> None:
    calls = BillableMetricFactory(aggregation=Aggregation.COUNT, value_property="")
    almost = NOON + HOUR - dt.timedelta(microseconds=1)
    record_events(
        events=[event("first", at=NOON), event("last", at=almost), event("outside", at=NOON + HOUR)], api_key_id=None
    )
    [usage] = measure_usage([window(acme, calls)], stored_before=None)
    assert usage.event_count == 2


@pytest.mark.parametrize(
    ("value", "quantity"),
    [
        (7, "7"),
        ("7.25", "7.25"),
        (Decimal("1e3"), "1000"),
        (Decimal("0.1") + Decimal("0.2"), "0.3"),
        (Decimal("0.0000000000005"), "0.000000000001"),  # rounded once, half away from zero
    ],
)
def test_numbers_count_as_they_are(acme: Customer, value: object, quantity: str) -> None:
    record_events(events=[event(data={"input_tokens": value})], api_key_id=None)
    [usage] = measure_usage([window(acme, BillableMetricFactory())], stored_before=None)
    assert usage == MeasuredUsage(quantity=Decimal(quantity), event_count=1)


@pytest.mark.parametrize("value", [None, True, "many", "1e3", "0x10", " 7", "", [7], {"value": 7}])
def test_what_is_no_number_is_not_measured(acme: Customer, value: object) -> None:
    """Such events may have been stored before the metric existed."""
    record_events(events=[event(data={"input_tokens": value})], api_key_id=None)
    [usage] = measure_usage([window(acme, BillableMetricFactory())], stored_before=None)
    assert usage == NOTHING


def test_a_property_may_have_any_name(acme: Customer) -> None:
    metrics = [BillableMetricFactory(value_property=name) for name in ("0", "it's", 'a"b', "a%b")]
    record_events(events=[event(data={m.current_version.value_property: 5 for m in metrics})], api_key_id=None)
    windows = [window(acme, metric) for metric in metrics]
    assert [usage.quantity for usage in measure_usage(windows, stored_before=None)] == [5, 5, 5, 5]
    assert [events_of(w, stored_before=None).count() for w in windows] == [1, 1, 1, 1]


def test_results_keep_the_order_of_windows_also_of_equal_ones(acme: Customer) -> None:
    metric, other = BillableMetricFactory(), BillableMetricFactory(event_type="image")
    record_events(events=[event()], api_key_id=None)
    windows = [window(acme, other), window(acme, metric), window(acme, other), window(acme, metric)]
    assert [usage.event_count for usage in measure_usage(windows, stored_before=None)] == [0, 1, 0, 1]


def test_any_number_of_windows_takes_two_statements(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[object] = []
    execute = psycopg.Cursor.execute

    def counting(cursor: psycopg.Cursor[Any], *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        executed.append(args)
        return execute(cursor, *args, **kwargs)

    asked = window(acme, BillableMetricFactory())
    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    assert measure_usage([asked] * 500, stored_before=None) == [NOTHING] * 500
    assert len(executed) == 2  # the cache, which is not built yet, and the events


def test_no_windows_are_no_usage(db: None) -> None:
    assert measure_usage([], stored_before=None) == []


def test_a_window_is_read_through_the_index_in_its_own_partitions(acme: Customer) -> None:
    for month in (9, 10, 11, 12):
        record_events(events=[event(str(month), at=NOON.replace(month=month))], api_key_id=None)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(
            "EXPLAIN SELECT sum(usage_number(data -> 'input_tokens')) FROM usage_event"
            " WHERE customer_id = %s AND type = 'llm.completion' AND occurred_at >= %s AND occurred_at < %s",
            [acme.pk, NOON, NOON + HOUR],
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "usage_event_2023_11_customer_id_type_occurred_at_idx" in plan
    assert "usage_event_2023_10" not in plan
    assert "usage_number" not in plan  # the function was inlined


values = st.one_of(
    st.integers(-(10**6), 10**6),
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**6), max_value=10**6, places=12),
    st.integers(0, 10**9).map(str),
    st.sampled_from([None, True, "many", [1]]),
)
sent_events = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex", "nobody"]),
        st.sampled_from(["llm.completion", "image"]),
        st.integers(-3 * 60, 3 * 60),
        st.dictionaries(st.sampled_from(["input_tokens", "seconds"]), values),
    ),
    max_size=25,
)
asked_windows = st.lists(
    st.tuples(
        st.sampled_from(["acme", "globex"]),
        st.sampled_from(["tokens", "seconds", "calls"]),
        st.integers(-3 * 60, 3 * 60),
        st.integers(0, 6 * 60),
    ),
    min_size=1,
    max_size=6,
)


def naive_number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    return Decimal(value) if not isinstance(value, str) or value.isdigit() else None


class MeasureAgreesWithPython(TestCase):
    def setUp(self) -> None:
        self.customers = {name: CustomerFactory(external_id=name) for name in ("acme", "globex")}
        self.metrics = {
            "tokens": BillableMetricFactory(),
            "seconds": BillableMetricFactory(event_type="image", value_property="seconds"),
            "calls": BillableMetricFactory(aggregation=Aggregation.COUNT, value_property=""),
        }

    @settings(max_examples=60)
    @given(before=sent_events, after=sent_events, asked=asked_windows)
    def test_usage_is_what_a_naive_recomputation_finds(
        self, before: list[Any], after: list[Any], asked: list[Any]
    ) -> None:
        stored = self.store(before, "before")
        cutoff = settle_cutoff()
        self.store(after, "after")
        windows = [
            UsageWindow(
                self.customers[name].pk,
                self.metrics[metric].current_version,
                NOON + dt.timedelta(minutes=start),
                NOON + dt.timedelta(minutes=start + length),
            )
            for name, metric, start, length in asked
        ]

        measured = measure_usage(windows, stored_before=cutoff)

        assert measured == [self.naive(stored, window) for window in windows]
        for window, usage in zip(windows, measured, strict=True):
            explained = events_of(window, stored_before=cutoff)
            assert explained.count() == usage.event_count
            assert set(explained.values_list("event_id", flat=True)) == {
                e.event_id for e in self.matching(stored, window)
            }

    def store(self, sent: list[Any], prefix: str) -> list[EventInput]:
        events = [
            event(f"{prefix}-{n}", at=NOON + dt.timedelta(minutes=minute), subject=subject, type=kind, data=data)
            for n, (subject, kind, minute, data) in enumerate(sent)
        ]
        assert record_events(events=events, api_key_id=None).accepted == len(events)
        return events

    def matching(self, stored: list[EventInput], window: UsageWindow) -> list[EventInput]:
        subject = next(name for name, customer in self.customers.items() if customer.pk == window.customer_id)
        return [
            sent
            for sent in stored
            if (sent.subject, sent.type) == (subject, window.version.event_type)
            and window.start_at <= sent.occurred_at < window.end_at
            and self.value(sent, window.version) is not None
        ]

    def naive(self, stored: list[EventInput], window: UsageWindow) -> MeasuredUsage:
        found = [self.value(sent, window.version) or Decimal(0) for sent in self.matching(stored, window)]
        return MeasuredUsage(quantity=sum(found, Decimal(0)), event_count=len(found))

    def value(self, sent: EventInput, version: MetricVersion) -> Decimal | None:
        if version.aggregation == Aggregation.COUNT:
            return Decimal(1)
        return naive_number(sent.data.get(version.value_property))


@given(
    data=st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(10**30), 10**30)
            | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=20)
            | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
            max_leaves=8,
        ),
        max_size=5,
    )
)
@settings(max_examples=50)
@pytest.mark.django_db
def test_any_data_is_stored_with_every_digit(data: dict[str, Any]) -> None:
    UsageEvent.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM usage_event_key")
    record_events(events=[event(data=data)], api_key_id=None)
    with connection.cursor() as cursor:
        cursor.execute("SELECT data::text FROM usage_event")
        [text] = cursor.fetchone()
    assert json.loads(text, parse_float=Decimal) == data
