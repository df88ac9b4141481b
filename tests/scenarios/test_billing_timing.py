"""Whole lives of contracts: what is billed when, in advance, in arrears, once, and within the period."""

from __future__ import annotations

import calendar
import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.billable_metrics.models import BillableMetric
from apps.closing.models import CloseItem, ItemState
from apps.closing.services import NothingToClose, start_close_run, work_run
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.contracts.services import end_contract
from apps.invoices.after_invoicing import changed_after_invoicing
from apps.invoices.billed import with_billed
from apps.invoices.models import Invoice, InvoiceLine
from apps.invoices.selectors import explain_line
from apps.invoices.services.drafts import refresh_draft
from apps.invoices.services.interim import BilledMeanwhile, NoOpenPeriod, NoUsageToBill, bill_so_far
from apps.invoices.services.issuing import EarlierBillIsDraft, issue_invoice
from apps.pricing.periods import ONE_DAY
from apps.products.models import ChargeModelName, PlanVersion
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms
from apps.rating.services import rate_bill
from apps.rating.values import BillKind, PeriodToRate
from apps.usage.services import ensure_partitions
from tests.builders import (
    PlannedPrice,
    active_contract,
    flat_fee,
    per_unit,
    published_plan,
    record_usage,
)
from tests.conftest import utc
from tests.factories import BillableMetricFactory

pytestmark = pytest.mark.django_db

NOVEMBER_1, DECEMBER_1, JANUARY_1, FEBRUARY_1 = utc(2023, 11, 1), utc(2023, 12, 1), utc(2024, 1, 1), utc(2024, 2, 1)
IN_ADVANCE = flat_fee("300.00", "Platform", in_advance=True)
IN_ARREARS = flat_fee("31.00", "Support")
SET_UP = flat_fee("500.00", "Set-up", one_off=True)
SET_UP_FIRST = flat_fee("500.00", "Set-up", one_off=True, in_advance=True)


def close_at(instant: dt.datetime, *only: Contract) -> None:
    """What the schedule does at that instant, without any grace."""
    contract_ids = [contract.pk for contract in only] or None
    try:
        run = start_close_run(as_of=instant, wait_for_grace=False, contract_ids=contract_ids)
    except NothingToClose:
        return
    work_run(run_id=run.pk, now=instant)
    assert not run.items.filter(state=ItemState.FAILED).exists()


def paper(invoice: Invoice) -> str:
    """The bill in one line: kind, then each line's name, days, amount and what was billed before."""
    lines = []
    for line in invoice.lines.all():
        window = line.window
        before = f" (less {line.billed_before:.2f})" if line.billed_before else ""
        days = f"{window.first_date:%-d.%-m.}-{window.last_date:%-d.%-m.}"
        lines.append(f"{line.description} {days} {line.amount.amount:.2f}{before}")
    return f"{invoice.kind}: {', '.join(lines)}"


def papers() -> list[str]:
    return [paper(invoice) for invoice in Invoice.objects.order_by("pk")]


def reprice(plan: PlanVersion, name: str, amount: str, *, on: dt.date, known_at: dt.datetime) -> None:
    schedule_price_version(
        price=plan.prices.get(name=name),
        effective_from=on,
        terms=PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount)),
        now=known_at,
    )


@dataclass(frozen=True)
class Life:
    """A contract from its plan to its last bill. ``events``: what staff do, and when; closes run on month ends."""

    prices: tuple[PlannedPrice, ...]
    bills: tuple[str, ...]
    start: dt.date = dt.date(2023, 11, 1)
    end: dt.date | None = None
    events: tuple[tuple[dt.datetime, Callable[[Contract, PlanVersion], object]], ...] = ()
    closes: tuple[dt.datetime, ...] = (NOVEMBER_1, DECEMBER_1, JANUARY_1)


def ends(day: dt.date) -> Callable[[Contract, PlanVersion], object]:
    return lambda contract, plan: end_contract(contract_id=contract.pk, end_date=day)


def costs(amount: str, on: dt.date, known_at: dt.datetime) -> Callable[[Contract, PlanVersion], object]:
    return lambda contract, plan: reprice(plan, "Platform", amount, on=on, known_at=known_at)


LIVES = {
    "a fee in arrears": Life(
        (IN_ARREARS,),
        ("period: Support 1.11.-30.11. 31.00", "period: Support 1.12.-31.12. 31.00"),
    ),
    "a fee in advance": Life(
        (IN_ADVANCE,),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Platform 1.12.-31.12. 300.00",
            "period: Platform 1.1.-31.1. 300.00",
        ),
    ),
    "both together": Life(
        (IN_ADVANCE, IN_ARREARS),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Support 1.11.-30.11. 31.00, Platform 1.12.-31.12. 300.00",
            "period: Support 1.12.-31.12. 31.00, Platform 1.1.-31.1. 300.00",
        ),
    ),
    "a one-off fee in arrears": Life(
        (SET_UP, IN_ARREARS),
        (
            "period: Set-up 1.11.-30.11. 500.00, Support 1.11.-30.11. 31.00",
            "period: Support 1.12.-31.12. 31.00",
        ),
    ),
    "a one-off fee in advance": Life(
        (SET_UP_FIRST, IN_ARREARS),
        (
            "opening: Set-up 1.11.-30.11. 500.00",
            "period: Support 1.11.-30.11. 31.00",
            "period: Support 1.12.-31.12. 31.00",
        ),
    ),
    "a start and an end within periods": Life(
        (IN_ADVANCE, SET_UP),
        (
            "opening: Platform 16.11.-30.11. 150.00",
            "period: Set-up 16.11.-30.11. 500.00, Platform 1.12.-31.12. 300.00",
            "period: Platform 1.1.-15.1. 145.16",
        ),
        start=dt.date(2023, 11, 16),
        end=dt.date(2024, 1, 16),
        closes=(utc(2023, 11, 16), DECEMBER_1, JANUARY_1, FEBRUARY_1),
    ),
    "an end within a period billed in advance": Life(
        (IN_ADVANCE, IN_ARREARS),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Support 1.11.-30.11. 31.00, Platform 1.12.-31.12. 300.00",
            "period: Platform 1.12.-10.12. -203.23 (less 300.00), Support 1.12.-10.12. 10.00",
        ),
        events=((utc(2023, 12, 5), ends(dt.date(2023, 12, 11))),),
    ),
    "an end within the first period, of a fee and a one-off fee": Life(
        (IN_ADVANCE, SET_UP_FIRST),
        (
            "opening: Platform 1.11.-30.11. 300.00, Set-up 1.11.-30.11. 500.00",
            "period: Platform 1.11.-15.11. -150.00 (less 300.00)",
        ),
        events=((utc(2023, 11, 10), ends(dt.date(2023, 11, 16))),),
    ),
    "an end on the last day that is closed": Life(
        (IN_ADVANCE,),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Platform 1.12.-31.12. 300.00",
            "period: Platform 1.12.-31.12. -300.00 (less 300.00)",
        ),
        events=((utc(2023, 12, 3), ends(dt.date(2023, 12, 1))),),
        closes=(NOVEMBER_1, DECEMBER_1, utc(2023, 12, 3, 1), JANUARY_1),
    ),
    "a price change backdated into a period billed in advance": Life(
        (IN_ADVANCE,),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Platform 16.11.-30.11. 150.00 (less 150.00), Platform 1.12.-31.12. 600.00",
            "period: Platform 1.1.-31.1. 600.00",
        ),
        events=((utc(2023, 11, 20), costs("600.00", dt.date(2023, 11, 16), utc(2023, 11, 20))),),
    ),
    "a lower price for the whole of a period billed in advance": Life(
        (IN_ADVANCE,),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Platform 1.11.-30.11. -200.00 (less 300.00), Platform 1.12.-31.12. 100.00",
            "period: Platform 1.1.-31.1. 100.00",
        ),
        events=((utc(2023, 11, 20), costs("100.00", dt.date(2023, 11, 1), utc(2023, 11, 20))),),
    ),
    "a price change that is known when it is billed in advance": Life(
        (IN_ADVANCE,),
        (
            "opening: Platform 1.11.-15.11. 150.00, Platform 16.11.-30.11. 300.00",
            "period: Platform 1.12.-31.12. 600.00",
            "period: Platform 1.1.-31.1. 600.00",
        ),
        events=((utc(2023, 10, 20), costs("600.00", dt.date(2023, 11, 16), utc(2023, 10, 20))),),
    ),
    "a contract activated after its first period": Life(
        (IN_ADVANCE, IN_ARREARS),
        (
            "opening: Platform 1.11.-30.11. 300.00",
            "period: Support 1.11.-30.11. 31.00, Platform 1.12.-31.12. 300.00",
        ),
        closes=(utc(2023, 12, 3),),
    ),
}


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES.keys())
def test_what_a_contract_is_billed_month_by_month(life: Life) -> None:
    plan = published_plan(*life.prices)
    contract = active_contract(plan, start=life.start, end=life.end)
    closes: list[tuple[dt.datetime, Callable[[Contract, PlanVersion], object]]] = [
        (instant, lambda *_, at=instant: close_at(at)) for instant in life.closes
    ]
    for _, do in sorted([*life.events, *closes], key=lambda planned: planned[0]):
        do(contract, plan)

    assert papers() == list(life.bills)


def test_a_change_to_another_plan_within_a_period_billed_in_advance_gives_the_rest_back() -> None:
    first = published_plan(IN_ADVANCE, SET_UP_FIRST, code="first")
    second = published_plan(flat_fee("620.00", "Scale", in_advance=True), SET_UP_FIRST, code="second")
    contract = active_contract(first)
    close_at(NOVEMBER_1)
    close_at(DECEMBER_1)
    ContractPhase.objects.filter(contract=contract).update(end_date=dt.date(2023, 12, 11))
    ContractPhase.objects.create(contract=contract, plan_version=second, start_date=dt.date(2023, 12, 11))

    close_at(JANUARY_1)

    assert papers()[-1] == (
        "period: Platform 1.12.-10.12. -203.23 (less 300.00), Scale 11.12.-31.12. 420.00, Scale 1.1.-31.1. 620.00"
    )


def test_a_price_that_the_plan_no_longer_has_for_a_period_is_given_back_on_a_line_of_its_own() -> None:
    contract = active_contract(published_plan(IN_ADVANCE, code="first"))
    close_at(NOVEMBER_1)
    second = published_plan(flat_fee("60.00", "Small", in_advance=True), code="second")
    ContractPhase.objects.filter(contract=contract).update(plan_version=second)

    close_at(DECEMBER_1)

    assert papers()[-1] == (
        "period: Small 1.11.-30.11. 60.00, Small 1.12.-31.12. 60.00, Platform 1.11.-30.11. -300.00 (less 300.00)"
    )
    reversal = InvoiceLine.objects.get(is_reversal=True)
    assert explain_line(reversal).steps == (
        "300.00 USD was billed before on a draft (opening).",
        "It is not charged any more, so it is given back.",
    )


def test_a_contract_that_ended_with_its_last_closed_day_ends_once_its_fees_are_given_back() -> None:
    contract = active_contract(published_plan(IN_ADVANCE))
    close_at(NOVEMBER_1)
    close_at(DECEMBER_1)
    end_contract(contract_id=contract.pk, end_date=dt.date(2023, 12, 1))

    close_at(utc(2023, 12, 3))

    contract.refresh_from_db()
    assert (contract.status, contract.closed_through) == (ContractStatus.ENDED, DECEMBER_1)


# --- Nothing billed twice, none skipped -------------------------------------------------------------------------------

amounts = st.decimals("0.01", "999.99", places=2)
_plan_numbers = count(1)
MONTH_STARTS = [dt.date(2023, 12, 1), dt.date(2024, 1, 1), dt.date(2024, 2, 1), dt.date(2024, 3, 1)]
price_changes = st.tuples(st.dates(dt.date(2023, 11, 1), dt.date(2024, 2, 27)), st.integers(-40, 40), amounts)


@pytest.fixture
def months(db: None) -> None:
    """Partitions made beforehand, for properties that roll back each example."""
    ensure_partitions(dt.date(2023, 10, 1), dt.date(2024, 4, 1))


@settings(max_examples=15)
@given(
    start=st.dates(dt.date(2023, 11, 1), dt.date(2023, 12, 5)),
    fee=amounts,
    changes=st.lists(price_changes, max_size=2, unique_by=lambda change: change[0]),
    ends_after=st.none() | st.integers(1, 90),
    said_late=st.integers(0, 40),
)
def test_over_its_life_a_contract_pays_to_the_cent_what_it_would_in_arrears(
    months: None,
    start: dt.date,
    fee: Decimal,
    changes: list[tuple[dt.date, int, Decimal]],
    ends_after: int | None,
    said_late: int,
) -> None:
    """By line: each window of the fee, cut where its terms change, is rounded once; its bills come to just that.

    A price change becomes known some days before or after its day, an end up to 40 days late; either only counts for
    days that are not closed.
    """
    plan = published_plan(flat_fee(f"{fee}", "Platform", in_advance=True), code=f"plan-{next(_plan_numbers)}")
    contract = active_contract(plan, start=start)
    known: list[tuple[dt.date, Decimal]] = []
    end_said_on = start + (ends_after or 0) * ONE_DAY + said_late * ONE_DAY
    changes_on = {effective + days_late * ONE_DAY for effective, days_late, _ in changes}
    for today in sorted({start, *MONTH_STARTS, *changes_on, end_said_on}):
        if today < start:
            continue
        if today.day == 1 or today == start:
            close_at(midnight(today), contract)
        open_from = closed_to(contract)
        for effective, days_late, amount in changes:
            if today == effective + days_late * ONE_DAY and open_from <= effective:
                reprice(plan, "Platform", f"{amount}", on=effective, known_at=midnight(today))
                known.append((effective, amount))
        if ends_after and today == end_said_on:
            end = max(start + ends_after * ONE_DAY, open_from, start + ONE_DAY)
            end_contract(contract_id=contract.pk, end_date=end)
    close_at(utc(2024, 3, 7), contract)
    contract.refresh_from_db()

    billed = sum((line.amount.amount for line in InvoiceLine.objects.filter(invoice__contract=contract)), Decimal(0))
    assert billed == plain_fees(contract, fee, known)


def midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), tzinfo=dt.UTC)


def closed_to(contract: Contract) -> dt.date:
    contract.refresh_from_db()
    assert contract.closed_through is not None
    return contract.closed_through.date()


def plain_fees(contract: Contract, fee: Decimal, changes: list[tuple[dt.date, Decimal]]) -> Decimal:
    """The fee of every month that is closed and of the running one: by stretches of one price, each rounded once."""
    total, first = Decimal(0), contract.start_date
    end = min(contract.end_date or dt.date.max, dt.date(2024, 4, 1))
    while first < end:
        days_in_month = calendar.monthrange(first.year, first.month)[1]
        next_month = first.replace(day=1) + dt.timedelta(days=days_in_month)
        cuts = {day for day, _ in changes if first < day < min(next_month, end)}
        bounds = sorted({first, *cuts, min(next_month, end)})
        for begin, until in pairwise(bounds):
            amount = max((change for change in changes if change[0] <= begin), default=(None, fee))[1]
            part = amount * (until - begin).days / days_in_month
            total += part.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)
        first = next_month
    return total


# --- Several bills in one period --------------------------------------------------------------------------------------

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "seed_prices.json").read_text())
[SP_050] = [case for case in (GOLDEN["cases"] if isinstance(GOLDEN, dict) else GOLDEN) if case["id"] == "SP-050"]


@pytest.fixture
def calls() -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="calls", event_type="calls", value_property="calls")
    return metric


def golden_contract(calls: BillableMetric) -> Contract:
    price = SP_050["input"]
    overage = per_unit(
        calls, price["unit_amount"], per=int(price["per_units"]), included=price["free_units"], name="Calls"
    )
    return active_contract(published_plan(overage, currency=price["currency"]))


def test_the_golden_plan_billed_in_mid_month_and_at_its_end(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    first, second = map(Decimal, SP_050["input"]["cumulative_quantities"])
    record_usage(contract.customer, calls, (utc(2023, 11, 10), str(first)))
    interim = bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    issue_invoice(invoice_id=interim.pk, issued_at=utc(2023, 11, 15))
    record_usage(contract.customer, calls, (utc(2023, 11, 20), str(second - first)))

    close_at(DECEMBER_1)
    closing = issue_invoice(invoice_id=Invoice.objects.drafts().get().pk, issued_at=DECEMBER_1)

    lines = [InvoiceLine.objects.get(invoice=invoice) for invoice in (interim, closing)]
    assert [f"{line.amount.amount:.2f}" for line in lines] == SP_050["expected"]["line_amounts"]
    assert [line.quantity for line in lines] == [first, second]
    assert (lines[1].billed_before, lines[1].billed_on) == (Decimal("2.00"), [interim.pk])
    number = Invoice.objects.get(pk=interim.pk).number
    assert (
        explain_line(lines[1]).steps[-1] == f"2.00 USD of it was billed before on {number}, so 3.00 USD is billed here."
    )


def test_an_interim_bill_may_be_made_any_number_of_times(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    for day, quantity in ((10, 120_000), (12, 10_000), (14, 20_000)):
        record_usage(contract.customer, calls, (utc(2023, 11, day), quantity))
        bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, day, 12))
    close_at(DECEMBER_1)

    assert papers() == [
        "interim: Calls 1.11.-30.11. 2.00",
        "interim: Calls 1.11.-30.11. 1.00 (less 2.00)",
        "interim: Calls 1.11.-30.11. 2.00 (less 3.00)",
        "period: Calls 1.11.-30.11. 0.00 (less 5.00)",
    ]


def test_an_interim_bill_of_usage_that_was_taken_back_is_negative(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 150_000))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    record_usage(contract.customer, calls, (utc(2023, 11, 11), -20_000))

    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 16))

    assert papers()[-1] == "interim: Calls 1.11.-30.11. -2.00 (less 5.00)"


def test_an_interim_bill_charges_no_fees_and_no_minimum(calls: BillableMetric) -> None:
    with_minimum = PlannedPrice(
        "Calls",
        PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(1), per_units=Decimal(1), minimum=Decimal(50)),
        calls,
    )
    contract = active_contract(published_plan(with_minimum, IN_ARREARS, IN_ADVANCE))
    close_at(NOVEMBER_1)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 10))

    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    close_at(DECEMBER_1)

    assert papers() == [
        "opening: Platform 1.11.-30.11. 300.00",
        "interim: Calls 1.11.-30.11. 10.00",
        "period: Calls 1.11.-30.11. 40.00 (less 10.00), Support 1.11.-30.11. 31.00, Platform 1.12.-31.12. 300.00",
    ]


def test_a_voided_interim_invoice_does_not_count(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 150_000))
    interim = bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    issue_invoice(invoice_id=interim.pk, issued_at=utc(2023, 11, 15))
    Invoice.objects.filter(pk=interim.pk).update(status="void")

    close_at(DECEMBER_1)

    assert papers()[-1] == "period: Calls 1.11.-30.11. 5.00"


def test_usage_that_is_billed_is_not_billed_again(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 150_000))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))

    with pytest.raises(NoUsageToBill):
        bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))


def test_there_is_no_usage_so_far_before_the_first_day(calls: BillableMetric) -> None:
    contract = golden_contract(calls)

    with pytest.raises(NoOpenPeriod):
        bill_so_far(contract_id=contract.pk, as_of=utc(2023, 10, 31))


def test_a_run_that_began_before_an_interim_bill_leaves_the_period_to_the_next(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 120_000))
    run = start_close_run(as_of=DECEMBER_1, wait_for_grace=False)
    record_usage(contract.customer, calls, (utc(2023, 11, 20), 30_000))
    bill_so_far(contract_id=contract.pk, as_of=DECEMBER_1)

    work_run(run_id=run.pk, now=DECEMBER_1)
    assert CloseItem.objects.get().error_code == "billed_meanwhile"
    later = start_close_run(as_of=DECEMBER_1, wait_for_grace=False, retry_failed=False)
    work_run(run_id=later.pk, now=DECEMBER_1)

    assert papers() == ["interim: Calls 1.11.-30.11. 5.00", "period: Calls 1.11.-30.11. 0.00 (less 5.00)"]


def test_a_bill_with_an_earlier_cutoff_than_the_last_is_refused(
    calls: BillableMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 120_000))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    monkeypatch.setattr("apps.invoices.services.interim.settle_cutoff", lambda: utc(2023, 11, 15))

    with pytest.raises(BilledMeanwhile):
        bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))


# --- Around the bills -------------------------------------------------------------------------------------------------


def test_drafts_add_up_in_whatever_order_they_are_refreshed(calls: BillableMetric) -> None:
    plan = published_plan(IN_ADVANCE, per_unit(calls, "1.00", name="Calls"))
    contract = active_contract(plan)
    close_at(NOVEMBER_1)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 10))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    close_at(DECEMBER_1)
    reprice(plan, "Platform", "150.00", on=dt.date(2023, 11, 1), known_at=utc(2023, 12, 2))
    record_usage(contract.customer, calls, (utc(2023, 11, 11), 5))

    for invoice in Invoice.objects.order_by("-pk"):
        refresh_draft(invoice_id=invoice.pk, as_of=utc(2023, 12, 3))

    assert sum(invoice.total.amount for invoice in Invoice.objects.all()) == Decimal("315.00")


def test_a_bill_is_not_issued_before_the_one_it_leaves_out(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 150_000))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    close_at(DECEMBER_1)

    with pytest.raises(EarlierBillIsDraft, match="Interim draft for"):
        issue_invoice(invoice_id=Invoice.objects.get(kind=BillKind.PERIOD).pk, issued_at=DECEMBER_1)


def test_late_usage_is_measured_against_all_bills_of_the_period(calls: BillableMetric) -> None:
    contract = golden_contract(calls)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 120_000))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    record_usage(contract.customer, calls, (utc(2023, 11, 20), 10_000))
    close_at(DECEMBER_1)
    for invoice in Invoice.objects.order_by("pk"):
        issue_invoice(invoice_id=invoice.pk, issued_at=DECEMBER_1)
    record_usage(contract.customer, calls, (utc(2023, 11, 21), 20_000))

    [changed] = changed_after_invoicing(now=utc(2023, 12, 5))

    assert (changed.quantity_difference, changed.amount_difference) == (Decimal(20_000), Decimal("2.00"))


def test_a_preview_shows_what_the_close_will_bill(calls: BillableMetric) -> None:
    contract = active_contract(published_plan(IN_ADVANCE, per_unit(calls, "1.00", name="Calls")))
    close_at(NOVEMBER_1)
    record_usage(contract.customer, calls, (utc(2023, 11, 10), 10))
    bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 15))
    record_usage(contract.customer, calls, (utc(2023, 11, 20), 7))
    period = contract.period_at(NOVEMBER_1)
    assert period is not None
    [bill] = with_billed([PeriodToRate(contract, period)])
    preview = rate_bill(bill, as_of=DECEMBER_1)

    close_at(DECEMBER_1)

    billed = Invoice.objects.get(kind=BillKind.PERIOD)
    assert [line.amount for line in preview.lines] == [line.amount.amount for line in billed.lines.all()]
    assert preview.totals.total == billed.total.amount == Decimal("307.00")
