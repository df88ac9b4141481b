"""Why an amount is what it is, in words that a customer can follow with a pocket calculator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import Calculation, ChargeModel, ModelRating, Wording
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charges import Charge, PricingUnit, RatedCharge
from apps.pricing.formatting import TIMES, format_decimal, format_quantity, format_unit_amount, format_units
from apps.pricing.money import EXACT
from apps.pricing.periods import ShareOfDays

# What these models charge for is an amount of money, whatever the metric calls its unit.
_OF_MONEY = frozenset([Percentage.name, GraduatedPercentage.name, AmountInEvent.name])


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
    unit = charge.pricing_unit
    wording = Wording(
        currency=rated.currency,
        unit_singular=unit_singular,
        unit_plural=unit_plural,
        share=None if share is None or share.is_whole else share,
        priced_in=None if unit is None else (unit.singular, unit.plural),
        measures_money=charge.model.name in _OF_MONEY,
    )
    if rated.bound:
        return _bound_line(rated, charge, wording)
    rating = ModelRating(amount=_model_amount(rated), tiers=rated.tiers, components=rated.components)
    calculation = _line_model(charge, rated).calculation(rating, rated.billable_quantity, wording)
    return Explanation(
        steps=tuple(_steps(rated, charge, calculation, wording)), formula=_formula(rated, charge, calculation, wording)
    )


def _line_model(charge: Charge, rated: RatedCharge) -> ChargeModel:
    """The model of the line: that of the charge, or of the row of its matrix."""
    matrix = charge.model
    if not isinstance(matrix, Matrix):
        return matrix
    return matrix.model_of(matrix.row_with(rated.values or ()))


def _model_amount(rated: RatedCharge) -> Decimal:
    """What the model made of it, before a bound and before money."""
    return next(
        amount for amount in (rated.model_amount, rated.priced_amount, rated.exact_amount) if amount is not None
    )


def _priced_amount(rated: RatedCharge) -> Decimal:
    """The amount in what the price is stated in, after a bound."""
    return rated.exact_amount if rated.priced_amount is None else rated.priced_amount


def _bound_line(rated: RatedCharge, charge: Charge, wording: Wording) -> Explanation:
    bound = charge.minimum if rated.bound == "minimum" else charge.maximum
    stated = wording.money(bound) if bound is not None else ""
    money = format_unit_amount(rated.exact_amount, rated.currency)
    verb = "lifts" if rated.bound == "minimum" else "cuts"
    steps = [f"The {rated.bound}{_for_days(wording)} is {stated}. It {verb} the sum of the lines above by {money}."]
    steps.extend(_rounding_step(rated))
    return Explanation(steps=tuple(steps), formula=f"{rated.bound} of {stated}, less the lines above: {money}")


def _steps(rated: RatedCharge, charge: Charge, calculation: Calculation, wording: Wording) -> Iterator[str]:
    if calculation.counts_usage:
        measured = wording.measured(rated.quantity)
        yield (
            f"The events come to {measured}." if wording.measures_money else f"{measured} {_were(rated.quantity)} used."
        )
        if rated.failures_free:
            yield f"{_count(rated.failures_free)} of them failed and {_are(rated.failures_free)} free of charge."
        if charge.conversion is not None and rated.converted is not None:
            yield _conversion_step(rated, charge, rated.converted)
        if charge.included_units:
            yield _allowance_step(rated, charge, wording)
    yield from calculation.steps
    if rated.model_amount is not None:
        which = "minimum" if rated.model_amount < _priced_amount(rated) else "maximum"
        yield f"The {which}{_for_days(wording)} applies: {wording.money(_priced_amount(rated))}."
    if charge.pricing_unit is not None:
        yield f"{_money_formula(rated, charge.pricing_unit)} = {_in_currency(rated.exact_amount, rated)}."
    yield from _rounding_step(rated)


def _conversion_step(rated: RatedCharge, charge: Charge, converted: Decimal) -> str:
    conversion = charge.conversion
    words = {"ceil": ", rounded up,", "floor": ", rounded down,", "half_up": ", rounded,"}
    rounding = words.get(conversion.rounding, "") if conversion else ""
    divisor = format_quantity(conversion.divide_by) if conversion else ""
    return (
        f"{_count(EXACT.subtract(rated.quantity, rated.failures_free))} ÷ {divisor}{rounding} "
        f"{_are(converted)} {_count(converted)} billing {'unit' if converted == 1 else 'units'}."
    )


def _allowance_step(rated: RatedCharge, charge: Charge, wording: Wording) -> str:
    included = charge.included_units
    days = f" for {wording.days}" if wording.share and charge.prorates_included else ""
    return (
        f"{wording.measured(included)} {_are(included)} included{days}: "
        f"{format_quantity(rated.included_used)} {_are(rated.included_used)} free of charge, "
        f"{format_quantity(rated.billable_quantity)} {_are(rated.billable_quantity)} charged."
    )


def _rounding_step(rated: RatedCharge) -> Iterator[str]:
    if rated.exact_amount != rated.amount:
        yield f"{_in_currency(rated.exact_amount, rated)} is rounded, once, to {_in_currency(rated.amount, rated)}."


def _formula(rated: RatedCharge, charge: Charge, calculation: Calculation, wording: Wording) -> str:
    text = calculation.formula
    if calculation.counts_usage and rated.included_used:
        free = f"{format_quantity(rated.included_used)} {_are(rated.included_used)} included"
        text = f"{wording.measured(rated.quantity)}, of which {free}: {text}"
    if calculation.formula != wording.money(_model_amount(rated)):
        text = f"{text} = {wording.money(_model_amount(rated))}"
    if rated.model_amount is not None:
        which = "minimum" if rated.model_amount < _priced_amount(rated) else "maximum"
        text = f"{text}, {which} {wording.money(_priced_amount(rated))}"
    if charge.pricing_unit is not None:
        rate = format_unit_amount(charge.pricing_unit.rate, rated.currency)
        text = f"{text} {TIMES} {rate} = {_in_currency(rated.exact_amount, rated)}"
    if rated.exact_amount != rated.amount:
        text = f"{text}, rounded to {_in_currency(rated.amount, rated)}"
    return text


def _money_formula(rated: RatedCharge, unit: PricingUnit) -> str:
    priced = format_units(_priced_amount(rated), singular=unit.singular, plural=unit.plural)
    return f"{priced} {TIMES} {format_unit_amount(unit.rate, rated.currency)}"


def _in_currency(amount: Decimal, rated: RatedCharge) -> str:
    return format_unit_amount(amount, rated.currency)


def _for_days(wording: Wording) -> str:
    return f" for {wording.days}" if wording.share else ""


def _count(quantity: Decimal) -> str:
    return format_decimal(quantity)


def _are(quantity: Decimal) -> str:
    return "is" if quantity == 1 else "are"


def _were(quantity: Decimal) -> str:
    return "was" if quantity == 1 else "were"
