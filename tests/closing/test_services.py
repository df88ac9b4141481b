"""Closing: which periods are due, what becomes of them, and that no period is ever closed twice."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection

from apps.closing import services
from apps.closing.models import CloseItem, ItemState, RunState
from apps.closing.selectors import run_progress
from apps.closing.services import (
    NothingToClose,
    close_chunk,
    retry_failed_items,
    start_close_run,
    work_run,
)
from apps.closing.tasks import resume_runs
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.contracts.services import end_contract
from apps.invoices.models import Invoice, InvoiceStatus
from apps.products.models import ChargeModelName, PriceVersion
from apps.rating.values import BillKind
from tests.builders import active_contract, active_contracts, flat_fee, per_unit, published_plan, record_usage
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory, InvoiceFactory

pytestmark = pytest.mark.django_db

DECEMBER_2 = utc(2023, 12, 2)


def close(as_of: dt.datetime = DECEMBER_2, **limits: object) -> int:
    """Run a whole close and return the run's primary key."""
    run = start_close_run(as_of=as_of, **limits)  # type: ignore[arg-type]
    work_run(run_id=run.pk, now=as_of)
    return run.pk


def test_an_ended_period_becomes_one_draft_and_the_next_period_opens() -> None:
    contract = active_contract(published_plan(flat_fee("49.00")))

    close()

    draft = Invoice.objects.get()
    assert (draft.contract, draft.status, draft.number) == (contract, InvoiceStatus.DRAFT, None)
    assert draft.total.amount == Decimal("49.00")
    assert (draft.period_start_at, draft.period_end_at) == (utc(2023, 11, 1), utc(2023, 12, 1))
    assert Contract.objects.get().closed_through == utc(2023, 12, 1)


def test_closing_again_finds_nothing() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    close()

    with pytest.raises(NothingToClose):
        start_close_run(as_of=DECEMBER_2)

    assert Invoice.objects.count() == 1


@pytest.mark.parametrize(
    ("as_of", "wait_for_grace", "is_due"),
    [
        (utc(2023, 11, 30, 23, 59, 59), False, False),
        (utc(2023, 12, 1), False, True),
        (utc(2023, 12, 1, 23, 59, 59), True, False),
        (utc(2023, 12, 2), True, True),
    ],
)
def test_a_period_is_due_after_its_end_and_its_grace_period(
    as_of: dt.datetime, wait_for_grace: bool, is_due: bool
) -> None:
    active_contract(published_plan(flat_fee("49.00")))

    if is_due:
        close(as_of, wait_for_grace=wait_for_grace)
    else:
        with pytest.raises(NothingToClose):
            start_close_run(as_of=as_of, wait_for_grace=wait_for_grace)

    assert Invoice.objects.count() == int(is_due)


def test_several_ended_periods_close_in_order() -> None:
    active_contract(published_plan(flat_fee("49.00")))

    close(utc(2024, 3, 5))

    starts = list(Invoice.objects.order_by("pk").values_list("period_start_at", flat=True))
    assert starts == [utc(2023, 11, 1), utc(2023, 12, 1), utc(2024, 1, 1), utc(2024, 2, 1)]


def test_the_through_day_is_a_day_of_the_contract_s_own_zone() -> None:
    plan = published_plan(flat_fee("49.00"))
    active_contract(plan, customer=CustomerFactory(timezone="America/Los_Angeles"))
    active_contract(plan, customer=CustomerFactory(timezone="Pacific/Auckland"))

    close(utc(2024, 1, 5), through_date=dt.date(2023, 11, 30))

    assert sorted(Invoice.objects.values_list("period_end_at", flat=True)) == [
        utc(2023, 11, 30, 11),
        utc(2023, 12, 1, 8),
    ]


def test_a_period_with_nothing_to_bill_is_closed_without_an_invoice() -> None:
    active_contract(published_plan(flat_fee("0")))

    run_id = close()

    assert CloseItem.objects.get(run=run_id).state == ItemState.NOTHING_TO_BILL
    assert Invoice.objects.count() == 0
    assert Contract.objects.get().closed_through == utc(2023, 12, 1)


def test_a_contract_billed_to_its_end_has_ended() -> None:
    active_contract(published_plan(flat_fee("30.00")), end=dt.date(2023, 11, 16))

    close()

    assert Invoice.objects.get().total.amount == Decimal("15.00")
    assert Contract.objects.get().status == ContractStatus.ENDED


def test_a_contract_that_cannot_be_rated_is_recorded_and_the_rest_goes_on() -> None:
    plan = published_plan(flat_fee("49.00"))
    broken, *_ = active_contracts(plan, 3)
    ContractPhase.objects.filter(contract=broken).update(end_date=dt.date(2023, 11, 20))

    run_id = close()

    failed = CloseItem.objects.get(run=run_id, state=ItemState.FAILED)
    assert failed.contract == broken
    assert failed.error_code == "period_without_plan"
    assert "has no plan for all of 1 Nov 2023 to 30 Nov 2023" in failed.error_detail
    assert Invoice.objects.count() == 2
    assert Contract.objects.get(pk=broken.pk).closed_through == utc(2023, 11, 1)


def test_a_failed_period_holds_up_its_own_later_periods_only() -> None:
    plan = published_plan(flat_fee("49.00"))
    broken, other = active_contracts(plan, 2)
    ContractPhase.objects.filter(contract=broken).update(end_date=dt.date(2023, 11, 20))

    run_id = close(utc(2024, 1, 5))

    codes = list(
        CloseItem.objects.filter(run=run_id, contract=broken).order_by("pk").values_list("error_code", flat=True)
    )
    assert codes == ["period_without_plan", "earlier_period_open"]
    assert Invoice.objects.filter(contract=other).count() == 2


def test_what_failed_is_retried_by_a_new_run_once_it_is_mended(clerk: User) -> None:
    contract = active_contract(published_plan(flat_fee("49.00")))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    first = close()
    ContractPhase.objects.update(end_date=None)

    retry = retry_failed_items(run_id=first, as_of=DECEMBER_2, actor=clerk)
    work_run(run_id=retry.pk, now=DECEMBER_2)

    assert retry.retry_of_id == first
    assert run_progress(retry).invoiced == 1
    assert Invoice.objects.get().contract == contract
    assert CloseItem.objects.get(run=first).state == ItemState.FAILED


def test_the_schedule_leaves_failed_periods_to_the_staff() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    close()

    with pytest.raises(NothingToClose):
        start_close_run(as_of=DECEMBER_2, retry_failed=False)


def test_a_broken_row_fails_alone_and_not_its_chunk() -> None:
    plan = published_plan(flat_fee("49.00"))
    broken, *_ = active_contracts(plan, 3)
    # An invoice that should not be there: the draft of this contract cannot be written.
    InvoiceFactory(contract=broken, period_start_at=utc(2023, 10, 15), period_end_at=utc(2023, 11, 15))

    run_id = close()

    states = dict(CloseItem.objects.filter(run=run_id).values_list("contract_id", "state"))
    assert states.pop(broken.pk) == ItemState.FAILED
    assert set(states.values()) == {ItemState.INVOICED}
    assert Invoice.objects.count() == 3


def test_a_contract_ended_while_a_run_waits_is_billed_to_its_new_end() -> None:
    contract = active_contract(published_plan(flat_fee("30.00")))
    run = start_close_run(as_of=DECEMBER_2)

    end_contract(contract_id=contract.pk, end_date=dt.date(2023, 11, 16))
    work_run(run_id=run.pk, now=DECEMBER_2)

    assert Invoice.objects.get().total.amount == Decimal("15.00")
    assert Invoice.objects.get().period_end_at == utc(2023, 11, 16)


def test_a_run_is_finished_once_every_item_is_settled() -> None:
    active_contracts(published_plan(flat_fee("49.00")), 5)
    run = start_close_run(as_of=DECEMBER_2)

    assert close_chunk(run_id=run.pk, now=DECEMBER_2, chunk_size=2) == 2
    assert (run_progress(run).settled, run_progress(run).total, run_progress(run).percent) == (2, 5, 40)
    work_run(run_id=run.pk, now=DECEMBER_2)

    run.refresh_from_db()
    assert (run.state, run.finished_at, run_progress(run).percent) == (RunState.FINISHED, DECEMBER_2, 100)


def test_a_price_recorded_after_the_run_began_is_not_known_to_it() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    run = start_close_run(as_of=DECEMBER_2)
    price = PriceVersion.objects.get().price
    PriceVersion.objects.create(
        price=price,
        charge_model=ChargeModelName.FLAT,
        recorded_at=DECEMBER_2 + dt.timedelta(seconds=1),
        flat_amount=Decimal(1),
    )

    work_run(run_id=run.pk, now=DECEMBER_2)

    assert Invoice.objects.get().total.amount == Decimal("49.00")


def test_a_period_that_the_contract_s_end_took_away_says_so() -> None:
    contract = active_contract(published_plan(flat_fee("49.00")))
    run = start_close_run(as_of=utc(2024, 1, 5))
    end_contract(contract_id=contract.pk, end_date=dt.date(2023, 12, 1))

    work_run(run_id=run.pk, now=utc(2024, 1, 5))

    codes = list(run.items.order_by("pk").values_list("state", "error_code"))
    assert codes == [(ItemState.INVOICED, ""), (ItemState.FAILED, "contract_has_ended")]


def test_a_period_that_was_made_longer_is_not_closed_before_its_new_end() -> None:
    contract = active_contract(published_plan(flat_fee("30.00")), end=dt.date(2023, 11, 16))
    run = start_close_run(as_of=utc(2023, 11, 20))

    end_contract(contract_id=contract.pk, end_date=dt.date(2024, 1, 1))
    work_run(run_id=run.pk, now=utc(2023, 11, 20))

    assert run.items.get().error_code == "period_has_not_ended"
    assert Invoice.objects.count() == 0
    assert close(DECEMBER_2, retry_failed=False)
    assert Invoice.objects.get().total.amount == Decimal("30.00")


def test_a_retry_leaves_later_periods_to_their_grace_period() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    first = close()
    ContractPhase.objects.update(end_date=None)
    just_after_december = utc(2024, 1, 1, 0, 30)

    retry = retry_failed_items(run_id=first, as_of=just_after_december)
    work_run(run_id=retry.pk, now=just_after_december)

    assert list(Invoice.objects.values_list("period_end_at", flat=True)) == [utc(2023, 12, 1)]


def test_what_was_mended_meanwhile_is_not_retried() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    first = close()
    ContractPhase.objects.update(end_date=None)
    close()

    with pytest.raises(NothingToClose):
        retry_failed_items(run_id=first, as_of=DECEMBER_2)


def test_a_run_waits_for_another_run_that_holds_an_earlier_period() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    november = start_close_run(as_of=DECEMBER_2)
    december = start_close_run(as_of=utc(2024, 1, 5))

    work_run(run_id=december.pk, now=utc(2024, 1, 5))
    december.refresh_from_db()
    assert (december.state, run_progress(december).waiting) == (RunState.RUNNING, 1)
    work_run(run_id=november.pk, now=utc(2024, 1, 5))
    work_run(run_id=december.pk, now=utc(2024, 1, 5))

    december.refresh_from_db()
    assert (december.state, run_progress(december).invoiced) == (RunState.FINISHED, 1)
    assert Invoice.objects.count() == 2


def test_a_run_does_not_wait_for_an_earlier_period_that_failed_elsewhere() -> None:
    active_contract(published_plan(flat_fee("49.00")))
    november = start_close_run(as_of=DECEMBER_2)
    december = start_close_run(as_of=utc(2024, 1, 5))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))

    work_run(run_id=november.pk, now=utc(2024, 1, 5))
    work_run(run_id=december.pk, now=utc(2024, 1, 5))

    assert december.items.get().error_code == "earlier_period_open"


def test_usage_that_the_database_cannot_measure_fails_its_own_contract_only() -> None:
    metric = BillableMetricFactory()
    plan = published_plan(per_unit(metric, "1.00"))
    broken, *others = active_contracts(plan, 3)
    for contract in (broken, *others):
        record_usage(contract.customer, metric, (utc(2023, 11, 5), 666 if contract == broken else 5))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION usage_number(value jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE"
            " AS $$ SELECT 5 / (value::numeric - 666) * 0 + value::numeric $$"
        )

    run_id = close()

    failed = CloseItem.objects.get(run=run_id, state=ItemState.FAILED)
    assert (failed.contract, failed.error_code) == (broken, "unexpected_error")
    assert "division by zero" in failed.error_detail
    assert Invoice.objects.count() == 2


def test_a_run_that_cannot_go_on_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = active_contracts(published_plan(flat_fee("49.00")), 2)
    stuck = start_close_run(as_of=DECEMBER_2, contract_ids=[first.pk])
    other = start_close_run(as_of=DECEMBER_2, contract_ids=[second.pk])

    def stumble(*, run_id: int, now: dt.datetime) -> None:
        if run_id == stuck.pk:
            raise RuntimeError("out of memory")
        work_run(run_id=run_id, now=now)

    monkeypatch.setattr(services, "work_run", stumble)
    resume_runs()

    other.refresh_from_db()
    assert other.state == RunState.FINISHED


@pytest.mark.parametrize(
    ("unit_amount", "used", "said"),
    [
        ("1.00", ["900000000000000000"] * 2, "The quantity of “Input tokens” comes to 1.80E+18"),
        ("1.00", ["10000000000000000"], "The amount of “Input tokens” comes to 1.00E+16"),
        ("0.60", ["9000000000000000"] * 2, "The amount of “Input tokens” comes to 1.08E+16"),
    ],
)
def test_usage_beyond_any_invoice_is_a_failure_that_says_where_to_look(
    unit_amount: str, used: list[str], said: str
) -> None:
    metric = BillableMetricFactory()
    contract = active_contract(published_plan(per_unit(metric, unit_amount)))
    record_usage(contract.customer, metric, *((utc(2023, 11, 5), quantity) for quantity in used))

    run_id = close()

    failed = CloseItem.objects.get(run=run_id)
    assert (failed.state, failed.error_code) == (ItemState.FAILED, "beyond_any_invoice")
    assert failed.error_detail.startswith(said)


# --- Opening bills ----------------------------------------------------------------------------------------------------

IN_ADVANCE = flat_fee("49.00", in_advance=True)


@pytest.mark.parametrize(
    ("as_of", "is_due"), [(utc(2023, 10, 31, 23, 59, 59), False), (utc(2023, 11, 1), True), (utc(2023, 11, 20), True)]
)
def test_an_opening_bill_is_due_from_the_first_day_on_without_grace(as_of: dt.datetime, is_due: bool) -> None:
    active_contract(published_plan(IN_ADVANCE))

    if is_due:
        close(as_of)
    else:
        with pytest.raises(NothingToClose):
            start_close_run(as_of=as_of)

    assert list(Invoice.objects.values_list("kind", flat=True)) == [BillKind.OPENING] * is_due
    assert Contract.objects.get().closed_through == utc(2023, 11, 1)


def test_a_contract_is_opened_once() -> None:
    active_contract(published_plan(IN_ADVANCE))
    close(utc(2023, 11, 1))

    with pytest.raises(NothingToClose):
        start_close_run(as_of=utc(2023, 11, 1, 0, 5))


def test_a_plan_without_fees_in_advance_has_no_opening_bill() -> None:
    active_contract(published_plan(flat_fee("49.00")))

    with pytest.raises(NothingToClose):
        start_close_run(as_of=utc(2023, 11, 1))


def test_a_free_fee_in_advance_makes_no_opening_invoice() -> None:
    active_contract(published_plan(flat_fee("0", in_advance=True)))

    run_id = close(utc(2023, 11, 1))

    assert CloseItem.objects.get(run=run_id).state == ItemState.NOTHING_TO_BILL
    assert Invoice.objects.count() == 0


def test_the_through_day_leaves_out_contracts_that_begin_later() -> None:
    plan = published_plan(IN_ADVANCE)
    for day in (10, 11):
        active_contract(plan, start=dt.date(2023, 11, day))

    close(utc(2023, 11, 15), through_date=dt.date(2023, 11, 10))

    assert Invoice.objects.get().period_start_at == utc(2023, 11, 10)


def test_the_opening_bill_comes_before_the_close_of_its_period() -> None:
    active_contract(published_plan(IN_ADVANCE))

    close()

    kinds = list(Invoice.objects.order_by("pk").values_list("kind", "total"))
    assert kinds == [(BillKind.OPENING, Decimal("49.00")), (BillKind.PERIOD, Decimal("49.00"))]


def test_an_opening_bill_that_failed_is_retried() -> None:
    active_contract(published_plan(IN_ADVANCE))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    first = close(utc(2023, 11, 1))
    ContractPhase.objects.update(end_date=None)

    retry = retry_failed_items(run_id=first, as_of=utc(2023, 11, 2))
    work_run(run_id=retry.pk, now=utc(2023, 11, 2))

    assert Invoice.objects.get().kind == BillKind.OPENING


def test_fees_whose_opening_bill_was_never_made_stand_on_the_first_period_s_invoice() -> None:
    active_contract(published_plan(IN_ADVANCE))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    close(utc(2023, 11, 1))
    ContractPhase.objects.update(end_date=None)

    close(DECEMBER_2, retry_failed=False)

    assert Invoice.objects.get(kind=BillKind.PERIOD).total.amount == Decimal("98.00")
