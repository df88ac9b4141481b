"""What a new price would change: the very amounts that billing would make of it, and nothing stays recorded."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.contracts.grandfathering import grandfather_contract
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, close_open_periods, create_contract, end_contract
from apps.pricing.charge_models.base import Tier
from apps.products.models import BillingTiming, ChargeModelName, PlanVersion, Price, PriceTier, PriceVersion
from apps.products.services import (
    ChargedFor,
    add_price,
    create_plan,
    publish_plan_version,
    schedule_price_version,
)
from apps.products.terms import PriceTerms
from apps.rating.impact import Impact, preview_impact
from apps.rating.services import rate_period
from tests.builders import SET_UP_AT, graduated, published_plan, record_usage
from tests.conftest import utc
from tests.factories import CustomerFactory, ProductFactory
from tests.pages import viewer
from tests.price_changes import change_price, per_call, plan_in_two_currencies

pytestmark = pytest.mark.django_db

NOW = utc(2023, 12, 20)
OCTOBER_1, NOVEMBER_15, DECEMBER_11 = dt.date(2023, 10, 1), dt.date(2023, 11, 15), dt.date(2023, 12, 11)
JANUARY_1 = dt.date(2024, 1, 1)


@pytest.fixture
def plan(tokens: BillableMetric) -> PlanVersion:
    return plan_in_two_currencies(tokens)


def contract_on(plan: PlanVersion, *, currency: str = "USD", start: dt.date = OCTOBER_1, closed: int = 2) -> Contract:
    """An active contract with its first periods closed."""
    contract = create_contract(
        customer=CustomerFactory(), name="Standard", plan_version=plan, start_date=start, currency=currency
    )
    contract = activate_contract(contract_id=contract.pk, now=SET_UP_AT)
    for _ in range(closed):
        assert contract.closed_through is not None
        period = contract.period_at(contract.closed_through)
        assert period is not None
        close_open_periods({contract: period})
    return contract


def use(contract: Contract, metric: BillableMetric, *quantities: tuple[dt.datetime, int]) -> None:
    record_usage(contract.customer, metric, *quantities)


def fee(amount: str) -> PriceTerms:
    return PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount))


def previewed(plan: PlanVersion, amount: str, from_day: dt.date, **changes: Any) -> Impact:
    price = Price.objects.select_related("metric", "product", "plan_version").get(plan_version=plan)
    asked = {"currency": "USD", "terms": per_call(amount), "now": NOW, **changes}
    return preview_impact(price=price, effective_from=from_day, **asked)


def periods_of(impact: Impact) -> list[tuple[int, bool, str, str]]:
    [found] = impact.contracts
    return [(each.period.first_date.month, each.is_closed, str(each.before), str(each.after)) for each in found.periods]


# --- A day that has come ---------------------------------------------------------------------------------------------


def test_a_backdated_change_is_told_for_every_period_since(plan: PlanVersion, tokens: BillableMetric) -> None:
    contract = contract_on(plan)
    use(
        contract,
        tokens,
        (utc(2023, 10, 5), 100),
        (utc(2023, 11, 10), 100),
        (utc(2023, 11, 20), 100),
        (utc(2023, 12, 5), 100),
    )
    impact = previewed(plan, "0.50", NOVEMBER_15)
    # November: 200 at 0.10; with the change 100 at 0.10 and 100 at 0.50. December runs: 100 at 0.10, then at 0.50.
    assert periods_of(impact) == [(11, True, "20.00", "60.00"), (12, False, "10.00", "50.00")]
    assert (impact.before, impact.after, impact.difference) == (Decimal(30), Decimal(110), Decimal(80))
    assert (impact.closed_difference, impact.open_difference) == (Decimal(40), Decimal(40))


def test_what_is_previewed_is_what_is_rated_once_it_is_recorded(tokens: BillableMetric) -> None:
    plan = published_plan(graduated(tokens, ("100", "0.10"), (None, "0.05"), included="7"))
    contract = contract_on(plan)
    use(contract, tokens, (utc(2023, 12, 2), 333), (utc(2023, 12, 15), 71))
    terms = PriceTerms(
        ChargeModelName.GRADUATED,
        included_units=Decimal(11),
        tiers=(Tier(Decimal(50), Decimal("0.37")), Tier(None, Decimal("0.011"))),
    )
    impact = previewed(plan, "0", DECEMBER_11, terms=terms)
    price = Price.objects.get()
    schedule_price_version(price=price, effective_from=DECEMBER_11, terms=terms, now=NOW)
    period = contract.period_at(NOW)
    assert period is not None
    assert impact.after == rate_period(contract=contract, period=period, as_of=NOW).totals.total
    assert impact.after != impact.before


def test_nothing_stays_recorded(plan: PlanVersion, tokens: BillableMetric) -> None:
    use(contract_on(plan), tokens, (utc(2023, 12, 5), 100))
    before = list(PriceVersion.objects.values_list()), PriceTier.objects.count()
    previewed(plan, "0.50", NOVEMBER_15)
    previewed(plan, "0.50", JANUARY_1)
    assert (list(PriceVersion.objects.values_list()), PriceTier.objects.count()) == before


def test_an_ended_contract_counts_for_the_days_that_it_had(plan: PlanVersion, tokens: BillableMetric) -> None:
    contract = contract_on(plan)
    use(contract, tokens, (utc(2023, 11, 20), 100))
    end_contract(contract_id=contract.pk, end_date=dt.date(2023, 12, 1))
    assert periods_of(previewed(plan, "0.50", NOVEMBER_15)) == [(11, True, "10.00", "50.00")]
    assert not previewed(plan, "0.50", DECEMBER_11).contracts


def test_a_fee_in_advance_counts_once_for_each_period() -> None:
    version = create_plan(code="fee", name="Fee", currencies=["USD"])
    charged = ChargedFor(product=ProductFactory(), name="Platform fee", timing=BillingTiming.ADVANCE)
    add_price(plan_version=version, charged=charged, terms=fee("300"), now=SET_UP_AT)
    plan = publish_plan_version(plan_version_id=version.pk, now=SET_UP_AT)
    contract_on(plan)
    impact = previewed(plan, "0", dt.date(2023, 11, 1), terms=fee("360"))
    assert periods_of(impact) == [(11, True, "300.00", "360.00"), (12, False, "300.00", "360.00")]
    typical = previewed(plan, "0", JANUARY_1, terms=fee("360"))
    assert periods_of(typical) == [(11, True, "300.00", "360.00")]


# --- A day to come ---------------------------------------------------------------------------------------------------


def test_a_future_change_is_told_for_the_last_full_closed_period(plan: PlanVersion, tokens: BillableMetric) -> None:
    contract = contract_on(plan)
    use(contract, tokens, (utc(2023, 10, 5), 7), (utc(2023, 11, 10), 100), (utc(2023, 12, 5), 900))
    impact = previewed(plan, "0.50", JANUARY_1)
    assert impact.is_typical
    assert periods_of(impact) == [(11, True, "10.00", "50.00")]


def test_a_typical_period_is_told_at_the_price_that_the_change_replaces(
    plan: PlanVersion, tokens: BillableMetric
) -> None:
    contract = contract_on(plan)
    use(contract, tokens, (utc(2023, 11, 10), 100))
    change_price(plan, "0.20", from_day=dt.date(2023, 12, 1))
    change_price(plan, "0.30", from_day=JANUARY_1)
    # November was billed at 0.10; the day before 1 February has 0.30.
    assert periods_of(previewed(plan, "0.50", dt.date(2024, 2, 1))) == [(11, True, "30.00", "50.00")]


def test_a_period_in_which_the_price_changed_is_not_typical(tokens: BillableMetric) -> None:
    plan = published_plan(graduated(tokens, ("100", "0.10"), (None, "0.05")))
    contract = contract_on(plan)
    use(contract, tokens, (utc(2023, 10, 5), 300), (utc(2023, 11, 10), 999))
    terms = PriceTerms(ChargeModelName.GRADUATED, tiers=(Tier(None, Decimal("0.20")),))
    price = Price.objects.get()
    schedule_price_version(price=price, effective_from=NOVEMBER_15, terms=terms, now=utc(2023, 11, 1))
    impact = previewed(
        plan, "0", JANUARY_1, terms=PriceTerms(ChargeModelName.GRADUATED, tiers=(Tier(None, Decimal(1)),))
    )
    assert periods_of(impact) == [(10, True, "60.00", "300.00")]


def test_a_contract_without_a_full_closed_period_has_nothing_to_go_by(
    plan: PlanVersion, tokens: BillableMetric
) -> None:
    contract_on(plan, start=dt.date(2023, 11, 10), closed=1)
    impact = previewed(plan, "0.50", JANUARY_1)
    assert (impact.contracts, impact.without_period) == ((), 1)


# --- Who is not affected ---------------------------------------------------------------------------------------------


def test_contracts_that_keep_prices_or_are_billed_in_another_currency_are_counted_apart(
    plan: PlanVersion, tokens: BillableMetric
) -> None:
    follows, kept, european = contract_on(plan), contract_on(plan), contract_on(plan, currency="EUR")
    for contract in (follows, kept, european):
        use(contract, tokens, (utc(2023, 12, 5), 100))
    at = utc(2023, 12, 10)
    grandfather_contract(contract_id=kept.pk, at=at, now=at, reason="promised")
    for day in (NOVEMBER_15, JANUARY_1):
        impact = previewed(plan, "0.50", day)
        assert [found.contract for found in impact.contracts] == [follows]
        assert (impact.grandfathered, impact.other_currencies) == (1, {"EUR": 1})


def test_a_contract_that_used_nothing_pays_the_same(plan: PlanVersion, tokens: BillableMetric) -> None:
    used, idle = contract_on(plan), contract_on(plan)
    use(used, tokens, (utc(2023, 12, 5), 100))
    impact = previewed(plan, "0.50", DECEMBER_11 - dt.timedelta(days=10))
    assert [found.contract for found in impact.changed] == [used]
    assert impact.unchanged == 1
    assert idle in [found.contract for found in impact.contracts]


def test_the_largest_difference_comes_first(plan: PlanVersion, tokens: BillableMetric) -> None:
    contracts = [contract_on(plan) for _ in range(3)]
    for contract, quantity in zip(contracts, (100, 900, 500), strict=True):
        use(contract, tokens, (utc(2023, 12, 5), quantity))
    impact = previewed(plan, "0.05", DECEMBER_11 - dt.timedelta(days=10))
    assert [found.difference for found in impact.contracts] == [Decimal(-45), Decimal(-25), Decimal(-5)]


# --- Limits and refusals ---------------------------------------------------------------------------------------------


def test_more_contracts_than_are_rated_are_said(plan: PlanVersion, tokens: BillableMetric) -> None:
    for _ in range(3):
        use(contract_on(plan), tokens, (utc(2023, 12, 5), 100))
    impact = previewed(plan, "0.50", NOVEMBER_15, most_contracts=2)
    assert (len(impact.contracts), impact.not_rated, impact.ran_out_of_time) == (2, 1, False)


def test_a_preview_that_runs_out_of_time_says_what_is_missing(
    plan: PlanVersion, tokens: BillableMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(contract_on(plan), tokens, (utc(2023, 12, 5), 100))
    clock = iter([0.0, 11.0])
    monkeypatch.setattr("apps.rating.impact.time.monotonic", lambda: next(clock))
    impact = previewed(plan, "0.50", NOVEMBER_15)
    assert (impact.contracts, impact.not_rated, impact.ran_out_of_time) == ((), 1, True)


def test_terms_that_cannot_be_recorded_are_refused(plan: PlanVersion) -> None:
    with pytest.raises(InvalidInput):
        previewed(plan, "0.50", NOVEMBER_15, terms=PriceTerms(ChargeModelName.PER_UNIT))


def test_a_preview_costs_the_same_however_many_contracts_there_are(plan: PlanVersion, tokens: BillableMetric) -> None:
    counts: list[int] = []
    for number in (1, 6):
        for _ in range(number):
            use(contract_on(plan), tokens, (utc(2023, 12, 5), 100))
        with CaptureQueriesContext(connection) as taken:
            previewed(plan, "0.50", NOVEMBER_15)
        counts.append(len(taken))
    assert counts[0] == counts[1]


# --- The page's part -------------------------------------------------------------------------------------------------


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def fields(plan: PlanVersion, **changes: Any) -> dict[str, Any]:
    return {
        "price": Price.objects.get(plan_version=plan).pk,
        "charge_model": "per_unit",
        "effective_from": "2023-11-15",
        "currency": "USD",
        "unit_amount": "0.50",
        "per_units": "1",
        "included_units": "",
        "note": "",
        **{f"{name}-{part}": "0" for name in ("tiers", "rows") for part in ("TOTAL_FORMS", "INITIAL_FORMS")},
        **changes,
    }


def test_the_page_shows_who_pays_what_before_and_after(page: Client, plan: PlanVersion, tokens: BillableMetric) -> None:
    contract = contract_on(plan)
    use(contract, tokens, (utc(2023, 11, 20), 100))
    response = page.post(reverse("price-impact"), fields(plan))
    text = response.content.decode()
    for words in (contract.customer.name, "$10.00", "$50.00", "+$40.00", "What was billed stands", "1 – 30 Nov 2023"):
        assert words in text
    assert PriceVersion.objects.filter(price__plan_version=plan).count() == 2


def test_the_page_says_what_is_missing(page: Client, plan: PlanVersion) -> None:
    text = page.post(reverse("price-impact"), fields(plan, unit_amount="")).content.decode()
    assert "Not complete yet" in text


def test_only_those_who_may_price_see_the_impact(client: Client, plan: PlanVersion) -> None:
    client.force_login(viewer("products.plan", "products.priceversion"))
    assert client.post(reverse("price-impact"), fields(plan)).status_code == 403


def test_only_prices_of_published_plans_have_an_impact(page: Client, plan: PlanVersion) -> None:
    assert page.post(reverse("price-impact"), fields(plan, price="0")).status_code == 404
    assert page.get(reverse("price-impact")).status_code == 405
