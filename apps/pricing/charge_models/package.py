"""Package: units are sold in packages, and each started one is charged whole."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    Calculation,
    ModelRating,
    Usage,
    Wording,
    check_per_units,
    price_of_packages,
    started_packages,
)
from apps.pricing.formatting import TIMES, format_quantity, format_units
from apps.pricing.money import check_decimal
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Package:
    """``unit_amount`` for each started package of ``package_size`` units; free units come off before.

    A quantity of zero or less starts no package and costs nothing.
    """

    name: ClassVar[str] = "package"

    unit_amount: Decimal
    package_size: Decimal

    def __post_init__(self) -> None:
        check_decimal(self.unit_amount)
        check_per_units(self.package_size, "A package holds a number of units", "package_size")

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        return ModelRating(price_of_packages(quantity, self.unit_amount, self.package_size))

    def prorate(self, share: ShareOfDays) -> Self:
        """A package holds as much and costs the same on every day."""
        return self

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        packages = started_packages(quantity, self.package_size)
        count = format_units(packages, singular="package", plural="packages")
        size = format_quantity(self.package_size)
        formula = f"{count} of {size} {TIMES} {wording.money(self.unit_amount)}"
        return Calculation(
            formula=formula,
            steps=(
                f"{wording.units(quantity)} start {count} of {size}; a started one is charged whole.",
                f"{formula} = {wording.money(rating.amount)}.",
            ),
        )
