"""Credits burned, balances drawn, thresholds passed, unit prices and margins."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.burn_table import CreditBurn, burn_credits, credits_for
from apps.pricing.charge_models.base import InvalidPrice, NotRatable
from apps.pricing.margin import margin_of
from apps.pricing.prepaid import PrepaidDraw, draw_prepaid
from apps.pricing.thresholds import thresholds_passed, thresholds_reached
from apps.pricing.unit_prices import effective_unit_price, round_to_decimals
from tests.pricing.strategies import near_small, rounded_amounts

BURN_TABLE = {"call": Decimal(1), "image": Decimal(10), "video_minute": Decimal(50)}
money = rounded_amounts(2).map(abs)


def test_usage_burns_credits_by_the_table() -> None:
    assert credits_for({"call": Decimal(5), "video_minute": Decimal("2.5")}, BURN_TABLE) == 130


def test_usage_that_the_table_does_not_name_is_refused() -> None:
    with pytest.raises(NotRatable, match="“audio”"):
        credits_for({"audio": Decimal(1)}, BURN_TABLE)


def test_credits_that_are_short_cost_what_was_paid_for_each() -> None:
    assert burn_credits(Decimal(1100), bought=Decimal(1000), price=Decimal(9), currency="USD") == CreditBurn(
        used=Decimal(1000), left=Decimal(0), short=Decimal(100), value_used=Decimal(9), overage_amount=Decimal("0.90")
    )


def test_credits_that_were_not_bought_have_no_price() -> None:
    with pytest.raises(ValueError, match="No credits were bought"):
        burn_credits(Decimal(0), bought=Decimal(0), price=Decimal(9), currency="USD")


def test_less_than_no_credits_are_refused() -> None:
    with pytest.raises(InvalidPrice, match="credits asked for is -1"):
        burn_credits(Decimal(-1), bought=Decimal(1), price=Decimal(9), currency="USD")


@given(near_small, near_small.filter(bool), money)
def test_credits_are_used_left_or_short(asked: Decimal, bought: Decimal, price: Decimal) -> None:
    burn = burn_credits(asked, bought=bought, price=price, currency="USD")

    assert burn.used + burn.short == asked
    assert burn.used + burn.left == bought
    assert 0 in (burn.left, burn.short)


def test_charges_are_drawn_until_nothing_is_left() -> None:
    draws = draw_prepaid(Decimal("100.00"), [Decimal("60.00"), Decimal("50.00"), Decimal("1.00")], "USD")

    assert draws == (
        PrepaidDraw(Decimal("60.00"), Decimal("40.00"), Decimal("0.00")),
        PrepaidDraw(Decimal("40.00"), Decimal("0.00"), Decimal("10.00")),
        PrepaidDraw(Decimal("0.00"), Decimal("0.00"), Decimal("1.00")),
    )


@pytest.mark.parametrize(("balance", "charge"), [("1.005", "1"), ("1", "0.001"), ("-1", "1"), ("1", "-1")])
def test_only_rounded_money_is_drawn(balance: str, charge: str) -> None:
    with pytest.raises(ValueError, match="rounded money of zero or more"):
        draw_prepaid(Decimal(balance), [Decimal(charge)], "USD")


@given(money, st.lists(money, max_size=6))
def test_what_is_used_and_what_is_left_is_what_was_paid(balance: Decimal, charges: list[Decimal]) -> None:
    draws = draw_prepaid(balance, charges, "USD")

    assert [draw.used + draw.due for draw in draws] == charges
    assert sum(draw.used for draw in draws) + (draws[-1].balance if draws else balance) == balance
    assert all(draw.balance == 0 or draw.due == 0 for draw in draws)


PERCENTS = [Decimal(50), Decimal(80), Decimal(100)]


@pytest.mark.parametrize(
    ("total", "reached"),
    [("49.999999", 0), ("50", 1), ("79.99", 1), ("80", 2), ("100", 3), ("1000", 3), ("0", 0), ("-80", 0)],
)
def test_a_threshold_is_reached_sharp(total: str, reached: int) -> None:
    assert list(thresholds_reached(Decimal(total), Decimal(100), PERCENTS)) == PERCENTS[:reached]


def test_a_part_of_a_limit_without_end_is_reached_exactly() -> None:
    assert thresholds_reached(Decimal(1), Decimal(3), [Decimal("33.333333333333"), Decimal("33.333333333334")]) == (
        Decimal("33.333333333333"),
    )


def test_a_threshold_is_told_once_also_after_corrections() -> None:
    increments = [Decimal(60), Decimal(-30), Decimal(40), Decimal(30)]

    assert thresholds_passed(increments, Decimal(100), PERCENTS) == (
        (Decimal(50),),
        (),
        (),
        (Decimal(80), Decimal(100)),
    )


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        thresholds_reached(Decimal(1), Decimal(0), PERCENTS)


@pytest.mark.parametrize(
    ("amount", "quantity", "per_units", "decimals", "price"),
    [
        ("5", "30000", "1000", 5, "0.16667"),
        ("22", "100000", "1000", 5, "0.22000"),
        ("1", "8", "1", 2, "0.13"),
        ("-1", "8", "1", 2, "-0.13"),
        ("0", "8", "1", 2, "0.00"),
    ],
)
def test_an_effective_unit_price(amount: str, quantity: str, per_units: str, decimals: int, price: str) -> None:
    exact = effective_unit_price(Decimal(amount), Decimal(quantity), Decimal(per_units))

    assert str(round_to_decimals(exact, decimals)) == price


def test_a_unit_of_nothing_has_no_price() -> None:
    with pytest.raises(InvalidPrice, match="An amount covers a number of units above zero"):
        effective_unit_price(Decimal(5), Decimal(0))


@pytest.mark.parametrize(
    ("revenue", "units", "cost", "profit", "percent"),
    [
        # The cost is 0.5025: the printed figures add up, and the percentage is of the unrounded cost.
        ("30.15", "83.75", "0.50", "29.65", "98.3"),
        ("29.00", "0", "0.00", "29.00", "100.0"),
        ("0.00", "1000", "6.00", "-6.00", "None"),
        ("10.00", "5000", "30.00", "-20.00", "-200.0"),
    ],
)
def test_a_margin(revenue: str, units: str, cost: str, profit: str, percent: str) -> None:
    margin = margin_of(
        Decimal(revenue), cost_quantity=Decimal(units), cost_unit_amount=Decimal("0.006"), currency="USD"
    )

    assert (str(margin.cost), str(margin.profit), str(margin.percent)) == (cost, profit, percent)


def test_a_margin_is_of_rounded_revenue() -> None:
    with pytest.raises(ValueError, match="not rounded"):
        margin_of(Decimal("1.005"), cost_quantity=Decimal(1), cost_unit_amount=Decimal(1), currency="USD")
