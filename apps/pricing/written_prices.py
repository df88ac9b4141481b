"""A price written out in fields of text, with usage to rate under it: for estimates and for worked examples.

The names are those of the worked price lists under ``tests/golden``. One object states a price, the usage and the
currency; ``model`` says which fields belong to it.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import ONE, ZERO, ChargeModel, InvalidPrice, LevelDays, Tier, Usage, UsageGroup
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.matrix import Matrix, MatrixRow
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import PERCENT, Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge, PricingUnit, RatedCharge, rate_lines
from apps.pricing.conversion import Conversion
from apps.pricing.money import EXACT, fix_point, minor_units, sum_exactly
from apps.pricing.written_fields import (
    DIGITS_OF_AMOUNT,
    DIGITS_OF_QUANTITY,
    FIELDS_OF_TIERS,
    KNOWN_FIELDS,
    InvalidWrittenPrice,
    WrittenFields,
    needed,
    read_number,
    read_text,
)

__all__ = ["InvalidWrittenPrice", "WrittenPrice", "rate_written_price", "read_written_price"]

Model = ChargeModel | Matrix


@dataclass(frozen=True, slots=True)
class WrittenPrice:
    """What a written price says: a charge, the usage to rate under it, and the currency."""

    charge: Charge
    usage: Usage
    currency: str


class _Kind(NamedTuple):
    """How a model is written: what reads its price, what reads its usage, and what may stand around it."""

    read_model: Callable[[WrittenFields], Model]
    read_usage: Callable[[WrittenFields, Model], Usage]
    counts_units: bool  # Conversion and failures: for what is measured in units.
    has_allowance: bool = True  # Seats and percentages say themselves what is free.


def read_written_price(fields: Mapping[str, Any]) -> WrittenPrice:
    """Read a price and its usage. Numbers are texts, integers or Decimals, of zero or more.

    Raises InvalidWrittenPrice for a field that is unknown, missing, out of its place or not to be read, and for a
    price that cannot be: with the path of the field and a sentence that names the mend.
    """
    written = WrittenFields(fields)
    currency = _read_currency(written)
    name = _read_model_name(written)
    kind = KINDS[name]
    try:
        model = kind.read_model(written)
        usage = kind.read_usage(written, model)
        charge = _read_charge(written, model, kind)
    except InvalidPrice as fault:
        raise InvalidWrittenPrice(_written_name(fault.field, name), str(fault)) from None
    written.refuse_others(f"a price of the model {name}", KNOWN_FIELDS)
    return WrittenPrice(charge, usage, currency)


def rate_written_price(written: WrittenPrice) -> tuple[RatedCharge, ...]:
    """Rate the usage under the price: one line, or one for each row of a matrix that was used.

    Raises NotRatable for usage that the price says nothing about, such as a quantity above a last tier that ends, and
    InvalidWrittenPrice for an amount that is too large for exact arithmetic.
    """
    try:
        return rate_lines(written.charge, written.usage, written.currency)
    except decimal.InvalidOperation:
        raise InvalidWrittenPrice("quantity", "The amount is too large to be computed. Write less.") from None


def _read_currency(written: WrittenFields) -> str:
    currency = written.text("currency")
    try:
        minor_units(currency)
    except ValueError:
        raise InvalidWrittenPrice("currency", f"“{currency}” is not a currency code of ISO 4217.") from None
    return currency


def _read_model_name(written: WrittenFields) -> str:
    name = written.text("model", "per_unit")
    name = ALIASES_OF_MODELS.get(name, name)
    if name not in KINDS:
        raise InvalidWrittenPrice("model", f"“{name}” is no charge model. Write one of: {', '.join(KINDS)}.")
    # A price per unit that depends on properties is a matrix, also where it is not called so, and tiers of rates are
    # a graduated percentage.
    if name == "per_unit" and "prices" in written:
        return "matrix"
    if name == "percentage" and "tiers" in written:
        return "graduated_percentage"
    return "graduated_percentage" if name == "graduated" and written.has_in_entries("tiers", "rate_percent") else name


def _read_charge(written: WrittenFields, model: Model, kind: _Kind) -> Charge:
    around: dict[str, Any] = {}
    if kind.has_allowance:
        around["included_units"] = written.quantity("free_units", "included_units", "free_amount") or ZERO
    if kind.counts_units:
        around["conversion"] = _read_conversion(written)
        around["free_failures"] = _read_free_failures(written)
    return Charge(
        model,
        minimum=written.amount("minimum"),
        maximum=written.amount("maximum"),
        pricing_unit=_read_pricing_unit(written),
        **around,
    )


def _read_conversion(written: WrittenFields) -> Conversion | None:
    inner = written.inner("conversion")
    if inner is None:
        return None
    conversion = Conversion(inner.needed_quantity("divide_by"), inner.text("rounding", "none").replace("none", ""))
    inner.refuse_others("a conversion", ["divide_by", "rounding"])
    return conversion


def _read_free_failures(written: WrittenFields) -> Decimal | None:
    path, value = written.take("free_failures")
    if value is None:
        return ZERO
    return None if value == "all" else read_number(value, path, DIGITS_OF_QUANTITY)


def _read_pricing_unit(written: WrittenFields) -> PricingUnit | None:
    inner = written.inner("pricing_unit")
    if inner is None:
        return None
    singular = inner.text("singular")
    unit = PricingUnit(singular, inner.text("plural", f"{singular}s"), inner.needed_amount("rate"))
    inner.refuse_others("a pricing unit", ["singular", "plural", "rate"])
    return unit


def _read_fee_at_zero(written: WrittenFields) -> bool:
    """Whether the first tier's flat fee is charged at zero usage: a convention, written by itself or among others."""
    flag = written.flag("flat_fee_at_zero_usage")
    convention = written.inner("convention")
    if convention is not None:
        inner = convention.flag("flat_fee_at_zero_usage")
        convention.refuse_others("the conventions", ["flat_fee_at_zero_usage"])
        if flag is not None and inner is not None and flag != inner:
            raise InvalidWrittenPrice(convention.at("flat_fee_at_zero_usage"), "It is written twice. Write it once.")
        flag = inner if flag is None else flag
    return bool(flag)


# --- Prices -----------------------------------------------------------------------------------------------------------


def _read_flat(written: WrittenFields) -> Flat:
    return Flat(written.needed_amount("flat_amount", "amount"))


def _read_per_unit(written: WrittenFields) -> PerUnit:
    return PerUnit(written.needed_amount("unit_amount"), _read_per_units(written))


def _read_per_units(written: WrittenFields) -> Decimal:
    per_units = written.quantity("per_units")
    return ONE if per_units is None else per_units


def _read_package(written: WrittenFields) -> Package:
    return Package(written.needed_amount("package_amount"), written.needed_quantity("package_size"))


def _read_graduated(written: WrittenFields) -> Graduated:
    tiers, per_units = _read_tiers(written)
    return Graduated(tiers, per_units, _read_fee_at_zero(written))


def _read_volume(written: WrittenFields) -> Volume:
    """Tiers of unit prices, or of rates in percent, which are prices for each hundred."""
    if written.has_in_entries("tiers", "rate_percent"):
        return Volume(_read_rate_tiers(written), PERCENT, _read_fee_at_zero(written))
    tiers, per_units = _read_tiers(written)
    return Volume(tiers, per_units, _read_fee_at_zero(written))


def _read_tiers(written: WrittenFields) -> tuple[tuple[Tier, ...], Decimal]:
    """Tiers of units, and how many units their prices are for, which may be written with each tier instead."""
    per_units = written.quantity("per_units")
    tiers = []
    for entry in written.objects("tiers"):
        tiers.append(_read_tier(entry))
        per_of_tier = entry.quantity("per_units")
        if per_of_tier is not None and per_units not in (None, per_of_tier):
            raise InvalidWrittenPrice(entry.at("per_units"), f"All tiers are for as many units: {per_units}.")
        per_units = per_units if per_of_tier is None else per_of_tier
        entry.refuse_others("a tier", FIELDS_OF_TIERS)
    return tuple(tiers), ONE if per_units is None else per_units


def _read_tier(entry: WrittenFields) -> Tier:
    up_to, flat_amount = entry.quantity("up_to"), entry.amount("flat_amount")
    if "package_size" in entry or "package_amount" in entry:
        package_amount = entry.needed_amount("package_amount")
        return Tier(up_to, package_amount, flat_amount or ZERO, entry.needed_quantity("package_size"))
    unit_amount = entry.amount("unit_amount")
    if unit_amount is None and flat_amount is None:
        raise InvalidWrittenPrice(entry.at("unit_amount"), "The tier has no price. Write one, or a flat amount.")
    return Tier(up_to, unit_amount or ZERO, flat_amount or ZERO)


def _read_stairstep(written: WrittenFields) -> Stairstep:
    steps = []
    for entry in written.objects("tiers"):
        steps.append(Tier(entry.quantity("up_to"), flat_amount=entry.needed_amount("flat_amount", "amount")))
        if entry.amount("unit_amount"):
            raise InvalidWrittenPrice(entry.at("unit_amount"), "A step has a flat amount only. Leave it out.")
        entry.refuse_others("a step", FIELDS_OF_TIERS)
    return Stairstep(tuple(steps), _read_fee_at_zero(written))


def _read_percentage(written: WrittenFields) -> Percentage:
    return Percentage(
        written.needed_amount("rate_percent", "rate"),
        written.amount("fixed_amount") or ZERO,
        written.quantity("free_transactions", "free_count") or ZERO,
        written.quantity("free_amount", "free_units", "included_units") or ZERO,
        written.amount("transaction_minimum", "per_transaction_minimum", "per_transaction_min_amount"),
        written.amount("transaction_maximum", "per_transaction_maximum", "per_transaction_max_amount"),
    )


def _read_graduated_percentage(written: WrittenFields) -> GraduatedPercentage:
    return GraduatedPercentage(_read_rate_tiers(written), _read_fee_at_zero(written))


def _read_rate_tiers(written: WrittenFields) -> tuple[Tier, ...]:
    tiers = []
    for entry in written.objects("tiers"):
        rate = entry.needed_amount("rate_percent", "rate")
        tiers.append(Tier(entry.quantity("up_to"), rate, entry.amount("flat_amount") or ZERO))
        entry.refuse_others("a tier of rates", FIELDS_OF_TIERS)
    return tuple(tiers)


def _read_matrix(written: WrittenFields) -> Matrix:
    matches = []
    for entry in written.objects("prices"):
        matches.append((_read_texts(entry, "match"), entry.needed_amount("unit_amount")))
        entry.refuse_others("the price of a match", ["match", "unit_amount"])
    # The order in which the dimensions first appear is the order of the values on the lines.
    dimensions = tuple(dict.fromkeys(name for match, _ in matches for name in match))
    rows = tuple(MatrixRow(tuple(match.get(name) for name in dimensions), amount) for match, amount in matches)
    return Matrix(dimensions, rows, _read_per_units(written))


def _read_texts(entry: WrittenFields, name: str) -> dict[str, str]:
    inner = entry.inner(name)
    if inner is None:
        return {}
    return {key: read_text(str(value) if isinstance(value, int) else value, path) for key, path, value in _all(inner)}


def _all(inner: WrittenFields) -> list[tuple[str, str, Any]]:
    return [(name, *inner.take(name)) for name in inner.names()]


def _read_seats(written: WrittenFields) -> Seats:
    return Seats(
        written.needed_amount("unit_amount"),
        written.quantity("included_seats") or ZERO,
        prorates_added=written.flag("prorates_added") is not False,
        prorates_removed=written.flag("prorates_removed") is not False,
    )


def _read_amount_in_event(written: WrittenFields) -> AmountInEvent:
    multiplier = written.amount("multiplier")
    return AmountInEvent(ONE if multiplier is None else multiplier)


# --- Usage ------------------------------------------------------------------------------------------------------------


def _no_usage(written: WrittenFields, model: Model) -> Usage:
    """A fee has no need of a quantity; one may be written all the same."""
    return Usage(written.quantity("quantity") or ZERO)


def _units(written: WrittenFields, model: Model) -> Usage:
    quantity = written.needed_quantity("quantity")
    failed = written.quantity("failed") or ZERO
    if failed > quantity:
        raise InvalidWrittenPrice("failed", f"More failed than were used: {failed} of {quantity}. Write less.")
    return Usage(quantity, failed)


def _transactions(written: WrittenFields, model: Model) -> Usage:
    """A sum, or the amounts that make it."""
    listed = "transactions" in written
    amounts = tuple(read_number(value, path, DIGITS_OF_AMOUNT) for path, value in written.entries("transactions"))
    quantity = written.quantity("quantity")
    if not listed:
        return Usage(needed(quantity, "quantity"))
    total = sum_exactly(amounts)
    if quantity is not None and quantity != total:
        raise InvalidWrittenPrice("quantity", f"The transactions add up to {total}, not to {quantity}. Leave it out.")
    return Usage(total, count=len(amounts), transactions=amounts)


def _events(written: WrittenFields, model: Model) -> Usage:
    """Events with properties, as the parts of the usage that the dimensions of the matrix tell apart."""
    assert isinstance(model, Matrix)  # noqa: S101 (read beside the matrix: see KINDS)
    total = failed = ZERO
    if "events" not in written:
        raise InvalidWrittenPrice("events", "It is missing. Write the events with their properties.")
    groups = []
    for entry in written.objects("events"):
        quantity, properties = entry.needed_quantity("quantity"), _read_texts(entry, "properties")
        failed_units = entry.quantity("failed") or ZERO
        if failed_units > quantity:
            raise InvalidWrittenPrice(entry.at("failed"), "More failed than were used. Write less.")
        entry.refuse_others("an event", ["quantity", "properties", "failed"])
        groups.append(UsageGroup(tuple(properties.get(name) for name in model.dimensions), quantity, failed_units))
        total, failed = EXACT.add(total, quantity), EXACT.add(failed, failed_units)
    return Usage(total, failed, groups=tuple(groups))


def _levels(written: WrittenFields, model: Model) -> Usage:
    """The number of seats on each day, or one number that is held all along."""
    if "levels" not in written and "of_days" not in written:
        return Usage(written.needed_quantity("quantity"))
    if "levels" not in written:
        raise InvalidWrittenPrice("levels", "It is missing. Write how many seats stood for how many days.")
    levels = []
    total, days = ZERO, 0
    for entry in written.objects("levels"):
        level = LevelDays(entry.needed_quantity("quantity"), entry.whole_number("days"))
        entry.refuse_others("a level", ["quantity", "days"])
        total = EXACT.add(total, EXACT.multiply(level.quantity, level.days))
        days += level.days
        levels.append(level)
    of_days = written.whole_number("of_days")
    if not of_days or days > of_days:
        raise InvalidWrittenPrice("of_days", f"The levels stand for {days} days, the period has {of_days}. Mend one.")
    return Usage(fix_point(EXACT.divide(total, of_days)), levels=tuple(levels), of_days=of_days)


KINDS: dict[str, _Kind] = {
    "flat": _Kind(_read_flat, _no_usage, counts_units=False, has_allowance=False),
    "per_unit": _Kind(_read_per_unit, _units, counts_units=True),
    "package": _Kind(_read_package, _units, counts_units=True),
    "graduated": _Kind(_read_graduated, _units, counts_units=True),
    "volume": _Kind(_read_volume, _units, counts_units=True),
    "stairstep": _Kind(_read_stairstep, _units, counts_units=True),
    "percentage": _Kind(_read_percentage, _transactions, counts_units=False, has_allowance=False),
    "graduated_percentage": _Kind(_read_graduated_percentage, _transactions, counts_units=False),
    "matrix": _Kind(_read_matrix, _events, counts_units=True),
    "seats": _Kind(_read_seats, _levels, counts_units=False, has_allowance=False),
    "amount_in_event": _Kind(_read_amount_in_event, _transactions, counts_units=False),
}
ALIASES_OF_MODELS = {"dynamic_markup": "amount_in_event"}


def _written_name(field: str, model: str) -> str:
    """The name that a field of a price has where it is written."""
    if model == "package" and field == "unit_amount":
        return "package_amount"
    if field in ("divide_by", "rounding"):
        return f"conversion.{field}"
    return field or "model"
