from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import ChargeModel, InvalidPrice, NotRatable, Tier, Usage
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge, PricingUnit, RatedCharge, rate_charge, take_allowance
from apps.pricing.money import exact_arithmetic, round_money
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import (
    currencies,
    decimals,
    exact_amounts,
    failing_usage,
    graduated_prices,
    near_small,
    per_units,
    quantities,
    unit_amounts,
    unit_models,
    wrapped_charges,
)

CALLS = PerUnit(unit_amount=Decimal("0.10"), per_units=Decimal(1000))

models: st.SearchStrategy[ChargeModel] = st.one_of(
    st.builds(Flat, exact_amounts), st.builds(PerUnit, unit_amounts, per_units), graduated_prices
)
charges = st.builds(Charge, model=models, included_units=st.one_of(st.just(Decimal(0)), quantities))
any_quantities = decimals("-100000000", "100000000", 6)


def test_a_rated_charge_tells_each_figure_on_the_way() -> None:
    assert rate_charge(Charge(CALLS, included_units=Decimal(100_000)), Decimal(150_001), "USD") == RatedCharge(
        quantity=Decimal(150_001),
        included_used=Decimal(100_000),
        billable_quantity=Decimal(50_001),
        exact_amount=Decimal("5.0001"),
        amount=Decimal("5.00"),
        currency="USD",
        tiers=(),
    )


@pytest.mark.parametrize(
    ("quantity", "included_used", "billable_quantity"),
    [
        ("0", "0", "0"),
        ("99.5", "99.5", "0"),
        ("100", "100", "0"),
        ("100.000001", "100", "0.000001"),
        ("250", "100", "150"),
        # Corrections outweigh usage: the allowance neither shrinks nor grows.
        ("-20", "0", "-20"),
    ],
)
def test_an_allowance_comes_off_the_quantity(quantity: str, included_used: str, billable_quantity: str) -> None:
    taken = take_allowance(Decimal(quantity), Decimal(100))

    assert taken == (Decimal(included_used), Decimal(billable_quantity))


def test_included_units_do_not_fill_the_first_tier() -> None:
    tiers = (Tier(Decimal(1000), Decimal("0.02")), Tier(None, Decimal("0.01")))

    rated = rate_charge(Charge(Graduated(tiers), included_units=Decimal(500)), Decimal(1800), "USD")

    # 1,300 billable units: 1,000 × 0.02 + 300 × 0.01.
    assert rated.amount == Decimal("23.00")
    assert [charge.quantity for charge in rated.tiers] == [Decimal(1000), Decimal(300)]


def test_tiers_are_added_before_the_line_is_rounded() -> None:
    tiers = (Tier(Decimal(1), Decimal("0.004")), Tier(Decimal(2), Decimal("0.004")), Tier(None, Decimal("0.004")))

    rated = rate_charge(Charge(Graduated(tiers)), Decimal(3), "USD")

    assert (rated.exact_amount, rated.amount) == (Decimal("0.012"), Decimal("0.01"))


@pytest.mark.parametrize(("currency", "amount"), [("USD", "12.35"), ("JPY", "12"), ("KWD", "12.346")])
def test_a_line_is_rounded_to_its_currency(currency: str, amount: str) -> None:
    rated = rate_charge(Charge(PerUnit(Decimal("12.3456"))), Decimal(1), currency)

    assert str(rated.amount) == amount


def test_the_allowance_and_the_model_are_prorated_together() -> None:
    tiers = (Tier(Decimal(1000), Decimal("0.02"), Decimal(6)), Tier(None, Decimal("0.01")))

    prorated = Charge(Graduated(tiers), included_units=Decimal(100_000)).prorate(ShareOfDays(10, 30))

    assert prorated.included_units == Decimal("33333." + 56 * "3")
    assert prorated.model == Graduated(
        (Tier(Decimal("333." + 56 * "3"), Decimal("0.02"), Decimal(2)), Tier(None, Decimal("0.01")))
    )


def test_what_is_left_of_an_allowance_without_end_meets_a_bound_without_end() -> None:
    tiers = (Tier(Decimal(26)), Tier(None, flat_amount=Decimal(100)))
    charge = Charge(Graduated(tiers), included_units=Decimal(34)).prorate(ShareOfDays(10, 30))

    # A third of 34 comes off 20, which leaves a third of 26: the very end of the first tier, and no fee.
    assert rate_charge(charge, Decimal(20), "USD").amount == 0
    assert rate_charge(charge, Decimal("20.000001"), "USD").amount == Decimal("33.33")


def test_a_prorated_allowance_without_end_still_rounds_like_the_true_amount() -> None:
    charge = Charge(PerUnit(Decimal("0.015")), included_units=Decimal(100)).prorate(ShareOfDays(10, 30))

    rated = rate_charge(charge, Decimal(35), "USD")

    # A third of 100 units is free: (35 - 33 1/3) * 0.015 is 0.025, and a digit lost anywhere would round it down.
    assert rated.exact_amount == Decimal("0.025")
    assert rated.amount == Decimal("0.03")


def test_a_negative_allowance_is_refused() -> None:
    with pytest.raises(ValueError, match="zero units or more"):
        Charge(CALLS, included_units=Decimal(-1))


@pytest.mark.parametrize("quantity", [150_001.0, 150_001, "150001"])
def test_only_a_decimal_quantity_is_rated(quantity: object) -> None:
    with pytest.raises(TypeError, match="Decimals"):
        rate_charge(Charge(CALLS), quantity, "USD")  # type: ignore[arg-type]


def test_a_quantity_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        rate_charge(Charge(CALLS), Decimal("NaN"), "USD")


@given(charges, any_quantities, currencies)
def test_every_unit_is_either_included_or_charged(charge: Charge, quantity: Decimal, currency: str) -> None:
    rated = rate_charge(charge, quantity, currency)

    with exact_arithmetic():
        assert rated.included_used + rated.billable_quantity == quantity
    assert 0 <= rated.included_used <= charge.included_units
    assert rated.billable_quantity <= 0 or rated.included_used == charge.included_units


@given(charges, any_quantities, currencies)
def test_the_amount_is_the_exact_amount_rounded_once(charge: Charge, quantity: Decimal, currency: str) -> None:
    rated = rate_charge(charge, quantity, currency)

    assert rated.amount == round_money(rated.exact_amount, currency)
    assert not isinstance(charge.model, Matrix)
    assert rated.exact_amount == charge.model.rate(rated.billable_quantity).amount


@given(models, quantities, quantities, currencies)
def test_an_allowance_is_worth_the_units_it_covers(
    model: ChargeModel, included: Decimal, quantity: Decimal, currency: str
) -> None:
    with exact_arithmetic():
        with_allowance = rate_charge(Charge(model, included), included + quantity, currency)

    assert with_allowance.amount == rate_charge(Charge(model), quantity, currency).amount


@given(models, quantities, quantities, quantities)
def test_a_larger_allowance_never_costs_more(
    model: ChargeModel, one: Decimal, other: Decimal, quantity: Decimal
) -> None:
    smaller, larger = sorted([one, other])

    assert (
        rate_charge(Charge(model, larger), quantity, "USD").amount
        <= rate_charge(Charge(model, smaller), quantity, "USD").amount
    )


@given(wrapped_charges(unit_models), failing_usage(), currencies)
def test_whatever_stands_around_a_model_the_line_is_rounded_once(charge: Charge, usage: Usage, currency: str) -> None:
    try:
        rated = rate_charge(charge, usage, currency)
    except NotRatable:
        return

    assert rated.amount == round_money(rated.exact_amount, currency)
    with exact_arithmetic():
        chargeable = usage.quantity - rated.failures_free if rated.converted is None else rated.converted
        assert rated.included_used + rated.billable_quantity == chargeable
    assert 0 <= rated.failures_free <= usage.failed


@given(unit_models, near_small, near_small)
def test_a_minimum_and_a_maximum_hold(model: ChargeModel, quantity: Decimal, bound: Decimal) -> None:
    try:
        low = rate_charge(Charge(model, minimum=bound), quantity, "USD")
        high = rate_charge(Charge(model, maximum=bound), quantity, "USD")
        free = rate_charge(Charge(model), quantity, "USD")
    except NotRatable:
        return

    assert low.exact_amount == max(bound, free.exact_amount)
    assert high.exact_amount == min(bound, free.exact_amount)
    assert (low.model_amount is None) == (free.exact_amount >= bound)


@pytest.mark.parametrize(
    ("minimum", "maximum", "sentence"),
    [("-1", None, "The minimum is -1"), (None, "-1", "The maximum is -1"), ("5", "4", "is above the maximum")],
)
def test_bounds_that_cannot_be_are_refused(minimum: str | None, maximum: str | None, sentence: str) -> None:
    bounds = [None if bound is None else Decimal(bound) for bound in (minimum, maximum)]

    with pytest.raises(InvalidPrice, match=sentence):
        Charge(CALLS, minimum=bounds[0], maximum=bounds[1])


def test_bounds_and_free_failures_are_prorated_and_a_kept_allowance_is_not() -> None:
    charge = Charge(
        CALLS,
        included_units=Decimal(30),
        prorates_included=False,
        minimum=Decimal(6),
        maximum=Decimal(9),
        free_failures=Decimal(3),
    ).prorate(ShareOfDays(10, 30))

    assert charge.included_units == 30
    assert [charge.minimum, charge.maximum, charge.free_failures] == [2, 3, 1]


def test_credits_are_turned_into_money_before_the_line_is_rounded() -> None:
    credits = PricingUnit("credit", "credits", Decimal("0.005"))

    rated = rate_charge(Charge(PerUnit(Decimal("0.5")), pricing_unit=credits), Decimal(3), "USD")

    assert (rated.priced_amount, rated.exact_amount, rated.amount) == (
        Decimal("1.5"),
        Decimal("0.0075"),
        Decimal("0.01"),
    )
