from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given

from apps.pricing.periods import ONE_DAY, TICK, local_date, start_of_day
from tests.pricing.strategies import days, instants, zones


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def instant(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("date", "zone", "begins_at"),
    [
        ("2023-11-01", "UTC", "2023-11-01 00:00"),
        ("2023-11-01", "America/New_York", "2023-11-01 04:00"),
        ("2023-12-01", "America/New_York", "2023-12-01 05:00"),
        ("2024-03-31", "Europe/Berlin", "2024-03-30 23:00"),
        ("2024-04-01", "Europe/Berlin", "2024-03-31 22:00"),
        ("2024-01-01", "Asia/Kathmandu", "2023-12-31 18:15"),
        ("2024-01-01", "Pacific/Kiritimati", "2023-12-31 10:00"),
        # Clocks jump from 00:00 to 01:00: the day begins with the jump.
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04 03:00"),
        ("2023-04-28", "Africa/Cairo", "2023-04-27 22:00"),
        # Clocks jumped from 23:30 to 00:30, over midnight and not at it.
        ("1919-03-31", "America/Toronto", "1919-03-31 04:30"),
        # Midnight comes twice; the first counts.
        ("2023-11-05", "America/Havana", "2023-11-05 04:00"),
        # Put back from 00:00 to 23:00: the evening before is longer, midnight comes once.
        ("2018-02-18", "America/Sao_Paulo", "2018-02-18 03:00"),
        # Put back from 00:01 to 23:01: the day has begun and stays.
        ("2005-10-30", "America/St_Johns", "2005-10-30 02:30"),
        # 30 December 2011 was left out in Samoa: it begins where the 31st does.
        ("2011-12-29", "Pacific/Apia", "2011-12-29 10:00"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30 10:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30 10:00"),
        ("2012-01-01", "Pacific/Apia", "2011-12-31 10:00"),
        # 30 September 1969 took 47 hours on Kwajalein.
        ("1969-09-30", "Pacific/Kwajalein", "1969-09-29 13:00"),
        ("1969-10-01", "Pacific/Kwajalein", "1969-10-01 12:00"),
    ],
)
def test_a_day_begins_at_its_first_instant(date: str, zone: str, begins_at: str) -> None:
    assert start_of_day(day(date), zone) == instant(begins_at)


@pytest.mark.parametrize(
    ("at", "zone", "date"),
    [
        ("2023-11-30 23:59:59.999999", "UTC", "2023-11-30"),
        ("2023-12-01 00:00", "UTC", "2023-12-01"),
        ("2023-12-01 04:59:59.999999", "America/New_York", "2023-11-30"),
        ("2023-12-01 05:00", "America/New_York", "2023-12-01"),
        ("2011-12-30 09:59:59.999999", "Pacific/Apia", "2011-12-29"),
        ("2011-12-30 10:00", "Pacific/Apia", "2011-12-31"),
        # 23:30 by the clock for the second time, after the new day began.
        ("2005-10-30 03:00", "America/St_Johns", "2005-10-30"),
    ],
)
def test_an_instant_belongs_to_a_day(at: str, zone: str, date: str) -> None:
    assert local_date(instant(at), zone) == day(date)


def test_the_zone_of_an_instant_does_not_matter_to_its_day() -> None:
    noon_in_tokyo = dt.datetime(2024, 5, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo"))

    assert local_date(noon_in_tokyo, "America/Los_Angeles") == dt.date(2024, 4, 30)


def test_a_naive_instant_has_no_day() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        local_date(dt.datetime(2024, 5, 1), "UTC")  # noqa: DTZ001


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "../etc/passwd"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        start_of_day(dt.date(2024, 1, 1), zone)


@given(days, zones)
def test_no_instant_before_the_start_of_a_day_has_its_date(date: dt.date, zone: str) -> None:
    begins_at, zone_info = start_of_day(date, zone), ZoneInfo(zone)

    assert begins_at.astimezone(zone_info).date() >= date
    earlier = [begins_at - TICK, *(begins_at - step * dt.timedelta(minutes=15) for step in range(1, 120))]
    assert all(at.astimezone(zone_info).date() < date for at in earlier)


@given(days, zones)
def test_days_never_begin_before_the_day_before(date: dt.date, zone: str) -> None:
    assert start_of_day(date, zone) <= start_of_day(date + ONE_DAY, zone)


@given(instants, zones)
def test_the_day_of_an_instant_has_begun_and_the_next_has_not(at: dt.datetime, zone: str) -> None:
    date = local_date(at, zone)

    assert start_of_day(date, zone) <= at < start_of_day(date + ONE_DAY, zone)
