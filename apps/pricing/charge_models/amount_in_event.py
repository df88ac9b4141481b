"""Amount in event: the events carry amounts of money, which are passed on with a multiplier."""

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
    check_amounts,
)
from apps.pricing.formatting import TIMES, format_decimal
from apps.pricing.money import EXACT, check_decimal
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class AmountInEvent:
    """The sum of the amounts that the events state, in the price's currency, times ``multiplier``.

    A multiplier of 1.2 passes cost on with a markup of 20%. The model is linear: a negative sum gives a negative
    amount.
    """

    name: ClassVar[str] = "amount_in_event"

    multiplier: Decimal = ONE

    def __post_init__(self) -> None:
        check_amounts(multiplier=self.multiplier)

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        return ModelRating(EXACT.multiply(quantity, self.multiplier))

    def prorate(self, share: ShareOfDays) -> Self:
        """What an event cost is the same on every day."""
        return self

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        stated = wording.money(quantity)
        if self.multiplier == 1:
            return Calculation(formula=stated, steps=(f"{stated} is charged as the events state it.",))
        formula = f"{stated} {TIMES} {format_decimal(self.multiplier)}"
        return Calculation(formula=formula, steps=(f"{formula} = {wording.money(rating.amount)}.",))
