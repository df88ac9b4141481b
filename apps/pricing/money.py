"""Exact money: minor units, the one function that rounds, and splits that give back what was split."""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import lru_cache

import moneyed

# Quantities have up to 30 digits and unit prices up to 24: their product is exact with digits to spare.
PRECISION = 76

# Quantities and prices have up to 12 decimals and a price is for up to a million units, so an exact amount is a
# multiple of 10^-30, or of a 366th of that when days share it. Behind the 40th decimal there is nothing of the
# amount: only what divisions that do not end, such as thirds, leave there.
SETTLED_DECIMALS = 40

# Its methods (``EXACT.multiply``) compute exactly where entering a block for each step would cost more than the step.
EXACT = decimal.Context(
    prec=PRECISION,
    rounding=ROUND_HALF_EVEN,
    traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, decimal.FloatOperation],
)
_SETTLED_UNIT = Decimal(1).scaleb(-SETTLED_DECIMALS)
# Money is rounded half away from zero (ADR 0001); a context of its own costs half of naming the mode at each call.
_HALF_AWAY_FROM_ZERO = decimal.Context(prec=PRECISION, rounding=ROUND_HALF_UP, traps=[decimal.InvalidOperation])

# A part of a quantity that does not end stops at this decimal, whatever its size: so a third and two thirds of a
# bound meet exactly, and a quantity never passes a bound by a last digit. With 18 digits before the point it fits.
FIXED_DECIMALS = 56
_FIXED_UNIT = Decimal(1).scaleb(-FIXED_DECIMALS)


def exact_arithmetic() -> AbstractContextManager[decimal.Context]:
    """A block in which Decimal arithmetic keeps 76 digits and refuses floats; all of pricing computes in one."""
    return decimal.localcontext(EXACT)


def settle(exact: Decimal) -> Decimal:
    """Drop the trace of divisions that do not end, so that three thirds make a whole again.

    A product of a quantity and a price with their 12 decimals needs no settling; whatever is divided does.

    An amount with at most 40 decimals is returned as it is. This keeps every digit that decides a rounding: it is
    not the rounding of an amount to money, which is ``round_money``. Raises decimal.InvalidOperation for amounts
    from 10^36 on, which no price and no quantity reach.
    """
    settled = EXACT.quantize(exact, _SETTLED_UNIT)
    return exact if settled == exact else settled


def fix_point(part: Decimal) -> Decimal:
    """Stop a part without end at its 56th decimal; a number with fewer decimals is returned as it is.

    Quotients keep 76 digits, so the larger one has fewer decimals, and what is left of a bound would differ from the
    bound that is prorated the same way. Raises decimal.InvalidOperation from 10^20 on, which no quantity reaches.
    """
    fixed = EXACT.quantize(part, _FIXED_UNIT)
    return part if fixed == part else fixed


@lru_cache
def minor_units(currency: str) -> int:
    """The number of decimals of a currency by ISO 4217: USD 2, JPY 0, KWD 3.

    Raises ValueError for a code that ISO 4217 does not know.
    """
    try:
        sub_unit = moneyed.get_currency(currency).sub_unit
    except moneyed.CurrencyDoesNotExist:
        raise ValueError(f"{currency!r} is not a currency code of ISO 4217.") from None
    return len(str(sub_unit)) - 1  # A unit has 1, 10, 100 … minor units.


def round_money(amount: Decimal, currency: str) -> Decimal:
    """Round to the currency's minor unit, half away from zero. Nothing else in the product rounds an amount.

    The result has exactly the decimals of the currency and is never a negative zero. Raises TypeError unless the
    amount is a Decimal, ValueError for an unknown currency or an amount that is not a number.
    """
    if type(amount) is not Decimal or not amount.is_finite():  # The usual answer, without the cost of a call.
        check_decimal(amount)
    rounded = _HALF_AWAY_FROM_ZERO.quantize(amount, _minor_unit(currency))
    return rounded if rounded else rounded.copy_abs()


def sum_exactly(amounts: Iterable[Decimal]) -> Decimal:
    """The sum of amounts or quantities with every digit; none make zero."""
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def split_money(total: Decimal, weights: Sequence[Decimal], currency: str) -> tuple[Decimal, ...]:
    """Share out a rounded total in proportion to the weights; the shares add up to it again.

    By largest remainder: each share is its exact part cut to whole minor units, and the units left over go one by
    one to the shares that lost most in the cut, the earlier first where two lost the same. A negative total is
    shared out like its positive twin.

    Raises ValueError if the total is not rounded, a weight is negative, or no weight is above zero.
    """
    if round_money(total, currency) != total:
        raise ValueError(f"{total} {currency} is not rounded to the minor unit; round it before it is split.")
    for weight in weights:
        check_decimal(weight)
    if not any(weights) or min(weights) < 0:
        raise ValueError("A split needs weights of zero or more, and at least one above zero.")

    minor_unit = _minor_unit(currency)
    with exact_arithmetic():
        units = _split_units(int(abs(total) / minor_unit), [Fraction(weight) for weight in weights])
        return tuple(round_money((-share if total < 0 else share) * minor_unit, currency) for share in units)


def _split_units(units: int, weights: Sequence[Fraction]) -> list[int]:
    """Share out whole units by largest remainder; fractions, because remainders are compared for equality."""
    whole = sum(weights)
    exact = [units * weight / whole for weight in weights]
    shares = [int(part) for part in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: (shares[index] - exact[index], index))
    for index in by_remainder[: units - sum(shares)]:
        shares[index] += 1
    return shares


def check_decimal(number: object) -> None:
    """Refuse what is no exact number: TypeError for anything but a Decimal, ValueError for NaN and infinity."""
    if not isinstance(number, Decimal):
        raise TypeError(f"Money and quantities are Decimals, not {type(number).__name__}: {number!r}.")
    if not number.is_finite():
        raise ValueError(f"{number} is not a number that can be charged.")


@lru_cache
def _minor_unit(currency: str) -> Decimal:
    return Decimal(1).scaleb(-minor_units(currency))
