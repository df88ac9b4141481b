from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.periods import Period, ShareOfDays, start_of_day
from apps.pricing.plan_change import change_plan, days_left
from tests.pricing.strategies import rounded_amounts

BERLIN = "Europe/Berlin"


def midnight(month: int, day: int) -> dt.datetime:
    return start_of_day(dt.date(2026, month, day), BERLIN)


APRIL = Period(midnight(4, 1), midnight(5, 1), BERLIN)


@pytest.mark.parametrize(("day", "left"), [(1, 30), (2, 29), (16, 15), (30, 1)])
def test_the_day_of_the_change_belongs_to_the_new_plan(day: int, left: int) -> None:
    assert days_left(APRIL, midnight(4, day)) == ShareOfDays(left, 30)


@pytest.mark.parametrize("change_at", [midnight(3, 31), midnight(5, 1)])
def test_a_change_outside_the_period_is_refused(change_at: dt.datetime) -> None:
    with pytest.raises(ValueError, match="does not lie in the period"):
        days_left(APRIL, change_at)


@pytest.mark.parametrize(
    ("old", "new", "days", "credit", "charge", "net"),
    [
        ("20", "200", 15, "-10.00", "100.00", "90.00"),
        ("200", "20", 15, "-100.00", "10.00", "-90.00"),
        # A third of 9.99 and of 19.99: 3.33 and 6.66333, each rounded by itself.
        ("9.99", "19.99", 10, "-3.33", "6.66", "3.33"),
        ("0", "30", 30, "0.00", "30.00", "30.00"),
        ("30", "0", 0, "0.00", "0.00", "0.00"),
    ],
)
def test_credit_and_charge_are_for_the_days_that_are_left(
    old: str, new: str, days: int, credit: str, charge: str, net: str
) -> None:
    change = change_plan(Decimal(old), Decimal(new), ShareOfDays(days, 30), "USD")

    assert (str(change.credit), str(change.charge), str(change.net)) == (credit, charge, net)


@given(rounded_amounts(2).map(abs), st.integers(0, 30))
def test_a_change_to_the_same_plan_costs_nothing(fee: Decimal, days: int) -> None:
    assert change_plan(fee, fee, ShareOfDays(days, 30), "USD").net == 0
