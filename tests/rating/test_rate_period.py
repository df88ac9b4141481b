"""What one billing period costs: charge models, shares of days, changes of price and plan, currencies."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import BillingError
from apps.contracts.models import Contract
from apps.contracts.services import end_contract
from apps.pricing.periods import Period, ShareOfDays
from apps.products.models import ChargeModelName, Price
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms, terms_of
from apps.rating.services import rate_period
from apps.rating.values import RatedLine, RatedPeriod
from tests.builders import (
    PlannedPrice,
    active_contract,
    flat_fee,
    graduated,
    per_unit,
    published_plan,
    record_usage,
)
from tests.conftest import utc
from tests.factories import CustomerFactory
from tests.rating.conftest import KNOWN_AT, amounts_of, rate_at

pytestmark = pytest.mark.django_db

MILLION = 1_000_000
NOON = utc(2023, 11, 15, 12)


def contract_on(*prices: PlannedPrice, start: dt.date = dt.date(2023, 11, 1), currency: str = "USD") -> Contract:
    return active_contract(published_plan(*prices, currency=currency), start=start)


def schedule_fee(effective_from: dt.date, recorded_at: dt.datetime, amount: str) -> None:
    """Record another amount for the platform fee."""
    schedule_price_version(
        price=Price.objects.get(name="Platform fee"),
        effective_from=effective_from,
        terms=PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount)),
        now=recorded_at,
    )


def schedule_unit_price(
    effective_from: dt.date, recorded_at: dt.datetime, amount: str, *, per: int = 1, included: str = "0"
) -> None:
    """Record another unit price for the input tokens."""
    schedule_price_version(
        price=Price.objects.get(name="Input tokens"),
        effective_from=effective_from,
        terms=PriceTerms(
            ChargeModelName.PER_UNIT,
            unit_amount=Decimal(amount),
            per_units=Decimal(per),
            included_units=Decimal(included),
        ),
        now=recorded_at,
    )


def days_of(line: RatedLine) -> tuple[str, str]:
    return line.window.first_date.isoformat(), line.window.last_date.isoformat()


def only_line(rated: RatedPeriod) -> RatedLine:
    [line] = rated.lines
    return line


# --- One price over one whole period ----------------------------------------------------------------------------------


def test_usage_per_unit(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "10.00", per=MILLION))
    record_usage(contract.customer, tokens, (utc(2023, 11, 2), 18_000_000), (NOON, 59_974), (NOON, "0"))

    rated = rate_at(contract)

    line = only_line(rated)
    assert (line.rated.quantity, line.event_count) == (Decimal(18_059_974), 3)
    assert line.rated.exact_amount == Decimal("180.59974")
    assert str(line.amount) == str(rated.totals.total) == "180.60"
    assert (line.window, line.share) == (rated.period, ShareOfDays(30, 30))
    assert (rated.contract, rated.currency, rated.as_of) == (contract, "USD", KNOWN_AT)


def test_a_count_of_events(calls: BillableMetric) -> None:
    contract = contract_on(per_unit(calls, "0.25"))
    record_usage(contract.customer, calls, (NOON, 1), (NOON, 1), (NOON, 1))

    line = only_line(rate_at(contract))

    assert (line.rated.quantity, line.event_count, str(line.amount)) == (Decimal(3), 3, "0.75")


def test_fractions_of_units_are_charged_exactly(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "0.000000000003", per=1))
    record_usage(contract.customer, tokens, (NOON, "0.000000000001"), (NOON, "1000000000.5"))

    line = only_line(rate_at(contract))

    assert line.rated.quantity == Decimal("1000000000.500000000001")
    assert line.rated.exact_amount == Decimal("0.003000000001500000000003")


def test_an_allowance_comes_off_first(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "0.10", per=1000, included="100000"))
    record_usage(contract.customer, tokens, (NOON, 150_001))

    line = only_line(rate_at(contract))

    assert (line.rated.included_used, line.rated.billable_quantity) == (Decimal(100_000), Decimal(50_001))
    assert (line.rated.exact_amount, str(line.amount)) == (Decimal("5.0001"), "5.00")


def test_graduated_tiers(tokens: BillableMetric) -> None:
    tiers = [("1000000", "3.00"), ("10000000", "2.50"), (None, "2.00")]
    contract = contract_on(graduated(tokens, *tiers, per=MILLION))
    record_usage(contract.customer, tokens, (NOON, 12_345_678))

    line = only_line(rate_at(contract))

    assert str(line.amount) == "30.19"
    assert [(tier.quantity, tier.amount) for tier in line.rated.tiers] == [
        (Decimal(1_000_000), Decimal("3.00")),
        (Decimal(9_000_000), Decimal("22.50")),
        (Decimal(2_345_678), Decimal("4.691356")),
    ]


def test_an_allowance_does_not_fill_the_tiers(tokens: BillableMetric) -> None:
    contract = contract_on(graduated(tokens, ("100", "0.10"), (None, "0.05"), included="50"))
    record_usage(contract.customer, tokens, (NOON, 200))

    # 50 are free, 100 cost 10.00, 50 cost 2.50.
    assert amounts_of(rate_at(contract)) == [("Input tokens", "12.50")]


def test_a_flat_fee_needs_no_usage() -> None:
    contract = contract_on(flat_fee("49.00"))

    line = only_line(rate_at(contract))

    assert (line.rated.quantity, line.event_count, str(line.amount)) == (Decimal(0), 0, "49.00")


def test_corrections_that_outweigh_usage_give_money_back(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "0.40", per=1000, included="500"))
    record_usage(contract.customer, tokens, (NOON, 1_000), (NOON, "-3500"))

    line = only_line(rate_at(contract))

    assert (line.rated.included_used, line.rated.billable_quantity) == (Decimal(0), Decimal(-2_500))
    assert str(line.amount) == "-1.00"


def test_lines_stand_in_the_order_of_the_plan(tokens: BillableMetric, calls: BillableMetric) -> None:
    contract = contract_on(
        per_unit(tokens, "3.00", per=MILLION, name="Zebra"), flat_fee("49.00"), per_unit(calls, "1.00", name="Ant")
    )
    record_usage(contract.customer, calls, (NOON, 1))

    rated = rate_at(contract)

    assert amounts_of(rated) == [("Zebra", "0.00"), ("Platform fee", "49.00"), ("Ant", "1.00")]
    assert str(rated.totals.total) == "50.00"


def test_each_line_is_rounded_and_the_total_is_the_sum_of_what_is_printed(
    tokens: BillableMetric, calls: BillableMetric
) -> None:
    contract = contract_on(per_unit(tokens, "0.005"), per_unit(calls, "0.005"))
    record_usage(contract.customer, tokens, (NOON, 1))
    record_usage(contract.customer, calls, (NOON, 1))

    rated = rate_at(contract)

    assert amounts_of(rated) == [("Input tokens", "0.01"), ("Calls", "0.01")]
    assert str(rated.totals.subtotal) == str(rated.totals.total) == "0.02"


@pytest.mark.parametrize(
    ("currency", "unit_amount", "fee", "total"),
    [
        ("JPY", "0.03", "5000", ["5000", "370", "5370"]),  # 370.35 yen.
        ("KWD", "0.00015", "15", ["15.000", "1.852", "16.852"]),  # 1.85175 dinars.
        ("USD", "0.0001", "15", ["15.00", "1.23", "16.23"]),  # 1.2345 dollars.
    ],
)
def test_amounts_have_the_decimals_of_the_contract_s_currency(
    tokens: BillableMetric, currency: str, unit_amount: str, fee: str, total: list[str]
) -> None:
    contract = contract_on(flat_fee(fee), per_unit(tokens, unit_amount), currency=currency)
    record_usage(contract.customer, tokens, (NOON, 12_345))

    rated = rate_at(contract)

    assert rated.currency == currency
    assert [str(amount) for amount in (*(line.amount for line in rated.lines), rated.totals.total)] == total


@pytest.mark.parametrize(
    ("fee", "used", "is_empty"),
    [("0", [], True), ("1.00", [], False), ("0", [100], False), ("0", [0], True)],
)
def test_a_period_is_empty_without_fee_and_usage(
    tokens: BillableMetric, fee: str, used: list[int], is_empty: bool
) -> None:
    contract = contract_on(flat_fee(fee), per_unit(tokens, "1.00", included="100"))
    record_usage(contract.customer, tokens, *((NOON, quantity) for quantity in used))

    assert rate_at(contract).is_empty == is_empty


# --- Parts of a period ------------------------------------------------------------------------------------------------


def test_a_first_part_of_a_period_has_its_share_of_fee_and_allowance(tokens: BillableMetric) -> None:
    contract = contract_on(
        flat_fee("99.00"), per_unit(tokens, "0.10", per=1000, included="100000"), start=dt.date(2023, 11, 16)
    )
    record_usage(contract.customer, tokens, (utc(2023, 11, 15, 23, 59, 59), 500_000), (utc(2023, 11, 16), 80_000))

    rated = rate_at(contract, utc(2023, 11, 16))

    assert amounts_of(rated) == [("Platform fee", "49.50"), ("Input tokens", "3.00")]
    assert {(line.share, days_of(line)) for line in rated.lines} == {
        (ShareOfDays(15, 30), ("2023-11-16", "2023-11-30"))
    }
    assert rated.lines[1].rated.included_used == 50_000


def test_a_first_part_of_a_period_has_its_share_of_the_tier_bounds(tokens: BillableMetric) -> None:
    contract = contract_on(graduated(tokens, ("1000", "0.10"), (None, "0.05")), start=dt.date(2023, 11, 16))
    record_usage(contract.customer, tokens, (utc(2023, 11, 20), 700))

    line = only_line(rate_at(contract, utc(2023, 11, 16)))

    assert [(tier.upper, tier.quantity) for tier in line.rated.tiers] == [
        (Decimal(500), Decimal(500)),
        (None, Decimal(200)),
    ]
    assert str(line.amount) == "60.00"


def test_a_last_part_of_a_period_has_its_share(tokens: BillableMetric) -> None:
    contract = contract_on(flat_fee("30.00"), per_unit(tokens, "1.00"))
    record_usage(contract.customer, tokens, (utc(2023, 11, 20, 23), 2), (utc(2023, 11, 21), 500))
    ended = end_contract(contract_id=contract.pk, end_date=dt.date(2023, 11, 21))

    rated = rate_at(ended)

    assert amounts_of(rated) == [("Platform fee", "20.00"), ("Input tokens", "2.00")]


@pytest.mark.parametrize(
    ("start", "days", "fee"),
    [
        (dt.date(2023, 11, 1), ShareOfDays(92, 92), "300.00"),
        (dt.date(2023, 11, 16), ShareOfDays(77, 92), "251.09"),  # 300 × 77 ÷ 92 = 251.08695…
    ],
)
def test_a_quarter_is_one_period_of_three_months(
    tokens: BillableMetric, start: dt.date, days: ShareOfDays, fee: str
) -> None:
    plan = published_plan(flat_fee("300.00"), per_unit(tokens, "1.00"), billing_months=3)
    contract = active_contract(plan, start=start)
    record_usage(
        contract.customer,
        tokens,
        (utc(2023, 11, 20), 1),
        (utc(2023, 12, 20), 2),
        (utc(2024, 1, 31, 23), 4),
        (utc(2024, 2, 1), 8),
    )

    rated = rate_at(contract, utc(2023, 11, 20))

    assert amounts_of(rated) == [("Platform fee", fee), ("Input tokens", "7.00")]
    assert {line.share for line in rated.lines} == {days}
    assert amounts_of(rate_at(contract, utc(2024, 2, 1))) == [("Platform fee", "300.00"), ("Input tokens", "8.00")]


# --- Prices that change -----------------------------------------------------------------------------------------------


def test_usage_keeps_the_price_of_its_own_day(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "0.50", per=MILLION))
    schedule_unit_price(dt.date(2023, 11, 16), utc(2023, 11, 3), "0.05", per=MILLION)
    record_usage(
        contract.customer, tokens, (utc(2023, 11, 15, 23, 59, 59), 10_000_000), (utc(2023, 11, 16), 10_000_000)
    )

    rated = rate_at(contract)

    assert amounts_of(rated) == [("Input tokens", "5.00"), ("Input tokens", "0.50")]
    assert [days_of(line) for line in rated.lines] == [("2023-11-01", "2023-11-15"), ("2023-11-16", "2023-11-30")]
    assert [line.share for line in rated.lines] == [ShareOfDays(15, 30), ShareOfDays(15, 30)]
    assert [terms_of(line.price_version).unit_amount for line in rated.lines] == [Decimal("0.50"), Decimal("0.05")]
    assert str(rated.totals.total) == "5.50"


def test_a_fee_that_changes_is_charged_by_days_of_each(tokens: BillableMetric) -> None:
    contract = contract_on(flat_fee("30.00"))
    schedule_fee(dt.date(2023, 11, 21), utc(2023, 11, 3), "60.00")

    assert amounts_of(rate_at(contract)) == [("Platform fee", "20.00"), ("Platform fee", "20.00")]


def test_an_allowance_is_shared_among_the_days_of_each_price(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "1.00", included="300"))
    schedule_unit_price(dt.date(2023, 11, 11), utc(2023, 11, 3), "2.00", included="600")
    record_usage(contract.customer, tokens, (utc(2023, 11, 1), 150), (utc(2023, 11, 30), 401))

    rated = rate_at(contract)

    assert [line.rated.included_used for line in rated.lines] == [100, 400]
    assert amounts_of(rated) == [("Input tokens", "50.00"), ("Input tokens", "2.00")]


def test_only_the_price_that_changes_is_split(tokens: BillableMetric) -> None:
    contract = contract_on(flat_fee("30.00"), per_unit(tokens, "1.00"))
    schedule_unit_price(dt.date(2023, 11, 16), utc(2023, 11, 3), "2.00")

    rated = rate_at(contract)

    assert [(line.price.name, line.share.days) for line in rated.lines] == [
        ("Platform fee", 30),
        ("Input tokens", 15),
        ("Input tokens", 15),
    ]


@pytest.mark.parametrize(
    ("effective_from", "november", "december"),
    [
        (dt.date(2023, 10, 31), ["20.00"], ["20.00"]),
        (dt.date(2023, 11, 1), ["20.00"], ["20.00"]),
        (dt.date(2023, 11, 30), ["9.67", "0.67"], ["20.00"]),
        (dt.date(2023, 12, 1), ["10.00"], ["20.00"]),
        (dt.date(2023, 12, 31), ["10.00"], ["9.68", "0.65"]),
        (dt.date(2024, 1, 1), ["10.00"], ["10.00"]),
    ],
)
def test_a_change_at_the_start_of_a_period_does_not_split_it(
    effective_from: dt.date, november: list[str], december: list[str]
) -> None:
    contract = contract_on(flat_fee("10.00"))
    schedule_fee(effective_from, utc(2023, 10, 2), "20.00")

    found = [[amount for _, amount in amounts_of(rate_at(contract, utc(2023, month, 15)))] for month in (11, 12)]

    assert found == [november, december]


def test_a_price_takes_effect_with_the_day_of_the_contract_s_own_zone(tokens: BillableMetric) -> None:
    plan = published_plan(per_unit(tokens, "1.00"))
    contract = active_contract(plan, customer=CustomerFactory(timezone="America/New_York"))
    schedule_unit_price(dt.date(2023, 11, 16), utc(2023, 11, 3), "2.00")
    midnight = utc(2023, 11, 16, 5)
    record_usage(contract.customer, tokens, (midnight - dt.timedelta(microseconds=1), 1), (midnight, 1))

    rated = rate_at(contract)

    assert amounts_of(rated) == [("Input tokens", "1.00"), ("Input tokens", "2.00")]
    assert [line.window.end_at for line in rated.lines] == [midnight, utc(2023, 12, 1, 5)]


def test_of_two_prices_for_one_day_the_later_recorded_holds(tokens: BillableMetric) -> None:
    contract = contract_on(flat_fee("30.00"))
    schedule_fee(dt.date(2023, 11, 16), utc(2023, 11, 3), "300.00")
    schedule_fee(dt.date(2023, 11, 16), utc(2023, 11, 4), "60.00")

    rated = rate_at(contract)

    assert amounts_of(rated) == [("Platform fee", "15.00"), ("Platform fee", "30.00")]
    assert [line.price_version.flat_amount for line in rated.lines] == [Decimal("30.00"), Decimal("60.00")]


def test_three_prices_in_one_period(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "1.00"))
    schedule_unit_price(dt.date(2023, 11, 21), utc(2023, 11, 3), "3.00")
    schedule_unit_price(dt.date(2023, 11, 11), utc(2023, 11, 4), "2.00")
    record_usage(contract.customer, tokens, *((utc(2023, 11, day), 10) for day in (5, 15, 25)))

    rated = rate_at(contract)

    assert [(days_of(line)[0], str(line.amount)) for line in rated.lines] == [
        ("2023-11-01", "10.00"),
        ("2023-11-11", "20.00"),
        ("2023-11-21", "30.00"),
    ]


@pytest.mark.parametrize(
    ("as_of", "amounts"),
    [
        (utc(2023, 11, 20), ["30.00"]),
        (utc(2023, 11, 21) - dt.timedelta(microseconds=1), ["30.00"]),
        (utc(2023, 11, 21), ["15.00", "30.00"]),
    ],
)
def test_a_price_recorded_after_that_instant_is_not_known(as_of: dt.datetime, amounts: list[str]) -> None:
    contract = contract_on(flat_fee("30.00"))
    schedule_fee(dt.date(2023, 11, 16), utc(2023, 11, 21), "60.00")

    rated = rate_at(contract, as_of=as_of)

    assert [amount for _, amount in amounts_of(rated)] == amounts
    assert rated.as_of == as_of


def test_days_before_the_first_price_are_not_charged() -> None:
    contract = contract_on(flat_fee("30.00"))
    schedule_fee(dt.date(2023, 11, 21), utc(2023, 9, 1), "60.00")

    # On 2 September only the price that begins on 21 November was recorded.
    rated = rate_at(contract, as_of=utc(2023, 9, 2))

    assert amounts_of(rated) == [("Platform fee", "20.00")]
    assert amounts_of(rate_at(contract, as_of=utc(2023, 8, 31))) == []
    assert str(rate_at(contract, as_of=utc(2023, 8, 31)).totals.total) == "0.00"


# --- Plans that change ------------------------------------------------------------------------------------------------


def test_a_plan_that_changes_splits_the_period(tokens: BillableMetric) -> None:
    contract = contract_on(flat_fee("30.00"), per_unit(tokens, "1.00"))
    larger = published_plan(flat_fee("300.00", name="Scale fee"), per_unit(tokens, "0.50"), code="larger")
    contract.phases.update(end_date=dt.date(2023, 11, 21))
    contract.phases.create(plan_version=larger, start_date=dt.date(2023, 11, 21))
    record_usage(contract.customer, tokens, (utc(2023, 11, 20, 23), 10), (utc(2023, 11, 21), 10))

    rated = rate_at(contract)

    assert [(line.price.name, days_of(line)[1], str(line.amount)) for line in rated.lines] == [
        ("Platform fee", "2023-11-20", "20.00"),
        ("Input tokens", "2023-11-20", "10.00"),
        ("Scale fee", "2023-11-30", "100.00"),
        ("Input tokens", "2023-11-30", "5.00"),
    ]


@pytest.mark.parametrize(
    "phases",
    [
        [],
        [(dt.date(2023, 11, 2), None)],
        [(dt.date(2023, 11, 1), dt.date(2023, 11, 30))],
        [(dt.date(2023, 11, 1), dt.date(2023, 11, 10)), (dt.date(2023, 11, 11), None)],
        [(dt.date(2023, 10, 1), dt.date(2023, 11, 1))],
    ],
)
def test_days_without_a_plan_are_not_passed_over(phases: list[tuple[dt.date, dt.date | None]]) -> None:
    contract = contract_on(flat_fee("30.00"))
    plan_version = contract.phases.get().plan_version
    contract.phases.all().delete()
    for start_date, end_date in phases:
        contract.phases.create(plan_version=plan_version, start_date=start_date, end_date=end_date)

    with pytest.raises(BillingError, match="has no plan for all of 1 Nov 2023 to 30 Nov 2023") as refusal:
        rate_at(contract)

    assert refusal.value.code == "period_without_plan"


def test_a_period_outside_the_phases_of_an_ended_contract_is_refused() -> None:
    contract = active_contract(published_plan(flat_fee("30.00")), end=dt.date(2023, 12, 1))
    december = Period(utc(2023, 12, 1), utc(2024, 1, 1), "UTC")

    with pytest.raises(BillingError) as refusal:
        rate_period(contract=contract, period=december, as_of=KNOWN_AT)

    assert refusal.value.code == "period_without_plan"


def test_prices_of_other_plans_do_not_matter(tokens: BillableMetric) -> None:
    contract = contract_on(per_unit(tokens, "1.00"))
    published_plan(per_unit(tokens, "9.00"), flat_fee("9.00"), code="other")
    record_usage(contract.customer, tokens, (NOON, 5))

    assert amounts_of(rate_at(contract)) == [("Input tokens", "5.00")]
