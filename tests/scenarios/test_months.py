"""Months of one contract, closed one after another: whole invoices, checked by hand."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal

import pytest

from apps.billable_metrics.models import Aggregation, BillableMetric
from apps.closing.services import start_close_run, work_run
from apps.contracts.models import Contract
from apps.invoices.models import Invoice
from apps.invoices.services.issuing import issue_invoice
from apps.pricing.periods import ONE_DAY
from apps.products.models import ChargeModelName
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms
from apps.rating.services import rate_period
from apps.usage.services import EventInput, record_events
from tests.builders import SET_UP_AT, active_contract, flat_fee, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory

pytestmark = pytest.mark.django_db

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
FIRST_DAY = dt.date(2024, 1, 31)


@pytest.fixture
def contract() -> Contract:
    """From 31 January on the last day of each month: a fee of 310, and units at 0.01 of which 100 are free.

    From 15 April on a unit costs 0.02. The customer uses ten units at noon of each day, in Berlin.
    """
    metric: BillableMetric = BillableMetricFactory(
        code="units", event_type="work", aggregation=Aggregation.SUM, value_property="units"
    )
    plan = published_plan(flat_fee("310.00"), per_unit(metric, "0.01", included="100", name="Units"), currency="EUR")
    schedule_price_version(
        price=plan.prices.get(name="Units"),
        effective_from=dt.date(2024, 4, 15),
        terms=PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("0.02"), included_units=Decimal(100)),
        now=SET_UP_AT,
    )
    customer = CustomerFactory(external_id="lumen", timezone="Europe/Berlin")
    record_events(events=[_ten_units_on(FIRST_DAY + number * ONE_DAY) for number in range(150)], api_key_id=None)
    return active_contract(plan, customer=customer, start=FIRST_DAY, anchor_day=31)


def _ten_units_on(day: dt.date) -> EventInput:
    noon = dt.datetime.combine(day, dt.time(12), tzinfo=BERLIN).astimezone(dt.UTC)
    return EventInput("meter", f"day-{day}", "work", "lumen", noon, {"units": 10})


def close_through(day: dt.date) -> None:
    now = dt.datetime.combine(day + 2 * ONE_DAY, dt.time(12), tzinfo=dt.UTC)
    run = start_close_run(as_of=now, through_date=day)
    work_run(run_id=run.pk, now=now)


def paper(invoice: Invoice) -> list[str]:
    """The invoice as a few words a line: its days, each line (name, days, quantity, amount), its total."""
    lines = [
        f"{line.description} {line.share_days}/{line.share_of_days} {line.quantity:.0f} {line.amount.amount:.2f}"
        for line in invoice.lines.all()
    ]
    period = invoice.period
    return [f"{period.first_date} to {period.last_date}", *lines, f"{invoice.total.amount:.2f}"]


def test_four_months_across_a_leap_day_a_clock_change_and_a_price_change(contract: Contract) -> None:
    for last_day in ((2, 28), (3, 30), (4, 29), (5, 30)):
        close_through(dt.date(2024, *last_day))
        issue_invoice(invoice_id=Invoice.objects.drafts().get().pk, issued_at=utc(2024, 6, 1))

    assert [paper(invoice) for invoice in Invoice.objects.order_by("period_start_at")] == [
        ["2024-01-31 to 2024-02-28", "Platform fee 29/29 0 310.00", "Units 29/29 290 1.90", "311.90"],
        ["2024-02-29 to 2024-03-30", "Platform fee 31/31 0 310.00", "Units 31/31 310 2.10", "312.10"],
        [
            "2024-03-31 to 2024-04-29",
            "Platform fee 30/30 0 310.00",
            "Units 15/30 150 1.00",
            "Units 15/30 150 2.00",
            "313.00",
        ],
        ["2024-04-30 to 2024-05-30", "Platform fee 31/31 0 310.00", "Units 31/31 310 4.20", "314.20"],
    ]


def test_what_was_shown_is_what_is_billed(contract: Contract) -> None:
    period = contract.period_at(contract.starts_at)
    assert period is not None
    as_of = utc(2024, 3, 2, 12)
    preview = rate_period(contract=contract, period=period, as_of=as_of)

    close_through(dt.date(2024, 2, 28))

    billed = Invoice.objects.get()
    assert [line.amount for line in preview.lines] == [line.amount.amount for line in billed.lines.all()]
    assert [line.rated.exact_amount for line in preview.lines] == [line.exact_amount for line in billed.lines.all()]
    assert preview.totals.total == billed.total.amount
