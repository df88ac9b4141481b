"""Prices in words, as a price list prints them. The amounts are the stored ones; nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from apps.common.formatting import format_day, format_money
from apps.pricing.formatting import format_decimal, format_quantity, format_units
from apps.products.models import (
    BillingInterval,
    BillingTiming,
    ChargeModelName,
    Price,
    PriceMatrixRow,
    PriceTier,
    PriceVersion,
    Recurrence,
    in_tier_order,
)

INTERVAL_WORDS = {BillingInterval.MONTH: "month", BillingInterval.QUARTER: "quarter", BillingInterval.YEAR: "year"}
MOST_ROWS_IN_WORDS = 8


def price_in_words(version: PriceVersion) -> list[str]:
    """The price in a line or, for tiers and a matrix, what it is per and a line for each tier or row."""
    model = ChargeModelName(version.charge_model)
    if model == ChargeModelName.MATRIX:
        return _matrix_lines(version)
    if version.charge_model in _TIERED:
        return [*_TIERED[model](version)]
    return [_in_a_line(version, model)]


def price_in_a_sentence(version: PriceVersion) -> str:
    """The price as running text: “per 1,000,000 tokens $2.20 up to 25,000,000, $1.60 above 25,000,000”."""
    first, *tiers = price_in_words(version)
    return f"{first[0].lower()}{first[1:].rstrip(':')} {', '.join(tiers)}" if tiers else first


def included_in_words(version: PriceVersion) -> str:
    """What is free in each period, such as “100,000 tokens”; an empty string when there is nothing."""
    free = []
    if version.free_transactions:
        one = version.free_transactions == 1
        free.append(f"{version.free_transactions:,} {'transaction' if one else 'transactions'}")
    if version.included_units:
        free.append(_included(version, version.included_units))
    return ", ".join(free)


def bounds_in_words(version: PriceVersion) -> list[str]:
    """What stands around the price: its minimum and maximum, a conversion, what failed outcomes cost."""
    words = []
    if version.minimum is not None:
        words.append(f"at least {amount_in_words(version, version.minimum)}")
    if version.maximum is not None:
        words.append(f"at most {amount_in_words(version, version.maximum)}")
    if version.divide_by is not None:
        how = {"ceil": ", rounded up", "floor": ", rounded down", "half_up": ", rounded"}
        rounded = how.get(version.quantity_rounding or "", "")
        words.append(f"quantity divided by {format_quantity(version.divide_by)}{rounded}")
    if version.failures == "free":
        words.append("failed outcomes are free")
    elif version.free_failures is not None:
        words.append(f"the first {format_quantity(version.free_failures)} failed are free")
    if version.pricing_unit_rate is not None and version.price.pricing_unit is not None:
        rate = format_money(version.pricing_unit_rate, version.currency)
        words.append(f"one {version.price.pricing_unit.singular} is {rate}")
    return words


def effective_in_words(version: PriceVersion) -> str:
    return format_day(version.effective_from) if version.effective_from else "The beginning"


def amount_in_words(version: PriceVersion, amount: Decimal | None) -> str:
    """An amount in the currency, or in the pricing unit: ``$2.50``, ``10 credits``."""
    unit = version.price.pricing_unit
    if unit is not None:
        return format_units(amount or Decimal(0), singular=unit.singular, plural=unit.plural)
    return format_money(amount or Decimal(0), version.currency)


def _in_a_line(version: PriceVersion, model: ChargeModelName) -> str:
    price, per = version.price, version.per_units or Decimal(1)
    interval = INTERVAL_WORDS[BillingInterval(price.plan_version.billing_months)]
    if model == ChargeModelName.FLAT:
        often = "once" if price.recurrence == Recurrence.ONE_OFF else f"per {interval}"
        ahead = ", in advance" if price.timing == BillingTiming.ADVANCE else ""
        return f"{amount_in_words(version, version.flat_amount)} {often}{ahead}"
    if model == ChargeModelName.PERCENTAGE:
        return _percentage(version)
    if model == ChargeModelName.AMOUNT_IN_EVENT:
        times = version.multiplier or Decimal(1)
        return "The amounts in events" + ("" if times == 1 else f" × {format_decimal(times)}")
    amount = amount_in_words(version, version.unit_amount)
    if model == ChargeModelName.PACKAGE:
        return f"{amount} per started {_units(price, version.package_size or Decimal(1))}"
    if model == ChargeModelName.SEATS:
        return f"{amount} per {_units(price, Decimal(1))} and {interval}"
    return f"{amount} per {_units(price, per)}"


def _percentage(version: PriceVersion) -> str:
    words = f"{format_decimal(version.rate_percent or Decimal(0))}% of each transaction"
    if version.fixed_amount:
        words += f" and {amount_in_words(version, version.fixed_amount)}"
    if version.transaction_minimum is not None:
        words += f", at least {amount_in_words(version, version.transaction_minimum)} each"
    if version.transaction_maximum is not None:
        words += f", at most {amount_in_words(version, version.transaction_maximum)} each"
    return words


def _tier_lines(version: PriceVersion) -> Iterator[str]:
    whole = ", all units at the price of one tier" if version.charge_model == ChargeModelName.VOLUME else ""
    yield f"Per {_units(version.price, version.per_units or Decimal(1))}{whole}:"
    for tier, reach in _tiers(version):
        amount = amount_in_words(version, tier.unit_amount)
        packages = "" if tier.package_size is None else f" per started {format_quantity(tier.package_size)}"
        yield f"{amount}{packages}{_fee(version, tier)} {reach}"


def _step_lines(version: PriceVersion) -> Iterator[str]:
    yield "For the whole quantity:"
    for tier, reach in _tiers(version):
        yield f"{amount_in_words(version, tier.flat_amount)} {reach}"


def _rate_lines(version: PriceVersion) -> Iterator[str]:
    yield "Of the amounts:"
    for tier, reach in _tiers(version):
        yield f"{format_decimal(tier.rate_percent or Decimal(0))}%{_fee(version, tier)} {reach}"


_TIERED = {
    ChargeModelName.GRADUATED: _tier_lines,
    ChargeModelName.VOLUME: _tier_lines,
    ChargeModelName.STAIRSTEP: _step_lines,
    ChargeModelName.GRADUATED_PERCENTAGE: _rate_lines,
}


def _tiers(version: PriceVersion) -> Iterator[tuple[PriceTier, str]]:
    """Each tier with how far it reaches."""
    is_money = version.charge_model == ChargeModelName.GRADUATED_PERCENTAGE
    everything = "of all" if is_money else "all units"
    lower = Decimal(0)
    for tier in in_tier_order(version.tiers.all()):
        if tier.up_to is not None:
            lower = tier.up_to
            yield tier, f"up to {_bound(version, tier.up_to, is_money)}"
        else:
            yield tier, f"above {_bound(version, lower, is_money)}" if lower else everything


def _bound(version: PriceVersion, bound: Decimal, is_money: bool) -> str:
    return amount_in_words(version, bound) if is_money else format_quantity(bound)


def _fee(version: PriceVersion, tier: PriceTier) -> str:
    return f" and {amount_in_words(version, tier.flat_amount)} once" if tier.flat_amount else ""


def matrix_rows(version: PriceVersion) -> list[PriceMatrixRow]:
    return sorted(version.rows.all(), key=lambda row: row.position)


def _matrix_lines(version: PriceVersion) -> list[str]:
    rows = matrix_rows(version)
    lines = [f"Per {_units(version.price, version.per_units or Decimal(1))}, by {_listed(version.dimensions)}:"]
    lines += [f"{amount_in_words(version, row.unit_amount)} {row}" for row in rows[:MOST_ROWS_IN_WORDS]]
    if len(rows) > MOST_ROWS_IN_WORDS:
        lines.append(f"and {len(rows) - MOST_ROWS_IN_WORDS} more")
    return lines


def _included(version: PriceVersion, included: Decimal) -> str:
    if version.charge_model in (
        ChargeModelName.PERCENTAGE,
        ChargeModelName.GRADUATED_PERCENTAGE,
        ChargeModelName.AMOUNT_IN_EVENT,
    ):
        return amount_in_words(version, included)
    metric = version.price.metric
    unit = "" if metric is None else metric.unit_singular if included == 1 else metric.unit_plural
    return f"{format_quantity(included)} {unit}".rstrip()


def _units(price: Price, per_units: Decimal) -> str:
    metric = price.metric
    if per_units == 1:
        return metric.unit_singular if metric else "unit"
    return f"{format_quantity(per_units)} {metric.unit_plural if metric else 'units'}"


def _listed(names: Sequence[str]) -> str:
    """``model``; ``model and direction``; ``model, direction and tier``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
