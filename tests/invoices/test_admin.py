"""The invoice pages: what finance sees, may do, and is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from apps.billable_metrics.models import BillableMetric
from apps.closing.services import start_close_run, work_run
from apps.common.errors import BillingError
from apps.contracts.models import Contract
from apps.customers.models import Customer
from apps.invoices.admin import events_url, number_ranges, selection_mark
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.invoices.pdf import pdf_support
from apps.invoices.services import drafts
from apps.usage.services import EventInput, UsageIsArriving, record_events
from tests.builders import active_contract, flat_fee, graduated, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, ContractFactory, CustomerFactory, InvoiceFactory

pytestmark = pytest.mark.django_db

DECEMBER_2 = utc(2023, 12, 2)
needs_pango = pytest.mark.skipif(pdf_support() is not None, reason=str(pdf_support()))


@pytest.fixture
def finance(clerk: User, client: Client) -> Client:
    client.force_login(clerk)
    return client


def used(event_id: str, occurred_at: dt.datetime, tokens: int) -> EventInput:
    return EventInput("gateway", event_id, "llm.completion", "lumen", occurred_at, {"input_tokens": tokens})


@pytest.fixture
def contract() -> Contract:
    """A fee, a graduated charge and an unused one, with three events in November 2023."""
    metric: BillableMetric = BillableMetricFactory(code="input_tokens")
    unused: BillableMetric = BillableMetricFactory(code="output_tokens", value_property="output_tokens")
    plan = published_plan(
        flat_fee("49.00"),
        graduated(metric, ("1000", "0.10"), (None, "0.05"), name="Input tokens"),
        per_unit(unused, "0.20", name="Output tokens"),
    )
    customer: Customer = CustomerFactory(external_id="lumen", name="Lumen Robotics")
    contract = active_contract(plan, customer=customer)
    record_events(
        events=[
            EventInput(
                "gateway", f"request-{day}", "llm.completion", "lumen", utc(2023, 11, day), {"input_tokens": 600}
            )
            for day in (1, 15, 30)
        ],
        api_key_id=None,
    )
    return contract


@pytest.fixture
def draft(contract: Contract) -> Invoice:
    run = start_close_run(as_of=DECEMBER_2, contract_ids=[contract.pk])
    work_run(run_id=run.pk, now=DECEMBER_2)
    return Invoice.objects.get()


def page_of(invoice: Invoice) -> str:
    return reverse("admin:invoices_invoice_change", args=[invoice.pk])


def viewer(client: Client, *permissions: str) -> Client:
    """A staff member who may look, and what else is named."""
    user = User.objects.create_user("viewer", password="a long passphrase", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_invoice", *permissions]))
    client.force_login(user)
    return client


def test_the_list_shows_drafts_and_issued_with_a_fixed_number_of_queries(
    finance: Client, draft: Invoice, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(20):
        InvoiceFactory(contract=ContractFactory(customer__billing_entity=draft.billing_entity))

    with django_assert_max_num_queries(14):
        page = finance.get(reverse("admin:invoices_invoice_changelist")).content.decode()

    assert "Lumen Robotics" in page
    assert "$189.00" in page
    assert "1 – 30 Nov 2023" in page


def test_the_page_of_a_draft_shows_its_lines_and_what_can_be_done(finance: Client, draft: Invoice) -> None:
    page = finance.get(page_of(draft)).content.decode()

    for text in ("Platform fee", "1,800 tokens", "by tier", "$140.00", "$189.00", "Issue", "Refresh", "Explain"):
        assert text in page


def test_a_draft_is_issued_from_its_page(finance: Client, draft: Invoice) -> None:
    answer = finance.post(reverse("admin:invoices_invoice_issue", args=[draft.pk]), {"_form_submitted": "on"})

    assert answer.status_code == 302
    issued = Invoice.objects.get(pk=draft.pk)
    assert (issued.status, issued.number is not None) == (InvoiceStatus.ISSUED, True)


def test_looking_at_the_dialog_issues_nothing(finance: Client, draft: Invoice) -> None:
    page = finance.get(reverse("admin:invoices_invoice_issue", args=[draft.pk])).content.decode()

    assert "can never be changed afterwards" in page
    assert Invoice.objects.get(pk=draft.pk).status == InvoiceStatus.DRAFT


def test_drafts_are_issued_in_bulk(finance: Client, draft: Invoice) -> None:
    others = [InvoiceFactory() for _ in range(2)]

    chosen: dict[str, Any] = {
        "action": "issue_selected",
        "_selected_action": [draft.pk, *(other.pk for other in others)],
    }

    question = finance.post(reverse("admin:invoices_invoice_changelist"), chosen).content.decode()
    assert "Issue 3 drafts" in question
    assert Invoice.objects.drafts().count() == 3

    page = finance.post(
        reverse("admin:invoices_invoice_changelist"),
        {**chosen, "confirmed": selection_mark(chosen["_selected_action"])},
        follow=True,
    ).content.decode()

    assert "3 invoices issued" in page
    assert not Invoice.objects.drafts().exists()


def test_drafts_that_joined_after_the_question_are_asked_about_again(finance: Client, draft: Invoice) -> None:
    everything = {"action": "issue_selected", "_selected_action": [draft.pk], "select_across": "1"}
    InvoiceFactory()

    again = finance.post(
        reverse("admin:invoices_invoice_changelist"), {**everything, "confirmed": selection_mark([draft.pk])}
    ).content.decode()

    assert "Issue 2 drafts" in again
    assert Invoice.objects.drafts().count() == 2


@pytest.mark.parametrize("action", ["issue_selected", "refresh_selected"])
def test_what_is_issued_already_is_left_out_in_bulk(finance: Client, draft: Invoice, action: str) -> None:
    other: Invoice = InvoiceFactory()
    finance.post(reverse("admin:invoices_invoice_issue", args=[other.pk]), {"_form_submitted": "on"})

    page = finance.post(
        reverse("admin:invoices_invoice_changelist"),
        {"action": action, "_selected_action": [draft.pk, other.pk], "confirmed": selection_mark([draft.pk])},
        follow=True,
    ).content.decode()

    assert "1 selected invoice is issued already and cannot change." in page
    assert "1 invoice issued" in page if action == "issue_selected" else "1 draft refreshed" in page


def test_numbers_are_told_series_by_series() -> None:
    assert number_ranges(["NIM-2026-00003", "EU-2026-00004", "NIM-2026-00001", "NIM-2026-00002"]) == (
        "EU-2026-00004 and NIM-2026-00001 to NIM-2026-00003"
    )


def test_a_refreshed_draft_has_the_usage_that_came_in_since(finance: Client, draft: Invoice) -> None:
    late = used("arrived-late", utc(2023, 11, 20), 200)
    record_events(events=[late], api_key_id=None)

    finance.post(reverse("admin:invoices_invoice_refresh", args=[draft.pk]), {"_form_submitted": "on"})

    refreshed = Invoice.objects.get(pk=draft.pk)
    assert refreshed.total.amount == Decimal("199.00")
    assert refreshed.stored_before > draft.stored_before
    assert refreshed.lines.count() == 3


def test_an_issued_invoice_is_not_refreshed(finance: Client, draft: Invoice) -> None:
    finance.post(reverse("admin:invoices_invoice_issue", args=[draft.pk]), {"_form_submitted": "on"})

    answer = finance.post(reverse("admin:invoices_invoice_refresh", args=[draft.pk]), {"_form_submitted": "on"})

    assert answer.status_code == 403
    assert Invoice.objects.get(pk=draft.pk).total == draft.total


def test_a_line_explains_itself(finance: Client, draft: Invoice) -> None:
    line = draft.lines.get(description="Input tokens")

    page = finance.get(reverse("admin:invoices_line_explain", args=[line.pk])).content.decode()

    for text in (
        "1,000 tokens × 0.10 USD",
        "800 tokens × 0.05 USD",
        "140.00 USD",
        "Sum of input_tokens over llm.completion events",
        "1 – 30 Nov 2023 (UTC)",
        "3 events",
    ):
        assert text in page


def test_the_events_of_a_line_are_exactly_those_it_was_rated_with(finance: Client, draft: Invoice) -> None:
    late = used("arrived-late", utc(2023, 11, 20), 200)
    december = used("of-december", utc(2023, 12, 1), 200)
    record_events(events=[late, december], api_key_id=None)
    line = draft.lines.get(description="Input tokens")
    address = events_url(line)
    assert address is not None

    page = finance.get(address).content.decode()

    assert all(f"request-{day}" in page for day in (1, 15, 30))
    assert "arrived-late" not in page
    assert "of-december" not in page
    assert parse_qs(urlsplit(address).query)["stored_before"] == [line.stored_before.isoformat()]


def test_a_recurring_charge_has_no_events(draft: Invoice) -> None:
    assert events_url(draft.lines.get(description="Platform fee")) is None


@needs_pango
def test_the_pdf_of_a_draft_and_the_preview_of_a_contract_open_in_the_browser(
    finance: Client, draft: Invoice, contract: Contract
) -> None:
    paper = finance.get(reverse("admin:invoices_invoice_pdf", args=[draft.pk]))
    preview = finance.get(reverse("admin:invoices_invoice_preview", args=[contract.pk]))

    for answer in (paper, preview):
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
        assert answer.content.startswith(b"%PDF")
    assert Invoice.objects.count() == 1
    assert InvoiceLine.objects.count() == 3


def test_the_contract_page_shows_the_period_so_far(finance: Client, contract: Contract) -> None:
    today = dt.datetime.now(dt.UTC)
    event = EventInput(
        "gateway", "now", "llm.completion", "lumen", today - dt.timedelta(seconds=1), {"input_tokens": 10}
    )
    record_events(events=[event], api_key_id=None)

    page = finance.get(reverse("admin:contracts_contract_change", args=[contract.pk])).content.decode()

    assert "This period so far" in page
    assert "Total so far" in page
    assert "$50.00" in page


def test_a_reader_sees_everything_and_can_change_nothing(client: Client, draft: Invoice) -> None:
    reader = viewer(client)

    page = reader.get(page_of(draft)).content.decode()
    refused = reader.post(reverse("admin:invoices_invoice_issue", args=[draft.pk]), {"_form_submitted": "on"})

    assert "$189.00" in page
    assert reverse("admin:invoices_invoice_issue", args=[draft.pk]) not in page
    assert refused.status_code == 403
    assert Invoice.objects.get(pk=draft.pk).status == InvoiceStatus.DRAFT


@pytest.mark.parametrize("name", ["invoices_invoice_pdf", "invoices_line_explain", "invoices_invoice_preview"])
def test_without_the_permission_no_page_of_an_invoice_opens(client: Client, draft: Invoice, name: str) -> None:
    user = User.objects.create_user("nobody", password="a long passphrase", is_staff=True)
    client.force_login(user)
    ids = {
        "invoices_invoice_pdf": draft.pk,
        "invoices_line_explain": draft.lines.all()[0].pk,
        "invoices_invoice_preview": draft.contract_id,
    }

    assert client.get(reverse(f"admin:{name}", args=[ids[name]])).status_code == 403


def test_nobody_adds_or_deletes_an_invoice_by_hand(finance: Client, draft: Invoice) -> None:
    assert finance.get(reverse("admin:invoices_invoice_add")).status_code == 403
    assert finance.post(reverse("admin:invoices_invoice_delete", args=[draft.pk]), {"post": "yes"}).status_code == 403
    assert Invoice.objects.count() == 1


def test_the_pages_of_contracts_and_close_runs_show_invoices_only_to_those_who_may_see_them(
    client: Client, draft: Invoice
) -> None:
    user = User.objects.create_user("seller", password="a long passphrase", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_contract", "view_closerun"]))
    client.force_login(user)
    run_id = draft.close_items.values_list("run_id", flat=True).get()

    contract_page = client.get(reverse("admin:contracts_contract_change", args=[draft.contract_id])).content.decode()
    run_page = client.get(reverse("admin:closing_closerun_change", args=[run_id])).content.decode()

    assert "This period so far" in contract_page
    assert page_of(draft) not in contract_page
    assert page_of(draft) not in run_page


def test_a_refresh_that_finds_no_safe_cutoff_says_so(
    finance: Client, draft: Invoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise UsageIsArriving

    monkeypatch.setattr(drafts, "settle_cutoff", refuse)

    page = finance.post(
        reverse("admin:invoices_invoice_refresh", args=[draft.pk]), {"_form_submitted": "on"}, follow=True
    ).content.decode()

    assert "no safe cutoff yet" in page


def test_of_many_refusals_in_bulk_only_some_are_told(
    finance: Client, draft: Invoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = [BillingError(f"Draft {number} cannot become issued.") for number in range(23)]
    monkeypatch.setattr("apps.invoices.admin.issue_invoices", lambda **asked: ([], refused))

    page = finance.post(
        reverse("admin:invoices_invoice_changelist"),
        {"action": "issue_selected", "_selected_action": [draft.pk], "confirmed": selection_mark([draft.pk])},
        follow=True,
    ).content.decode()

    assert page.count("cannot become") == 20
    assert "And 3 more could not be issued." in page
