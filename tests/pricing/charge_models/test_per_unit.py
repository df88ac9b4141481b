from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import per_units, quantities, unit_amounts


@pytest.mark.parametrize(
    ("quantity", "unit_amount", "per_units", "exact"),
    [
        ("18059974", "10.00", "1000000", "180.59974"),
        ("1", "10.00", "1000000", "0.00001"),
        ("0", "10.00", "1000000", "0"),
        ("150001", "0.10", "1000", "15.0001"),
        ("5025", "0.36", "60", "30.15"),
        ("12.5", "2.00", "1", "25"),
        ("0.000001", "0.000000000001", "1000000", "0.000000000000000000000001"),
        ("999999999999999999.999999", "999999999.999999999999", "1", "999999999999999999998999000.000000000000000001"),
        # Corrections outweigh usage.
        ("-2500", "0.40", "1000", "-1"),
    ],
)
def test_every_unit_has_the_same_exact_price(quantity: str, unit_amount: str, per_units: str, exact: str) -> None:
    rating = PerUnit(Decimal(unit_amount), Decimal(per_units)).rate(Decimal(quantity))

    assert rating.amount == Decimal(exact)
    assert rating.tiers == ()


def test_an_amount_without_end_keeps_forty_decimals() -> None:
    rating = PerUnit(Decimal("0.10"), Decimal(60)).rate(Decimal(5))

    assert rating.amount == Decimal("0.0083333333333333333333333333333333333333")


def test_a_coarse_surrounding_context_does_not_reach_the_amount() -> None:
    with decimal.localcontext(prec=4):
        rating = PerUnit(Decimal("10.00"), Decimal(1_000_000)).rate(Decimal(18059974))

    assert rating.amount == Decimal("180.59974")


@given(quantities, quantities, unit_amounts)
def test_prices_per_unit_are_additive(one: Decimal, other: Decimal, unit_amount: Decimal) -> None:
    price = PerUnit(unit_amount, Decimal(1000))
    with exact_arithmetic():
        together = price.rate(one + other).amount
        apart = price.rate(one).amount + price.rate(other).amount

    assert together == apart


@given(quantities, quantities, unit_amounts, per_units)
def test_more_never_costs_less(one: Decimal, other: Decimal, unit_amount: Decimal, per: Decimal) -> None:
    price = PerUnit(unit_amount, per)
    smaller, larger = sorted([one, other])

    assert price.rate(smaller).amount <= price.rate(larger).amount


@given(quantities, unit_amounts)
def test_taking_usage_back_gives_back_what_it_cost(quantity: Decimal, unit_amount: Decimal) -> None:
    price = PerUnit(unit_amount)

    assert price.rate(-quantity).amount == price.rate(quantity).amount.copy_negate()


@given(unit_amounts)
def test_a_unit_costs_the_same_in_a_part_of_the_period(unit_amount: Decimal) -> None:
    price = PerUnit(unit_amount)

    assert price.prorate(ShareOfDays(1, 31)) == price


@pytest.mark.parametrize("per_units", ["0", "-1000"])
def test_a_price_is_for_some_units(per_units: str) -> None:
    with pytest.raises(ValueError, match="above zero"):
        PerUnit(Decimal(1), Decimal(per_units))


def test_a_float_is_no_quantity() -> None:
    with pytest.raises(TypeError, match="not float"):
        PerUnit(Decimal(1)).rate(2.5)  # type: ignore[arg-type]
