"""Seats: a price for each seat and period, by the days on which the seat was held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import accumulate, groupby
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    ZERO,
    Calculation,
    Component,
    LevelDays,
    ModelRating,
    NotRatable,
    Usage,
    Wording,
    check_amounts,
)
from apps.pricing.formatting import TIMES
from apps.pricing.money import EXACT, check_decimal, settle
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class Seats:
    """``unit_amount`` for a seat held over a whole period; ``included_seats`` are free at any time.

    With ``prorates_added`` a seat added within the period is charged from its day on, otherwise for the whole window;
    with ``prorates_removed`` a removed one is charged up to its day, otherwise to the window's end. Days are half-open:
    the day of adding counts, the day of removing does not.

    The quantity is the number of seats on average over the period, which the levels in the usage decide; without
    levels the quantity is taken to be held all along.
    """

    name: ClassVar[str] = "seats"

    unit_amount: Decimal
    included_seats: Decimal = ZERO
    prorates_added: bool = True
    prorates_removed: bool = True

    def __post_init__(self) -> None:
        check_amounts(unit_amount=self.unit_amount, included_seats=self.included_seats)

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        levels = usage.levels or (LevelDays(quantity, 1),)
        of_days = Decimal(usage.of_days or 1)
        if not usage.levels and usage.of_days:
            raise NotRatable("Seats are charged by day. Give the number of seats on each day of the period.")
        total = ZERO
        components = [Component("included", self.included_seats, ZERO, ZERO)] if self.included_seats else []
        for seats, days in self._charged(levels):
            seat_days = EXACT.multiply(EXACT.multiply(seats, days), self.unit_amount)
            total = EXACT.add(total, seat_days)
            components.append(Component("seats", seats, Decimal(days), settle(EXACT.divide(seat_days, of_days))))
        components.append(Component("of_days", of_days, self.unit_amount, ZERO))
        return ModelRating(settle(EXACT.divide(total, of_days)), components=tuple(components))

    def _charged(self, levels: tuple[LevelDays, ...]) -> Iterator[tuple[Decimal, int]]:
        """The seats that are charged, and for how many days in a row."""
        seats = [max(ZERO, level.quantity) for level in levels]
        if not self.prorates_added and not self.prorates_removed:
            seats = [max(seats)] * len(seats)
        elif not self.prorates_removed:
            seats = list(accumulate(seats, max))
        elif not self.prorates_added:
            seats = list(accumulate(reversed(seats), max))[::-1]
        charged = [max(ZERO, EXACT.subtract(number, self.included_seats)) for number in seats]
        stretches = zip(charged, [level.days for level in levels], strict=True)
        for number, alike in groupby(stretches, key=lambda stretch: stretch[0]):
            yield number, sum(days for _, days in alike)

    def prorate(self, share: ShareOfDays) -> Self:
        """The days are in the levels already."""
        return self

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        *parts, whole = rating.components
        stretches = [part for part in parts if part.name == "seats"]
        told = [part for part in stretches if part.quantity] or stretches[:1]
        formulas = [_formula(part, whole, wording) for part in told]
        steps = [f"{formula} = {wording.money(part.amount)}." for formula, part in zip(formulas, told, strict=True)]
        if self.included_seats:
            verb = "is" if self.included_seats == 1 else "are"
            steps.insert(0, f"{wording.units(self.included_seats)} {verb} included on each day.")
        if len(told) > 1:
            summands = " + ".join(wording.money(part.amount) for part in told)
            steps.append(f"Together: {summands} = {wording.money(rating.amount)}.")
        return Calculation(formula=" + ".join(formulas), steps=tuple(steps))


def _formula(part: Component, whole: Component, wording: Wording) -> str:
    days = "" if part.rate == whole.quantity else f" {TIMES} {part.rate} of {whole.quantity} days"
    return f"{wording.units(part.quantity)} {TIMES} {wording.money(whole.rate)}{days}"
