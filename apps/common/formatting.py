"""Money, quantities and days as staff and customers read them. Nothing here rounds an amount."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from decimal import Decimal

from babel.numbers import format_currency, get_currency_symbol
from django.utils import timezone
from moneyed import Money

from apps.pricing.money import minor_units

LOCALE = "en_US"


def format_money(amount: Money | Decimal, currency: str | None = None) -> str:
    """An amount with its currency sign, such as ``$1,234.50``. More decimals are shown when there are more.

    A currency without a sign of its own is printed by its code, which stands apart: ``KWD 12.500``.
    """
    if isinstance(amount, Money):
        return format_money(amount.amount, amount.currency.code)
    if currency is None:
        raise TypeError("a bare Decimal needs its currency")
    digits = max(minor_units(currency), -int(amount.normalize().as_tuple().exponent))
    sign = "¤\N{NO-BREAK SPACE}" if get_currency_symbol(currency, LOCALE) == currency else "¤"
    number = f"{sign}#,##0.{'0' * digits}" if digits else f"{sign}#,##0"
    return format_currency(
        amount,
        currency,
        format=f"{number};-{number}",
        locale=LOCALE,
        currency_digits=False,
        decimal_quantization=False,
    )


def format_difference(amount: Decimal, currency: str) -> str:
    """An amount with its sign, such as ``+$12.00``: more is owed."""
    return f"+{format_money(amount, currency)}" if amount > 0 else format_money(amount, currency)


def format_day(day: dt.date) -> str:
    return f"{day:%-d %b %Y}"


def format_days(first: dt.date, last: dt.date) -> str:
    """A span of days with both ends inclusive, such as ``1 – 30 Nov 2023``."""
    if first == last:
        return format_day(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day} – {format_day(last)}"
    if first.year == last.year:
        return f"{first:%-d %b} – {format_day(last)}"
    return f"{format_day(first)} – {format_day(last)}"


def format_instant(instant: dt.datetime, zone: str | None = None, *, with_seconds: bool = False) -> str:
    local = instant.astimezone(zoneinfo.ZoneInfo(zone)) if zone else timezone.localtime(instant)
    clock = f"{local:%H:%M:%S}" if with_seconds else f"{local:%H:%M}"
    return f"{local:%-d %b %Y}, {clock} {local.tzname()}"
