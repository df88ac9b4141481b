"""Days, periods and billing cycles in a time zone: half-open, no day billed twice and none skipped.

Instants are aware datetimes in UTC. A day of a zone runs from its first instant to the first instant of the next
day, so days follow one another without a gap whatever the clocks do: where they are put back across midnight, the
repeated hour belongs to the day that has begun.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import count, pairwise, takewhile
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apps.pricing.money import EXACT, check_decimal, exact_arithmetic, fix_point

ONE_DAY = dt.timedelta(days=1)
ONE_SECOND = dt.timedelta(seconds=1)
# The smallest step of a datetime: the last instant of a half-open period is one tick before its end.
TICK = dt.timedelta.resolution


def local_date(instant: dt.datetime, zone: str) -> dt.date:
    """The day of a zone that an instant belongs to. Raises ValueError for a naive instant or an unknown zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant} has no time zone; an instant is an aware datetime.")
    day = instant.astimezone(_zone_info(zone)).date()
    while start_of_day(day + ONE_DAY, zone) <= instant:
        day += ONE_DAY
    return day


@lru_cache(maxsize=16_384)
def start_of_day(day: dt.date, zone: str) -> dt.datetime:
    """The first instant, in UTC, whose local date is ``day`` or later.

    That is midnight, the first of two where the clocks go through it twice. Where they jump over midnight it is
    the instant of the jump, and a day that a zone left out altogether begins where the next one does. Raises
    ValueError for an unknown zone.
    """
    zone_info = _zone_info(zone)
    midnight = dt.datetime.combine(day, dt.time.min, zone_info)
    by_earlier_clock = midnight.astimezone(dt.UTC)
    by_later_clock = midnight.replace(fold=1).astimezone(dt.UTC)
    if by_earlier_clock <= by_later_clock:
        return by_earlier_clock
    # Read by the clock before and by the clock after a jump, a skipped midnight lies on either side of the jump.
    return _first_instant_of(day, zone_info, after=by_later_clock, until=by_earlier_clock)


def _first_instant_of(day: dt.date, zone_info: ZoneInfo, *, after: dt.datetime, until: dt.datetime) -> dt.datetime:
    """Close in on the jump into ``day``, to the second: clocks are never changed within one."""
    while until - after > ONE_SECOND:
        middle = after + (until - after) // ONE_SECOND // 2 * ONE_SECOND
        if middle.astimezone(zone_info).date() < day:
            after = middle
        else:
            until = middle
    return until


def add_months(anchor: dt.date, months: int) -> dt.date:
    """The anchor's day of the month, so many months on (or back); the last day in months that are too short.

    Count from the anchor and never from a result: 31 January gives 29 February and then 31 March.
    """
    return _day_in_month(_month_number(anchor) + months, anchor.day)


def _month_number(day: dt.date) -> int:
    return day.year * 12 + day.month - 1


def _day_in_month(month_number: int, day_of_month: int) -> dt.date:
    year, month_index = divmod(month_number, 12)
    days_in_month = calendar.monthrange(year, month_index + 1)[1]
    return dt.date(year, month_index + 1, min(day_of_month, days_in_month))


@dataclass(frozen=True, slots=True)
class ShareOfDays:
    """A part of a whole nominal period: ``days`` of its ``of`` days."""

    days: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.days <= self.of or self.of == 0:
            raise ValueError(f"{self.days} of {self.of} days is not a part of a period.")

    @property
    def is_whole(self) -> bool:
        return self.days == self.of

    def apply(self, amount: Decimal) -> Decimal:
        """This part of an amount or a quantity. Multiplied first, so that only a result without an end is cut."""
        check_decimal(amount)
        return fix_point(EXACT.divide(EXACT.multiply(amount, self.days), self.of))

    def undo(self, part: Decimal) -> Decimal:
        """The amount of which ``part`` is this part. Raises ValueError for a share of no days."""
        if self.days == 0:
            raise ValueError("A share of no days does not tell what it is a share of.")
        with exact_arithmetic():
            return part * self.of / self.days


@dataclass(frozen=True, slots=True)
class Period:
    """A half-open stretch of time: ``start_at <= instant < end_at``, in UTC. Its days are days of ``zone``.

    Raises ValueError unless both ends are in UTC, the end is after the start, and the zone is known.
    """

    start_at: dt.datetime
    end_at: dt.datetime
    zone: str

    def __post_init__(self) -> None:
        for instant in (self.start_at, self.end_at):
            if instant.tzname() != "UTC":
                raise ValueError(f"{instant} is not in UTC; the ends of a period are aware datetimes in UTC.")
        if self.end_at <= self.start_at:
            raise ValueError(f"A period cannot end at {self.end_at} if it starts at {self.start_at}.")
        _zone_info(self.zone)

    def contains(self, instant: dt.datetime) -> bool:
        return self.start_at <= instant < self.end_at

    @property
    def first_date(self) -> dt.date:
        return local_date(self.start_at, self.zone)

    @property
    def last_date(self) -> dt.date:
        """The last day, inclusive: as screens and papers show it."""
        return local_date(self.end_at - TICK, self.zone)

    @property
    def end_date(self) -> dt.date:
        """The first day outside."""
        return self.last_date + ONE_DAY

    @property
    def days(self) -> int:
        """The number of days that begin within the period.

        So each day counts in exactly one of the parts that a period is split into, at whatever instants.
        """
        return _count_days(self.start_at, self.end_at, self.zone)

    def overlap(self, other: Period) -> Period | None:
        """The time that both periods share; None if there is none. Raises ValueError if their zones differ."""
        self._check_zone(other)
        start_at, end_at = max(self.start_at, other.start_at), min(self.end_at, other.end_at)
        return Period(start_at, end_at, self.zone) if start_at < end_at else None

    def split_at(self, instants: Iterable[dt.datetime]) -> tuple[Period, ...]:
        """The parts between the instants that lie within the period, in order; they cover all of it."""
        cuts = {instant for instant in instants if self.start_at < instant < self.end_at}
        bounds = [self.start_at, *sorted(cuts), self.end_at]
        return tuple(Period(start_at, end_at, self.zone) for start_at, end_at in pairwise(bounds))

    def _check_zone(self, other: Period) -> None:
        if other.zone != self.zone:
            raise ValueError(f"Days in {self.zone} and days in {other.zone} cannot be compared.")


def share_of(part: Period, whole: Period) -> ShareOfDays:
    """The share of the days of a whole nominal period that lie in a part of it.

    Raises ValueError if the part reaches beyond the whole or counts its days in another zone.
    """
    if whole.overlap(part) != part:
        raise ValueError(f"{part} is not a part of {whole}.")
    return ShareOfDays(days=part.days, of=whole.days)


@dataclass(frozen=True, slots=True)
class BillingCycle:
    """Billing periods of ``months`` months that follow one another without end in both directions.

    They are the nominal periods, before a contract's term cuts the first and the last. Period 0 begins on
    ``anchor_date``; each begins on the same day of its month, ``anchor_day``, or on the last day of a month that is
    too short for it. ``anchor_day`` is given when ``anchor_date`` itself lies in such a short month. Raises
    ValueError for a cycle that cannot be.
    """

    anchor_date: dt.date
    months: int
    zone: str
    anchor_day: int | None = None  # None: the day of anchor_date.

    def __post_init__(self) -> None:
        if self.months < 1:
            raise ValueError(f"A billing period has one month or more, not {self.months}.")
        if self._start_date(0) != self.anchor_date:
            raise ValueError(f"{self.anchor_date} is not a billing day of periods anchored on day {self.anchor_day}.")
        _zone_info(self.zone)

    @classmethod
    def anchored(cls, start_date: dt.date, anchor_day: int, months: int, zone: str) -> Self:
        """The cycle whose period 0 contains ``start_date`` and begins on day ``anchor_day`` of its month."""
        if not 1 <= anchor_day <= 31:
            raise ValueError(f"{anchor_day} is not a day of the month from 1 to 31.")
        month_number = _month_number(start_date)
        anchor_date = _day_in_month(month_number, anchor_day)
        if anchor_date > start_date:
            anchor_date = _day_in_month(month_number - 1, anchor_day)
        return cls(anchor_date=anchor_date, months=months, zone=zone, anchor_day=anchor_day)

    def period(self, index: int) -> Period:
        """The nominal period ``index``; negative ones lie before the anchor date."""
        start_date, end_date = self._start_date(index), self._start_date(index + 1)
        return Period(start_of_day(start_date, self.zone), start_of_day(end_date, self.zone), self.zone)

    def index_of(self, instant: dt.datetime) -> int:
        """The index of the nominal period that contains the instant."""
        day = local_date(instant, self.zone)
        index = (_month_number(day) - _month_number(self.anchor_date)) // self.months
        return index if self._start_date(index) <= day else index - 1

    def period_containing(self, instant: dt.datetime) -> Period:
        return self.period(self.index_of(instant))

    def periods(self, from_instant: dt.datetime, until_instant: dt.datetime) -> Iterator[Period]:
        """The nominal periods, whole and in order, that share time with the stretch ``[from, until)``."""
        onwards = map(self.period, count(self.index_of(from_instant)))
        return takewhile(lambda period: max(period.start_at, from_instant) < until_instant, onwards)

    def _start_date(self, index: int) -> dt.date:
        day_of_month = self.anchor_date.day if self.anchor_day is None else self.anchor_day
        return _day_in_month(_month_number(self.anchor_date) + index * self.months, day_of_month)


def _zone_info(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{zone!r} is not a time zone; use an IANA name such as Europe/Berlin.") from None


@lru_cache(maxsize=4_096)
def _count_days(start_at: dt.datetime, end_at: dt.datetime, zone: str) -> int:
    """Count beginnings rather than dates: a day that a zone left out begins with the next one and is no day."""
    first_date, last_date = local_date(start_at, zone), local_date(end_at - TICK, zone)
    dates = (first_date + offset * ONE_DAY for offset in range((last_date - first_date).days + 1))
    return len({begin for begin in (start_of_day(day, zone) for day in dates) if begin >= start_at})
