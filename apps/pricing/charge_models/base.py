"""What every charge model offers: from a quantity to an exact amount, its tiers, and its words.

A new model is a new file beside this one. It knows no database, no request, no clock and no other model.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol, Self

from apps.pricing.formatting import TIMES, format_quantity, format_unit_amount, format_units
from apps.pricing.money import check_decimal, exact_arithmetic
from apps.pricing.periods import ShareOfDays

ZERO = Decimal(0)
ONE = Decimal(1)


class InvalidTiers(ValueError):
    """Tiers that do not give every quantity one price. The sentence names the tier and the mend."""


@dataclass(frozen=True, slots=True)
class Tier:
    """A range of quantities: above the tier before, up to and including ``up_to``; None has no end.

    ``unit_amount`` is for as many units as the model's ``per_units`` says; ``flat_amount`` is charged once, when
    the tier is reached.
    """

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class TierCharge:
    """What one tier costs: ``quantity`` units above ``lower``, up to and including ``upper``; an exact amount."""

    lower: Decimal
    upper: Decimal | None
    quantity: Decimal
    unit_amount: Decimal
    per_units: Decimal
    flat_amount: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ModelRating:
    """An exact amount, not yet rounded, and the tiers it is made of; none for a model without tiers."""

    amount: Decimal
    tiers: tuple[TierCharge, ...] = ()


@dataclass(frozen=True, slots=True)
class Wording:
    """What puts a rating into words: its currency, the names of its unit, the share of days if it is prorated."""

    currency: str
    unit_singular: str
    unit_plural: str
    share: ShareOfDays | None

    @property
    def days(self) -> str:
        """``15 of 30 days``; empty for a whole period."""
        return f"{self.share.days} of {self.share.of} days" if self.share else ""

    def units(self, quantity: Decimal) -> str:
        return format_units(quantity, singular=self.unit_singular, plural=self.unit_plural)

    def money(self, amount: Decimal) -> str:
        return format_unit_amount(amount, self.currency)

    def unit_price(self, unit_amount: Decimal, per_units: Decimal) -> str:
        """``10.00 USD per 1,000,000``; a price of single units is just ``0.99 USD``."""
        per = "" if per_units == 1 else f" per {format_quantity(per_units)}"
        return f"{self.money(unit_amount)}{per}"

    def units_at_price(self, quantity: Decimal, unit_amount: Decimal, per_units: Decimal) -> str:
        return f"{self.units(quantity)} {TIMES} {self.unit_price(unit_amount, per_units)}"


@dataclass(frozen=True, slots=True)
class Calculation:
    """How a model reached its exact amount: the ``formula`` left of the equals sign, and the ``steps`` to it.

    ``counts_usage`` is false where the quantity plays no part.
    """

    formula: str
    steps: tuple[str, ...]
    counts_usage: bool = True


class ChargeModel(Protocol):
    """A way of turning a quantity into an amount. Models are values: made once, compared, never changed."""

    name: ClassVar[str]

    def rate(self, quantity: Decimal) -> ModelRating:
        """The exact amount for a quantity of billable units, with at most 40 decimals.

        A quantity is negative when corrections outweigh usage; each model says what it makes of that.
        """
        ...

    def prorate(self, share: ShareOfDays) -> Self:
        """The model for a part of a period: fees and tier bounds by share of days, unit prices as they are."""
        ...

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        """Tell how the quantity led to the rating, from the stored rating and never by rating again."""
        ...


def price_of_units(quantity: Decimal, unit_amount: Decimal, per_units: Decimal) -> Decimal:
    """The price of a quantity at ``unit_amount`` for each ``per_units``: exact, not by started packages."""
    with exact_arithmetic():
        return quantity * unit_amount / per_units


def check_per_units(per_units: Decimal) -> None:
    """Raise ValueError unless the number of units that a price is for is above zero."""
    check_decimal(per_units)
    if per_units <= 0:
        raise ValueError(f"A price is for a number of units above zero, not for {per_units}.")
