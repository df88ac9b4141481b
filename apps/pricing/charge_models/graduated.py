"""Graduated: each unit at the price of the tier that it falls into."""

from __future__ import annotations

from collections.abc import Iterator
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
    TierCharge,
    Usage,
    Wording,
    check_per_units,
)
from apps.pricing.charge_models.tiers import (
    beyond_last_tier,
    charge_in_tier,
    check_tiers,
    prorate_tiers,
    tier_charge,
    tier_formula,
    tier_steps,
)
from apps.pricing.money import EXACT, check_decimal, settle
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Graduated:
    """Tiers with their own unit prices, continuous: ``lower < quantity <= up_to``, fractions included.

    A tier's flat fee is charged once the quantity is above the tier's lower end. At zero usage no tier is reached
    and nothing is charged, except the first tier's flat fee if ``charge_flat_fee_at_zero`` says so. A tier with a
    package size charges the units that fall into it by started packages.

    A negative quantity is priced at the first tier's unit price and brings no flat fee (nor gives one back), so
    that the amount runs on through zero in a straight line.
    """

    name: ClassVar[str] = "graduated"

    tiers: tuple[Tier, ...]
    per_units: Decimal = ONE
    charge_flat_fee_at_zero: bool = False

    def __post_init__(self) -> None:
        check_tiers(self.tiers)
        check_per_units(self.per_units)

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        charges: list[TierCharge] = []
        total = ZERO
        for lower, tier, units, flat_amount in self._reached(quantity):
            amount = charge_in_tier(lower, tier, units, self.per_units, flat_amount)
            charges.append(tier_charge(lower, tier, units, self.per_units, flat_amount, amount))
            # The sum is of unsettled amounts: a third in one tier and two thirds in the next make a whole.
            total = EXACT.add(total, amount)
        return ModelRating(settle(total), tuple(charges))

    def _reached(self, quantity: Decimal) -> Iterator[tuple[Decimal, Tier, Decimal, Decimal]]:
        """The lower end of each tier that the quantity reaches, the tier, the units in it, and its flat fee."""
        first = self.tiers[0]
        if quantity < 0:
            yield ZERO, first, quantity, ZERO
        if quantity == 0 and self.charge_flat_fee_at_zero:
            yield ZERO, first, quantity, first.flat_amount
        lower = ZERO
        for tier in self.tiers:
            if quantity <= lower:
                return
            upper = quantity if tier.up_to is None or quantity < tier.up_to else tier.up_to
            yield lower, tier, EXACT.subtract(upper, lower), tier.flat_amount
            lower = upper
        if quantity > lower:
            raise beyond_last_tier(quantity, lower)

    def prorate(self, share: ShareOfDays) -> Self:
        """Raises InvalidTiers for a share of no days, which leaves no bounds."""
        return replace(self, tiers=prorate_tiers(self.tiers, share))

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        formula = " + ".join(tier_formula(charge, wording) for charge in rating.tiers) or wording.units(quantity)
        return Calculation(formula=formula, steps=tuple(tier_steps(rating, wording)))
