"""A slow calculator: every price by its plain definition, in fractions, with nothing of the product's arithmetic.

It reads the fields of charges and computes anew what they cost; shares of days are fractions all along, and the one
rounding is written out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import ChargeModel, LevelDays, Tier, Usage
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge
from apps.pricing.conversion import Conversion

WHOLE = Fraction(1)
NONE = Fraction(0)


class NoPrice(Exception):
    """The price says nothing about this usage."""


def amount_of(charge: Charge, usage: Usage, decimals: int, share: Fraction = WHOLE) -> tuple[Fraction, Decimal]:
    """What a charge that is no matrix costs, exactly and rounded."""
    assert not isinstance(charge.model, Matrix)
    quantity = Fraction(usage.quantity)
    if usage.failed > 0:
        free = Fraction(usage.failed)
        if charge.free_failures is not None:
            free = min(free, Fraction(charge.free_failures) * share)
        quantity -= free
    if charge.conversion is not None:
        quantity = converted(quantity, charge.conversion)
    included = Fraction(charge.included_units) * (share if charge.prorates_included else WHOLE)
    if quantity > 0:
        quantity = max(NONE, quantity - included)
    exact = cost(charge.model, quantity, usage, share)
    if charge.minimum is not None:
        exact = max(exact, Fraction(charge.minimum) * share)
    if charge.maximum is not None:
        exact = min(exact, Fraction(charge.maximum) * share)
    if charge.pricing_unit is not None:
        exact *= Fraction(charge.pricing_unit.rate)
    return exact, rounded(exact, decimals)


def rounded(exact: Fraction, decimals: int) -> Decimal:
    units = floor(abs(exact) * 10**decimals + Fraction(1, 2))
    return Decimal(-units if exact < 0 else units).scaleb(-decimals)


def converted(quantity: Fraction, conversion: Conversion) -> Fraction:
    units = quantity / Fraction(conversion.divide_by)
    if conversion.rounding == "ceil":
        return Fraction(ceil(units))
    if conversion.rounding == "floor":
        return Fraction(floor(units))
    if conversion.rounding == "half_up":
        whole = floor(abs(units) + Fraction(1, 2))
        return Fraction(-whole if units < 0 else whole)
    return units


def cost(model: ChargeModel, quantity: Fraction, usage: Usage, share: Fraction = WHOLE) -> Fraction:
    match model:
        case Flat():
            return Fraction(model.amount) * share
        case PerUnit():
            return quantity * Fraction(model.unit_amount) / Fraction(model.per_units)
        case Package():
            return packages(quantity, model.package_size) * Fraction(model.unit_amount)
        case Graduated():
            return graduated(model.tiers, quantity, model.per_units, model.charge_flat_fee_at_zero, share)
        case GraduatedPercentage():
            return graduated(model.tiers, quantity, Decimal(100), model.charge_flat_fee_at_zero, share)
        case Volume():
            return volume(model, quantity, share)
        case Stairstep():
            return stairstep(model, quantity, share)
        case Percentage():
            return percentage(model, quantity, usage, share)
        case Seats():
            return seats(model, quantity, usage)
        case AmountInEvent():
            return quantity * Fraction(model.multiplier)
    raise AssertionError(model)


def packages(quantity: Fraction, size: Decimal) -> int:
    return max(0, ceil(quantity / Fraction(size)))


def units_in(tier: Tier, quantity: Fraction, per_units: Decimal) -> Fraction:
    if tier.package_size is not None:
        return packages(quantity, tier.package_size) * Fraction(tier.unit_amount)
    return quantity * Fraction(tier.unit_amount) / Fraction(per_units)


def ranges(tiers: Sequence[Tier], share: Fraction) -> Iterator[tuple[Tier, Fraction, Fraction | None]]:
    lower = NONE
    for tier in tiers:
        upper = None if tier.up_to is None else Fraction(tier.up_to) * share
        yield tier, lower, upper
        lower = lower if upper is None else upper


def tier_of(tiers: Sequence[Tier], quantity: Fraction, share: Fraction) -> Tier:
    for tier, _, upper in ranges(tiers, share):
        if upper is None or quantity <= upper:
            return tier
    raise NoPrice


def graduated(
    tiers: Sequence[Tier], quantity: Fraction, per_units: Decimal, fee_at_zero: bool, share: Fraction
) -> Fraction:
    if quantity < 0:
        return units_in(tiers[0], quantity, per_units)
    if quantity == 0:
        return Fraction(tiers[0].flat_amount) * share if fee_at_zero else NONE
    tier_of(tiers, quantity, share)
    result = NONE
    for tier, lower, upper in ranges(tiers, share):
        end = quantity if upper is None else min(quantity, upper)
        if end > lower:
            result += units_in(tier, end - lower, per_units) + Fraction(tier.flat_amount) * share
    return result


def volume(model: Volume, quantity: Fraction, share: Fraction) -> Fraction:
    if quantity == 0 and not model.charge_flat_fee_at_zero:
        return NONE
    tier = tier_of(model.tiers, quantity, share)
    fee = NONE if quantity < 0 else Fraction(tier.flat_amount) * share
    return units_in(tier, quantity, model.per_units) + fee


def stairstep(model: Stairstep, quantity: Fraction, share: Fraction) -> Fraction:
    if quantity < 0 or (quantity == 0 and not model.charge_flat_fee_at_zero):
        return NONE
    return Fraction(tier_of(model.tiers, quantity, share).flat_amount) * share


def percentage(model: Percentage, quantity: Fraction, usage: Usage, share: Fraction) -> Fraction:
    """Transaction by transaction, each with what is still free when it comes."""
    rate, fixed = Fraction(model.rate_percent) / 100, Fraction(model.fixed_amount)
    if usage.transactions is None:
        fees = fixed * (usage.count or 0)
        return beyond(quantity, Fraction(model.free_amount) * share) * rate + fees
    free_amount = Fraction(model.free_amount) * share if model.free_amount else None
    free_count = Fraction(model.free_transactions) * share if model.free_transactions else None
    result, running = NONE, NONE
    for place, amount in enumerate(map(Fraction, usage.transactions), start=1):
        if free_count is None:
            begun, running = running, running + amount
            is_free = free_amount is not None and running <= free_amount
            of_one = (beyond(running, free_amount or NONE) - beyond(begun, free_amount or NONE)) * rate
        else:
            begun, running = running, running + max(NONE, amount)
            counts = amount >= 0 and place <= free_count
            is_free = counts and (free_amount is None or running <= free_amount)
            free = amount if free_amount is None else min(amount, max(NONE, free_amount - begun))
            of_one = (amount - (free if counts else NONE)) * rate
        if amount >= 0:
            of_one = NONE if is_free and free_count is not None else of_one + (NONE if is_free else fixed)
            if not is_free and model.transaction_minimum is not None:
                of_one = max(of_one, Fraction(model.transaction_minimum))
            if not is_free and model.transaction_maximum is not None:
                of_one = min(of_one, Fraction(model.transaction_maximum))
        result += of_one
    return result


def beyond(total: Fraction, free_amount: Fraction) -> Fraction:
    return total if total < 0 else max(NONE, total - free_amount)


def seats(model: Seats, quantity: Fraction, usage: Usage) -> Fraction:
    """Day by day: how many seats each day is charged for, and the price of a seat on one day."""
    levels = usage.levels or (LevelDays(usage.quantity, 1),)
    held = [Fraction(level.quantity) for level in levels for _ in range(level.days)]
    charged = []
    for day, number in enumerate(held):
        number = max(NONE, number)
        if not model.prorates_removed:
            number = max([number, *held[:day]])
        if not model.prorates_added:
            number = max([number, *held[day + 1 :]])
        charged.append(max(NONE, number - Fraction(model.included_seats)))
    return sum(charged, NONE) * Fraction(model.unit_amount) / (usage.of_days or 1)
