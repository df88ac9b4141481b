"""Why an amount is what it is, in words that a customer can follow with a pocket calculator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charge_models.base import Calculation, ModelRating, Wording
from apps.pricing.charges import Charge, RatedCharge
from apps.pricing.formatting import format_quantity
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Explanation:
    """The way from the quantity to the amount, as sentences and as one formula."""

    steps: tuple[str, ...]
    formula: str


def explain_charge(
    rated: RatedCharge, charge: Charge, *, unit_singular: str, unit_plural: str, share: ShareOfDays | None
) -> Explanation:
    """Put a rated charge into words. Nothing is rated again: the figures are those of ``rated``.

    ``charge`` is the one that was rated; if that was prorated, ``share`` says by how many days.
    """
    wording = Wording(
        currency=rated.currency,
        unit_singular=unit_singular,
        unit_plural=unit_plural,
        share=None if share is None or share.is_whole else share,
    )
    rating = ModelRating(amount=rated.exact_amount, tiers=rated.tiers)
    calculation = charge.model.calculation(rating, rated.billable_quantity, wording)
    return Explanation(
        steps=tuple(_steps(rated, charge, calculation, wording)), formula=_formula(rated, calculation, wording)
    )


def _steps(rated: RatedCharge, charge: Charge, calculation: Calculation, wording: Wording) -> Iterator[str]:
    if calculation.counts_usage:
        yield f"{wording.units(rated.quantity)} {_were(rated.quantity)} used."
        if charge.included_units:
            yield _allowance_step(rated, charge, wording)
    yield from calculation.steps
    if rated.exact_amount != rated.amount:
        yield f"{wording.money(rated.exact_amount)} is rounded, once, to {wording.money(rated.amount)}."


def _allowance_step(rated: RatedCharge, charge: Charge, wording: Wording) -> str:
    included = charge.included_units
    days = f" for {wording.days}" if wording.share else ""
    return (
        f"{wording.units(included)} {_are(included)} included{days}: "
        f"{format_quantity(rated.included_used)} {_are(rated.included_used)} free of charge, "
        f"{format_quantity(rated.billable_quantity)} {_are(rated.billable_quantity)} charged."
    )


def _formula(rated: RatedCharge, calculation: Calculation, wording: Wording) -> str:
    text = calculation.formula
    if calculation.counts_usage and rated.included_used:
        free = f"{format_quantity(rated.included_used)} {_are(rated.included_used)} included"
        text = f"{wording.units(rated.quantity)}, of which {free}: {text}"
    if calculation.formula != wording.money(rated.exact_amount):
        text = f"{text} = {wording.money(rated.exact_amount)}"
    if rated.exact_amount != rated.amount:
        text = f"{text}, rounded to {wording.money(rated.amount)}"
    return text


def _are(quantity: Decimal) -> str:
    return "is" if quantity == 1 else "are"


def _were(quantity: Decimal) -> str:
    return "was" if quantity == 1 else "were"
