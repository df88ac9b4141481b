"""Turning a measured quantity into billing units: seconds into started minutes, bytes into gigabytes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charge_models.base import ONE, ZERO, InvalidPrice
from apps.pricing.money import EXACT, check_decimal, fix_point

ROUNDINGS = ("ceil", "floor", "half_up")


@dataclass(frozen=True, slots=True)
class Conversion:
    """A quantity is divided by ``divide_by`` and, if asked, rounded to whole billing units.

    ``rounding`` is ``ceil``, ``floor``, ``half_up`` (half away from zero) or empty: fractions stay. Raises
    InvalidPrice for anything else.
    """

    divide_by: Decimal = ONE
    rounding: str = ""

    def __post_init__(self) -> None:
        check_decimal(self.divide_by)
        if self.divide_by <= 0:
            raise InvalidPrice(f"A quantity is divided by a number above 0, not by {self.divide_by}.", "divide_by")
        if self.rounding and self.rounding not in ROUNDINGS:
            raise InvalidPrice(f"“{self.rounding}” is no rounding. Use {', '.join(ROUNDINGS)}, or none.", "rounding")

    def convert(self, quantity: Decimal) -> Decimal:
        """The quantity in billing units. Whole units are found by remainder: a quotient may lose its last digit."""
        check_decimal(quantity)
        if not self.rounding:
            return fix_point(EXACT.divide(quantity, self.divide_by))
        whole, rest = EXACT.divmod(EXACT.abs(quantity), self.divide_by)
        is_negative = quantity < 0
        if self.rounding == "half_up":
            goes_up = EXACT.multiply(rest, Decimal(2)) >= self.divide_by
        else:
            goes_up = bool(rest) and (self.rounding == "ceil") != is_negative
        units = EXACT.add(whole, ONE) if goes_up else whole
        return EXACT.minus(units) if is_negative and units else units or ZERO
