"""Usage as staff see it: find an event and follow it, put right what is wrong, and match what nobody is billed for."""

from __future__ import annotations

import datetime as dt
import re

import pytest
from django.utils import timezone
from playwright.sync_api import Locator, Page, expect

from apps.billable_metrics.models import BillableMetric
from apps.closing.services import start_close_run, work_run
from apps.contracts.models import Contract
from apps.customers.models import Customer
from apps.invoices.models import Invoice
from apps.invoices.services.issuing import issue_invoices
from apps.usage.services import record_events
from apps.usage_imports.models import UsageImport
from apps.usage_imports.tasks import work_import
from tests.builders import active_contract, per_unit, published_plan
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import event

pytestmark = pytest.mark.django_db(transaction=True)

EVENTS = "/admin/usage/usageevent/"
UNATTRIBUTED = "/admin/usage/unattributed/"


def contract_of_lumen(*, start: dt.date) -> Contract:
    """Lumen pays 10.00 per million input tokens."""
    metric: BillableMetric = BillableMetricFactory(code="input_tokens", name="Input tokens")
    plan = published_plan(per_unit(metric, "10.00", per=1_000_000))
    customer: Customer = CustomerFactory(external_id="lumen", name="Lumen Robotics", timezone="UTC")
    return active_contract(plan, customer=customer, start=start)


def send(event_id: str, tokens: int, *, at: dt.datetime, subject: str = "lumen", model: str = "large") -> None:
    sent = event(event_id, at=at, subject=subject, data={"model": model, "input_tokens": tokens})
    record_events(events=[sent], api_key_id=None)


def number_of_issued_invoice() -> str:
    run = start_close_run(as_of=timezone.now(), wait_for_grace=False)
    work_run(run_id=run.pk, now=timezone.now())
    drafts = list(Invoice.objects.drafts().values_list("pk", flat=True))
    [invoice], _ = issue_invoices(invoice_ids=drafts, issued_at=timezone.now(), actor=None)
    return str(invoice.number)


def find(page: Page, **filters: str) -> Locator:
    """Ask the explorer, by the labels of its fields, and give the rows that it shows."""
    page.goto(EVENTS)
    form = page.get_by_role("form", name="Find events")
    for label, text in filters.items():
        form.get_by_label(label.replace("_", " "), exact=True).fill(text)
    form.get_by_role("button", name="Find").click()
    return page.locator(".ch-events tbody tr")


def row(page: Page, name: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_text(name, exact=True)).last


def action(page: Page, name: str) -> Locator:
    """The button of an action above the page, whose icon is part of what it is called."""
    return page.get_by_role("link", name=re.compile(rf"\b{name}$"))


def confirm(page: Page, button: str) -> None:
    page.locator("#dialog").get_by_role("button", name=button, exact=True).click()


def test_an_event_is_found_followed_to_its_invoice_and_voided(signed_in: Page) -> None:
    page = signed_in
    now = timezone.now()
    last_month = (now.replace(day=1) - dt.timedelta(days=1)).replace(day=1, hour=9, minute=0)
    contract_of_lumen(start=last_month.date())
    send("request-1", 300_000, at=last_month, model="small")
    send("request-2", 500_000, at=last_month)
    number = number_of_issued_invoice()
    send("request-3", 10, at=now)

    expect(find(page, Customer="lumen", Property_of_data="input_tokens", Value="10")).to_have_count(1)
    page.get_by_role("link", name="request-3", exact=True).click()
    expect(row(page, "Billed on")).to_contain_text("Its billing period is not closed yet")

    expect(find(page, Event_ID_or_subject="request-2")).to_have_count(1)
    page.get_by_role("link", name="request-2", exact=True).click()
    expect(row(page, "Received")).to_contain_text("from the source gateway")
    expect(row(page, "Customer")).to_contain_text("Lumen Robotics: the subject “lumen” is its external ID")
    expect(row(page, "Input tokens")).to_contain_text("500,000 tokens")
    expect(row(page, "Priced by")).to_contain_text("Input tokens, $10.00 per 1,000,000 tokens")
    expect(row(page, "Billed on")).to_contain_text(number)

    action(page, "Void").click()
    page.locator("#dialog").get_by_label("Reason").fill("A load test")
    confirm(page, "Void")
    expect(page.get_by_text("The event is voided and counts no more.")).to_be_visible()
    expect(row(page, "Corrected")).to_contain_text("by ana: “A load test”")
    expect(row(page, "Corrected")).to_contain_text("Nothing counts in its place")
    expect(action(page, "Void")).to_have_count(0)

    row(page, "Billed on").get_by_role("link", name="Usage after invoicing").click()
    for figure in ("800,000", "300,000", "-500,000 tokens", "$8.00", "-$5.00"):
        expect(row(page, number)).to_contain_text(figure)
    page.goto("/admin/usage/usagecorrection/")
    page.get_by_role("row", name="A load test").get_by_role("link").first.click()
    expect(page.get_by_role("link", name="request-2", exact=True)).to_be_visible()


def test_a_subject_without_a_customer_is_given_to_one_and_counts_for_it(signed_in: Page) -> None:
    page = signed_in
    now = timezone.now()
    contract = contract_of_lumen(start=now.date().replace(day=1))
    for number in range(3):
        send(f"request-{number}", 1_000_000, at=now, subject="lumen-eu")

    page.goto(UNATTRIBUTED)
    expect(row(page, "lumen-eu").get_by_role("cell", name="3", exact=True)).to_be_visible()
    row(page, "lumen-eu").get_by_role("link", name="Match").click()
    page.get_by_label("Customer: external ID, alias or name").fill("lumen")
    page.get_by_role("button", name="Attribute").click()

    expect(page.get_by_text("3 events of “lumen-eu” now belong to Lumen Robotics.")).to_be_visible()
    expect(page.get_by_text("Every event has its customer")).to_be_visible()
    page.goto(f"/admin/contracts/contract/{contract.pk}/change/")
    expect(page.get_by_role("row", name="Input tokens")).to_contain_text("3,000,000 tokens")
    expect(page.get_by_role("row", name="Input tokens")).to_contain_text("$30.00")


def test_a_file_is_looked_at_and_imported_without_its_faulty_row(signed_in: Page) -> None:
    page = signed_in
    CustomerFactory(external_id="lumen", name="Lumen Robotics")
    at = f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}"
    lines = ["id,source,type,subject,time,data.input_tokens"]
    lines += [f"request-{n},gateway,llm.completion,lumen,{when},100" for n, when in enumerate([at, at, "soon"])]
    file = {"name": "october.csv", "mimeType": "text/csv", "buffer": "\n".join(lines).encode()}

    page.goto("/admin/usage_imports/usageimport/")
    page.get_by_role("link", name="Upload a file").first.click()
    page.set_input_files("[name=file]", file)  # type: ignore[arg-type]
    page.select_option("[name=mapping]", "countinghouse")
    page.get_by_role("button", name="Upload and look at the first rows").click()
    expect(page.get_by_text("1 of the first 3 rows cannot be taken.")).to_be_visible()
    expect(page.get_by_text("time: “soon” is no time with a zone")).to_be_visible()
    expect(page.get_by_text("input_tokens: 100")).to_have_count(3)

    action(page, "Import").click()
    page.locator("#dialog").get_by_label("Rows that cannot be taken").select_option("skip")
    confirm(page, "Import")
    expect(page.get_by_text("Waiting for a worker to take the import up")).to_be_visible()
    work_import(import_id=UsageImport.objects.get().pk)

    expect(page.get_by_text("Rows to mend")).to_be_visible()
    counted = page.locator("#import-progress tbody tr").get_by_role("cell")
    # Read, accepted, unattributed, duplicates, conflicts, rejected. No metric measures the type.
    expect(counted).to_have_text(["3", "2", "2", "0", "0", "1"])
    expect(page.get_by_role("row", name="soon")).to_contain_text("4")


def test_a_type_that_no_metric_measures_leaves_the_list_once_one_is_made(signed_in: Page) -> None:
    page = signed_in
    CustomerFactory(external_id="lumen", name="Lumen Robotics")
    sent = [event(key, at=timezone.now(), type="image.made", subject="lumen", data={"steps": 30}) for key in "ab"]
    record_events(events=sent, api_key_id=None)

    page.goto(UNATTRIBUTED)
    expect(row(page, "image.made")).to_contain_text("steps: 30")
    row(page, "image.made").get_by_role("link", name="New metric").click()
    expect(page.locator("[name=event_type]")).to_have_value("image.made")
    page.fill("[name=name]", "Images")
    page.fill("[name=code]", "images")
    expect(page.locator(".ch-preview-figure")).to_have_text("2 units")
    page.click("[name=_save]")

    expect(page.get_by_text("was added successfully")).to_be_visible()
    page.goto(UNATTRIBUTED)
    expect(page.get_by_text("Every type that was sent so far is measured by a metric")).to_be_visible()
    expect(page.get_by_text("image.made")).to_have_count(0)
