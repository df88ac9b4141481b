"""A change of plan within a period whose fee is paid: credit for the old plan, charge for the new one, by days."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.money import EXACT, round_money
from apps.pricing.periods import Period, ShareOfDays, share_of


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What stands on the invoice of the change: a ``credit`` of zero or less, a ``charge``, and their sum ``net``."""

    credit: Decimal
    charge: Decimal
    net: Decimal


def days_left(period: Period, change_at: dt.datetime) -> ShareOfDays:
    """The days of a nominal period from the change on, the day of the change included.

    Raises ValueError for a change outside the period.
    """
    if not period.contains(change_at):
        raise ValueError(f"{change_at} does not lie in the period from {period.start_at} to {period.end_at}.")
    return share_of(Period(change_at, period.end_at, period.zone), period)


def change_plan(old_amount: Decimal, new_amount: Decimal, left: ShareOfDays, currency: str) -> PlanChange:
    """Give back the old fee for the days that are left and charge the new one for the same days.

    They are two lines, each rounded once, and the net amount is the sum of the rounded ones.
    """
    credit = round_money(EXACT.minus(left.apply(old_amount)), currency)
    charge = round_money(left.apply(new_amount), currency)
    return PlanChange(credit, charge, EXACT.add(credit, charge))
