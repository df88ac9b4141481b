"""Graduated percentage: each part of an amount at the rate of the tier that it falls into."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    Calculation,
    ModelRating,
    Tier,
    TierCharge,
    Usage,
    Wording,
)
from apps.pricing.charge_models.percentage import PERCENT
from apps.pricing.charge_models.tiers import (
    InvalidTiers,
    check_tiers,
    prorate_tiers,
    range_of,
    rate_graduated,
    tier_steps,
)
from apps.pricing.formatting import format_decimal
from apps.pricing.money import check_decimal
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class GraduatedPercentage:
    """Tiers of an amount of money, ``lower < amount <= up_to``, whose ``unit_amount`` is a rate in percent.

    It is the graduated model at a price for each hundred, so flat fees, zero and negative amounts are as there.
    """

    name: ClassVar[str] = "graduated_percentage"

    tiers: tuple[Tier, ...]
    charge_flat_fee_at_zero: bool = False

    def __post_init__(self) -> None:
        check_tiers(self.tiers)
        for number, tier in enumerate(self.tiers, start=1):
            if tier.package_size is not None:
                raise InvalidTiers(
                    f"Tier {number} has a package size. A percentage has none; clear it.",
                    f"tiers.{number - 1}.package_size",
                )

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        return rate_graduated(self.tiers, quantity, PERCENT, self.charge_flat_fee_at_zero)

    def prorate(self, share: ShareOfDays) -> Self:
        """Raises InvalidTiers for a share of no days, which leaves no bounds."""
        return type(self)(prorate_tiers(self.tiers, share), self.charge_flat_fee_at_zero)

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        def in_words(charge: TierCharge) -> str:
            return range_of(charge, wording.money, "The whole amount")

        formula = " + ".join(_formula(charge, wording) for charge in rating.tiers) or wording.money(quantity)
        return Calculation(formula=formula, steps=tuple(tier_steps(rating, wording, in_words, _formula)))


def _formula(charge: TierCharge, wording: Wording) -> str:
    flat_fee = f" + {wording.money(charge.flat_amount)} flat" if charge.flat_amount else ""
    return f"{format_decimal(charge.unit_amount)}% of {wording.money(charge.quantity)}{flat_fee}"
