"""The life of a contract: what each step writes, what is refused, and what the database itself holds fast."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from apps.common.errors import InvalidInput
from apps.contracts.models import Contract, ContractPhase, ContractStatus, IllegalTransition
from apps.contracts.services import (
    ContractIsFixed,
    PeriodIsNotOpen,
    UsageBilledTwice,
    activate_contract,
    change_draft_contract,
    close_open_periods,
    create_contract,
    end_contract,
)
from apps.customers.models import Customer
from apps.pricing.periods import Period, start_of_day
from apps.products.models import PlanVersion
from apps.products.services import archive_plan_version, create_plan
from tests.builders import SET_UP_AT, active_contract, flat_fee, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory
from tests.refusals import fields_of

pytestmark = pytest.mark.django_db

NOVEMBER_1, NOVEMBER_16, DECEMBER_1 = dt.date(2023, 11, 1), dt.date(2023, 11, 16), dt.date(2023, 12, 1)
BERLIN = "Europe/Berlin"


@pytest.fixture
def plan() -> PlanVersion:
    return published_plan(flat_fee("49.00"), currency="EUR", billing_months=3)


@pytest.fixture
def customer() -> Customer:
    entity = BillingEntityFactory(payment_terms_days=30, grace_period_hours=36)
    made: Customer = CustomerFactory(billing_entity=entity, name="Acme", timezone=BERLIN)
    return made


def agreed(customer: Customer, plan: PlanVersion, **changes: Any) -> Contract:
    terms = {"name": "Standard", "start_date": NOVEMBER_1, "plan_version": plan, **changes}
    return create_contract(customer=customer, **terms)


def changed(contract: Contract, plan: PlanVersion, **changes: Any) -> Contract:
    """Change a draft contract to a full set of terms, other in each than those of ``agreed``."""
    terms = {
        "name": "Changed",
        "plan_version": plan,
        "start_date": NOVEMBER_16,
        "end_date": dt.date(2024, 11, 16),
        "billing_anchor_day": 16,
        "timezone": "Asia/Tokyo",
        "payment_terms_days": 7,
        "grace_period_hours": 0,
        "purchase_order": "PO 7",
        **changes,
    }
    return change_draft_contract(contract_id=contract.pk, **terms)


def stored() -> list[list[tuple[Any, ...]]]:
    """Everything that is stored about contracts."""
    return [list(model._default_manager.order_by("pk").values_list()) for model in (Contract, ContractPhase)]


def open_period(contract: Contract) -> Period:
    assert contract.closed_through is not None
    period = contract.period_at(contract.closed_through)
    assert period is not None
    return period


def close_next_period(contract: Contract) -> Period:
    """Close the open period, as a close run does, and return it."""
    period = open_period(contract)
    close_open_periods({contract: period})
    return period


# --- Making and changing a draft --------------------------------------------------------------------------------------


def test_a_contract_begins_as_a_draft_with_one_phase_and_the_terms_of_its_plan(
    customer: Customer, plan: PlanVersion
) -> None:
    contract = agreed(customer, plan, end_date=dt.date(2024, 11, 1))

    assert (contract.status, contract.activated_at, contract.closed_through) == (ContractStatus.DRAFT, None, None)
    assert (contract.currency, contract.billing_months, contract.billing_anchor_day) == ("EUR", 3, 1)
    assert (contract.timezone, contract.last_date) == (BERLIN, dt.date(2024, 10, 31))
    phase = contract.phases.get()
    assert (phase.plan_version, phase.start_date, phase.end_date) == (plan, NOVEMBER_1, dt.date(2024, 11, 1))


def test_the_time_zone_is_the_contract_s_own_once_it_is_made(customer: Customer, plan: PlanVersion) -> None:
    own, inherited = agreed(customer, plan, timezone="Asia/Tokyo"), agreed(customer, plan)
    Customer.objects.update(timezone="UTC")

    assert sorted(Contract.objects.values_list("pk", "timezone")) == [(own.pk, "Asia/Tokyo"), (inherited.pk, BERLIN)]


@pytest.mark.parametrize(
    ("own", "days", "hours"),
    [({}, 30, 36), ({"payment_terms_days": 0, "grace_period_hours": 0}, 0, 0), ({"payment_terms_days": 14}, 14, 36)],
)
def test_what_a_contract_leaves_open_is_as_the_billing_entity_says(
    customer: Customer, plan: PlanVersion, own: dict[str, int], days: int, hours: int
) -> None:
    contract = agreed(customer, plan, **own)

    assert (contract.payment_terms, contract.grace_period) == (dt.timedelta(days=days), dt.timedelta(hours=hours))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"end_date": NOVEMBER_1}, "end_date"),
        ({"end_date": dt.date(2023, 10, 31)}, "end_date"),
        ({"start_date": dt.date(1, 1, 1)}, "start_date"),
        ({"start_date": dt.date(2200, 1, 1)}, "start_date"),
        ({"end_date": dt.date.max}, "end_date"),
        ({"billing_anchor_day": 0}, "billing_anchor_day"),
        ({"billing_anchor_day": 32}, "billing_anchor_day"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"payment_terms_days": 366}, "payment_terms_days"),
        ({"payment_terms_days": -1}, "payment_terms_days"),
        ({"grace_period_hours": 1081}, "grace_period_hours"),
        ({"purchase_order": "x" * 81}, "purchase_order"),
    ],
)
def test_terms_that_cannot_be_are_refused_by_field_and_nothing_changes(
    customer: Customer, plan: PlanVersion, changes: dict[str, Any], field: str
) -> None:
    contract = agreed(customer, plan)
    before = stored()

    attempts: list[Callable[[], object]] = [
        lambda: agreed(customer, plan, **changes),
        lambda: changed(contract, plan, **changes),
    ]
    for attempt in attempts:
        with pytest.raises((InvalidInput, ValidationError)) as refusal:
            attempt()
        assert fields_of(refusal.value) == [field]
        assert stored() == before


def test_a_contract_is_made_on_a_published_plan_only(customer: Customer, plan: PlanVersion) -> None:
    draft = create_plan(code="draft", name="Draft", currencies=["USD"])
    archived = archive_plan_version(plan_version_id=plan.pk)

    for unfit, sentence in [
        (draft, r"Draft v1 .* is draft\. Publish it first\."),
        (archived, r"Plan v1 .* is archived\. It is off sale; choose one that is published\."),
    ]:
        with pytest.raises(InvalidInput, match=sentence) as refusal:
            agreed(customer, unfit)
        assert refusal.value.field == "plan_version"
        assert stored() == [[], []]


def test_a_draft_can_become_another_contract(customer: Customer, plan: PlanVersion) -> None:
    other_plan = published_plan(flat_fee("9.00"), code="other", currency="USD")
    contract = agreed(customer, plan)

    changed(contract, other_plan)

    contract = Contract.objects.get()
    assert (contract.name, contract.currency, contract.billing_months) == ("Changed", "USD", 1)
    assert (contract.start_date, contract.last_date) == (NOVEMBER_16, dt.date(2024, 11, 15))
    assert (contract.billing_anchor_day, contract.timezone, contract.purchase_order) == (16, "Asia/Tokyo", "PO 7")
    assert (contract.payment_terms, contract.grace_period) == (dt.timedelta(days=7), dt.timedelta(0))
    phase = contract.phases.get()
    assert (phase.plan_version, phase.start_date, phase.end_date) == (other_plan, NOVEMBER_16, dt.date(2024, 11, 16))


def test_the_terms_of_an_active_or_ended_contract_stand(plan: PlanVersion) -> None:
    contract = active_contract(plan, end=dt.date(2024, 2, 1))

    for status in (ContractStatus.ACTIVE, ContractStatus.ENDED):
        assert Contract.objects.get().status == status
        before = stored()
        with pytest.raises(ContractIsFixed, match=f"is {status}, so these terms stand") as refusal:
            changed(contract, plan)
        assert refusal.value.code == "contract_is_fixed"
        assert stored() == before
        if status == ContractStatus.ACTIVE:
            close_next_period(contract)


# --- Activation -------------------------------------------------------------------------------------------------------


def test_an_active_contract_opens_its_first_period(customer: Customer, plan: PlanVersion) -> None:
    activated = activate_contract(contract_id=agreed(customer, plan).pk, now=SET_UP_AT)

    contract = Contract.objects.get()
    assert contract == activated
    assert (contract.status, contract.activated_at) == (ContractStatus.ACTIVE, SET_UP_AT)
    assert contract.closed_through == utc(2023, 10, 31, 23)  # Midnight in Berlin.
    assert list(Contract.objects.active()) == [contract]


def test_a_contract_is_activated_once(plan: PlanVersion) -> None:
    contract = active_contract(plan)
    before = stored()

    with pytest.raises(IllegalTransition, match="is active and cannot become active") as refusal:
        activate_contract(contract_id=contract.pk, now=utc(2024, 1, 1))

    assert refusal.value.code == "illegal_transition"
    assert stored() == before


# --- Ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("planned_end", [None, dt.date(2024, 11, 1), dt.date(2023, 11, 10)])
def test_an_active_contract_is_given_another_end(plan: PlanVersion, planned_end: dt.date | None) -> None:
    contract = active_contract(plan, end=planned_end)

    end_contract(contract_id=contract.pk, end_date=DECEMBER_1)

    contract.refresh_from_db()
    assert (contract.status, contract.end_date) == (ContractStatus.ACTIVE, DECEMBER_1)
    assert contract.phases.get().end_date == DECEMBER_1
    assert open_period(contract).last_date == dt.date(2023, 11, 30)


@pytest.mark.parametrize("end_date", [DECEMBER_1, dt.date(2024, 1, 1)])
def test_phases_behind_the_new_end_fall_away_and_the_one_that_runs_is_cut(plan: PlanVersion, end_date: dt.date) -> None:
    contract = active_contract(plan)
    contract.phases.update(end_date=NOVEMBER_16)
    for starts, ends in [(NOVEMBER_16, dt.date(2024, 1, 1)), (dt.date(2024, 1, 1), None)]:
        contract.phases.create(plan_version=plan, start_date=starts, end_date=ends)

    end_contract(contract_id=contract.pk, end_date=end_date)

    assert list(contract.phases.values_list("start_date", "end_date")) == [
        (NOVEMBER_1, NOVEMBER_16),
        (NOVEMBER_16, end_date),
    ]


@pytest.mark.parametrize(
    ("end_date", "sentence"),
    [
        (NOVEMBER_1, "cannot lie before the contract's first day"),
        (dt.date(2022, 1, 1), "cannot lie before the contract's first day"),
        (dt.date(2024, 1, 31), "lies in a period that is closed already"),
        (dt.date(2200, 1, 1), "Enter a day from 1970 to 2199"),
    ],
)
def test_an_end_that_cannot_be_is_refused(plan: PlanVersion, end_date: dt.date, sentence: str) -> None:
    contract = active_contract(plan)
    close_next_period(contract)
    before = stored()

    with pytest.raises(InvalidInput, match=sentence) as refusal:
        end_contract(contract_id=contract.pk, end_date=end_date)

    assert refusal.value.field == "end_date"
    assert stored() == before


def test_only_an_active_contract_is_ended(customer: Customer, plan: PlanVersion) -> None:
    draft = agreed(customer, plan)
    ended = active_contract(plan, customer=customer, end=NOVEMBER_16)
    close_next_period(ended)
    before = stored()

    for contract, status in [(draft, "draft"), (ended, "ended")]:
        with pytest.raises(ContractIsFixed, match=f"is {status}"):
            end_contract(contract_id=contract.pk, end_date=dt.date(2024, 6, 1))
    assert stored() == before


def test_a_contract_that_is_billed_to_its_new_end_has_ended(plan: PlanVersion) -> None:
    contract = active_contract(plan)
    closed = close_next_period(contract)

    ended = end_contract(contract_id=contract.pk, end_date=closed.end_date)

    assert Contract.objects.get().status == ended.status == ContractStatus.ENDED
    assert not Contract.objects.active().exists()


def test_the_end_is_a_day_of_the_contract_s_own_zone(customer: Customer, plan: PlanVersion) -> None:
    contract = active_contract(plan, customer=customer)

    ended = end_contract(contract_id=contract.pk, end_date=NOVEMBER_16)

    assert ended.ends_at == utc(2023, 11, 15, 23)


# --- Closing ----------------------------------------------------------------------------------------------------------


def test_a_closed_period_opens_the_next_until_the_contract_has_ended(plan: PlanVersion) -> None:
    contract = active_contract(plan, start=dt.date(2023, 11, 10), end=dt.date(2024, 6, 1), anchor_day=31)

    closed = []
    while contract.status == ContractStatus.ACTIVE:
        closed.append(close_next_period(contract))
        assert Contract.objects.get().closed_through == closed[-1].end_at

    assert [(period.first_date.isoformat(), period.last_date.isoformat()) for period in closed] == [
        ("2023-11-10", "2024-01-30"),
        ("2024-01-31", "2024-04-29"),
        ("2024-04-30", "2024-05-31"),
    ]
    assert Contract.objects.get().status == ContractStatus.ENDED


def test_no_period_is_closed_twice_or_skipped_or_in_part(plan: PlanVersion) -> None:
    contract = active_contract(plan)
    other = active_contract(plan)
    closed = close_next_period(contract)
    open_one = open_period(contract)
    following = contract.period_at(open_one.end_at)
    assert following is not None
    first_half, _ = open_one.split_at([start_of_day(dt.date(2024, 3, 1), "UTC")])
    before = stored()

    for wrong in (closed, following, first_half):
        with pytest.raises(PeriodIsNotOpen, match="is not the open period of") as refusal, transaction.atomic():
            close_open_periods({Contract.objects.get(pk=other.pk): open_period(other), contract: wrong})
        assert refusal.value.code == "period_is_not_open"
        assert stored() == before


def test_a_period_that_was_cut_by_an_end_meanwhile_is_not_closed_whole(plan: PlanVersion) -> None:
    contract = active_contract(plan)
    rated = open_period(contract)
    end_contract(contract_id=contract.pk, end_date=NOVEMBER_16)
    before = stored()

    with pytest.raises(PeriodIsNotOpen, match="1 Nov 2023 to 31 Jan 2024 is not the open period"):
        close_open_periods({Contract.objects.get(): rated})

    assert stored() == before


def test_many_contracts_are_closed_with_one_statement(plan: PlanVersion, django_assert_num_queries: Any) -> None:
    contracts = [active_contract(plan, name=f"Contract {number}") for number in range(5)]

    with transaction.atomic(), django_assert_num_queries(1):
        close_open_periods({contract: open_period(contract) for contract in contracts})

    assert set(Contract.objects.values_list("closed_through", flat=True)) == {utc(2024, 2, 1)}


# --- What the database holds fast -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_date", "end_date"),
    [
        (NOVEMBER_1, None),
        (dt.date(2023, 10, 1), dt.date(2023, 11, 2)),
        (dt.date(2023, 11, 30), dt.date(2023, 12, 15)),
        (dt.date(2023, 11, 10), dt.date(2023, 11, 11)),
        (dt.date(2023, 1, 1), None),
    ],
)
def test_phases_of_a_contract_never_overlap(plan: PlanVersion, start_date: dt.date, end_date: dt.date | None) -> None:
    contract = active_contract(plan, end=DECEMBER_1)
    before = stored()

    with pytest.raises(IntegrityError, match="phases_of_a_contract_never_overlap"), transaction.atomic():
        contract.phases.create(plan_version=plan, start_date=start_date, end_date=end_date)

    assert stored() == before


def test_phases_may_meet_and_those_of_two_contracts_may_overlap(plan: PlanVersion) -> None:
    contract = active_contract(plan, end=DECEMBER_1)
    other = active_contract(plan)

    contract.phases.create(plan_version=plan, start_date=DECEMBER_1)
    contract.phases.create(plan_version=plan, start_date=dt.date(2023, 10, 1), end_date=NOVEMBER_1)

    assert contract.phases.count() == 3
    assert other.phases.get().start_date == NOVEMBER_1


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("UPDATE contracts_contract SET end_date = start_date", "contract_ends_after_it_starts"),
        ("UPDATE contracts_contractphase SET end_date = start_date", "phase_ends_after_it_starts"),
        ("UPDATE contracts_contract SET closed_through = NULL", "contract_open_period_once_active"),
        ("UPDATE contracts_contract SET status = 'draft'", "contract_open_period_once_active"),
    ],
)
def test_what_makes_no_sense_is_not_stored(plan: PlanVersion, statement: str, constraint: str) -> None:
    active_contract(plan)
    before = stored()

    with pytest.raises(IntegrityError, match=constraint), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)

    assert stored() == before


def test_usage_that_another_active_contract_charges_is_not_billed_twice() -> None:
    metric = BillableMetricFactory()
    customer = CustomerFactory()
    first = active_contract(published_plan(per_unit(metric, "1"), code="first"), customer=customer)
    again = published_plan(per_unit(metric, "2"), code="second")

    with pytest.raises(UsageBilledTwice, match="would bill that usage a second time"):
        active_contract(again, customer=customer, start=dt.date(2023, 11, 15))

    end_contract(contract_id=first.pk, end_date=dt.date(2023, 12, 1))
    second = active_contract(again, customer=customer, start=dt.date(2023, 12, 1))
    with pytest.raises(UsageBilledTwice):
        end_contract(contract_id=first.pk, end_date=dt.date(2024, 1, 1))

    assert Contract.objects.get(pk=first.pk).end_date == dt.date(2023, 12, 1)
    assert Contract.objects.get(pk=second.pk).status == ContractStatus.ACTIVE
