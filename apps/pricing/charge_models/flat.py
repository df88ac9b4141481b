"""Flat: one amount for a billing period, whatever is used."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import NOTHING_USED, Calculation, ModelRating, Usage, Wording
from apps.pricing.formatting import TIMES
from apps.pricing.money import check_decimal, settle
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Flat:
    """A recurring fee. The quantity plays no part in it, not even a negative one."""

    name: ClassVar[str] = "flat"

    amount: Decimal

    def __post_init__(self) -> None:
        check_decimal(self.amount)

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        return ModelRating(amount=settle(self.amount))

    def prorate(self, share: ShareOfDays) -> Self:
        return replace(self, amount=share.apply(self.amount))

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        share, amount = wording.share, wording.money(rating.amount)
        if share is None:
            step = f"The fee for a billing period is {amount}."
            return Calculation(formula=amount, steps=(step,), counts_usage=False)
        formula = f"{wording.money(settle(share.undo(self.amount)))} {TIMES} {wording.days}"
        step = f"The fee for {wording.days} of the billing period: {formula} = {amount}."
        return Calculation(formula=formula, steps=(step,), counts_usage=False)
