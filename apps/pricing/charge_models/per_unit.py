"""Per unit: every unit at the same price, fractions included."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    ONE,
    Calculation,
    ModelRating,
    Usage,
    Wording,
    check_per_units,
    price_of_units,
)
from apps.pricing.money import EXACT, check_decimal, settle
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class PerUnit:
    """``unit_amount`` for each ``per_units`` units: for 1, 1,000 or 1,000,000, exact and not by started thousands.

    The model is linear in both directions: a negative quantity gives a negative amount.
    """

    name: ClassVar[str] = "per_unit"

    unit_amount: Decimal
    per_units: Decimal = ONE

    def __post_init__(self) -> None:
        check_decimal(self.unit_amount)
        check_per_units(self.per_units)

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        if self.per_units == ONE:
            return ModelRating(EXACT.multiply(quantity, self.unit_amount))
        return ModelRating(settle(price_of_units(quantity, self.unit_amount, self.per_units)))

    def prorate(self, share: ShareOfDays) -> Self:
        """A unit costs the same on every day."""
        return self

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        formula = wording.units_at_price(quantity, self.unit_amount, self.per_units)
        return Calculation(formula=formula, steps=(f"{formula} = {wording.money(rating.amount)}.",))
