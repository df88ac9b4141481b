"""Stairstep: one amount for the whole quantity, that of the step it falls on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    ONE,
    ZERO,
    Calculation,
    ModelRating,
    Tier,
    Usage,
    Wording,
)
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers, prorate_tiers, range_of, tier_charge, tier_of
from apps.pricing.money import check_decimal, settle
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Stairstep:
    """Steps of ``lower < quantity <= up_to``, each with a flat amount and no unit price.

    At zero usage nothing is charged, except the first step's amount if ``charge_flat_fee_at_zero`` says so; a negative
    quantity costs nothing.
    """

    name: ClassVar[str] = "stairstep"

    tiers: tuple[Tier, ...]
    charge_flat_fee_at_zero: bool = False

    def __post_init__(self) -> None:
        check_tiers(self.tiers)
        for number, tier in enumerate(self.tiers, start=1):
            if tier.unit_amount:
                raise InvalidTiers(
                    f"Step {number} has a unit price. A stairstep has a flat amount for each step only.",
                    f"tiers.{number - 1}.unit_amount",
                )
            if tier.package_size is not None:
                raise InvalidTiers(
                    f"Step {number} has a package size. A stairstep has none; clear it.",
                    f"tiers.{number - 1}.package_size",
                )

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        if quantity < 0 or (quantity == 0 and not self.charge_flat_fee_at_zero):
            return ModelRating(ZERO)
        lower, tier = tier_of(self.tiers, quantity)
        amount = tier.flat_amount
        return ModelRating(settle(amount), (tier_charge(lower, tier, quantity, ONE, amount, amount),))

    def prorate(self, share: ShareOfDays) -> Self:
        """Raises InvalidTiers for a share of no days, which leaves no bounds."""
        return replace(self, tiers=prorate_tiers(self.tiers, share))

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        if not rating.tiers:
            return Calculation(formula=wording.units(quantity), steps=("No step is reached: nothing is charged.",))
        [step] = rating.tiers
        days = f" for {wording.days}" if wording.share else ""
        verb = "falls" if quantity == 1 else "fall"
        sentence = f"{wording.units(quantity)} {verb} on the step “{_reach(range_of(step))}”, which costs"
        return Calculation(
            formula=f"{wording.units(quantity)}, on the step “{_reach(range_of(step))}”",
            steps=(f"{sentence} {wording.money(step.amount)}{days}.",),
        )


def _reach(text: str) -> str:
    return text[0].lower() + text[1:]
