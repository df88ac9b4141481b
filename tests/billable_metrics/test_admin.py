"""Billable metrics in the admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.billable_metrics.models import BillableMetric
from tests.factories import BillableMetricFactory, PriceFactory
from tests.pages import errors_of, page_text, post, url_of

pytestmark = pytest.mark.django_db
METRIC = "billable_metrics_billablemetric"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def metric_fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Input tokens",
        "code": "input_tokens",
        "event_type": "llm.completion",
        "aggregation": "sum",
        "value_property": "input_tokens",
        "unit_singular": "token",
        "unit_plural": "tokens",
        **changes,
    }


def test_every_page_answers(page: Client) -> None:
    metric = BillableMetricFactory()
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
    # The page does not send the hidden field at all.
    post(page, url_of(METRIC, "add"), metric_fields(aggregation="count", value_property=None))
    assert BillableMetric.objects.get().describe() == "Number of llm.completion events"


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"value_property": ""}, "Name the property to add up"),
        ({"aggregation": "count"}, "A count takes no property"),
    ],
)
def test_property_and_aggregation_must_agree(page: Client, changes: dict[str, Any], fault: str) -> None:
    response = post(page, url_of(METRIC, "add"), metric_fields(**changes))
    assert fault in errors_of(response)["value_property"][0]
    assert not BillableMetric.objects.exists()


def test_the_code_of_a_metric_stands(page: Client) -> None:
    metric = BillableMetricFactory(code="input_tokens", name="Input")
    post(page, url_of(METRIC, "change", metric.pk), metric_fields(code="other", name="Input tokens"))
    metric.refresh_from_db()
    assert (metric.code, metric.name) == ("input_tokens", "Input tokens")


def test_a_metric_with_a_price_cannot_be_deleted(page: Client) -> None:
    metric = PriceFactory().metric
    assert page.post(url_of(METRIC, "delete", metric.pk), {"post": "yes"}).status_code == 403
    assert BillableMetric.objects.filter(pk=metric.pk).exists()


def test_the_list_costs_the_same_however_long_it_is(
    page: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in (3, 12):
        BillableMetricFactory.create_batch(number)
        # Session, user; the badge of drafts; the event types to filter by; count, rows.
        with django_assert_num_queries(6):
            page_text(page, url_of(METRIC))


def test_what_a_priced_metric_measures_is_fixed(page: Client) -> None:
    metric = PriceFactory(metric__value_property="input_tokens").metric

    fields = metric_fields(name="Renamed", event_type="something.else", aggregation="count", value_property="")
    page.post(url_of(METRIC, "change", metric.pk), fields)

    metric.refresh_from_db()
    assert (metric.name, metric.event_type, metric.value_property) == ("Renamed", "llm.completion", "input_tokens")
