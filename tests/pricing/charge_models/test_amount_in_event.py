from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import InvalidPrice
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import exact_amounts, unit_amounts


@pytest.mark.parametrize(
    ("amount", "multiplier", "exact"),
    [
        ("123.45", "1", "123.45"),
        ("123.45", "1.2", "148.14"),
        ("0.0001", "1.2", "0.00012"),
        ("100", "0", "0"),
        ("0", "1.2", "0"),
        ("-50", "1.1", "-55"),
    ],
)
def test_stated_amounts_are_passed_on_with_a_markup(amount: str, multiplier: str, exact: str) -> None:
    assert AmountInEvent(Decimal(multiplier)).rate(Decimal(amount)).amount == Decimal(exact)


def test_an_event_costs_the_same_on_every_day() -> None:
    assert AmountInEvent(Decimal("1.2")).prorate(ShareOfDays(1, 31)) == AmountInEvent(Decimal("1.2"))


def test_a_negative_multiplier_is_refused() -> None:
    with pytest.raises(InvalidPrice, match="Enter 0 or more"):
        AmountInEvent(Decimal(-1))


@given(unit_amounts, exact_amounts, exact_amounts)
def test_amounts_are_additive(multiplier: Decimal, one: Decimal, other: Decimal) -> None:
    price = AmountInEvent(multiplier)
    with exact_arithmetic():
        assert price.rate(one + other).amount == price.rate(one).amount + price.rate(other).amount
