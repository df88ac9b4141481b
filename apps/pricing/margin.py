"""Margins: what is left of revenue after what serving it has cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charge_models.base import ONE, check_per_units, price_of_units
from apps.pricing.money import EXACT, check_decimal, round_money
from apps.pricing.unit_prices import round_to_decimals

PERCENT = Decimal(100)
DECIMALS_OF_PERCENT = 1


@dataclass(frozen=True, slots=True)
class Margin:
    """Revenue less cost is profit, all rounded money; ``percent`` is profit in revenue, None where there is none."""

    revenue: Decimal
    cost: Decimal
    profit: Decimal
    percent: Decimal | None


def margin_of(
    revenue: Decimal, *, cost_quantity: Decimal, cost_unit_amount: Decimal, cost_per_units: Decimal = ONE, currency: str
) -> Margin:
    """The margin of rounded revenue over the cost of a quantity.

    The profit is revenue less the rounded cost, so that the three printed figures add up; the percentage, to one
    decimal, is of the cost at full precision. Raises ValueError for revenue that is not rounded.
    """
    check_decimal(cost_quantity)
    check_per_units(cost_per_units)
    if round_money(revenue, currency) != revenue:
        raise ValueError(f"Revenue of {revenue} {currency} is not rounded; a margin is of what was invoiced.")
    exact_cost = price_of_units(cost_quantity, cost_unit_amount, cost_per_units)
    cost = round_money(exact_cost, currency)
    percent = None
    if revenue:
        exact_profit = EXACT.subtract(revenue, exact_cost)
        percent = round_to_decimals(EXACT.divide(EXACT.multiply(exact_profit, PERCENT), revenue), DECIMALS_OF_PERCENT)
    return Margin(round_money(revenue, currency), cost, EXACT.subtract(revenue, cost), percent)
