from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.money import exact_arithmetic, settle, split_money
from apps.pricing.periods import TICK, Period, ShareOfDays, share_of, start_of_day
from tests.pricing.strategies import exact_amounts, instants, periods, rounded_amounts

NOVEMBER = Period(
    dt.datetime(2023, 11, 1, 4, tzinfo=dt.UTC), dt.datetime(2023, 12, 1, 5, tzinfo=dt.UTC), "America/New_York"
)


def of_days(first: str, end: str, zone: str) -> Period:
    """The period from the first day up to, not including, the end."""
    starts, ends = dt.date.fromisoformat(first), dt.date.fromisoformat(end)
    return Period(start_of_day(starts, zone), start_of_day(ends, zone), zone)


def test_a_period_contains_its_start_and_not_its_end() -> None:
    assert NOVEMBER.contains(NOVEMBER.start_at)
    assert NOVEMBER.contains(NOVEMBER.end_at - TICK)
    assert not NOVEMBER.contains(NOVEMBER.start_at - TICK)
    assert not NOVEMBER.contains(NOVEMBER.end_at)


def test_people_read_the_last_day_as_part_of_the_period() -> None:
    assert NOVEMBER.first_date == dt.date(2023, 11, 1)
    assert NOVEMBER.last_date == dt.date(2023, 11, 30)
    assert NOVEMBER.end_date == dt.date(2023, 12, 1)


@pytest.mark.parametrize(
    ("first", "end", "zone", "count"),
    [
        ("2023-11-01", "2023-12-01", "America/New_York", 30),  # 721 hours.
        ("2024-03-01", "2024-04-01", "Europe/Berlin", 31),  # 743 hours.
        ("2024-02-01", "2024-03-01", "UTC", 29),
        ("2023-02-01", "2023-03-01", "UTC", 28),
        ("2024-01-01", "2025-01-01", "Asia/Tehran", 366),
        ("2023-11-05", "2023-11-06", "America/Havana", 1),  # 25 hours.
        ("2011-12-01", "2012-01-01", "Pacific/Apia", 30),  # The 30th was left out.
        ("2011-12-01", "2011-12-30", "Pacific/Apia", 29),
        ("2011-12-30", "2012-01-01", "Pacific/Apia", 1),
        ("1969-09-01", "1969-10-01", "Pacific/Kwajalein", 30),  # The 30th came twice and is one day.
    ],
)
def test_days_are_counted_in_the_zone(first: str, end: str, zone: str, count: int) -> None:
    assert of_days(first, end, zone).days == count


def test_a_day_counts_for_the_part_in_which_it_begins() -> None:
    noon = dt.datetime(2024, 5, 10, 12, tzinfo=dt.UTC)
    before, after = of_days("2024-05-01", "2024-06-01", "UTC").split_at([noon])

    assert (before.days, before.last_date) == (10, dt.date(2024, 5, 10))
    assert (after.days, after.first_date) == (21, dt.date(2024, 5, 10))


@pytest.mark.parametrize(
    "instant",
    [
        dt.datetime(2024, 1, 1),  # noqa: DTZ001
        dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/London")),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    ],
)
def test_the_ends_of_a_period_are_in_utc(instant: dt.datetime) -> None:
    with pytest.raises(ValueError, match="is not in UTC"):
        Period(instant, dt.datetime(2024, 2, 1, tzinfo=dt.UTC), "UTC")


@pytest.mark.parametrize("length", [dt.timedelta(0), dt.timedelta(seconds=-1)])
def test_a_period_ends_after_its_start(length: dt.timedelta) -> None:
    with pytest.raises(ValueError, match="cannot end"):
        Period(NOVEMBER.start_at, NOVEMBER.start_at + length, "UTC")


def test_a_period_has_a_zone() -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        Period(NOVEMBER.start_at, NOVEMBER.end_at, "America/Springfield")


def test_a_utc_instant_from_another_library_is_as_good() -> None:
    assert Period(NOVEMBER.start_at.astimezone(ZoneInfo("UTC")), NOVEMBER.end_at, NOVEMBER.zone) == NOVEMBER


def test_periods_overlap_in_the_time_they_share() -> None:
    april, spring = of_days("2024-04-01", "2024-05-01", "UTC"), of_days("2024-04-20", "2024-06-01", "UTC")

    assert april.overlap(spring) == spring.overlap(april) == of_days("2024-04-20", "2024-05-01", "UTC")


def test_periods_that_meet_do_not_overlap() -> None:
    april, may = of_days("2024-04-01", "2024-05-01", "UTC"), of_days("2024-05-01", "2024-06-01", "UTC")

    assert april.overlap(may) is None


def test_periods_of_two_zones_are_not_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        NOVEMBER.overlap(Period(NOVEMBER.start_at, NOVEMBER.end_at, "UTC"))


def test_a_period_is_split_in_order_whatever_the_order_of_the_instants() -> None:
    tenth, twentieth = start_of_day(dt.date(2024, 4, 10), "UTC"), start_of_day(dt.date(2024, 4, 20), "UTC")
    april = of_days("2024-04-01", "2024-05-01", "UTC")

    assert april.split_at([twentieth, tenth, twentieth]) == (
        of_days("2024-04-01", "2024-04-10", "UTC"),
        of_days("2024-04-10", "2024-04-20", "UTC"),
        of_days("2024-04-20", "2024-05-01", "UTC"),
    )


def test_a_period_is_not_split_at_its_ends_or_outside() -> None:
    assert NOVEMBER.split_at([NOVEMBER.start_at, NOVEMBER.end_at, NOVEMBER.start_at - TICK]) == (NOVEMBER,)


@given(periods(), st.lists(instants, max_size=4), st.lists(st.integers(0, 731 * 24), max_size=4))
def test_the_parts_of_a_period_cover_it_without_gap_or_overlap(
    period: Period, elsewhere: list[dt.datetime], hours: list[int]
) -> None:
    parts = period.split_at([*elsewhere, *(period.start_at + dt.timedelta(hours=hour) for hour in hours)])

    assert parts[0].start_at == period.start_at
    assert parts[-1].end_at == period.end_at
    assert all(part.end_at == following.start_at for part, following in pairwise(parts))
    assert sum(part.days for part in parts) == period.days


@pytest.mark.parametrize(
    ("first", "end", "share"),
    [
        ("2026-04-16", "2026-05-01", ShareOfDays(15, 30)),
        ("2026-04-01", "2026-05-01", ShareOfDays(30, 30)),
        ("2026-04-30", "2026-05-01", ShareOfDays(1, 30)),
    ],
)
def test_a_share_counts_days_of_the_whole_nominal_period(first: str, end: str, share: ShareOfDays) -> None:
    april = of_days("2026-04-01", "2026-05-01", "Europe/Berlin")

    assert share_of(of_days(first, end, "Europe/Berlin"), april) == share


def test_a_period_is_no_part_of_one_that_it_reaches_beyond() -> None:
    with pytest.raises(ValueError, match="is not a part of"):
        share_of(of_days("2026-04-16", "2026-05-02", "UTC"), of_days("2026-04-01", "2026-05-01", "UTC"))


@pytest.mark.parametrize(("days", "of"), [(31, 30), (-1, 30), (0, 0)])
def test_a_share_is_from_nothing_to_the_whole(days: int, of: int) -> None:
    with pytest.raises(ValueError, match="is not a part of a period"):
        ShareOfDays(days, of)


@pytest.mark.parametrize(
    ("days", "of", "amount", "part"),
    [
        (15, 30, "99.00", "49.50"),
        (31, 31, "0.000000000001", "0.000000000001"),
        (0, 31, "99.00", "0"),
        (7, 28, "100", "25"),
        # 30 × 7 ÷ 30: dividing first would leave 6.999….
        (7, 30, "30", "7"),
    ],
)
def test_a_share_of_an_amount_is_exact(days: int, of: int, amount: str, part: str) -> None:
    assert ShareOfDays(days, of).apply(Decimal(amount)) == Decimal(part)


def test_a_share_of_a_float_is_refused() -> None:
    with pytest.raises(TypeError, match="not float"):
        ShareOfDays(15, 30).apply(99.0)  # type: ignore[arg-type]


def test_a_share_of_no_days_cannot_be_undone() -> None:
    with pytest.raises(ValueError, match="no days"):
        ShareOfDays(0, 30).undo(Decimal(0))


shares = st.integers(1, 366).flatmap(lambda of: st.builds(ShareOfDays, st.integers(1, of), st.just(of)))


@given(shares, exact_amounts)
def test_undoing_a_share_gives_the_whole_amount_again(share: ShareOfDays, amount: Decimal) -> None:
    assert settle(share.undo(share.apply(amount))) == amount


@given(periods().filter(lambda period: period.days), st.lists(st.integers(0, 731), max_size=5), exact_amounts)
def test_the_shares_of_a_split_period_add_up_to_the_amount(whole: Period, cuts: list[int], amount: Decimal) -> None:
    parts = whole.split_at(whole.start_at + dt.timedelta(days=cut) for cut in cuts)
    shares_of_parts = [share_of(part, whole) for part in parts]

    assert sum(share.days for share in shares_of_parts) == whole.days
    with exact_arithmetic():
        assert settle(sum((share.apply(amount) for share in shares_of_parts), Decimal(0))) == amount


@given(rounded_amounts(2), st.lists(st.integers(0, 31), min_size=1, max_size=6).filter(any))
def test_a_fee_split_by_days_is_within_a_cent_of_its_shares(fee: Decimal, days: list[int]) -> None:
    split = split_money(fee, [Decimal(number) for number in days], "USD")

    assert sum(split) == fee
    for part, number in zip(split, days, strict=True):
        assert abs(part - ShareOfDays(number, sum(days)).apply(fee)) < Decimal("0.01")
