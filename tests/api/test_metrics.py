"""Billable metrics over the API: made, changed, read and refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from apps.billable_metrics.api.serializers import DefinitionInput
from apps.billable_metrics.models import BillableMetric, MetricVersion
from tests.api.client import ApiCaller
from tests.factories import BillableMetricFactory, InvoiceLineFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> ApiCaller:
    return ApiCaller()


def metric(**changes: Any) -> dict[str, Any]:
    sent = {
        "code": "tokens",
        "name": "Tokens",
        "event_type": "llm.completion",
        "aggregation": "sum",
        "value_property": "tokens",
        **changes,
    }
    return {name: value for name, value in sent.items() if value is not None}


def bill(billed: BillableMetric) -> None:
    """Put the metric on an invoice."""
    InvoiceLineFactory(price_version__price__metric=billed, metric_version=billed.current_version)


def test_a_metric_is_made_with_all_that_defines_it(api: ApiCaller) -> None:
    sent = metric(
        unit_singular="token",
        unit_plural="tokens",
        description="What models read.",
        value_property="",
        value_expression="input + output",
        filters=[
            {"property": "model", "operator": "in", "values": ["large", 3.5]},
            {"property": "cached", "operator": "ne", "values": [True]},
            {"property": "batch", "operator": "not_exists"},
        ],
        group_by=["model", "region"],
        outcome_property="status",
        outcome_policy="exclude",
        outcome_values=["failed"],
        carries_over=True,
    )

    made = api.ok("POST", "billable-metrics", sent, status=201)

    filters = [
        {"property": "model", "operator": "in", "values": ["large", "3.5"]},
        {"property": "cached", "operator": "ne", "values": ["true"]},
        {"property": "batch", "operator": "not_exists", "values": []},
    ]
    assert {name: made[name] for name in sent} == {**sent, "filters": filters}
    assert made["measures"] == (
        "Sum of input + output over llm.completion events where model is one of large, 3.5 and cached is not true and "
        "batch is missing and status is none of failed, by model, region, carried over between periods"
    )
    [version] = made["versions"]
    assert (version["number"], version["effective_from"], version["filters"]) == (1, None, filters)
    assert api.ok("GET", "billable-metrics/tokens") == made
    assert api.ok("GET", "billable-metrics", code="tokens")["results"] == [made]
    assert api.ok("GET", "billable-metrics", event_type="other")["results"] == []


def test_the_same_request_again_changes_nothing(api: ApiCaller) -> None:
    made = api.ok("POST", "billable-metrics", metric(), status=201)

    assert api.ok("POST", "billable-metrics", metric(), status=200) == made
    assert "code" in api.refused("POST", "billable-metrics", metric(aggregation="max"))
    assert "code" in api.refused("POST", "billable-metrics", metric(name="Other"))
    assert (BillableMetric.objects.count(), MetricVersion.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"code": None}, "code", "required"),
        ({"code": "no spaces"}, "code", "Use letters"),
        ({"name": ""}, "name", "blank"),
        ({"event_type": None}, "event_type", "required"),
        ({"aggregation": "total"}, "aggregation", "not a valid choice"),
        ({"value_property": None}, "value_property", "Name the property"),
        ({"aggregation": "count"}, "value_property", "A count takes no value"),
        ({"value_property": None, "value_expression": "a +"}, "value_expression", "is no expression"),
        ({"aggregation": "percentile"}, "percentile_rank", "Say which percentile"),
        ({"aggregation": "percentile", "percentile_rank": "99.99999"}, "percentile_rank", "decimal"),
        ({"aggregation": "average", "carries_over": True}, "carries_over", "begins anew"),
        ({"filters": {"model": "large"}}, "filters", "are a list"),
        (
            {"filters": [{"property": "a", "operator": "exists"}, {"property": "a", "operator": "like"}]},
            "filters.1",
            "The operators are",
        ),
        ({"filters": [{"property": "a", "operator": "gt", "values": ["x"]}]}, "filters.0", "no number to compare"),
        ({"filters": [{"property": "a", "operator": "eq", "values": []}]}, "filters.0", "takes one value"),
        ({"group_by": ["a", "a"]}, "group_by", "each dimension once"),
        ({"outcome_policy": "only"}, "outcome_property", "holds the outcome"),
        ({"agregation": "sum"}, "agregation", "Known are event_type, aggregation"),
        ({"effective_from": "2026-01-01T00:00:00Z"}, "effective_from", "There is no"),
    ],
)
def test_what_cannot_be_taken_is_named_by_its_field(
    api: ApiCaller, changes: dict[str, Any], field: str, sentence: str
) -> None:
    faults = api.refused("POST", "billable-metrics", metric(**changes))

    assert list(faults) == [field]
    assert sentence in faults[field]
    assert not BillableMetric.objects.exists()


@pytest.mark.parametrize("body", ["{", "[]", "5", '{"code": NaN}', '{"name": "\\ud800"}'])
def test_what_is_no_metric_at_all_is_refused(api: ApiCaller, body: str) -> None:
    api.refused("POST", "billable-metrics", body)


def test_names_change_and_the_definition_stays(api: ApiCaller) -> None:
    BillableMetricFactory(code="tokens", description="Old")

    changed = api.ok("PATCH", "billable-metrics/tokens", {"name": "Input", "unit_plural": "tok"})

    assert (changed["name"], changed["unit_plural"], changed["description"]) == ("Input", "tok", "Old")
    assert len(changed["versions"]) == 1


def test_a_metric_that_was_not_billed_is_defined_anew_since_ever(api: ApiCaller) -> None:
    BillableMetricFactory(code="tokens", group_by=("model",))

    changed = api.ok("PATCH", "billable-metrics/tokens", {"aggregation": "count", "value_property": ""})

    assert (changed["aggregation"], changed["group_by"]) == ("count", ["model"])
    assert [(version["number"], version["effective_from"]) for version in changed["versions"]] == [(1, None), (2, None)]
    again = api.ok("PATCH", "billable-metrics/tokens", {"aggregation": "count", "value_property": ""})
    assert len(again["versions"]) == 2


def test_a_billed_metric_is_defined_anew_from_an_instant_on(api: ApiCaller) -> None:
    bill(BillableMetricFactory(code="tokens"))
    soon = timezone.now() + dt.timedelta(days=1)

    for too_early in ({}, {"effective_from": None}, {"effective_from": "2023-01-01T00:00:00Z"}):
        faults = api.refused("PATCH", "billable-metrics/tokens", {"aggregation": "max", **too_early})
        assert "Say from when on" in faults["effective_from"]
    assert "Add the zone" in str(
        api.refused("PATCH", "billable-metrics/tokens", {"aggregation": "max", "effective_from": "2030-01-01T00:00:00"})
    )
    changed = api.ok("PATCH", "billable-metrics/tokens", {"aggregation": "max", "effective_from": soon.isoformat()})

    assert [version["aggregation"] for version in changed["versions"]] == ["sum", "max"]
    assert dt.datetime.fromisoformat(changed["versions"][1]["effective_from"]) == soon


def test_a_change_that_is_refused_changes_nothing(api: ApiCaller) -> None:
    BillableMetricFactory(code="tokens", name="Tokens")

    assert "code" in api.refused("PATCH", "billable-metrics/tokens", {"code": "other"})
    assert "value_property" in api.refused("PATCH", "billable-metrics/tokens", {"name": "X", "aggregation": "count"})
    assert "effective_from" in api.refused(
        "PATCH", "billable-metrics/tokens", {"name": "X", "effective_from": "2030-01-01T00:00:00Z"}
    )
    api.refused("PATCH", "billable-metrics/none", {"name": "X"}, status=404)

    assert BillableMetric.objects.get().name == "Tokens"
    assert MetricVersion.objects.count() == 1


def test_the_api_takes_every_field_of_a_definition() -> None:
    assert set(DefinitionInput().fields) == set(MetricVersion.DEFINITION_FIELDS)
