"""Template filters for money, quantities and periods."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from django import template
from djmoney.money import Money

from apps.common import formatting
from apps.pricing.formatting import format_quantity
from apps.pricing.periods import Period, local_date

register = template.Library()


@register.filter
def money(amount: Money | Decimal, currency: str | None = None) -> str:
    return formatting.format_money(amount, currency)


@register.filter
def difference(amount: Decimal, currency: str | None = None) -> str:
    """A change with its sign: an amount where a currency is given, else a quantity."""
    if currency is not None:
        return formatting.format_difference(amount, currency)
    return f"+{format_quantity(amount)}" if amount > 0 else format_quantity(amount)


@register.filter
def quantity(number: Decimal | int) -> str:
    return format_quantity(Decimal(number))


@register.filter
def about(number: Decimal) -> str:
    """An estimated quantity: whole where it is large, else to three digits that count."""
    rounded = number.quantize(Decimal(1)) if abs(number) >= 100 else Decimal(f"{number:.3g}")
    return f"≈ {format_quantity(rounded)}"


@register.filter
def period_days(period: Period) -> str:
    return formatting.format_days(period.first_date, period.last_date)


@register.filter
def day_number(period: Period, instant: dt.datetime) -> int:
    """Which day of the period the instant falls on, from 1."""
    return (local_date(instant, period.zone) - period.first_date).days + 1


@register.filter
def instant(value: dt.datetime, zone: str | None = None) -> str:
    return formatting.format_instant(value, zone)


@register.filter
def last_day(end_date: dt.date | None) -> str:
    """The last day before an exclusive end, as people write it; “open” when there is no end."""
    return formatting.format_day(end_date - dt.timedelta(days=1)) if end_date else "Open"
