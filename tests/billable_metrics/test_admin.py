"""Billable metrics in the admin: entered whole, refused at the right field, and every version listed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.billable_metrics.definitions import (
    Aggregation,
    FilterOperator,
    MetricDefinition,
    OutcomePolicy,
    PropertyFilter,
    TimeUnit,
    ValuesAre,
)
from apps.billable_metrics.forms import read_list, write_list
from apps.billable_metrics.models import BillableMetric, MetricVersion
from tests.factories import BillableMetricFactory, InvoiceLineFactory, PriceFactory
from tests.pages import errors_of, page_text, post, url_of, viewer

pytestmark = pytest.mark.django_db
METRIC = "billable_metrics_billablemetric"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def metric_fields(**changes: Any) -> dict[str, Any]:
    """What the form sends for a sum; the fields of other aggregations are hidden and not sent."""
    return {
        "name": "Input tokens",
        "code": "input_tokens",
        "event_type": "llm.completion",
        "aggregation": "sum",
        "value_property": "input_tokens",
        "value_expression": "",
        "outcome_policy": "all",
        "group_by": "",
        "unit_singular": "token",
        "unit_plural": "tokens",
        **changes,
    }


def filter_fields(*rows: tuple[str, str, str]) -> dict[str, list[str]]:
    names, operators, values = zip(*rows, strict=True) if rows else ((), (), ())
    return {
        "filters-property": list(names),
        "filters-operator": list(operators),
        "filters-values": list(values),
    }


def billed(**fields: Any) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="input_tokens", **fields)
    InvoiceLineFactory(price_version__price__metric=metric, metric_version=metric.current_version)
    return metric


def definition_of(metric: BillableMetric) -> MetricDefinition:
    return BillableMetric.objects.get(pk=metric.pk).current_version.definition


def test_every_page_answers(page: Client) -> None:
    for metric in (BillableMetricFactory(), billed()):
        for address in (
            url_of(METRIC),
            url_of(METRIC, "add"),
            url_of(METRIC, "change", metric.pk),
            url_of(METRIC, "history", metric.pk),
        ):
            page_text(page, address)


def test_a_metric_is_shown_in_words(page: Client) -> None:
    post(page, url_of(METRIC, "add"), metric_fields())
    assert "Sum of input_tokens over llm.completion events" in page_text(page, url_of(METRIC))


def test_a_count_needs_no_property_in_the_form(page: Client) -> None:
    sent = metric_fields(aggregation="count", value_property=None, value_expression=None)
    post(page, url_of(METRIC, "add"), sent)
    assert BillableMetric.objects.get().describe() == "Number of llm.completion events"


def test_a_metric_is_made_with_all_that_defines_it(page: Client) -> None:
    sent = metric_fields(
        value_property="",
        value_expression="input + output",
        carries_over="on",
        outcome_policy="exclude",
        outcome_property="status",
        outcome_values='failed, "not ok, but"',
        group_by="model, region",
        **filter_fields(
            ("model", "in", "large, small"),
            ("n", "gte", " 3 "),
            ("note", "eq", "a, b"),
            ("user.id", "exists", "left from before"),
            ("", "eq", ""),
        ),
    )

    post(page, url_of(METRIC, "add"), sent)

    metric = BillableMetric.objects.get()
    assert definition_of(metric) == MetricDefinition(
        event_type="llm.completion",
        aggregation=Aggregation.SUM,
        value_expression="input + output",
        filters=(
            PropertyFilter("model", FilterOperator.IN, ("large", "small")),
            PropertyFilter("n", FilterOperator.GTE, ("3",)),
            PropertyFilter("note", FilterOperator.EQ, ("a, b",)),
            PropertyFilter("user.id", FilterOperator.EXISTS),
        ),
        group_by=("model", "region"),
        outcome_property="status",
        outcome_policy=OutcomePolicy.EXCLUDE,
        outcome_values=("failed", "not ok, but"),
        carries_over=True,
    )
    shown = page_text(page, url_of(METRIC, "change", metric.pk))
    assert 'value="large, small"' in shown
    assert "failed,&quot;not ok, but&quot;" in shown


def test_outcomes_that_count_as_failed_may_be_named_though_every_event_counts(page: Client) -> None:
    post(page, url_of(METRIC, "add"), metric_fields(outcome_property="status", outcome_values="failed, timeout"))

    definition = definition_of(BillableMetric.objects.get())
    assert (definition.outcome_property, definition.outcome_values) == ("status", ("failed", "timeout"))
    assert definition.tells_failures


@pytest.mark.parametrize(
    ("changes", "field", "fault"),
    [
        ({"outcome_property": "status"}, "outcome_values", "List the outcomes"),
        ({"value_property": ""}, "value_property", "Name the property that holds the value"),
        ({"aggregation": "count"}, "value_property", "A count takes no value"),
        ({"value_expression": "a + b"}, "value_expression", "not both"),
        ({"value_property": "", "value_expression": "a +"}, "value_expression", "is no expression"),
        ({"aggregation": "percentile"}, "percentile_rank", "Say which percentile"),
        ({"aggregation": "percentile", "percentile_rank": "101"}, "percentile_rank", "not above 100"),
        ({"aggregation": "average", "carries_over": "on"}, "carries_over", "begins anew"),
        ({"event_type": ""}, "event_type", "required"),
        ({"group_by": "model, model"}, "group_by", "each dimension once"),
        ({"group_by": '"model'}, "group_by", "quote is not closed"),
        ({"outcome_policy": "only", "outcome_values": "ok"}, "outcome_property", "holds the outcome"),
        ({"code": "no spaces"}, "code", "Use letters"),
        (filter_fields(("a", "eq", "x"), ("b", "gt", "many")), "filters", "Filter 2: “many” is no number"),
        (filter_fields(("", "eq", "x")), "filters", "Filter 1: A filter names the property"),
        (filter_fields(("a", "eq", "")), "filters", "Filter 1: “is” takes one value"),
        (filter_fields(("a", "like", "x")), "filters", "Filter 1: The operators are"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_its_field(
    page: Client, changes: dict[str, Any], field: str, fault: str
) -> None:
    response = post(page, url_of(METRIC, "add"), metric_fields(**changes))
    errors = errors_of(response)
    assert list(errors) == [field]
    assert fault in errors[field][0]
    assert not BillableMetric.objects.exists()


def test_a_refused_form_keeps_the_filters_that_were_typed(page: Client) -> None:
    sent = metric_fields(**filter_fields(("model", "in", "large, small"), ("n", "gt", "many")))
    shown = post(page, url_of(METRIC, "add"), sent).content.decode()
    assert 'value="large, small"' in shown
    assert 'value="many"' in shown


def test_the_type_is_filled_in_from_the_address(page: Client) -> None:
    assert 'value="gpu.hour"' in page_text(page, f"{url_of(METRIC, 'add')}?event_type=gpu.hour")


def test_the_code_of_a_metric_stands(page: Client) -> None:
    metric = BillableMetricFactory(code="input_tokens", name="Input")
    post(page, url_of(METRIC, "change", metric.pk), metric_fields(code="other", name="Input tokens"))
    metric.refresh_from_db()
    assert (metric.code, metric.name) == ("input_tokens", "Input tokens")
    assert metric.versions.count() == 1


def test_a_metric_that_was_not_billed_is_defined_anew_since_ever(page: Client) -> None:
    metric = BillableMetricFactory()
    post(page, url_of(METRIC, "change", metric.pk), metric_fields(value_property="output_tokens"))
    assert definition_of(metric).value_property == "output_tokens"
    assert [version.effective_from for version in metric.versions.all()] == [None, None]


@pytest.mark.parametrize(
    ("day", "fault"), [("", "Say from when on"), ("2023-12-01", "Say from when on"), ("soon", "valid date")]
)
def test_a_billed_metric_asks_from_when_on(page: Client, day: str, fault: str) -> None:
    metric = billed()
    sent = metric_fields(aggregation="max", effective_from_0=day, effective_from_1="00:00:00" if day else "")

    response = post(page, url_of(METRIC, "change", metric.pk), sent)

    assert fault in errors_of(response)["effective_from"][0]
    assert metric.versions.count() == 1


def test_a_billed_metric_is_defined_anew_from_an_instant_on(page: Client) -> None:
    metric = billed()
    day = (timezone.now() + dt.timedelta(days=40)).date()

    post(
        page,
        url_of(METRIC, "change", metric.pk),
        metric_fields(aggregation="max", effective_from_0=day.isoformat(), effective_from_1="06:00:00"),
    )

    first, second = metric.versions.all()
    assert second.effective_from == dt.datetime.combine(day, dt.time(6), dt.UTC)
    assert (first.aggregation, second.aggregation) == ("sum", "max")
    shown = page_text(page, url_of(METRIC, "change", metric.pk))
    assert "Scheduled" in shown
    assert "<del>Sum</del> <ins>Largest value</ins>" in shown
    assert "Until then version 1 does." in shown


def test_nothing_begins_without_another_definition(page: Client) -> None:
    metric = billed()
    response = post(
        page,
        url_of(METRIC, "change", metric.pk),
        metric_fields(effective_from_0="2099-01-01", effective_from_1="00:00:00"),
    )
    assert "as it was" in errors_of(response)["effective_from"][0]


def test_the_names_of_a_billed_metric_still_change(page: Client) -> None:
    metric = billed()
    post(page, url_of(METRIC, "change", metric.pk), metric_fields(name="Tokens in"))
    metric.refresh_from_db()
    assert (metric.name, metric.versions.count()) == ("Tokens in", 1)


def test_what_is_hidden_stays_as_it_was(page: Client) -> None:
    """The form sends no choices of a time-weighted sum for a sum; they are no reason for another version."""
    metric = BillableMetricFactory(time_unit=TimeUnit.DAY, values_are=ValuesAre.LEVELS)
    post(page, url_of(METRIC, "change", metric.pk), metric_fields())
    assert MetricVersion.objects.count() == 1


def test_a_percentile_reads_back_as_it_was_typed(page: Client) -> None:
    sent = metric_fields(aggregation="percentile", percentile_rank="99.5")
    post(page, url_of(METRIC, "add"), sent)
    metric = BillableMetric.objects.get()
    assert definition_of(metric).percentile_rank == Decimal("99.5")
    assert 'value="99.5"' in page_text(page, url_of(METRIC, "change", metric.pk))


def test_a_metric_with_a_price_cannot_be_deleted(page: Client) -> None:
    metric = PriceFactory().metric
    assert page.post(url_of(METRIC, "delete", metric.pk), {"post": "yes"}).status_code == 403
    assert BillableMetric.objects.filter(pk=metric.pk).exists()


def test_who_may_only_look_sees_the_words_and_no_form(client: Client) -> None:
    client.force_login(viewer("billable_metrics.billablemetric"))
    metric = BillableMetricFactory()
    shown = page_text(client, url_of(METRIC, "change", metric.pk))
    assert "Sum of input_tokens over llm.completion events" in shown
    assert 'name="event_type"' not in shown
    assert client.post(url_of(METRIC, "change", metric.pk), metric_fields(name="X")).status_code == 403


def test_the_list_costs_the_same_however_long_it_is(
    page: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in (3, 12):
        BillableMetricFactory.create_batch(number)
        # Session, user; the badge of drafts; count, rows, and their versions.
        with django_assert_num_queries(6):
            page_text(page, url_of(METRIC))


@pytest.mark.parametrize(
    ("typed", "texts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a, b ,c", ("a", "b", "c")),
        ("a,,b,", ("a", "b")),
        ("a\nb", ("a", "b")),
        ('"a, b", c', ("a, b", "c")),
        ('"say ""hi""", c', ('say "hi"', "c")),
        ("it's, 5\" pipe", ("it's", '5" pipe')),
    ],
)
def test_lists_are_typed_with_commas(typed: str, texts: tuple[str, ...]) -> None:
    assert read_list(typed) == texts
    assert read_list(write_list(texts)) == texts
