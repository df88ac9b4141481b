"""The cache changes cost, never meaning: what it says is what a naive recomputation in Python finds."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, ClassVar

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.billable_metrics.definitions import (
    Aggregation,
    FilterOperator,
    OutcomePolicy,
    PropertyFilter,
    TimeUnit,
    ValuesAre,
)
from apps.billable_metrics.models import BillableMetric
from apps.customers.models import Customer, CustomerAlias
from apps.usage.events import EventInput
from apps.usage.models import CacheState, UsageCache
from apps.usage.selectors import UsageWindow, events_of, measure_usage
from apps.usage.services import (
    attribute_events,
    backfill_metrics,
    compare_usage,
    fold_usage,
    record_events,
    settle_cutoff,
)
from tests.factories import BillableMetricFactory, CustomerFactory

START = dt.datetime(2023, 11, 14, 21, 0, tzinfo=dt.UTC)
EXACT = Decimal("0.000000000001")
EXACT_CONTEXT = Context(prec=100, rounding=ROUND_HALF_UP)
PHASES = [Phase.explicit, Phase.reuse, Phase.generate]

IS_LARGE = PropertyFilter("model", FilterOperator.EQ, ("large",))
DEFINITIONS: dict[str, dict[str, Any]] = {
    "count": {"aggregation": Aggregation.COUNT, "value_property": ""},
    "sum": {"aggregation": Aggregation.SUM, "group_by": ("model", "region")},
    "sum of an expression": {
        "aggregation": Aggregation.SUM,
        "value_property": "",
        "value_expression": "(tokens + 2 * seconds) / 3",
    },
    "sum that carries over": {"aggregation": Aggregation.SUM, "carries_over": True, "group_by": ("model",)},
    "filtered": {
        "aggregation": Aggregation.SUM,
        "filters": (IS_LARGE, PropertyFilter("tokens", FilterOperator.GTE, ("3",))),
    },
    "only good ones": {
        "aggregation": Aggregation.COUNT,
        "value_property": "",
        "outcome_property": "region",
        "outcome_policy": OutcomePolicy.EXCLUDE,
        "outcome_values": ("eu",),
    },
    "max": {"aggregation": Aggregation.MAX, "group_by": ("model",)},
    "max that carries over": {"aggregation": Aggregation.MAX, "carries_over": True},
    "min": {"aggregation": Aggregation.MIN},
    "average": {"aggregation": Aggregation.AVERAGE, "group_by": ("region",)},
    "latest": {"aggregation": Aggregation.LATEST, "group_by": ("model",)},
    "latest that carries over": {"aggregation": Aggregation.LATEST, "carries_over": True},
    "unique": {"aggregation": Aggregation.UNIQUE_COUNT, "value_property": "model", "group_by": ("region",)},
    "unique ever": {"aggregation": Aggregation.UNIQUE_COUNT, "value_property": "model", "carries_over": True},
    "weighted": {"aggregation": Aggregation.TIME_WEIGHTED_SUM, "time_unit": TimeUnit.MINUTE, "group_by": ("model",)},
    "weighted, carried": {
        "aggregation": Aggregation.TIME_WEIGHTED_SUM,
        "time_unit": TimeUnit.PERIOD,
        "carries_over": True,
    },
    "levels": {
        "aggregation": Aggregation.TIME_WEIGHTED_SUM,
        "values_are": ValuesAre.LEVELS,
        "carries_over": True,
        "group_by": ("model",),
    },
    "median": {"aggregation": Aggregation.PERCENTILE, "percentile_rank": Decimal(50)},
}

data = st.fixed_dictionaries(
    {},
    optional={
        "tokens": st.one_of(
            st.integers(-5, 9), st.decimals(-5, 9, places=4), st.integers(0, 9).map(str), st.sampled_from(["no", None])
        ),
        "seconds": st.integers(0, 5),
        "model": st.sampled_from(["large", "small", 7, True, 'a "quoted", {braced} \\ one', "x" * 300]),
        "region": st.sampled_from(["eu", "us", None]),
    },
)
# Minutes from START, over three days and a few hours: late, at bounds of hours and days, and equal ones.
moments = st.one_of(st.integers(0, 76 * 60), st.integers(0, 76).map(lambda hours: hours * 60), st.just(180))
batches = st.lists(
    st.lists(st.tuples(st.sampled_from(["acme", "globex", "later"]), moments, data), max_size=8), max_size=4
)
asked_windows = st.lists(
    st.tuples(st.sampled_from(["acme", "globex"]), moments, st.integers(0, 76 * 60)), min_size=1, max_size=3
)


@dataclass(frozen=True)
class Known:
    """An event as the test knows it, with the order in which it was stored."""

    subject: str
    at: dt.datetime
    data: dict[str, Any]
    order: int


# --- The naive recomputation -----------------------------------------------------------------------------------------


def number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or value is None:
        return None
    return Decimal(value) if not isinstance(value, str) or value.isdigit() else None


def text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return value
    return format(Decimal(value).normalize(), "f") if value else "0"


def value_of(name: str, event: Known) -> Any:
    """What the event is worth to the metric of this name in DEFINITIONS; None when it does not count."""
    if name == "sum of an expression":
        found = [number(event.data.get("tokens")), number(event.data.get("seconds"))]
        if found == [None, None]:
            return None
        whole = (found[0] or Decimal(0)) + 2 * (found[1] or Decimal(0))
        return (EXACT_CONTEXT.divide(whole, 3)).quantize(Decimal(1).scaleb(-30), ROUND_HALF_UP, EXACT_CONTEXT)
    if name == "only good ones":
        return None if text(event.data.get("region")) == "eu" else Decimal(1)
    if name == "count":
        return Decimal(1)
    if name.startswith("unique"):
        return text(event.data.get("model"))
    value = number(event.data.get("tokens"))
    if name == "filtered" and (event.data.get("model") != "large" or value is None or value < 3):
        return None
    return value


def naive(name: str, known: Sequence[Known], start: dt.datetime, end: dt.datetime) -> Decimal:
    """The quantity of one metric over one customer's events."""
    worth = sorted(
        ((event.at, event.order, value_of(name, event), event) for event in known if value_of(name, event) is not None),
        key=lambda item: item[:2],
    )
    inside = [item for item in worth if start <= item[0] < end]
    before = [item for item in worth if item[0] < start]
    values = [value for _, _, value, _ in inside]
    if name in ("count", "only good ones", "sum", "sum of an expression", "filtered"):
        whole = Decimal(0)
        for value in values:
            whole = EXACT_CONTEXT.add(whole, value)
        return whole.quantize(EXACT, ROUND_HALF_UP)
    if name == "sum that carries over":
        return sum((value for _, _, value, _ in [*before, *inside]), Decimal(0))
    if name == "max":
        return max(values, default=Decimal(0))
    if name == "max that carries over":
        return max([*(value for _, _, value, _ in before[-1:]), *values], default=Decimal(0))
    if name == "min":
        return min(values, default=Decimal(0))
    if name == "average":
        return (sum(values, Decimal(0)) / len(values)).quantize(EXACT, ROUND_HALF_UP) if values else Decimal(0)
    if name == "latest":
        return values[-1] if values else Decimal(0)
    if name == "latest that carries over":
        return Decimal(([value for _, _, value, _ in [*before, *inside]] or [Decimal(0)])[-1])
    if name == "unique":
        return Decimal(len(set(values)))
    if name == "unique ever":
        return Decimal(len({value for _, _, value, _ in [*before, *inside]}))
    if name == "median":
        return sorted(values)[math.ceil(len(values) / 2) - 1] if values else Decimal(0)
    return naive_over_time(name, before, inside, start, end)


def naive_over_time(name: str, before: list[Any], inside: list[Any], start: dt.datetime, end: dt.datetime) -> Decimal:
    """Walk through every minute: all events of these tests stand on full minutes."""
    minutes = (end - start) // dt.timedelta(minutes=1)
    if not minutes:
        return Decimal(0)
    if name == "levels":
        of_model: dict[str | None, Decimal] = {}
        for _, _, value, event in before:
            of_model[text(event.data.get("model"))] = value
        total, changes = Decimal(0), list(inside)
        for minute in range(minutes):
            while changes and changes[0][0] <= start + dt.timedelta(minutes=minute):
                _, _, value, event = changes.pop(0)
                of_model[text(event.data.get("model"))] = value
            total += sum(of_model.values(), Decimal(0))
        return (total / 60).quantize(EXACT, ROUND_HALF_UP)
    carried = sum((value for _, _, value, _ in before), Decimal(0)) if name == "weighted, carried" else Decimal(0)
    total = carried * minutes
    for at, _, value, _ in inside:
        total += value * ((end - at) // dt.timedelta(minutes=1))
    return (total / minutes).quantize(EXACT, ROUND_HALF_UP) if name == "weighted, carried" else total


# --- Properties ------------------------------------------------------------------------------------------------------


class CacheAgreesWithPython(TestCase):
    """Events in batches, folded or not in between; the cache built at some moment; windows at any minute."""

    customers: ClassVar[dict[str, Customer]]
    metrics: ClassVar[dict[str, BillableMetric]]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.customers = {name: CustomerFactory(external_id=name) for name in ("acme", "globex")}
        cls.metrics = {
            name: BillableMetricFactory(
                code=f"metric-{number}",
                event_type="work",
                **{"value_property": "tokens" if "value_expression" not in fields else "", **fields},
            )
            for number, (name, fields) in enumerate(DEFINITIONS.items())
        }

    def store(self, batch: Sequence[tuple[str, int, dict[str, Any]]], known: list[Known]) -> None:
        events = []
        for subject, minute, payload in batch:
            event = Known(subject, START + dt.timedelta(minutes=minute), payload, len(known))
            known.append(event)
            events.append(EventInput("gateway", f"event-{event.order}", "work", subject, event.at, payload))
        record_events(events=events, api_key_id=None)

    def windows(self, asked: Sequence[tuple[str, int, int]]) -> list[tuple[str, UsageWindow]]:
        return [
            (
                name,
                UsageWindow(
                    self.customers[customer].pk,
                    metric.current_version,
                    START + dt.timedelta(minutes=first),
                    START + dt.timedelta(minutes=first + length),
                ),
            )
            for customer, first, length in asked
            for name, metric in self.metrics.items()
        ]

    def expected(self, name: str, window: UsageWindow, known: Sequence[Known], later_is: str = "") -> Decimal:
        subjects = {key for key, customer in self.customers.items() if customer.pk == window.customer_id}
        if later_is in subjects:
            subjects.add("later")
        mine = [event for event in known if event.subject in subjects]
        return naive(name, mine, window.start_at, window.end_at)

    @settings(max_examples=40, phases=PHASES)
    @given(
        sent=batches,
        asked=asked_windows,
        built_after=st.integers(0, 4),
        folds=st.lists(st.booleans(), min_size=4, max_size=4),
    )
    def test_usage_from_the_cache_is_what_a_naive_recomputation_finds(
        self, sent: list[Any], asked: list[Any], built_after: int, folds: list[bool]
    ) -> None:
        known: list[Known] = []
        for number, batch in enumerate(sent):
            if number == built_after:
                backfill_metrics()
            self.store(batch, known)
            if folds[number]:
                fold_usage()
        backfill_metrics()
        assert set(UsageCache.objects.values_list("state", flat=True)) == {CacheState.READY}
        chosen = self.windows(asked)

        measured = measure_usage([window for _, window in chosen], stored_before=None)

        for (name, window), usage in zip(chosen, measured, strict=True):
            assert usage.quantity == self.expected(name, window, known), (name, window)
            if not window.version.carries_over:
                assert events_of(window, stored_before=None).count() == usage.event_count, name
        assert compare_usage() == []

    @settings(max_examples=25, phases=PHASES)
    @given(before=batches, after=batches, asked=asked_windows, folds=st.booleans())
    def test_a_cutoff_gives_the_same_for_ever(
        self, before: list[Any], after: list[Any], asked: list[Any], folds: bool
    ) -> None:
        backfill_metrics()
        known: list[Known] = []
        for batch in before:
            self.store(batch, known)
        fold_usage()
        cutoff = settle_cutoff()
        chosen = self.windows(asked)
        at_once = measure_usage([window for _, window in chosen], stored_before=cutoff)
        for batch in after:
            self.store(batch, list(known) + [None] * 1000)  # type: ignore[list-item]  # only its length is used
        CustomerAlias.objects.create(customer=self.customers["acme"], alias="later")
        attribute_events()
        if folds:
            fold_usage()

        later = measure_usage([window for _, window in chosen], stored_before=cutoff)

        assert later == at_once
        for (name, window), usage in zip(chosen, later, strict=True):
            assert usage.quantity == self.expected(name, window, known), (name, window)

    @settings(max_examples=15, phases=PHASES)
    @given(sent=batches, asked=asked_windows)
    def test_attributed_events_join_the_cache(self, sent: list[Any], asked: list[Any]) -> None:
        backfill_metrics()
        known: list[Known] = []
        for batch in sent:
            self.store(batch, known)
        CustomerAlias.objects.create(customer=self.customers["globex"], alias="later")
        attribute_events()
        fold_usage()
        chosen = self.windows(asked)

        measured = measure_usage([window for _, window in chosen], stored_before=None)

        for (name, window), usage in zip(chosen, measured, strict=True):
            assert usage.quantity == self.expected(name, window, known, later_is="globex"), (name, window)
        assert compare_usage() == []
