"""Graduated percentage: each part of an amount at the rate of the tier that it falls into."""

from __future__ import annotations

from collections.abc import Iterator
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
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers, prorate_tiers, rate_graduated
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
        formula = " + ".join(_formula(charge, wording) for charge in rating.tiers) or wording.money(quantity)
        return Calculation(formula=formula, steps=tuple(_steps(rating, wording)))


def _steps(rating: ModelRating, wording: Wording) -> Iterator[str]:
    if wording.share is not None and rating.tiers:
        yield f"The tiers hold for {wording.days}: their bounds and flat fees are that part of those of a full period."
    for charge in rating.tiers:
        yield f"{_range(charge, wording)}: {_formula(charge, wording)} = {wording.money(charge.amount)}."
    if len(rating.tiers) > 1:
        summands = " + ".join(wording.money(charge.amount) for charge in rating.tiers)
        yield f"Together: {summands} = {wording.money(rating.amount)}."


def _formula(charge: TierCharge, wording: Wording) -> str:
    flat_fee = f" + {wording.money(charge.flat_amount)} flat" if charge.flat_amount else ""
    return f"{format_decimal(charge.unit_amount)}% of {wording.money(charge.quantity)}{flat_fee}"


def _range(charge: TierCharge, wording: Wording) -> str:
    if charge.upper is None:
        return f"Above {wording.money(charge.lower)}" if charge.lower else "The whole amount"
    if not charge.lower:
        return f"Up to {wording.money(charge.upper)}"
    return f"Above {wording.money(charge.lower)}, up to {wording.money(charge.upper)}"
