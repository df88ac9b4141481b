"""Effective unit prices: what a unit comes to where a fee covers many, for comparing one plan with another."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from apps.pricing.charge_models.base import ONE, check_per_units
from apps.pricing.money import EXACT, check_decimal


def effective_unit_price(amount: Decimal, quantity: Decimal, per_units: Decimal = ONE) -> Decimal:
    """What ``per_units`` units come to if so many units cost an amount, to 76 digits.

    Raises InvalidPrice for a quantity or a number of units of zero or less.
    """
    check_decimal(amount)
    check_per_units(quantity, "An amount covers a number of units", "quantity")
    check_per_units(per_units)
    return EXACT.divide(EXACT.multiply(amount, per_units), quantity)


def round_to_decimals(number: Decimal, decimals: int) -> Decimal:
    """A unit price or a percentage with so many decimals, half away from zero, for a table that compares such numbers.

    It is no money and never becomes any: amounts are rounded by ``round_money`` alone.
    """
    check_decimal(number)
    rounded = number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP, context=EXACT)
    return rounded if rounded else rounded.copy_abs()
