"""Graduated: each unit at the price of the tier that it falls into."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    ONE,
    Calculation,
    ModelRating,
    Tier,
    Usage,
    Wording,
    check_per_units,
)
from apps.pricing.charge_models.tiers import (
    check_tiers,
    prorate_tiers,
    range_of,
    rate_graduated,
    tier_formula,
    tier_steps,
)
from apps.pricing.money import check_decimal
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
        return rate_graduated(self.tiers, quantity, self.per_units, self.charge_flat_fee_at_zero)

    def prorate(self, share: ShareOfDays) -> Self:
        """Raises InvalidTiers for a share of no days, which leaves no bounds."""
        return replace(self, tiers=prorate_tiers(self.tiers, share))

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        formula = " + ".join(tier_formula(charge, wording) for charge in rating.tiers) or wording.units(quantity)
        return Calculation(formula=formula, steps=tuple(tier_steps(rating, wording, range_of, tier_formula)))
