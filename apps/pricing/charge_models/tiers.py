"""What the tiered models share: checking tiers, finding the one a quantity falls into, and telling them in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal

from apps.pricing.charge_models.base import (
    ONE,
    ZERO,
    InvalidPrice,
    ModelRating,
    NotRatable,
    Tier,
    TierCharge,
    Wording,
    price_of_packages,
)
from apps.pricing.formatting import TIMES, format_quantity
from apps.pricing.money import EXACT, check_decimal, settle
from apps.pricing.periods import ShareOfDays


class InvalidTiers(InvalidPrice):
    """Tiers that do not give every quantity one price. The sentence names the tier and the mend."""


def check_tiers(tiers: Sequence[Tier]) -> None:
    """Raise InvalidTiers unless the tiers give each quantity one price, of zero or more.

    They follow one another upwards without a gap, the first from zero, and only the last one may have no upper end.
    Where it has one, a larger quantity has no price and is refused when it is rated.
    """
    if not tiers:
        raise InvalidTiers("There are no tiers. Add at least one, with an empty upper end.", "tiers")
    lower = ZERO
    for number, tier in enumerate(tiers, start=1):
        path = f"tiers.{number - 1}"
        _check_tier_amounts(number, tier, path)
        if tier.up_to is None:
            if number < len(tiers):
                raise InvalidTiers(
                    f"Tier {number} has no upper end but is not the last. Enter its last unit.", f"{path}.up_to"
                )
            return
        if tier.up_to <= lower:
            above = format_quantity(lower) if number == 1 else f"{format_quantity(lower)}, where tier {number - 1} ends"
            raise InvalidTiers(
                f"Tier {number} ends at {format_quantity(tier.up_to)}. Let it end above {above}.", f"{path}.up_to"
            )
        lower = tier.up_to


def _check_tier_amounts(number: int, tier: Tier, path: str) -> None:
    for amount in (tier.up_to, tier.unit_amount, tier.flat_amount, tier.package_size):
        if amount is not None:
            check_decimal(amount)
    if tier.unit_amount < 0 or tier.flat_amount < 0:
        field = "unit_amount" if tier.unit_amount < 0 else "flat_amount"
        raise InvalidTiers(f"Tier {number} has a negative price. Enter 0 or more.", f"{path}.{field}")
    if tier.package_size is not None and tier.package_size <= 0:
        raise InvalidTiers(
            f"Tier {number} has packages of {tier.package_size}. Enter a size above 0.", f"{path}.package_size"
        )


def tier_of(tiers: Sequence[Tier], quantity: Decimal) -> tuple[Decimal, Tier]:
    """The tier that a quantity falls into, ``lower < quantity <= up_to``, and its lower end.

    Zero or less falls into the first. Raises NotRatable for a quantity above the last tier.
    """
    lower = ZERO
    for tier in tiers:
        if tier.up_to is None or quantity <= tier.up_to:
            return lower, tier
        lower = tier.up_to
    raise beyond_last_tier(quantity, lower)


def beyond_last_tier(quantity: Decimal, end: Decimal) -> NotRatable:
    return NotRatable(
        f"A quantity of {format_quantity(quantity)} lies above the last tier, which ends at {format_quantity(end)}. "
        "Add a tier for it."
    )


def charge_in_tier(tier: Tier, quantity: Decimal, per_units: Decimal, flat_amount: Decimal) -> Decimal:
    """What ``quantity`` units cost at a tier's unit price, with a flat fee; not yet settled."""
    if tier.package_size is None:
        amount = EXACT.multiply(quantity, tier.unit_amount)
        if per_units != ONE:
            amount = EXACT.divide(amount, per_units)
    else:
        amount = price_of_packages(quantity, tier.unit_amount, tier.package_size)
    return EXACT.add(amount, flat_amount) if flat_amount else amount


def tier_charge(
    lower: Decimal, tier: Tier, quantity: Decimal, per_units: Decimal, flat_amount: Decimal, amount: Decimal
) -> TierCharge:
    """One row of the breakdown; its amount is settled here, after the sum of the rows was made of unsettled ones."""
    size = tier.package_size
    per = per_units if size is None else size
    return TierCharge(lower, tier.up_to, quantity, tier.unit_amount, per, flat_amount, settle(amount), size is not None)


def rate_graduated(tiers: Sequence[Tier], quantity: Decimal, per_units: Decimal, fee_at_zero: bool) -> ModelRating:
    """Each unit at the price of the tier that it falls into; one charge for each tier that the quantity reaches.

    Raises NotRatable for a quantity above the last tier.
    """
    if quantity <= 0:
        return _rate_first_tier(tiers[0], quantity, per_units, fee_at_zero)
    charges = []
    lower = total = ZERO
    for tier in tiers:
        up_to = tier.up_to
        is_last = up_to is None or quantity <= up_to
        upper = quantity if up_to is None or is_last else up_to
        units = EXACT.subtract(upper, lower) if lower else upper
        amount = charge_in_tier(tier, units, per_units, tier.flat_amount)
        # The sum is of unsettled amounts: a third in one tier and two thirds in the next make a whole.
        total = EXACT.add(total, amount)
        charges.append(tier_charge(lower, tier, units, per_units, tier.flat_amount, amount))
        if is_last:
            return ModelRating(settle(total), tuple(charges))
        lower = upper
    raise beyond_last_tier(quantity, lower)


def _rate_first_tier(first: Tier, quantity: Decimal, per_units: Decimal, fee_at_zero: bool) -> ModelRating:
    """Zero usage reaches no tier, unless the first one's fee is due then; less is priced by the unit, without a fee."""
    if not quantity and not fee_at_zero:
        return ModelRating(ZERO)
    flat_amount = ZERO if quantity else first.flat_amount
    amount = charge_in_tier(first, quantity, per_units, flat_amount)
    return ModelRating(settle(amount), (tier_charge(ZERO, first, quantity, per_units, flat_amount, amount),))


def prorate_tiers(tiers: Sequence[Tier], share: ShareOfDays) -> tuple[Tier, ...]:
    """The tiers of a part of a period: bounds and flat fees by share of days, unit prices and packages as they are."""
    return tuple(
        Tier(
            up_to=None if tier.up_to is None else share.apply(tier.up_to),
            unit_amount=tier.unit_amount,
            flat_amount=share.apply(tier.flat_amount),
            package_size=tier.package_size,
        )
        for tier in tiers
    )


def tier_steps(
    rating: ModelRating,
    wording: Wording,
    range_in_words: Callable[[TierCharge], str],
    formula_of: Callable[[TierCharge, Wording], str],
) -> Iterator[str]:
    """One step for each tier that was reached, and their sum."""
    if wording.share is not None and rating.tiers:
        yield f"The tiers hold for {wording.days}: their bounds and flat fees are that part of those of a full period."
    for charge in rating.tiers:
        yield f"{range_in_words(charge)}: {formula_of(charge, wording)} = {wording.money(charge.amount)}."
    if len(rating.tiers) > 1:
        summands = " + ".join(wording.money(charge.amount) for charge in rating.tiers)
        yield f"Together: {summands} = {wording.money(rating.amount)}."


def tier_formula(charge: TierCharge, wording: Wording) -> str:
    flat_fee = f" + {wording.money(charge.flat_amount)} flat" if charge.flat_amount else ""
    if charge.in_packages:
        price = wording.package_price(charge.unit_amount, charge.per_units)
        return f"{wording.units(charge.quantity)} {TIMES} {price}{flat_fee}"
    return f"{wording.units_at_price(charge.quantity, charge.unit_amount, charge.per_units)}{flat_fee}"


def range_of(
    charge: TierCharge, as_text: Callable[[Decimal], str] = format_quantity, everything: str = "All units"
) -> str:
    """``Above 1,000, up to 5,000``: the range of a tier, its bounds written by ``as_text``."""
    if charge.upper is None:
        return f"Above {as_text(charge.lower)}" if charge.lower else everything
    if not charge.lower:
        return f"Up to {as_text(charge.upper)}"
    return f"Above {as_text(charge.lower)}, up to {as_text(charge.upper)}"
