"""Contracts that keep the prices of a day: what they pay, from when, and what is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User

from apps.audit.selectors import recent_changes
from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.contracts.grandfathering import (
    ContractHasEnded,
    follow_list_prices,
    grandfather_all,
    grandfather_contract,
)
from apps.contracts.models import Contract, ContractPhase
from apps.contracts.services import (
    activate_contract,
    change_draft_contract,
    close_open_periods,
    create_contract,
    end_contract,
)
from apps.products.models import PlanVersion
from apps.rating.services import rate_period
from tests.builders import active_contract, flat_fee, published_plan, record_usage
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.price_changes import change_price, plan_in_two_currencies
from tests.refusals import fields_of

pytestmark = pytest.mark.django_db

NOVEMBER_25, KNOWN_AT = utc(2023, 11, 25), utc(2024, 6, 1)
LOYAL = "loyalty agreement"


@pytest.fixture
def calls(db: None) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(name="Calls")
    return metric


@pytest.fixture
def plan(calls: BillableMetric) -> PlanVersion:
    return plan_in_two_currencies(calls)


def contract_on(plan: PlanVersion, *, currency: str = "USD", start: dt.date = dt.date(2023, 10, 1)) -> Contract:
    contract = create_contract(
        customer=CustomerFactory(), name="Standard", plan_version=plan, start_date=start, currency=currency
    )
    return activate_contract(contract_id=contract.pk, now=utc(2023, 10, 1))


def keep(contract: Contract, at: dt.datetime = NOVEMBER_25, **changes: object) -> Contract:
    fields = {"now": NOVEMBER_25, "reason": LOYAL, **changes}
    return grandfather_contract(contract_id=contract.pk, at=at, **fields)  # type: ignore[arg-type]


def close_through(contract: Contract, until: dt.datetime) -> None:
    while contract.closed_through is not None and contract.closed_through < until:
        period = contract.period_at(contract.closed_through)
        assert period is not None
        close_open_periods({contract: period})


def amount_in(contract: Contract, month: int, year: int = 2023, *, as_of: dt.datetime = KNOWN_AT) -> Decimal:
    period = contract.period_at(utc(year, month, 15))
    assert period is not None
    return rate_period(contract=contract, period=period, as_of=as_of).totals.total


def phases_of(contract: Contract) -> list[tuple[dt.date, dt.date | None, bool]]:
    return [
        (phase.start_date, phase.end_date, phase.grandfathered_at is not None)
        for phase in contract.phases.order_by("start_date")
    ]


def use_100(contract: Contract, calls: BillableMetric, *days: dt.datetime) -> None:
    record_usage(contract.customer, calls, *((day, 100) for day in days))


# --- What is paid ----------------------------------------------------------------------------------------------------


def test_a_kept_price_is_paid_after_the_list_price_has_changed(plan: PlanVersion, calls: BillableMetric) -> None:
    kept, follows = contract_on(plan), contract_on(plan)
    for contract in (kept, follows):
        use_100(contract, calls, utc(2024, 1, 10))
    keep(kept)
    change_price(plan, "0.50", from_day=dt.date(2024, 1, 1), now=utc(2023, 11, 26))
    assert amount_in(kept, 1, 2024) == Decimal("10.00")
    assert amount_in(follows, 1, 2024) == Decimal("50.00")


def test_a_price_that_was_scheduled_before_is_not_followed_either(plan: PlanVersion, calls: BillableMetric) -> None:
    contract = contract_on(plan)
    use_100(contract, calls, utc(2024, 1, 10))
    change_price(plan, "0.50", from_day=dt.date(2024, 1, 1))
    keep(contract)
    assert amount_in(contract, 1, 2024) == Decimal("10.00")


def test_days_before_the_kept_day_are_paid_as_the_list_was(plan: PlanVersion, calls: BillableMetric) -> None:
    contract = contract_on(plan)
    close_through(contract, utc(2023, 11, 1))
    use_100(contract, calls, utc(2023, 11, 5), utc(2023, 11, 28))
    change_price(plan, "0.50", from_day=dt.date(2023, 11, 15), now=utc(2023, 11, 1))
    keep(contract)
    # 100 at 0.10 before the change of 15 November, 100 at the 0.50 that are kept.
    assert amount_in(contract, 11) == Decimal("60.00")
    assert phases_of(contract) == [(dt.date(2023, 10, 1), None, True)]


def test_a_backdated_change_recorded_later_does_not_reach_a_contract_that_keeps_its_prices(
    plan: PlanVersion, calls: BillableMetric
) -> None:
    contract = contract_on(plan)
    use_100(contract, calls, utc(2023, 11, 5))
    keep(contract)
    change_price(plan, "0.50", from_day=dt.date(2023, 11, 1), now=utc(2023, 11, 26))
    assert amount_in(contract, 11) == Decimal("10.00")


def test_a_contract_keeps_prices_in_its_own_currency(plan: PlanVersion, calls: BillableMetric) -> None:
    contract = contract_on(plan, currency="EUR")
    use_100(contract, calls, utc(2024, 1, 10))
    keep(contract)
    change_price(plan, "0.50", from_day=dt.date(2024, 1, 1), currency="EUR", now=utc(2023, 11, 26))
    assert amount_in(contract, 1, 2024) == Decimal("9.00")


def test_prices_of_an_earlier_day_are_kept_from_the_open_period_on(plan: PlanVersion, calls: BillableMetric) -> None:
    contract = contract_on(plan)
    use_100(contract, calls, utc(2023, 10, 20), utc(2023, 11, 5))
    change_price(plan, "0.50", from_day=dt.date(2023, 10, 10), now=utc(2023, 10, 5))
    close_through(contract, utc(2023, 11, 1))
    keep(contract, utc(2023, 10, 4))
    # October is billed at 0.50 and stands; November has the price of 4 October.
    assert (amount_in(contract, 10), amount_in(contract, 11)) == (Decimal("50.00"), Decimal("10.00"))
    assert phases_of(contract) == [
        (dt.date(2023, 10, 1), dt.date(2023, 11, 1), False),
        (dt.date(2023, 11, 1), None, True),
    ]


def test_a_rating_as_of_an_earlier_day_knows_nothing_of_later_prices(plan: PlanVersion, calls: BillableMetric) -> None:
    contract = contract_on(plan)
    use_100(contract, calls, utc(2023, 11, 22))
    change_price(plan, "0.50", from_day=dt.date(2023, 11, 21), now=utc(2023, 11, 22))
    keep(contract)
    assert amount_in(contract, 11, as_of=utc(2023, 11, 21)) == Decimal("10.00")


def test_following_again_begins_with_the_open_period(plan: PlanVersion, calls: BillableMetric) -> None:
    contract = contract_on(plan)
    use_100(contract, calls, utc(2023, 12, 5), utc(2024, 1, 5))
    keep(contract)
    change_price(plan, "0.50", from_day=dt.date(2023, 12, 1), now=utc(2023, 11, 26))
    close_through(contract, utc(2024, 1, 1))
    follow_list_prices(contract_id=contract.pk, reason="new agreement")
    assert (amount_in(contract, 12), amount_in(contract, 1, 2024)) == (Decimal("10.00"), Decimal("50.00"))


# --- Drafts and plans ------------------------------------------------------------------------------------------------


def test_a_draft_can_keep_prices_from_its_first_day(plan: PlanVersion, calls: BillableMetric) -> None:
    draft = create_contract(
        customer=CustomerFactory(), name="2024", plan_version=plan, start_date=dt.date(2024, 1, 1), currency="USD"
    )
    use_100(draft, calls, utc(2024, 1, 10))
    keep(draft)
    change_price(plan, "0.50", from_day=dt.date(2023, 12, 1), now=utc(2023, 11, 26))
    assert amount_in(draft, 1, 2024) == Decimal("10.00")


def test_a_draft_that_keeps_prices_is_not_moved_to_a_plan_that_had_none_then(plan: PlanVersion) -> None:
    draft = create_contract(
        customer=CustomerFactory(), name="2024", plan_version=plan, start_date=dt.date(2024, 1, 1), currency="USD"
    )
    keep(draft)
    newer = published_plan(flat_fee("5"), code="newer")
    PlanVersion.objects.filter(pk=newer.pk).update(published_at=utc(2023, 12, 1))
    newer.refresh_from_db()
    with pytest.raises(InvalidInput, match="was published after that") as refusal:
        change_draft_contract(
            contract_id=draft.pk,
            name="2024",
            plan_version=newer,
            start_date=dt.date(2024, 1, 1),
            end_date=None,
            billing_anchor_day=1,
            timezone="UTC",
            payment_terms_days=None,
            grace_period_hours=None,
            purchase_order="",
        )
    assert fields_of(refusal.value) == ["plan_version"]
    assert draft.phases.get().plan_version == plan


# --- All contracts of a plan -----------------------------------------------------------------------------------------


def test_all_contracts_that_follow_a_plan_keep_todays_prices(plan: PlanVersion, calls: BillableMetric) -> None:
    first, second, earlier = contract_on(plan), contract_on(plan, currency="EUR"), contract_on(plan)
    other = active_contract(published_plan(flat_fee("5"), code="other"))
    over = contract_on(plan)
    end_contract(contract_id=over.pk, end_date=dt.date(2023, 11, 1))
    close_through(Contract.objects.get(pk=over.pk), utc(2023, 11, 1))
    keep(earlier, utc(2023, 10, 4), reason="promised")

    number = grandfather_all(plan_version_id=plan.pk, at=NOVEMBER_25, now=NOVEMBER_25, reason=LOYAL)

    assert number == 2
    kept = dict(ContractPhase.objects.values_list("contract", "grandfather_reason"))
    assert kept == {first.pk: LOYAL, second.pk: LOYAL, earlier.pk: "promised", other.pk: "", over.pk: ""}


def test_keeping_prices_for_all_costs_the_same_however_many_they_are(
    plan: PlanVersion, django_assert_max_num_queries: object
) -> None:
    for _ in range(12):
        contract_on(plan)
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        assert grandfather_all(plan_version_id=plan.pk, at=NOVEMBER_25, now=NOVEMBER_25, reason=LOYAL) == 12


# --- Refusals and history --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "reason", "field"),
    [
        (utc(2023, 11, 26), LOYAL, "at"),  # the future
        (utc(2023, 9, 30), LOYAL, "at"),  # before the plan was published
        (NOVEMBER_25, "  ", "reason"),
        (NOVEMBER_25, "x" * 201, "reason"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_nothing_changes(
    plan: PlanVersion, at: dt.datetime, reason: str, field: str
) -> None:
    contract = contract_on(plan)
    with pytest.raises(InvalidInput) as refusal:
        keep(contract, at, reason=reason)
    assert fields_of(refusal.value) == [field]
    assert phases_of(contract) == [(dt.date(2023, 10, 1), None, False)]


def test_an_ended_contract_keeps_nothing(plan: PlanVersion) -> None:
    contract = contract_on(plan)
    close_through(contract, utc(2023, 11, 1))
    end_contract(contract_id=contract.pk, end_date=dt.date(2023, 11, 1))
    with pytest.raises(ContractHasEnded):
        keep(contract)
    with pytest.raises(ContractHasEnded):
        follow_list_prices(contract_id=contract.pk, reason="again")
    assert contract.phases.get().grandfathered_at is None


def test_a_contract_that_follows_cannot_be_told_to_follow(plan: PlanVersion) -> None:
    with pytest.raises(InvalidInput, match="follows the list prices already"):
        follow_list_prices(contract_id=contract_on(plan).pk, reason="again")


def test_the_history_says_who_kept_the_prices_and_why(plan: PlanVersion, clerk: User) -> None:
    contract = contract_on(plan)
    keep(contract, actor=clerk)
    follow_list_prices(contract_id=contract.pk, reason="new agreement", actor=clerk)
    newest, before, *_ = recent_changes(tracked_model=ContractPhase, limit=2)
    assert [(change.actor, change.reason) for change in (newest, before)] == [
        (clerk, "new agreement"),
        (clerk, LOYAL),
    ]
