"""Thresholds: parts of a limit, in percent, that a running total of usage or spend passes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from apps.pricing.charge_models.base import ZERO
from apps.pricing.money import EXACT, check_decimal

PERCENT = Decimal(100)


def thresholds_reached(total: Decimal, limit: Decimal, percents: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Those of the percentages of a limit that a total has reached, in their order: at 80 percent sharp, 80 is reached.

    Compared by multiplying, because a part of a limit may have no end. Raises ValueError for a limit of zero or less.
    """
    check_decimal(total)
    if limit <= 0:
        raise ValueError(f"A limit is above zero, not {limit}.")
    scaled = EXACT.multiply(total, PERCENT)
    return tuple(percent for percent in percents if EXACT.multiply(limit, percent) <= scaled)


def thresholds_passed(
    increments: Iterable[Decimal], limit: Decimal, percents: Sequence[Decimal]
) -> tuple[tuple[Decimal, ...], ...]:
    """For each increment of a total that starts from zero, the thresholds that it is the first to reach.

    One increment may pass several. A threshold is told once, also where corrections take the total below it and usage
    passes it again.
    """
    total = ZERO
    told: set[Decimal] = set()
    passed = []
    for increment in increments:
        check_decimal(increment)
        total = EXACT.add(total, increment)
        new = tuple(percent for percent in thresholds_reached(total, limit, percents) if percent not in told)
        told.update(new)
        passed.append(new)
    return tuple(passed)
