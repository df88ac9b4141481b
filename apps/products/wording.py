"""Prices in words, as a price list prints them. The amounts are the stored ones; nothing is computed here."""

from __future__ import annotations

from decimal import Decimal

from apps.common.formatting import format_day, format_money
from apps.pricing.formatting import format_quantity
from apps.products.models import BillingInterval, ChargeModelName, Price, PriceVersion, in_tier_order

INTERVAL_WORDS = {BillingInterval.MONTH: "month", BillingInterval.QUARTER: "quarter", BillingInterval.YEAR: "year"}


def price_in_words(version: PriceVersion) -> list[str]:
    """One line for a flat or per-unit price; for a graduated one its unit, then a line for each tier."""
    price = version.price
    currency = version.currency
    if version.charge_model == ChargeModelName.FLAT and version.flat_amount is not None:
        interval = INTERVAL_WORDS[BillingInterval(price.plan_version.billing_months)]
        return [f"{format_money(version.flat_amount, currency)} per {interval}"]
    if version.charge_model == ChargeModelName.PER_UNIT and version.unit_amount is not None:
        return [f"{format_money(version.unit_amount, currency)} per {_units(price, version.per_units or Decimal(1))}"]
    return _tier_lines(version, currency)


def price_in_a_sentence(version: PriceVersion) -> str:
    """The price as running text: “per 1,000,000 tokens $2.20 up to 25,000,000, $1.60 above 25,000,000”."""
    first, *tiers = price_in_words(version)
    return f"{first.lower().rstrip(':')} {', '.join(tiers)}" if tiers else first


def included_in_words(version: PriceVersion) -> str:
    """The allowance of each period, such as “100,000 tokens”; an empty string when there is none."""
    if not version.included_units:
        return ""
    metric = version.price.metric
    unit = "" if metric is None else metric.unit_singular if version.included_units == 1 else metric.unit_plural
    return f"{format_quantity(version.included_units)} {unit}".rstrip()


def effective_in_words(version: PriceVersion) -> str:
    return format_day(version.effective_from) if version.effective_from else "The beginning"


def _tier_lines(version: PriceVersion, currency: str) -> list[str]:
    lines = [f"Per {_units(version.price, version.per_units or Decimal(1))}:"]
    lower = Decimal(0)
    for tier in in_tier_order(version.tiers.all()):
        amount = format_money(tier.unit_amount, currency)
        fee = f" and {format_money(tier.flat_amount, currency)} once" if tier.flat_amount else ""
        if tier.up_to is None:
            reach = f"above {format_quantity(lower)}" if lower else "all units"
        else:
            reach = f"up to {format_quantity(tier.up_to)}"
            lower = tier.up_to
        lines.append(f"{amount}{fee} {reach}")
    return lines


def _units(price: Price, per_units: Decimal) -> str:
    metric = price.metric
    if per_units == 1:
        return metric.unit_singular if metric else "unit"
    return f"{format_quantity(per_units)} {metric.unit_plural if metric else 'units'}"
