"""Numbers in words and sentences: full precision, thousands separated, never an exponent. Nothing here rounds."""

from __future__ import annotations

from decimal import Decimal

from apps.pricing.money import minor_units

TIMES = "\N{MULTIPLICATION SIGN}"
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"

# No price list and no meter reaches this many decimals: such a number is a third or the like and would never end.
ENDLESS_DECIMALS = 18
SHOWN_OF_ENDLESS = 12


def plain_decimal(number: Decimal) -> str:
    """A number for programs and storage, every digit of it: ``0.0000025``, ``1000000``."""
    whole, fraction = _digits(number, "f")
    return f"{whole}.{fraction}" if fraction else whole


def format_decimal(number: Decimal, *, least_decimals: int = 0) -> str:
    """A number for readers: ``18,059,974``, ``0.5``. One without end is cut, and says so: ``0.333333333333…``."""
    whole, fraction = _digits(number, ",f")
    if len(fraction) > ENDLESS_DECIMALS:
        return f"{whole}.{fraction[:SHOWN_OF_ENDLESS]}{ELLIPSIS}"
    fraction = fraction.ljust(least_decimals, "0")
    return f"{whole}.{fraction}" if fraction else whole


def format_quantity(quantity: Decimal) -> str:
    """A quantity for readers, without its unit: ``1,000,000``, ``12.5``."""
    return format_decimal(quantity)


def format_units(quantity: Decimal, *, singular: str, plural: str) -> str:
    """A quantity with its unit: ``1 token``, ``2.5 tokens``."""
    return f"{format_quantity(quantity)} {singular if quantity == 1 else plural}".rstrip()


def format_unit_amount(amount: Decimal, currency: str) -> str:
    """A price or an exact amount for readers, with at least the currency's decimals: ``10.00 USD``, ``0.0025 USD``."""
    return f"{format_decimal(amount, least_decimals=minor_units(currency))} {currency}"


def _digits(number: Decimal, spec: str) -> tuple[str, str]:
    """The text before and after the point, without trailing zeros and without a negative zero."""
    whole, _, fraction = format(number if number else Decimal(0), spec).partition(".")
    return whole, fraction.rstrip("0")
