"""Graduated: each unit at the price of the tier that it falls into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    ONE,
    ZERO,
    Calculation,
    InvalidTiers,
    ModelRating,
    Tier,
    TierCharge,
    Wording,
    check_per_units,
    price_of_units,
)
from apps.pricing.formatting import format_quantity
from apps.pricing.money import check_decimal, exact_arithmetic, settle
from apps.pricing.periods import ShareOfDays


def check_tiers(tiers: Sequence[Tier]) -> None:
    """Raise InvalidTiers unless the tiers give every quantity exactly one price, of zero or more.

    They follow one another upwards without a gap, the first from zero, and only the last one has no upper end.
    """
    if not tiers:
        raise InvalidTiers("There are no tiers. Add at least one, with an empty upper end.")
    lower = ZERO
    for number, tier in enumerate(tiers, start=1):
        if tier.unit_amount < 0 or tier.flat_amount < 0:
            raise InvalidTiers(f"Tier {number} has a negative price. Enter 0 or more.")
        if tier.up_to is None:
            if number < len(tiers):
                raise InvalidTiers(f"Tier {number} has no upper end but is not the last. Enter its last unit.")
            return
        if tier.up_to <= lower:
            above = format_quantity(lower) if number == 1 else f"{format_quantity(lower)}, where tier {number - 1} ends"
            raise InvalidTiers(f"Tier {number} ends at {format_quantity(tier.up_to)}. Let it end above {above}.")
        lower = tier.up_to
    raise InvalidTiers(
        f"The last tier, tier {len(tiers)}, ends at {format_quantity(lower)}. "
        "Leave its upper end empty, so that every quantity has a price."
    )


@dataclass(frozen=True, slots=True)
class Graduated:
    """Tiers with their own unit prices, continuous: ``lower < quantity <= up_to``, fractions included.

    A tier's flat fee is charged once the quantity is above the tier's lower end. At zero usage no tier is reached
    and nothing is charged, except the first tier's flat fee if ``charge_flat_fee_at_zero`` says so.

    A negative quantity is priced at the first tier's unit price and brings no flat fee (nor gives one back), so
    that the amount runs on through zero in a straight line.
    """

    name: ClassVar[str] = "graduated"

    tiers: tuple[Tier, ...]
    per_units: Decimal = ONE
    charge_flat_fee_at_zero: bool = False

    def __post_init__(self) -> None:
        for tier in self.tiers:
            for number in (tier.up_to, tier.unit_amount, tier.flat_amount):
                if number is not None:
                    check_decimal(number)
        check_tiers(self.tiers)
        check_per_units(self.per_units)

    def rate(self, quantity: Decimal) -> ModelRating:
        check_decimal(quantity)
        charges: list[TierCharge] = []
        total = ZERO
        with exact_arithmetic():
            for lower, tier, units in self._reached(quantity):
                amount = price_of_units(units, tier.unit_amount, self.per_units) + tier.flat_amount
                charges.append(self._tier_charge(lower, tier, units, settle(amount)))
                # The sum is of unsettled amounts: a third in one tier and two thirds in the next make a whole.
                total += amount
        return ModelRating(amount=settle(total), tiers=tuple(charges))

    def _reached(self, quantity: Decimal) -> Iterator[tuple[Decimal, Tier, Decimal]]:
        """The lower end of each tier that the quantity reaches, the tier, and the units that fall into it."""
        first = self.tiers[0]
        if quantity < 0:
            yield ZERO, replace(first, flat_amount=ZERO), quantity
        if quantity == 0 and self.charge_flat_fee_at_zero:
            yield ZERO, first, quantity
        lower = ZERO
        for tier in self.tiers:
            if quantity <= lower:
                return
            upper = quantity if tier.up_to is None else min(quantity, tier.up_to)
            yield lower, tier, upper - lower
            lower = upper

    def _tier_charge(self, lower: Decimal, tier: Tier, quantity: Decimal, amount: Decimal) -> TierCharge:
        return TierCharge(
            lower=lower,
            upper=tier.up_to,
            quantity=quantity,
            unit_amount=tier.unit_amount,
            per_units=self.per_units,
            flat_amount=tier.flat_amount,
            amount=amount,
        )

    def prorate(self, share: ShareOfDays) -> Self:
        """Raises InvalidTiers for a share of no days, which leaves no bounds."""
        return replace(self, tiers=tuple(_prorate_tier(tier, share) for tier in self.tiers))

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        formula = " + ".join(_tier_formula(charge, wording) for charge in rating.tiers) or wording.units(quantity)
        return Calculation(formula=formula, steps=tuple(_steps(rating, wording)))


def _steps(rating: ModelRating, wording: Wording) -> Iterator[str]:
    """One step for each tier that was reached, and their sum."""
    if wording.share is not None and rating.tiers:
        yield f"The tiers hold for {wording.days}: their bounds and flat fees are that part of those of a full period."
    for charge in rating.tiers:
        yield f"{_range(charge)}: {_tier_formula(charge, wording)} = {wording.money(charge.amount)}."
    if len(rating.tiers) > 1:
        summands = " + ".join(wording.money(charge.amount) for charge in rating.tiers)
        yield f"Together: {summands} = {wording.money(rating.amount)}."


def _prorate_tier(tier: Tier, share: ShareOfDays) -> Tier:
    up_to = None if tier.up_to is None else share.apply(tier.up_to)
    return Tier(up_to=up_to, unit_amount=tier.unit_amount, flat_amount=share.apply(tier.flat_amount))


def _tier_formula(charge: TierCharge, wording: Wording) -> str:
    flat_fee = f" + {wording.money(charge.flat_amount)} flat" if charge.flat_amount else ""
    return f"{wording.units_at_price(charge.quantity, charge.unit_amount, charge.per_units)}{flat_fee}"


def _range(charge: TierCharge) -> str:
    if charge.upper is None:
        return f"Above {format_quantity(charge.lower)}" if charge.lower else "All units"
    if not charge.lower:
        return f"Up to {format_quantity(charge.upper)}"
    return f"Above {format_quantity(charge.lower)}, up to {format_quantity(charge.upper)}"
