"""Prepaid balances: charges are paid from what was paid before, and what it does not cover is due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charge_models.base import ZERO
from apps.pricing.money import EXACT, round_money


@dataclass(frozen=True, slots=True)
class PrepaidDraw:
    """One charge against a balance: what the balance paid, what it holds afterwards, and what is left to be paid."""

    used: Decimal
    balance: Decimal
    due: Decimal


def draw_prepaid(balance: Decimal, charges: Iterable[Decimal], currency: str) -> tuple[PrepaidDraw, ...]:
    """Draw charges from a balance in their order, each as far as the balance goes: it never falls below zero.

    All amounts are rounded money of one currency. Raises ValueError for one that is not rounded or below zero: what is
    given back goes to where it came from, and is no charge.
    """
    left = _checked(balance, currency)
    draws = []
    for charge in charges:
        amount = _checked(charge, currency)
        used = min(left, amount)
        left = EXACT.subtract(left, used)
        draws.append(PrepaidDraw(used=used, balance=left, due=EXACT.subtract(amount, used)))
    return tuple(draws)


def _checked(amount: Decimal, currency: str) -> Decimal:
    rounded = round_money(amount, currency)
    if rounded != amount or amount < ZERO:
        raise ValueError(f"{amount} {currency} cannot be drawn from a balance. Give rounded money of zero or more.")
    return rounded
