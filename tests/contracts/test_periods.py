"""The billing periods of a contract: its cycle, cut to its term."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.contracts.models import Contract
from apps.pricing.periods import TICK, Period
from tests.conftest import utc
from tests.pricing.strategies import zones


def contract_of(
    start: str, end: str | None = None, *, anchor_day: int = 1, months: int = 1, zone: str = "UTC"
) -> Contract:
    """A contract that is not stored."""
    return Contract(
        start_date=dt.date.fromisoformat(start),
        end_date=None if end is None else dt.date.fromisoformat(end),
        billing_anchor_day=anchor_day,
        billing_months=months,
        timezone=zone,
    )


def walk(contract: Contract, at_most: int = 400) -> list[Period]:
    """The periods of a contract, each found from the end of the one before, as closing does."""
    periods: list[Period] = []
    instant = contract.starts_at
    while len(periods) < at_most and (period := contract.period_at(instant)) is not None:
        periods.append(period)
        instant = period.end_at
    return periods


def days_of(periods: list[Period]) -> list[str]:
    return [f"{period.first_date:%y-%m-%d} {period.last_date:%y-%m-%d}" for period in periods]


@pytest.mark.parametrize(
    ("contract", "periods"),
    [
        (contract_of("2023-11-01", "2024-01-01"), ["23-11-01 23-11-30", "23-12-01 23-12-31"]),
        (contract_of("2023-11-20", "2024-01-10"), ["23-11-20 23-11-30", "23-12-01 23-12-31", "24-01-01 24-01-09"]),
        (contract_of("2023-11-20", "2023-11-21"), ["23-11-20 23-11-20"]),
        (
            contract_of("2024-01-10", "2024-04-10", anchor_day=31),
            ["24-01-10 24-01-30", "24-01-31 24-02-28", "24-02-29 24-03-30", "24-03-31 24-04-09"],
        ),
        (
            contract_of("2023-01-29", "2023-04-01", anchor_day=29),
            ["23-01-29 23-02-27", "23-02-28 23-03-28", "23-03-29 23-03-31"],
        ),
        (
            contract_of("2023-11-16", "2024-08-16", anchor_day=15, months=3),
            ["23-11-16 24-02-14", "24-02-15 24-05-14", "24-05-15 24-08-14", "24-08-15 24-08-15"],
        ),
        (contract_of("2024-02-29", "2026-02-28", anchor_day=29, months=12), ["24-02-29 25-02-27", "25-02-28 26-02-27"]),
        # The night of 30 December 2011 was left out in Samoa: there is no day to bill.
        (
            contract_of("2011-12-29", "2012-01-01", anchor_day=31, zone="Pacific/Apia"),
            ["11-12-29 11-12-29", "11-12-31 11-12-31"],
        ),
    ],
)
def test_the_periods_of_a_contract(contract: Contract, periods: list[str]) -> None:
    assert days_of(walk(contract)) == periods


def test_periods_begin_and_end_with_days_of_the_contract_s_zone() -> None:
    november = contract_of("2023-11-01", zone="America/New_York").period_at(utc(2023, 11, 15))

    assert november == Period(utc(2023, 11, 1, 4), utc(2023, 12, 1, 5), "America/New_York")


@pytest.mark.parametrize(
    ("instant", "is_inside"),
    [
        (utc(2023, 11, 20) - TICK, False),
        (utc(2023, 11, 20), True),
        (utc(2024, 1, 10) - TICK, True),
        (utc(2024, 1, 10), False),
        (utc(2030, 1, 1), False),
        (utc(2000, 1, 1), False),
    ],
)
def test_outside_its_term_a_contract_has_no_period(instant: dt.datetime, is_inside: bool) -> None:
    contract = contract_of("2023-11-20", "2024-01-10")

    period = contract.period_at(instant)

    assert (period is not None) == is_inside
    assert period is None or period.contains(instant)


def test_a_contract_without_an_end_goes_on() -> None:
    periods = walk(contract_of("2023-11-20"), at_most=240)

    assert len(periods) == 240
    assert days_of(periods[-1:]) == ["43-10-01 43-10-31"]


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    start_date = draw(st.dates(dt.date(1965, 1, 1), dt.date(2060, 1, 1)))
    return Contract(
        start_date=start_date,
        end_date=start_date + dt.timedelta(days=draw(st.integers(2, 1200))),
        billing_anchor_day=draw(st.one_of(st.integers(1, 31), st.sampled_from([28, 29, 30, 31]))),
        billing_months=draw(st.sampled_from([1, 3, 12])),
        timezone=draw(zones),
    )


@given(contracts())
def test_the_periods_tile_the_term_exactly(contract: Contract) -> None:
    periods = walk(contract)

    assert periods[0].start_at == contract.starts_at
    assert periods[-1].end_at == contract.ends_at
    assert all(period.end_at == following.start_at for period, following in pairwise(periods))


@given(contracts())
def test_every_day_of_the_term_is_in_one_period_and_no_other_day(contract: Contract) -> None:
    assert contract.ends_at is not None
    term = Period(contract.starts_at, contract.ends_at, contract.timezone)

    assert sum(period.days for period in walk(contract)) == term.days


@given(contracts(), st.integers(-(10**9), 10**9))
def test_the_period_at_an_instant_is_the_one_that_contains_it(contract: Contract, seconds: int) -> None:
    instant = contract.starts_at + dt.timedelta(seconds=seconds)

    containing = [period for period in walk(contract) if period.contains(instant)]

    assert contract.period_at(instant) == (containing[0] if containing else None)
    assert len(containing) <= 1


@given(contracts())
def test_only_the_first_and_the_last_period_are_less_than_nominal(contract: Contract) -> None:
    cycle = contract.billing_cycle

    for period in walk(contract)[1:-1]:
        assert period == cycle.period_containing(period.start_at)
