"""Several bills in one period: each is the running total to date less what has been billed."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from apps.pricing.charge_models.base import ZERO
from apps.pricing.money import EXACT, round_money


def next_bill(total_to_date: Decimal, billed: Decimal, currency: str) -> Decimal:
    """What is to be billed now: the rounded running total less the sum of the bills before.

    The total is that of the whole period so far, rated as one: allowances are used once and tiers filled once. The
    bill is negative where the total has fallen, by corrections or a cheaper tier, and is then shown as such. As the
    running total is rounded and not the difference, the bills of a period add up to its one true amount.
    """
    return EXACT.subtract(round_money(total_to_date, currency), billed)


def progressive_bills(totals_to_date: Iterable[Decimal], currency: str) -> tuple[Decimal, ...]:
    """The bill for each running total, exact or rounded, of one period in order of time."""
    billed = round_money(ZERO, currency)
    bills = []
    for total in totals_to_date:
        bill = next_bill(total, billed, currency)
        bills.append(bill)
        billed = EXACT.add(billed, bill)
    return tuple(bills)
