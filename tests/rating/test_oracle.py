"""Rating against a second calculator: day by day, in fractions, with nothing of the product's own arithmetic."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.periods import start_of_day
from apps.products.models import ChargeModelName, FailurePolicy, QuantityRounding
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms
from apps.usage.services import EventInput, record_events
from tests.builders import PlannedPrice, active_contract, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory
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
class Used:
    """One event."""

    at: dt.datetime
    quantity: Decimal
    model: str | None = None
    status: str = "ok"


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
    usage: Sequence[Used]


# --- The second calculator --------------------------------------------------------------------------------------------


def expected_lines(case: Case) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Name, quantity and rounded amount of each line."""
    nominal = nominal_days(case)
    term = [day for day in nominal if case.start_date <= day < case.end_date]
    for number, (_, recorded) in enumerate(case.prices):
        for amounts, group in groupby(term, key=lambda day: amounts_on(day, recorded, case.as_of)):
            if amounts is None:
                continue
            calculator = Calculator(case, amounts.terms, list(group), Fraction(1, len(nominal)))
            for label, quantity, amount in calculator.lines():
                yield f"Price {number}{label}", quantity, amount


@dataclass(frozen=True)
class Calculator:
    """One price over the days of one window; ``a_day`` is the share of the period that a day has."""

    case: Case
    terms: PriceTerms
    window: Sequence[dt.date]
    a_day: Fraction

    @property
    def share(self) -> Fraction:
        return len(self.window) * self.a_day

    def part(self, amount: Decimal | int | None) -> Fraction:
        return Fraction(amount or 0) * self.share

    @property
    def used(self) -> list[Used]:
        zone, days = ZoneInfo(self.case.zone), set(self.window)
        found = [one for one in self.case.usage if one.at.astimezone(zone).date() in days]
        return sorted(found, key=lambda one: one.at)

    def lines(self) -> Iterator[tuple[str, Fraction, Fraction]]:
        if self.terms.charge_model == ChargeModelName.MATRIX:
            yield from self.matrix_lines()
            return
        quantity, exact = self.quantity_and_amount()
        for bound, wins in ((self.terms.minimum, max), (self.terms.maximum, min)):
            if bound is not None:
                exact = wins(exact, self.part(bound))
        yield "", quantity, self.to_cents(exact)

    def to_cents(self, exact: Fraction) -> Fraction:
        return rounded(exact, DECIMALS[self.case.currency])

    def quantity_and_amount(self) -> tuple[Fraction, Fraction]:
        match self.terms.charge_model:
            case ChargeModelName.FLAT:
                return Fraction(0), self.part(self.terms.flat_amount)
            case ChargeModelName.SEATS:
                return self.seats()
            case ChargeModelName.PERCENTAGE:
                return quantity_of(self.used), self.transactions()
        quantity = quantity_of(self.used)
        charged, _, _ = self.charged(quantity, quantity_of(one for one in self.used if one.status == "failed"))
        return quantity, self.amount_of(charged)

    def charged(
        self, quantity: Fraction, failed: Fraction, included: Fraction | None = None, free: Fraction | None = None
    ) -> tuple[Fraction, Fraction, Fraction]:
        """What is left to charge, and what is left of the allowance and of the free failures."""
        terms = self.terms
        if included is None:
            included = (
                self.part(terms.included_units) if terms.prorates_included else Fraction(terms.included_units or 0)
            )
        if free is None:
            free = {FailurePolicy.CHARGED: Fraction(0), FailurePolicy.FREE: Fraction(10**9)}.get(
                terms.failures, self.part(terms.free_failures)
            )
        forgiven = min(failed, free)
        quantity -= forgiven
        if terms.divide_by is not None:
            quantity /= Fraction(terms.divide_by)
            quantity = {"ceil": Fraction(ceil(quantity)), "floor": Fraction(floor(quantity))}.get(
                terms.quantity_rounding or "", Fraction(floor(quantity + Fraction(1, 2)))
            )
        taken = min(quantity, included)
        return quantity - taken, included - taken, free - forgiven

    def amount_of(self, charged: Fraction) -> Fraction:
        terms = self.terms
        per_units = Fraction(terms.per_units or 1)
        match terms.charge_model:
            case ChargeModelName.PER_UNIT:
                return charged * Fraction(terms.unit_amount or 0) / per_units
            case ChargeModelName.PACKAGE:
                return ceil(charged / Fraction(terms.package_size or 1)) * Fraction(terms.unit_amount or 0)
            case ChargeModelName.AMOUNT_IN_EVENT:
                return charged * Fraction(terms.multiplier or 0)
            case ChargeModelName.GRADUATED | ChargeModelName.GRADUATED_PERCENTAGE:
                if terms.charge_model == ChargeModelName.GRADUATED_PERCENTAGE:
                    per_units = Fraction(100)
                return self.graduated(charged, per_units)
        if not charged:
            return self.part(terms.tiers[0].flat_amount) if terms.flat_fee_at_zero_usage else Fraction(0)
        tier = next(one for one in terms.tiers if one.up_to is None or charged <= self.part(one.up_to))
        return charged * Fraction(tier.unit_amount) / per_units + self.part(tier.flat_amount)

    def graduated(self, charged: Fraction, per_units: Fraction) -> Fraction:
        amount, lower = Fraction(0), Fraction(0)
        if not charged and self.terms.flat_fee_at_zero_usage:
            return self.part(self.terms.tiers[0].flat_amount)
        for tier in self.terms.tiers:
            upper = charged if tier.up_to is None else min(charged, self.part(tier.up_to))
            if upper > lower:
                amount += (upper - lower) * Fraction(tier.unit_amount) / per_units + self.part(tier.flat_amount)
                lower = upper
        return amount

    def transactions(self) -> Fraction:
        """Each transaction by itself: what of it is free, its rate, its fee, its bounds."""
        terms, total, running = self.terms, Fraction(0), Fraction(0)
        free_count, free_amount = self.part(terms.free_transactions), self.part(terms.included_units)
        for place, one in enumerate(self.used, start=1):
            amount = Fraction(one.quantity)
            before, running = running, running + amount
            within_count = not free_count or place <= free_count
            if (free_count or free_amount) and within_count and (not free_amount or running <= free_amount):
                continue
            if free_amount and within_count:
                amount -= min(amount, max(Fraction(0), free_amount - before))
            cost = amount * Fraction(terms.rate_percent or 0) / 100 + Fraction(terms.fixed_amount or 0)
            if terms.transaction_minimum is not None:
                cost = max(cost, Fraction(terms.transaction_minimum))
            if terms.transaction_maximum is not None:
                cost = min(cost, Fraction(terms.transaction_maximum))
            total += cost
        return total

    def seats(self) -> tuple[Fraction, Fraction]:
        """Day by day what was there by its end; added and removed ones for the whole window if the price says so."""
        zone = ZoneInfo(self.case.zone)
        held = [
            quantity_of(one for one in self.case.usage if one.at.astimezone(zone).date() <= day) for day in self.window
        ]
        charged = list(held)
        for place in range(len(held)):
            if not self.terms.prorates_removed:
                charged[place] = max(charged[place], *held[: place + 1])
            if not self.terms.prorates_added:
                charged[place] = max(charged[place], *held[place:])
        if not self.terms.prorates_added and not self.terms.prorates_removed:
            charged = [max(held)] * len(held)
        included = Fraction(self.terms.included_units or 0)
        amount = sum((max(Fraction(0), seats - included) for seats in charged), Fraction(0))
        average = rounded(sum(held, Fraction(0)) / len(held), 12)
        return average, amount * self.a_day * Fraction(self.terms.unit_amount or 0)

    def matrix_lines(self) -> Iterator[tuple[str, Fraction, Fraction]]:
        """One line for each row that was used; what is free is taken by the rows in their order."""
        included = free = None
        total = Fraction(0)
        for row in self.terms.rows:
            fitting = [one for one in self.used if row == self.row_of(one)]
            quantity = quantity_of(fitting)
            if not quantity:
                continue
            failed = quantity_of(one for one in fitting if one.status == "failed")
            charged, included, free = self.charged(quantity, failed, included, free)
            amount = self.to_cents(charged * Fraction(row.unit_amount) / Fraction(self.terms.per_units or 1))
            total += amount
            label = ", ".join(value for value in row.values if value) or "all other usage"
            yield f": {label}", quantity, amount
        for name, bound in (("Minimum", self.terms.minimum), ("Maximum", self.terms.maximum)):
            if bound is not None and (total < self.part(bound) if name == "Minimum" else total > self.part(bound)):
                yield f": {name}", Fraction(0), self.to_cents(self.part(bound) - total)

    def row_of(self, one: Used) -> MatrixRow:
        fitting = [row for row in self.terms.rows if row.values[0] in {None, one.model}]
        return next((row for row in fitting if row.values[0] is not None), fitting[0])


def quantity_of(used: Iterable[Used]) -> Fraction:
    return sum((Fraction(one.quantity) for one in used), Fraction(0))


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


def rounded(amount: Fraction, decimals: int) -> Fraction:
    """Half away from zero: a line that cuts to a maximum is negative."""
    if amount < 0:
        return -rounded(-amount, decimals)
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


def maybe(values: st.SearchStrategy[Decimal]) -> st.SearchStrategy[Decimal | None]:
    return st.none() | values


@st.composite
def bounded(draw: st.DrawFn, /, model: ChargeModelName, **columns: st.SearchStrategy[Any]) -> PriceTerms:
    """Terms of a model with random amounts; often with a minimum, seldom with a maximum as well."""
    given_columns = {name: draw(values) for name, values in columns.items()}
    minimum = draw(st.none() | money)
    maximum = draw(st.none() | money)
    if minimum is not None and maximum is not None and maximum < minimum:
        maximum = None
    return PriceTerms(model, minimum=minimum, maximum=maximum, **given_columns)


@st.composite
def around_usage(draw: st.DrawFn, /, model: ChargeModelName, **columns: st.SearchStrategy[Any]) -> PriceTerms:
    """Terms that may also have an allowance, a conversion, and a rule about failures."""
    failures = draw(st.sampled_from(list(FailurePolicy)))
    free = st.integers(0, 200).map(Decimal) if failures == FailurePolicy.FREE_UP_TO else st.none()
    divide_by = draw(st.none() | st.sampled_from([Decimal(60), Decimal(7), Decimal("0.5")]))
    rounding = st.none() if divide_by is None else st.sampled_from(["ceil", "floor", "half_up"])
    return draw(
        bounded(
            model,
            included_units=st.just(Decimal(0)) | units,
            prorates_included=st.booleans(),
            failures=st.just(failures),
            free_failures=free,
            divide_by=st.just(divide_by),
            quantity_rounding=rounding.map(lambda name: None if name is None else QuantityRounding(name)),
            **columns,
        )
    )


matrix_rows = st.sampled_from([("a",), ("a", "b")]).flatmap(
    lambda named: st.tuples(*(st.builds(MatrixRow, st.just((value,)), money) for value in (*named, None)))
)
steps = tiers().map(lambda found: tuple(replace(tier, unit_amount=Decimal(0)) for tier in found))
flag = st.booleans()

TERMS: dict[ChargeModelName, st.SearchStrategy[PriceTerms]] = {
    ChargeModelName.FLAT: st.builds(PriceTerms, st.just(ChargeModelName.FLAT), flat_amount=money),
    ChargeModelName.PER_UNIT: around_usage(ChargeModelName.PER_UNIT, unit_amount=money, per_units=per_units),
    ChargeModelName.PACKAGE: around_usage(
        ChargeModelName.PACKAGE, unit_amount=money, package_size=st.sampled_from([Decimal(1), Decimal(10), Decimal(7)])
    ),
    ChargeModelName.GRADUATED: around_usage(
        ChargeModelName.GRADUATED, tiers=tiers(), per_units=per_units, flat_fee_at_zero_usage=flag
    ),
    ChargeModelName.VOLUME: around_usage(
        ChargeModelName.VOLUME, tiers=tiers(), per_units=per_units, flat_fee_at_zero_usage=flag
    ),
    ChargeModelName.STAIRSTEP: around_usage(ChargeModelName.STAIRSTEP, tiers=steps, flat_fee_at_zero_usage=flag),
    ChargeModelName.PERCENTAGE: bounded(
        ChargeModelName.PERCENTAGE,
        rate_percent=money,
        fixed_amount=maybe(money),
        free_transactions=st.none() | st.integers(0, 3),
        included_units=maybe(units),
        transaction_minimum=maybe(st.integers(0, 50).map(Decimal)),
        transaction_maximum=maybe(st.integers(50, 99).map(Decimal)),
    ),
    ChargeModelName.GRADUATED_PERCENTAGE: bounded(
        ChargeModelName.GRADUATED_PERCENTAGE, tiers=tiers(), included_units=maybe(units), flat_fee_at_zero_usage=flag
    ),
    ChargeModelName.MATRIX: around_usage(
        ChargeModelName.MATRIX, dimensions=st.just(("model",)), rows=matrix_rows, per_units=per_units
    ),
    ChargeModelName.AMOUNT_IN_EVENT: bounded(
        ChargeModelName.AMOUNT_IN_EVENT, multiplier=money, included_units=maybe(units)
    ),
    ChargeModelName.SEATS: bounded(
        ChargeModelName.SEATS,
        unit_amount=money,
        included_units=maybe(st.integers(0, 3).map(Decimal)),
        prorates_added=flag,
        prorates_removed=flag,
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
        usage=draw(
            st.lists(
                st.builds(
                    Used,
                    moments(zone),
                    units,
                    st.sampled_from(["a", "b", "c", None]),
                    st.sampled_from(["ok", "failed"]),
                ),
                max_size=8,
                unique_by=lambda used: used.at,
            )
        ),
    )


# --- The product ------------------------------------------------------------------------------------------------------


def set_up(case: Case, metrics: Mapping[bool, BillableMetric]) -> Contract:
    """Store the case by the product's own services. Seats have a metric that carries over; both count the same."""
    plan = published_plan(
        *(
            PlannedPrice(
                f"Price {number}",
                recorded[0].terms,
                None if model == ChargeModelName.FLAT else metrics[model == ChargeModelName.SEATS],
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
    events = [
        EventInput(
            "oracle",
            str(number),
            "llm.completion",
            contract.customer.external_id,
            used.at,
            {
                "input_tokens": used.quantity,
                "status": used.status,
                **({} if used.model is None else {"model": used.model}),
            },
        )
        for number, used in enumerate(case.usage)
    ]
    record_events(events=events, api_key_id=None)
    return contract


@pytest.fixture
def metrics(db: None) -> dict[bool, BillableMetric]:
    """Two metrics of the same events, the second one of a level. The outcome is no dimension of either."""
    failures = {"outcome_property": "status", "outcome_values": ("failed",), "group_by": ("model",)}
    return {
        carries_over: BillableMetricFactory(code=f"metric_{carries_over}", carries_over=carries_over, **failures)
        for carries_over in (False, True)
    }


@given(cases())
@settings(max_examples=60)
def test_a_slow_calculator_agrees(months: None, metrics: dict[bool, BillableMetric], case: Case) -> None:
    with rolled_back():
        contract = set_up(case, metrics)
        rated = rate_at(contract, start_of_day(case.rated_date, case.zone), as_of=case.as_of)

    expected = list(expected_lines(case))
    assert [(line.name, Fraction(line.rated.quantity), Fraction(line.amount)) for line in rated.lines] == expected
    assert Fraction(rated.totals.total) == sum(amount for _, _, amount in expected)
