"""Rating against a second calculator: day by day, in fractions, with nothing of the product's own arithmetic."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from math import floor
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.pricing.charge_models.base import Tier
from apps.pricing.periods import start_of_day
from apps.products.models import ChargeModelName
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms
from tests.builders import PlannedPrice, active_contract, published_plan, record_usage
from tests.conftest import utc
from tests.factories import CustomerFactory
from tests.rating.conftest import rate_at
from tests.rating.test_rate_periods import rolled_back

pytestmark = pytest.mark.django_db

ONE_DAY = dt.timedelta(days=1)
DECIMALS = {"USD": 2, "JPY": 0, "KWD": 3}
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "America/Havana", "Asia/Kathmandu", "Pacific/Auckland")


@dataclass(frozen=True)
class Amounts:
    """The amounts of a price from a day on, as recorded at an instant."""

    terms: PriceTerms
    effective_from: dt.date | None
    recorded_at: dt.datetime


@dataclass(frozen=True)
class Case:
    """A contract with its prices and usage. The period to rate is the one that contains ``rated_date``."""

    zone: str
    currency: str
    months: int
    anchor_day: int
    start_date: dt.date
    end_date: dt.date
    rated_date: dt.date
    as_of: dt.datetime
    prices: Sequence[tuple[ChargeModelName, Sequence[Amounts]]]
    usage: Sequence[tuple[dt.datetime, Decimal]]


# --- The second calculator --------------------------------------------------------------------------------------------


def expected_lines(case: Case) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Name, quantity and rounded amount of each line."""
    nominal = nominal_days(case)
    term = [day for day in nominal if case.start_date <= day < case.end_date]
    for number, (model, recorded) in enumerate(case.prices):
        for amounts, group in groupby(term, key=lambda day: amounts_on(day, recorded, case.as_of)):
            days = set(group)
            if amounts is None:
                continue
            is_metered = model != ChargeModelName.FLAT
            quantity = quantity_on(days, case) if is_metered else Fraction(0)
            share = Fraction(len(days), len(nominal))
            exact = exact_amount(model, amounts.terms, quantity, share)
            yield f"Price {number}", quantity, rounded(exact, DECIMALS[case.currency])


def nominal_days(case: Case) -> list[dt.date]:
    """The days of the whole billing period, walked month by month from before the contract's start."""
    year, month = case.start_date.year, case.start_date.month
    if anchor_in(year, month, case.anchor_day) > case.start_date:
        year, month = previous(year, month)
    begins = anchor_in(year, month, case.anchor_day)
    while True:
        for _ in range(case.months):
            year, month = following(year, month)
        ends = anchor_in(year, month, case.anchor_day)
        if begins <= case.rated_date < ends:
            return [begins + number * ONE_DAY for number in range((ends - begins).days)]
        begins = ends


def anchor_in(year: int, month: int, anchor_day: int) -> dt.date:
    return dt.date(year, month, min(anchor_day, calendar.monthrange(year, month)[1]))


def following(year: int, month: int) -> tuple[int, int]:
    return (year, month + 1) if month < 12 else (year + 1, 1)


def previous(year: int, month: int) -> tuple[int, int]:
    return (year, month - 1) if month > 1 else (year - 1, 12)


def amounts_on(day: dt.date, recorded: Sequence[Amounts], as_of: dt.datetime) -> Amounts | None:
    """What holds on a day: of the latest day, the one recorded last."""
    held: Amounts | None = None
    for amounts in sorted(recorded, key=lambda one: one.recorded_at):
        since = amounts.effective_from or dt.date.min
        if amounts.recorded_at <= as_of and since <= day and (held is None or since >= (held.effective_from or since)):
            held = amounts
    return held


def quantity_on(days: set[dt.date], case: Case) -> Fraction:
    zone = ZoneInfo(case.zone)
    return sum(
        (Fraction(quantity) for instant, quantity in case.usage if instant.astimezone(zone).date() in days), Fraction(0)
    )


def exact_amount(model: ChargeModelName, terms: PriceTerms, quantity: Fraction, share: Fraction) -> Fraction:
    if terms.flat_amount is not None:
        return Fraction(terms.flat_amount) * share
    charged = max(Fraction(0), quantity - Fraction(terms.included_units or 0) * share)
    if terms.unit_amount is not None:
        return charged * Fraction(terms.unit_amount) / Fraction(terms.per_units or 1)
    amount, lower = Fraction(0), Fraction(0)
    for tier in terms.tiers:
        upper = charged if tier.up_to is None else min(charged, Fraction(tier.up_to) * share)
        if upper > lower:
            amount += (upper - lower) * Fraction(tier.unit_amount) / Fraction(terms.per_units or 1)
            amount += Fraction(tier.flat_amount) * share
            lower = upper
    return amount


def rounded(amount: Fraction, decimals: int) -> Fraction:
    return Fraction(floor(amount * 10**decimals + Fraction(1, 2)), 10**decimals)


# --- Cases ------------------------------------------------------------------------------------------------------------

days = st.dates(dt.date(2023, 11, 1), dt.date(2024, 3, 31))
instants = st.integers(0, 120).map(lambda number: utc(2023, 11, 1) + number * ONE_DAY)
money = st.integers(0, 999_999).map(lambda cents: Decimal(cents).scaleb(-3))
units = st.integers(0, 2_000).map(lambda number: Decimal(number) / 4)
per_units = st.sampled_from([Decimal(1), Decimal(1000)])
bounds = st.lists(st.integers(1, 1_000), min_size=1, max_size=2, unique=True).map(sorted)


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    ends = [*map(Decimal, draw(bounds)), None]
    return tuple(Tier(end, draw(money), draw(st.just(Decimal(0)) | money)) for end in ends)


TERMS = {
    ChargeModelName.FLAT: st.builds(PriceTerms, st.just(ChargeModelName.FLAT), flat_amount=money),
    ChargeModelName.PER_UNIT: st.builds(
        PriceTerms,
        st.just(ChargeModelName.PER_UNIT),
        unit_amount=money,
        per_units=per_units,
        included_units=st.just(Decimal(0)) | units,
    ),
    ChargeModelName.GRADUATED: st.builds(
        PriceTerms,
        st.just(ChargeModelName.GRADUATED),
        tiers=tiers(),
        per_units=per_units,
        included_units=st.just(Decimal(0)) | units,
    ),
}


@st.composite
def prices(draw: st.DrawFn) -> tuple[ChargeModelName, list[Amounts]]:
    """A price with its first amounts, recorded before all else, and up to two changes."""
    model = draw(st.sampled_from(list(TERMS)))
    changes = draw(st.lists(st.tuples(days, instants), max_size=2, unique_by=lambda change: change[1]))
    first = Amounts(draw(TERMS[model]), None, utc(2023, 10, 1))
    return model, [first, *(Amounts(draw(TERMS[model]), day, recorded_at) for day, recorded_at in changes)]


@st.composite
def moments(draw: st.DrawFn, zone: str) -> dt.datetime:
    """An instant within or around the contract, and often at the very edge of a day."""
    day = draw(days)
    if draw(st.booleans()):
        return start_of_day(day, zone) + draw(st.sampled_from([-1, 0, 1])) * dt.timedelta.resolution
    return utc(day.year, day.month, day.day, draw(st.integers(0, 23)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    zone = draw(st.sampled_from(ZONES))
    start_date = draw(st.dates(dt.date(2023, 11, 1), dt.date(2024, 2, 15)))
    length = draw(st.integers(1, 60))
    return Case(
        zone=zone,
        currency=draw(st.sampled_from(sorted(DECIMALS))),
        months=draw(st.sampled_from([1, 1, 3])),
        anchor_day=draw(st.one_of(st.integers(1, 31), st.sampled_from([29, 30, 31]))),
        start_date=start_date,
        end_date=start_date + length * ONE_DAY,
        rated_date=start_date + draw(st.integers(0, length - 1)) * ONE_DAY,
        as_of=draw(instants),
        prices=draw(st.lists(prices(), min_size=1, max_size=3)),
        usage=draw(st.lists(st.tuples(moments(zone), units), max_size=8)),
    )


# --- The product ------------------------------------------------------------------------------------------------------


def set_up(case: Case, metric: BillableMetric) -> Contract:
    """Store the case by the product's own services."""
    plan = published_plan(
        *(
            PlannedPrice(
                f"Price {number}",
                recorded[0].terms,
                None if model == ChargeModelName.FLAT else metric,
            )
            for number, (model, recorded) in enumerate(case.prices)
        ),
        currency=case.currency,
        billing_months=case.months,
    )
    for price, (_, recorded) in zip(plan.prices.order_by("position"), case.prices, strict=True):
        for amounts in recorded[1:]:
            assert amounts.effective_from is not None
            schedule_price_version(
                price=price,
                effective_from=amounts.effective_from,
                terms=amounts.terms,
                now=amounts.recorded_at,
            )
    contract = active_contract(
        plan,
        customer=CustomerFactory(timezone=case.zone),
        start=case.start_date,
        end=case.end_date,
        anchor_day=case.anchor_day,
    )
    record_usage(contract.customer, metric, *((instant, str(quantity)) for instant, quantity in case.usage))
    return contract


@given(cases())
@settings(max_examples=60)
def test_a_slow_calculator_agrees(months: None, tokens: BillableMetric, case: Case) -> None:
    with rolled_back():
        contract = set_up(case, tokens)
        rated = rate_at(contract, start_of_day(case.rated_date, case.zone), as_of=case.as_of)

    expected = list(expected_lines(case))
    assert [(line.price.name, Fraction(line.rated.quantity), Fraction(line.amount)) for line in rated.lines] == expected
    assert Fraction(rated.totals.total) == sum(amount for _, _, amount in expected)
