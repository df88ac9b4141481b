"""What every charge model offers: from usage to an exact amount, its breakdown, and its words.

A new model is a new file beside this one. It knows no database, no request, no clock and no other model.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, NamedTuple, Protocol, Self

from apps.pricing.formatting import TIMES, format_quantity, format_unit_amount, format_units
from apps.pricing.money import EXACT, check_decimal
from apps.pricing.periods import ShareOfDays

ZERO = Decimal(0)
ONE = Decimal(1)


class InvalidPrice(ValueError):
    """A price that cannot be charged by. The sentence names what is wrong and the mend.

    ``field`` is the field of the price at fault, where it is one: ``per_units``, or ``tiers.1.up_to``, which is in the
    second tier.
    """

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.field = field


class NotRatable(ValueError):
    """Usage that the price says nothing about. The sentence names the usage and the mend."""


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """The part of a quantity with these values of a metric's dimensions; None where an event has no such property.

    ``failed`` units of ``quantity`` come from events whose outcome counts as failed.
    """

    values: tuple[str | None, ...]
    quantity: Decimal
    failed: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class LevelDays:
    """A level, such as a number of seats, and the whole days for which it stood."""

    quantity: Decimal
    days: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What was measured over a window: a quantity, and what it is made of for the models that ask for that.

    ``failed`` units of ``quantity`` come from failed outcomes. ``transactions`` are the values of the single events
    in the order of time, and ``count`` is how many there are, also where they are not listed. ``levels`` tell a level
    metric day by day; ``of_days`` is the length of the whole nominal period. ``groups`` are the parts by dimension.
    """

    quantity: Decimal
    failed: Decimal = ZERO
    count: int | None = None
    transactions: tuple[Decimal, ...] | None = None
    levels: tuple[LevelDays, ...] = ()
    of_days: int = 0
    groups: tuple[UsageGroup, ...] = ()


NOTHING_USED = Usage(ZERO)


@dataclass(frozen=True, slots=True)
class Tier:
    """A range of quantities: above the tier before, up to and including ``up_to``; None has no end.

    ``unit_amount`` is for as many units as the model's ``per_units`` says or, where the tier has a ``package_size``,
    for each started package of so many units. ``flat_amount`` is charged once, when the tier is reached.
    """

    up_to: Decimal | None
    unit_amount: Decimal = ZERO
    flat_amount: Decimal = ZERO
    package_size: Decimal | None = None


# What a rating is made of are named tuples: frozen as well, and made in a third of the time of a frozen dataclass.
# Making its values would otherwise be most of what rating a charge takes.


class TierCharge(NamedTuple):
    """What one tier costs: ``quantity`` units above ``lower``, up to and including ``upper``; an exact amount.

    ``per_units`` is what ``unit_amount`` is for; with ``in_packages`` each started one is charged whole.
    """

    lower: Decimal
    upper: Decimal | None
    quantity: Decimal
    unit_amount: Decimal
    per_units: Decimal
    flat_amount: Decimal
    amount: Decimal
    in_packages: bool = False


class Component(NamedTuple):
    """A named part of an exact amount, for models that are not made of tiers.

    What ``quantity`` and ``rate`` count depends on the model, which names its components; ``amount`` is exact.
    """

    name: str
    quantity: Decimal
    rate: Decimal
    amount: Decimal


class ModelRating(NamedTuple):
    """An exact amount, not yet rounded, and the tiers or components that it is made of, where the model has such."""

    amount: Decimal
    tiers: tuple[TierCharge, ...] = ()
    components: tuple[Component, ...] = ()


@dataclass(frozen=True, slots=True)
class Wording:
    """What puts a rating into words: its currency, the names of its unit, the share of days if it is prorated.

    ``priced_in`` names the pricing unit, singular and plural, of amounts that are not money. ``measures_money``: what
    is charged for is itself an amount of money, whatever the metric calls its unit.
    """

    currency: str
    unit_singular: str
    unit_plural: str
    share: ShareOfDays | None
    priced_in: tuple[str, str] | None = None
    measures_money: bool = False

    @property
    def days(self) -> str:
        """``15 of 30 days``; empty for a whole period."""
        return f"{self.share.days} of {self.share.of} days" if self.share else ""

    def units(self, quantity: Decimal) -> str:
        return format_units(quantity, singular=self.unit_singular, plural=self.unit_plural)

    def measured(self, quantity: Decimal) -> str:
        """What is charged for: units of the metric, or an amount of money."""
        return self.money(quantity) if self.measures_money else self.units(quantity)

    def money(self, amount: Decimal) -> str:
        """``10.00 USD``, or ``10 credits`` where the price is in a pricing unit."""
        if self.priced_in is not None:
            return format_units(amount, singular=self.priced_in[0], plural=self.priced_in[1])
        return format_unit_amount(amount, self.currency)

    def unit_price(self, unit_amount: Decimal, per_units: Decimal) -> str:
        """``10.00 USD per 1,000,000``; a price of single units is just ``0.99 USD``."""
        per = "" if per_units == 1 else f" per {format_quantity(per_units)}"
        return f"{self.money(unit_amount)}{per}"

    def package_price(self, unit_amount: Decimal, package_size: Decimal) -> str:
        """``0.03 USD per started 1,000``."""
        return f"{self.money(unit_amount)} per started {format_quantity(package_size)}"

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
    """A way of turning usage into an amount. Models are values: made once, compared, never changed."""

    name: ClassVar[str]

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        """The exact amount for a quantity of billable units, with at most 40 decimals unless the quantity has more.

        ``usage`` is what was measured before an allowance and the like came off the quantity; only models that charge
        by transactions or by days look at it. A quantity is negative when corrections outweigh usage; each model says
        what it makes of that. Raises TypeError unless the quantity is a Decimal, NotRatable for usage that the price
        says nothing about.
        """
        ...

    def prorate(self, share: ShareOfDays) -> Self:
        """The model for a part of a period: fees and tier bounds by share of days, unit prices as they are."""
        ...

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        """Tell how the quantity led to the rating, from the stored rating and never by rating again."""
        ...


def price_of_units(quantity: Decimal, unit_amount: Decimal, per_units: Decimal) -> Decimal:
    """The price of a quantity at ``unit_amount`` for each ``per_units``: exact, not by started packages.

    It is not settled: a quotient that does not end keeps 76 digits.
    """
    amount = EXACT.multiply(quantity, unit_amount)
    return amount if per_units == ONE else EXACT.divide(amount, per_units)


def price_of_packages(quantity: Decimal, package_amount: Decimal, package_size: Decimal) -> Decimal:
    """The price of a quantity in packages: each started one is charged whole; nothing for zero or less."""
    return EXACT.multiply(started_packages(quantity, package_size), package_amount)


def started_packages(quantity: Decimal, package_size: Decimal) -> Decimal:
    """How many packages a quantity starts. By remainder: a rounded quotient may lose its last digit."""
    if quantity <= 0:
        return ZERO
    whole, rest = EXACT.divmod(quantity, package_size)
    return EXACT.add(whole, ONE) if rest else whole


def check_per_units(
    per_units: Decimal, what: str = "A price is for a number of units", field: str = "per_units"
) -> None:
    """Raise InvalidPrice unless the number of units that a price is for is above zero."""
    check_decimal(per_units)
    if per_units <= 0:
        raise InvalidPrice(f"{what} above zero, not {per_units}.", field)


def check_amounts(**amounts: Decimal | None) -> None:
    """Raise InvalidPrice for an amount below zero, by its name; an amount that is not given is none."""
    for name, amount in amounts.items():
        if amount is None:
            continue
        check_decimal(amount)
        if amount < 0:
            raise InvalidPrice(f"The {name.replace('_', ' ')} is {amount}. Enter 0 or more.", name)
