"""A charge, a charge model with an included allowance, and how a quantity becomes an amount under it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Self

from apps.pricing.charge_models.base import ZERO, ChargeModel, ModelRating, TierCharge
from apps.pricing.money import check_decimal, exact_arithmetic, round_money
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge model, and the units of each period that are free of charge. Raises ValueError if those are below 0."""

    model: ChargeModel
    included_units: Decimal = ZERO

    def __post_init__(self) -> None:
        check_decimal(self.included_units)
        if self.included_units < 0:
            raise ValueError(f"An allowance is zero units or more, not {self.included_units}.")

    def prorate(self, share: ShareOfDays) -> Self:
        """The charge for a part of a period: the allowance by share of days, the model as it prorates itself."""
        return replace(self, model=self.model.prorate(share), included_units=share.apply(self.included_units))


@dataclass(frozen=True, slots=True)
class RatedCharge:
    """A quantity, and what it costs under a charge.

    ``included_used`` units of it were free and ``billable_quantity`` units were charged. ``exact_amount`` is the
    amount at full precision, ``amount`` the same rounded once; both are in ``currency``. ``tiers`` add up to
    ``exact_amount``, where the model has any.
    """

    quantity: Decimal
    included_used: Decimal
    billable_quantity: Decimal
    exact_amount: Decimal
    amount: Decimal
    currency: str
    tiers: tuple[TierCharge, ...]


def rate_charge(charge: Charge, quantity: Decimal, currency: str) -> RatedCharge:
    """Rate the measured quantity of a period: first the allowance, then the model, then one rounding.

    Raises TypeError unless the quantity is a Decimal, ValueError for an unknown currency.
    """
    included_used, billable_quantity = take_allowance(quantity, charge.included_units)
    rating = apply_model(charge.model, billable_quantity)
    return RatedCharge(
        quantity=quantity,
        included_used=included_used,
        billable_quantity=billable_quantity,
        exact_amount=rating.amount,
        amount=round_money(rating.amount, currency),
        currency=currency,
        tiers=rating.tiers,
    )


def take_allowance(quantity: Decimal, included_units: Decimal) -> tuple[Decimal, Decimal]:
    """How much of a quantity is included, and how much of it is left to be charged.

    A negative quantity uses nothing of the allowance and gives nothing back to it.
    """
    check_decimal(quantity)
    included_used = max(ZERO, min(quantity, included_units))
    with exact_arithmetic():
        return included_used, quantity - included_used


def apply_model(model: ChargeModel, billable_quantity: Decimal) -> ModelRating:
    """What the units left after the allowance cost under a charge model, at full precision."""
    return model.rate(billable_quantity)
