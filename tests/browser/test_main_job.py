"""The main job as a person does it: set up in the admin, usage over HTTP, close, issue, explain, PDF."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, expect
from pytest_django.live_server_helper import LiveServer

from apps.closing.models import CloseRun
from apps.contracts.models import Contract
from apps.invoices.models import Invoice, InvoiceDocument
from apps.invoices.pdf import pdf_support
from tests.conftest import Processes, wait_until
from tests.factories import BillingEntityFactory

pytestmark = pytest.mark.django_db(transaction=True)

TODAY = dt.datetime.now(dt.UTC).date()
LAST_MONTH = (TODAY.replace(day=1) - dt.timedelta(days=1)).replace(day=1)


def choose(page: Page, field: str, typed: str, option: str) -> None:
    """Pick an option of an autocomplete field by typing a part of it."""
    page.locator(f"#id_{field} + .select2").click()
    page.keyboard.type(typed)
    page.get_by_role("option", name=option).first.click()


def save(page: Page) -> None:
    page.click("[name=_save]")
    expect(page.get_by_text("was added successfully")).to_be_visible()


def confirm(page: Page, button: str) -> None:
    """Press the button of the open dialog, which stands beside the action of the same name."""
    page.locator("#dialog").get_by_role("button", name=button, exact=True).click()


def add_metric(page: Page, code: str, name: str, *, summed: bool) -> None:
    page.goto("/admin/billable_metrics/billablemetric/add/")
    page.fill("[name=code]", code)
    page.fill("[name=name]", name)
    page.fill("[name=event_type]", "llm.completion")
    if summed:
        page.select_option("[name=aggregation]", "sum")
        page.fill("[name=value_property]", code)
        page.fill("[name=unit_singular]", "token")
        page.fill("[name=unit_plural]", "tokens")
    save(page)


def open_price_form(page: Page, line: str, model: str, metric: str = "") -> None:
    page.goto("/admin/products/plan/")
    page.get_by_role("link", name="Growth").first.click()
    page.get_by_role("link", name="Add price").first.click()
    choose(page, "product", "Chat", "Chat API")
    page.fill("[name=name]", line)
    page.select_option("[name=charge_model]", model)
    if metric:
        choose(page, "metric", metric, metric)


def set_up_in_the_admin(page: Page) -> None:
    page.goto("/admin/customers/customer/add/")
    page.fill("[name=name]", "Lumen Robotics")
    page.fill("[name=external_id]", "lumen")
    choose(page, "billing_entity", "Nimbus", "Nimbus")
    save(page)

    add_metric(page, "input_tokens", "Input tokens", summed=True)
    add_metric(page, "output_tokens", "Output tokens", summed=True)
    add_metric(page, "calls", "Calls", summed=False)

    page.goto("/admin/products/product/add/")
    page.fill("[name=name]", "Chat API")
    page.fill("[name=code]", "chat")
    save(page)

    page.goto("/admin/products/plan/add/")
    page.fill("[name=name]", "Growth")
    page.fill("[name=code]", "growth")
    expect(page.get_by_label("USD", exact=True)).to_be_checked()
    page.click("[name=_save]")

    open_price_form(page, "Platform fee", "flat")
    page.fill("[name=flat_amount]", "99")
    save(page)
    open_price_form(page, "Output tokens", "per_unit", "Output tokens")
    page.fill("[name=unit_amount]", "30")
    page.fill("[name=per_units]", "1,000,000")
    page.fill("[name=included_units]", "100000")
    save(page)
    open_price_form(page, "Input tokens", "graduated", "Input tokens")
    page.fill("[name=per_units]", "1,000,000")
    page.locator("[name=tiers-up_to]").nth(0).fill("1,000,000")
    page.locator("[name=tiers-unit_amount]").nth(0).fill("10")
    page.locator("[name=tiers-unit_amount]").nth(1).fill("8")
    save(page)

    page.goto("/admin/products/plan/")
    page.get_by_role("link", name="Growth").first.click()
    page.get_by_text("Publish", exact=True).first.click()
    confirm(page, "Publish")
    expect(page.locator(".ch-badge", has_text="Published")).to_be_visible()

    page.goto("/admin/contracts/contract/add/")
    choose(page, "customer", "Lumen", "Lumen Robotics")
    page.fill("[name=name]", "Growth 2026")
    choose(page, "plan_version", "Growth", "Growth")
    page.fill("[name=start_date]", LAST_MONTH.isoformat())
    page.click("[name=_save]")
    page.goto(f"/admin/contracts/contract/{Contract.objects.get().pk}/change/")
    page.get_by_role("link", name="Activate").click()
    confirm(page, "Activate")
    expect(page.locator(".readonly", has_text="Active").first).to_be_visible()


def make_a_key(page: Page) -> str:
    page.goto("/admin/access/apikey/add/")
    page.fill("[name=name]", "Gateway")
    page.get_by_label("Send usage events").check()
    page.get_by_label("Read customers, usage and invoices").check()
    page.click("[name=_save]")
    secret = page.locator("input[readonly]").first.input_value()
    assert secret.startswith("ch_")
    return secret


def send_usage(live_server: LiveServer, key: str) -> None:
    events: list[dict[str, Any]] = [
        {
            "specversion": "1.0",
            "id": f"request-{number}",
            "source": "gateway",
            "type": "llm.completion",
            "subject": "lumen",
            "time": f"{LAST_MONTH.isoformat()}T{number:02d}:30:00Z",
            "data": {"input_tokens": 250_000, "output_tokens": 60_000},
        }
        for number in range(10)
    ]
    answer = requests.post(
        f"{live_server.url}/api/v1/events", json=events, headers={"Authorization": f"Bearer {key}"}, timeout=30
    )
    assert (answer.status_code, answer.headers["Countinghouse-Accepted"]) == (204, "10")


def test_from_set_up_to_the_paper(signed_in: Page, live_server: LiveServer, processes: Processes) -> None:
    page = signed_in
    BillingEntityFactory(name="Nimbus", legal_name="Nimbus AI Inc.", invoice_prefix="NIM")
    set_up_in_the_admin(page)
    key = make_a_key(page)
    send_usage(live_server, key)
    processes.worker()

    page.goto("/admin/closing/closerun/")
    page.get_by_role("link", name="Start a close run").first.click()
    page.locator("#dialog").get_by_label("Wait for the grace period").uncheck()
    confirm(page, "Start")
    expect(page.get_by_text("Progress").first).to_be_visible()
    processes.send("closing.resume_runs")
    wait_until(lambda: CloseRun.objects.get().state == "finished", what=f"the close\n{processes.logs()}")
    expect(page.get_by_text("1 of 1").first).to_be_visible()

    page.get_by_role("link", name="Draft", exact=True).click()
    # 99.00 + 500,000 billable output tokens at 30 per million + 1,000,000 at 10 and 1,500,000 at 8 per million.
    expect(page.get_by_text("$136.00").first).to_be_visible()
    page.get_by_role("link", name=re.compile(r"\bIssue$")).click()
    confirm(page, "Issue")
    expect(page.get_by_text(f"NIM-{TODAY.year}-00001").first).to_be_visible()

    page.get_by_role("row", name="Input tokens").get_by_role("link", name="Explain").click()
    expect(page.get_by_text("1,000,000 tokens × 10.00 USD").first).to_be_visible()
    page.get_by_role("link", name="10 events").click()
    expect(page.get_by_text("request-0", exact=True)).to_be_visible()

    if pdf_support() is None:
        processes.send("invoices.render_documents")
        wait_until(lambda: InvoiceDocument.objects.get().state == "ready", what=f"the PDF\n{processes.logs()}")
        invoice = Invoice.objects.get()
        paper = page.request.get(f"/admin/invoices/invoice/{invoice.pk}/pdf/")
        assert (paper.status, paper.headers["content-type"]) == (200, "application/pdf")
        over_api = requests.get(
            f"{live_server.url}/api/v1/invoices/{invoice.pk}/pdf",
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
        )
        assert over_api.content == paper.body() == bytes(InvoiceDocument.objects.get().content or b"")
