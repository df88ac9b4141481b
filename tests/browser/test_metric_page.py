"""A metric as a person builds it: fields that come and go, filters as rows, and the preview beside them."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from apps.billable_metrics.definitions import FilterOperator, PropertyFilter
from apps.billable_metrics.models import BillableMetric
from apps.usage.services import record_events
from tests.factories import CustomerFactory
from tests.usage.events import event

pytestmark = pytest.mark.django_db(transaction=True)


def send_some() -> None:
    CustomerFactory(external_id="acme", name="Acme")
    sent = [("a", "large", 1200), ("b", "large", 300), ("c", "small", 77)]
    at = timezone.now() - dt.timedelta(hours=2)
    events = [event(key, at=at, data={"model": model, "input_tokens": tokens}) for key, model, tokens in sent]
    record_events(events=events, api_key_id=None)


def test_a_metric_is_built_while_its_figure_is_shown(signed_in: Page) -> None:
    page = signed_in
    send_some()
    page.goto("/admin/billable_metrics/billablemetric/add/?event_type=llm.completion")
    preview = page.locator(".ch-preview")
    figure = preview.locator(".ch-preview-figure")
    expect(figure).to_have_text("3 units")
    expect(page.locator("[name=value_property]")).to_be_hidden()

    page.select_option("[name=aggregation]", "sum")
    expect(preview).to_contain_text("Name the property that holds the value")
    page.fill("[name=value_property]", "input_tokens")
    page.fill("[name=unit_plural]", "tokens")
    expect(figure).to_have_text("1,577 tokens")

    page.get_by_role("button", name="Add filter").click()
    page.fill("[name=filters-property]", "model")
    page.fill("[name=filters-values]", "large")
    expect(figure).to_have_text("1,500 tokens")
    expect(preview).to_contain_text("Not met: model is large. Here it is “small”.")
    preview.locator("[name=preview_customer]").fill("nobody")
    expect(preview).to_contain_text("No single customer is “nobody”")
    preview.locator("[name=preview_customer]").fill("acme")
    expect(figure).to_have_text("1,500 tokens")

    page.get_by_role("button", name="Remove this filter").click()
    expect(figure).to_have_text("1,577 tokens")
    page.get_by_role("button", name="Add filter").click()
    page.fill("[name=filters-property]", "model")
    page.select_option("[name=filters-operator]", "exists")
    expect(page.locator("[name=filters-values]")).to_be_hidden()
    page.fill("[name=name]", "Input tokens")
    page.fill("[name=code]", "input_tokens")
    page.click("[name=_save]")

    expect(page.get_by_text("was added successfully")).to_be_visible()
    definition = BillableMetric.objects.get().current_version.definition
    assert definition.value_property == "input_tokens"
    assert definition.filters == (PropertyFilter("model", FilterOperator.EXISTS),)
