"""What usage would cost under a price: for the calculator beside the form, and for the API.

Nothing is stored or looked up here; the amounts come from ``pricing``, as those of an invoice do.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.common.errors import BillingError, InvalidInput
from apps.pricing.charge_models.base import NotRatable, Usage
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charges import Charge, RatedCharge, rate_lines
from apps.pricing.explain import Explanation, explain_charge
from apps.pricing.invoice_pipeline import add_lines
from apps.pricing.money import EXACT


class UsageNotPriced(BillingError):
    """The price says nothing about this usage, such as a quantity above its last tier."""

    code = "usage_not_priced"


@dataclass(frozen=True, slots=True)
class EstimatedLine:
    """One line as an invoice would show it: ``label`` names a matrix row or a bound, and is empty otherwise."""

    label: str
    rated: RatedCharge
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Estimate:
    """The lines that usage would make. ``amount`` is the sum of the rounded lines, ``exact`` that of the unrounded."""

    lines: tuple[EstimatedLine, ...]
    currency: str
    amount: Decimal
    exact: Decimal


def estimate(
    charge: Charge, usage: Usage, *, currency: str, unit_singular: str = "unit", unit_plural: str = "units"
) -> Estimate:
    """Rate usage under a charge, and explain each line.

    Raises UsageNotPriced for usage that the price says nothing about, InvalidInput for an amount beyond exact
    arithmetic, ValueError for an unknown currency.
    """
    try:
        rated_lines = rate_lines(charge, usage, currency)
    except NotRatable as fault:
        raise UsageNotPriced(str(fault), field="quantity") from fault
    except decimal.InvalidOperation as fault:
        raise InvalidInput("The amount is too large to be computed. Estimate less.", field="quantity") from fault
    lines = tuple(
        EstimatedLine(
            label=label_of(charge, rated),
            rated=rated,
            explanation=explain_charge(rated, charge, unit_singular=unit_singular, unit_plural=unit_plural, share=None),
        )
        for rated in rated_lines
    )
    return Estimate(
        lines=lines,
        currency=currency,
        amount=add_lines([rated.amount for rated in rated_lines], currency),
        exact=_sum([rated.exact_amount for rated in rated_lines]),
    )


def label_of(charge: Charge, rated: RatedCharge) -> str:
    """What tells a line from the others of its price: a matrix row's values, or the bound that it states."""
    if rated.bound:
        return rated.bound.capitalize()
    if not isinstance(charge.model, Matrix) or rated.values is None:
        return ""
    return ", ".join(value for value in rated.values if value is not None) or "all other usage"


def _sum(amounts: Sequence[Decimal]) -> Decimal:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total
