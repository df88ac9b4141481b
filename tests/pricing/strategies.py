"""What properties are tried on: amounts, quantities, tiers, days and zones."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import strategies as st

from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import ChargeModel, LevelDays, Tier, Usage
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge, PricingUnit
from apps.pricing.conversion import Conversion
from apps.pricing.periods import Period

CURRENCIES = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
"""Currencies and their decimals by ISO 4217."""

ZONES = (
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",  # Clocks jumped over midnight until 2018.
    "America/Havana",  # Goes through midnight twice each autumn.
    "America/St_Johns",  # Was put back from 00:01 to 23:01 the day before, until 2011.
    "Africa/Cairo",  # Jumps over midnight since 2023.
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",  # Half an hour of daylight saving time.
    "Europe/Berlin",
    "Europe/London",
    "Pacific/Apia",  # Left out 30 December 2011.
    "Pacific/Kiritimati",  # Left out 31 December 1994.
    "Pacific/Kwajalein",  # Left out 21 August 1993, and had 30 September 1969 twice.
)

currencies = st.sampled_from(sorted(CURRENCIES))
zones = st.sampled_from(ZONES)
days = st.dates(min_value=dt.date(1965, 1, 1), max_value=dt.date(2060, 12, 31))
instants = st.datetimes(
    min_value=dt.datetime(1965, 1, 1),  # noqa: DTZ001 (the strategy adds the zone)
    max_value=dt.datetime(2060, 12, 31),  # noqa: DTZ001
    timezones=st.just(dt.UTC),
)


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=places, allow_nan=False, allow_infinity=False)


quantities = decimals("0", "100000000", 6)
unit_amounts = decimals("0", "100", 12)
exact_amounts = decimals("-1000000", "1000000", 9)
per_units = st.sampled_from([Decimal(1), Decimal(60), Decimal(1000), Decimal(1_000_000)])


def rounded_amounts(places: int) -> st.SearchStrategy[Decimal]:
    return st.integers(-(10**9), 10**9).map(lambda units: Decimal(units).scaleb(-places))


@st.composite
def tier_lists(
    draw: st.DrawFn, *, bounds: st.SearchStrategy[Decimal] = quantities, with_flat_fees: bool = True
) -> tuple[Tier, ...]:
    """One to five tiers that follow one another."""
    ends = sorted(draw(st.sets(bounds.filter(bool), max_size=4)))
    flat_fees = unit_amounts if with_flat_fees else st.just(Decimal(0))
    return tuple(Tier(up_to=end, unit_amount=draw(unit_amounts), flat_amount=draw(flat_fees)) for end in [*ends, None])


conversions = st.builds(
    Conversion,
    st.sampled_from([Decimal(1), Decimal(7), Decimal(60), Decimal("0.25"), Decimal(1_000_000)]),
    st.sampled_from(["", "ceil", "floor", "half_up"]),
)
pricing_units = st.builds(PricingUnit, st.just("credit"), st.just("credits"), unit_amounts)
graduated_prices = st.builds(Graduated, tiers=tier_lists(), per_units=per_units)


@st.composite
def periods(draw: st.DrawFn) -> Period:
    """Any stretch of a second to two years."""
    start_at = draw(instants)
    length = draw(st.timedeltas(min_value=dt.timedelta(seconds=1), max_value=dt.timedelta(days=731)))
    return Period(start_at=start_at, end_at=start_at + length, zone=draw(zones))


@st.composite
def wrapped_charges(draw: st.DrawFn, models: st.SearchStrategy[ChargeModel]) -> Charge:
    """A model with all that may stand around it."""
    minimum, maximum = sorted([draw(exact_amounts.map(abs)), draw(exact_amounts.map(abs))])
    return Charge(
        draw(models),
        included_units=draw(st.one_of(st.just(Decimal(0)), quantities)),
        prorates_included=draw(st.booleans()),
        minimum=draw(st.sampled_from([None, minimum])),
        maximum=draw(st.sampled_from([None, maximum])),
        conversion=draw(st.one_of(st.none(), conversions)),
        free_failures=draw(st.one_of(st.none(), st.just(Decimal(0)), quantities)),
        pricing_unit=draw(st.one_of(st.none(), pricing_units)),
    )


@st.composite
def failing_usage(draw: st.DrawFn) -> Usage:
    """A quantity of which a part failed."""
    quantity, failed = draw(quantities), draw(quantities)
    return Usage(quantity, failed=min(quantity, failed))


# Small whole numbers meet the bounds of tiers and packages often, where any mistake would be.
small = st.integers(0, 40).map(Decimal)
near_small = st.one_of(small, decimals("0", "40", 2))
cents = decimals("0", "5", 3)


@st.composite
def small_tiers(draw: st.DrawFn, *, packages: bool = True, unit_prices: bool = True) -> tuple[Tier, ...]:
    """Tiers with bounds within the small numbers, flat fees, perhaps packages, and perhaps an end."""
    ends: list[Decimal | None] = [*sorted(draw(st.sets(near_small.filter(bool), min_size=1, max_size=4)))]
    if draw(st.booleans()):
        ends.append(None)
    sizes = st.sampled_from([None, None, Decimal(3), Decimal(10)]) if packages else st.none()
    return tuple(
        Tier(end, draw(cents) if unit_prices else Decimal(0), draw(cents), draw(sizes) if unit_prices else None)
        for end in ends
    )


@st.composite
def percentages(draw: st.DrawFn) -> Percentage:
    low, high = sorted([draw(cents), draw(cents)])
    nothing = st.just(Decimal(0))
    return Percentage(
        draw(cents),
        draw(st.one_of(nothing, cents)),
        draw(st.one_of(nothing, st.integers(0, 4).map(Decimal))),
        draw(st.one_of(nothing, near_small)),
        draw(st.sampled_from([None, low])),
        draw(st.sampled_from([None, high])),
    )


small_per_units = st.sampled_from([Decimal(1), Decimal(7), Decimal(60), Decimal(1000)])
unit_models: st.SearchStrategy[ChargeModel] = st.one_of(
    st.builds(Flat, cents),
    st.builds(PerUnit, cents, small_per_units),
    st.builds(Package, cents, st.sampled_from([Decimal(1), Decimal(5), Decimal("2.5")])),
    st.builds(Graduated, small_tiers(), small_per_units, st.booleans()),
    st.builds(Volume, small_tiers(), small_per_units, st.booleans()),
    st.builds(Stairstep, small_tiers(unit_prices=False), st.booleans()),
    st.builds(GraduatedPercentage, small_tiers(packages=False), st.booleans()),
    st.builds(AmountInEvent, cents),
)
"""Models that look at the quantity alone."""

seat_models = st.builds(Seats, cents, st.integers(0, 3).map(Decimal), st.booleans(), st.booleans())


@st.composite
def transactions(draw: st.DrawFn) -> Usage:
    """Amounts in the order of time, some of them corrections, and their sum."""
    amounts = tuple(draw(st.lists(st.one_of(near_small, near_small.map(lambda amount: -amount)), max_size=6)))
    return Usage(sum(amounts, Decimal(0)), count=len(amounts), transactions=amounts)


@st.composite
def levels(draw: st.DrawFn) -> Usage:
    """Levels that stand for some days each, in a period that may be longer."""
    stretches = draw(st.lists(st.builds(LevelDays, st.integers(-1, 8).map(Decimal), st.integers(1, 5)), min_size=1))
    days = sum(level.days for level in stretches)
    return Usage(Decimal(1), levels=tuple(stretches), of_days=days + draw(st.integers(0, 10)))
