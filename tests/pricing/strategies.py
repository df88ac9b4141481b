"""What properties are tried on: amounts, quantities, tiers, days and zones."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from hypothesis import strategies as st

from apps.pricing.charge_models.base import ChargeModel, Tier, Usage
from apps.pricing.charge_models.graduated import Graduated
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
