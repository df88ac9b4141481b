"""The contract page's parts about its bills: the running period as it will be billed, and billing usage so far."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.billable_metrics.models import BillableMetric
from apps.closing.services import start_close_run, work_run
from apps.contracts.models import Contract
from apps.invoices.models import Invoice
from apps.invoices.paper import paper_of
from apps.invoices.running_period import RunningPeriod, rate_running_period
from apps.invoices.services.interim import bill_so_far
from apps.invoices.services.issuing import issue_invoice
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import ChargeModelName, PricingUnit
from apps.products.terms import PriceTerms
from apps.rating.values import BillKind
from apps.usage.services import EventInput, record_events
from tests.builders import PlannedPrice, active_contract, flat_fee, per_unit, published_plan, record_usage
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory

pytestmark = pytest.mark.django_db

IN_ADVANCE = flat_fee("300.00", "Platform", in_advance=True)


@pytest.fixture
def calls() -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(name="Calls", unit_singular="call", unit_plural="calls")
    return metric


@pytest.fixture
def contract(calls: BillableMetric) -> Contract:
    """In its first period as the clock reads, with ten calls so far at a dollar each, and a fee in advance."""
    first_day = timezone.now().date().replace(day=1)
    plan = published_plan(IN_ADVANCE, per_unit(calls, "1.00", name="Calls"))
    found = active_contract(plan, start=first_day, customer=CustomerFactory(name="Lumen"))
    record_usage(found.customer, calls, (timezone.now() - dt.timedelta(seconds=1), 10))
    return found


@pytest.fixture
def finance(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def bill_url(contract: Contract) -> str:
    return reverse("admin:invoices_bill_so_far", args=[contract.pk])


def page_of(client: Client, contract: Contract) -> str:
    return client.get(reverse("admin:contracts_contract_change", args=[contract.pk])).content.decode()


def close_at(instant: dt.datetime) -> None:
    run = start_close_run(as_of=instant, wait_for_grace=False)
    work_run(run_id=run.pk, now=instant)


def test_staff_see_the_usage_so_far_and_make_a_draft_of_it(finance: Client, contract: Contract) -> None:
    asked = finance.get(bill_url(contract)).content.decode()
    assert "Make the draft" in asked
    assert "$10.00" in asked

    answer = finance.post(bill_url(contract))

    draft = Invoice.objects.get()
    assert (draft.kind, draft.total.amount) == (BillKind.INTERIM, Decimal("10.00"))
    assert answer["Location"] == reverse("admin:invoices_invoice_change", args=[draft.pk])


def test_the_usage_so_far_of_a_matrix_is_named_by_its_rows_and_told_in_its_credits(finance: Client) -> None:
    metric: BillableMetric = BillableMetricFactory(code="tokens", name="Tokens", group_by=("model",))
    unit = PricingUnit.objects.create(code="credit", singular="credit", plural="credits")
    rows = (MatrixRow(("gpt-4",), Decimal("0.50")), MatrixRow((None,), Decimal("0.25")))
    terms = PriceTerms(
        ChargeModelName.MATRIX, dimensions=("model",), rows=rows, pricing_unit_rate=Decimal("2"), minimum=Decimal(1000)
    )
    plan = published_plan(PlannedPrice("Tokens", terms, metric, pricing_unit=unit))
    start = timezone.now().date().replace(day=1)
    contract = active_contract(plan, start=start, customer=CustomerFactory(external_id="by-model"))
    used_at = timezone.now() - dt.timedelta(seconds=1)
    uses = [
        EventInput("gateway", model, "llm.completion", "by-model", used_at, {"input_tokens": 10, "model": model})
        for model in ("gpt-4", "haiku")
    ]
    record_events(events=uses, api_key_id=None)

    for page in (finance.get(bill_url(contract)).content.decode(), page_of(finance, contract)):
        assert "Tokens: gpt-4" in page
        assert "Tokens: all other usage" in page
        assert "5 credits" in page
        assert "2.5 credits" in page


def test_what_is_billed_already_is_told_and_not_billed_again(finance: Client, contract: Contract) -> None:
    bill_so_far(contract_id=contract.pk, as_of=timezone.now())

    asked = finance.get(bill_url(contract)).content.decode()
    answer = finance.post(bill_url(contract), follow=True).content.decode()

    assert "Nothing is left to bill" in asked
    assert "has no usage left to bill" in answer
    assert Invoice.objects.count() == 1


def test_the_button_is_for_those_who_may_issue(client: Client, contract: Contract) -> None:
    reader = User.objects.create_user("reader", password="a long passphrase", is_staff=True)
    client.force_login(reader)

    assert client.post(bill_url(contract)).status_code == 403
    assert Invoice.objects.count() == 0


def test_the_contract_page_leads_to_the_bill_and_names_what_was_billed(finance: Client, contract: Contract) -> None:
    bill_so_far(contract_id=contract.pk, as_of=timezone.now())

    page = page_of(finance, contract)

    assert bill_url(contract) in page
    assert "$10.00 in all, $10.00 billed before" in page
    assert "Usage so far of" in page


def test_a_contract_s_page_tells_of_the_opening_invoice_to_come(finance: Client, contract: Contract) -> None:
    assert "On the opening invoice, drafted on the first day: Platform $300.00." in page_of(finance, contract)


def running(contract: Contract, at: dt.datetime) -> RunningPeriod:
    contract.refresh_from_db()
    period = contract.period_at(at)
    assert period is not None
    return rate_running_period(contract, period, as_of=at)


@pytest.mark.parametrize("is_opened", [False, True])
def test_the_running_period_counts_the_opening_bill_before_and_after_it_is_made(is_opened: bool) -> None:
    contract = active_contract(published_plan(IN_ADVANCE))
    if is_opened:
        close_at(utc(2023, 11, 1))

    shown = running(contract, utc(2023, 11, 15))

    assert [(line.window.first_date.month, line.amount) for line in shown.rated.lines] == [(12, Decimal("300.00"))]
    assert (shown.in_advance is None) == is_opened


def test_the_running_period_counts_what_the_close_of_the_one_before_will_bill() -> None:
    contract = active_contract(published_plan(IN_ADVANCE))
    close_at(utc(2023, 11, 1))

    shown = running(contract, utc(2023, 12, 1, 12))

    assert [(line.window.first_date.month, line.amount) for line in shown.rated.lines] == [(1, Decimal("300.00"))]
    assert shown.in_advance is not None


def test_each_kind_of_invoice_says_on_paper_what_it_is_for(calls: BillableMetric) -> None:
    contract = active_contract(published_plan(IN_ADVANCE, per_unit(calls, "1.00", name="Calls")))
    close_at(utc(2023, 11, 1))
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 10))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    record_usage(contract.customer, calls, (utc(2023, 11, 20), 5))
    close_at(utc(2023, 12, 1))
    for invoice in Invoice.objects.order_by("pk"):
        issue_invoice(invoice_id=invoice.pk, issued_at=utc(2023, 12, 1))

    opening, interim, closing = [paper_of(invoice) for invoice in Invoice.objects.order_by("pk")]

    labels = [paper.facts[2].label for paper in (opening, interim, closing)]
    assert labels == ["In advance for", "Usage so far of", "Service period"]
    notes = {line.description: line.notes for group in closing.groups for line in group.lines}
    assert notes == {
        "Calls": (f"$15.00 in all, $10.00 billed before on {interim.number}",),
        "Platform": ("1 – 31 Dec 2023, in advance",),
    }
