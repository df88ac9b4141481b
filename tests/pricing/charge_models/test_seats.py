from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.base import InvalidPrice, LevelDays, NotRatable, Usage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charges import Charge
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import cents, levels, seat_models


def usage(*stretches: tuple[int, int], of_days: int = 30) -> Usage:
    """So many seats for so many days, one stretch after the other."""
    return Usage(
        Decimal(0), levels=tuple(LevelDays(Decimal(seats), days) for seats, days in stretches), of_days=of_days
    )


ADDED = usage((10, 10), (13, 20))
REMOVED = usage((10, 10), (7, 20))
BOTH = usage((10, 10), (16, 10), (4, 10))


@pytest.mark.parametrize(
    ("changes", "added", "removed", "exact"),
    [
        # 10 seats at 30.00, and 3 more for 20 of 30 days at 60.00 in all, or for the whole window at 90.00.
        (ADDED, True, True, "360"),
        (ADDED, True, False, "360"),
        (ADDED, False, True, "390"),
        (ADDED, False, False, "390"),
        # 7 seats at 210.00, and 3 for the 10 days up to their removal at 30.00, or to the end at 90.00.
        (REMOVED, True, True, "240"),
        (REMOVED, True, False, "300"),
        (REMOVED, False, True, "240"),
        (REMOVED, False, False, "300"),
        # 100 + 160 + 40; 100 + 160 + 160 where removed ones stay; 160 + 160 + 40 where added ones count from the start.
        (BOTH, True, True, "300"),
        (BOTH, True, False, "420"),
        (BOTH, False, True, "360"),
        (BOTH, False, False, "480"),
    ],
)
def test_seats_added_and_removed_within_a_period(changes: Usage, added: bool, removed: bool, exact: str) -> None:
    price = Seats(Decimal(30), prorates_added=added, prorates_removed=removed)

    assert price.rate(Decimal(0), changes).amount == Decimal(exact)


@pytest.mark.parametrize(
    ("changes", "exact"),
    [
        (usage((10, 30)), "150"),
        # Free at any time, not on average: on days with 3 seats, 2 of the free ones help nobody.
        (usage((3, 15), (10, 15)), "75"),
        (usage((5, 30)), "0"),
        (usage((0, 30)), "0"),
        (usage((-2, 30)), "0"),
        # A window of 10 days of the period.
        (usage((10, 10)), "50"),
    ],
)
def test_included_seats_are_free_at_any_time(changes: Usage, exact: str) -> None:
    assert Seats(Decimal(30), included_seats=Decimal(5)).rate(Decimal(0), changes).amount == Decimal(exact)


def test_a_number_of_seats_without_days_is_held_all_along() -> None:
    assert Seats(Decimal(30), included_seats=Decimal(2)).rate(Decimal(10)).amount == 240


def test_days_without_end_are_added_before_they_are_cut() -> None:
    # 10 and 11 of 31 days are no whole cents apart, and 31 of 31 together.
    assert Seats(Decimal("9.99")).rate(Decimal(0), usage((1, 10), (1, 21), of_days=31)).amount == Decimal("9.99")


def test_a_period_without_levels_is_refused() -> None:
    with pytest.raises(NotRatable, match="number of seats on each day"):
        Seats(Decimal(30)).rate(Decimal(10), Usage(Decimal(10), of_days=30))


def test_the_days_are_in_the_levels_already() -> None:
    assert Seats(Decimal(30)).prorate(ShareOfDays(10, 30)) == Seats(Decimal(30))


def test_an_allowance_beside_the_included_seats_is_refused() -> None:
    with pytest.raises(InvalidPrice, match="place of its own"):
        Charge(Seats(Decimal(30)), included_units=Decimal(5))


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(InvalidPrice, match="unit amount is -1") as refusal:
        Seats(Decimal(-1))

    assert refusal.value.field == "unit_amount"


@given(seat_models, levels())
def test_the_stretches_add_up_to_the_amount(price: Seats, changes: Usage) -> None:
    rating = price.rate(Decimal(0), changes)

    assert abs(sum((part.amount for part in rating.components), Decimal(0)) - rating.amount) < Decimal("1E-24")


@given(cents, levels())
def test_charging_added_or_removed_seats_in_full_never_costs_less(amount: Decimal, changes: Usage) -> None:
    by_the_day = Seats(amount).rate(Decimal(0), changes).amount
    added = Seats(amount, prorates_added=False).rate(Decimal(0), changes).amount
    removed = Seats(amount, prorates_removed=False).rate(Decimal(0), changes).amount
    both = Seats(amount, prorates_added=False, prorates_removed=False).rate(Decimal(0), changes).amount

    assert by_the_day <= min(added, removed)
    assert max(added, removed) <= both
