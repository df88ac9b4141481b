"""Volume: the whole quantity at the price of the one tier that it falls into."""

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
    check_per_units,
)
from apps.pricing.charge_models.tiers import (
    charge_in_tier,
    check_tiers,
    prorate_tiers,
    range_of,
    tier_charge,
    tier_formula,
    tier_of,
    tier_steps,
)
from apps.pricing.money import check_decimal, settle
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Volume:
    """One tier for all units, ``lower < quantity <= up_to``: its unit price for each, and its flat fee once.

    One unit more may cost less in all, where the next tier is cheaper. At zero usage nothing is charged, except the
    first tier's flat fee if ``charge_flat_fee_at_zero`` says so. A negative quantity has the first tier's unit price
    and no flat fee.
    """

    name: ClassVar[str] = "volume"

    tiers: tuple[Tier, ...]
    per_units: Decimal = ONE
    charge_flat_fee_at_zero: bool = False

    def __post_init__(self) -> None:
        check_tiers(self.tiers)
        check_per_units(self.per_units)

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        if quantity == 0 and not self.charge_flat_fee_at_zero:
            return ModelRating(ZERO)
        lower, tier = tier_of(self.tiers, quantity)
        flat_amount = tier.flat_amount if quantity >= 0 else ZERO
        amount = charge_in_tier(tier, quantity, self.per_units, flat_amount)
        return ModelRating(settle(amount), (tier_charge(lower, tier, quantity, self.per_units, flat_amount, amount),))

    def prorate(self, share: ShareOfDays) -> Self:
        """Raises InvalidTiers for a share of no days, which leaves no bounds."""
        return replace(self, tiers=prorate_tiers(self.tiers, share))

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        formula = " + ".join(tier_formula(charge, wording) for charge in rating.tiers) or wording.units(quantity)
        return Calculation(formula=formula, steps=tuple(tier_steps(rating, wording, range_of, tier_formula)))
