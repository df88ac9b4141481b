"""Which events belong to a period: by event time, customer, and what was stored by then."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.pricing.periods import TICK
from apps.usage.models import UsageEvent
from apps.usage.services import attribute_events
from tests.builders import active_contract, per_unit, published_plan, record_usage
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.rating.conftest import NOVEMBER_15, amounts_of, rate_at

pytestmark = pytest.mark.django_db

NOON = utc(2023, 11, 15, 12)


def quantity_of(
    contract: Contract, instant: dt.datetime = NOON, *, stored_before: dt.datetime | None = None
) -> Decimal:
    """The quantity on the only line of the period that contains the instant."""
    [line] = rate_at(contract, instant, stored_before=stored_before).lines
    return line.rated.quantity


@pytest.mark.parametrize(
    ("zone", "first_date", "start_at", "end_at"),
    [
        ("UTC", dt.date(2023, 11, 1), utc(2023, 11, 1), utc(2023, 12, 1)),
        ("Asia/Kathmandu", dt.date(2023, 11, 1), utc(2023, 10, 31, 18, 15), utc(2023, 11, 30, 18, 15)),
        # Clocks are put back on 5 November: 721 hours.
        ("America/New_York", dt.date(2023, 11, 1), utc(2023, 11, 1, 4), utc(2023, 12, 1, 5)),
        # Midnight of 5 November comes twice: the first begins the period, and ends the one before.
        ("America/Havana", dt.date(2023, 11, 5), utc(2023, 11, 5, 4), utc(2023, 12, 5, 5)),
        ("America/Havana", dt.date(2023, 10, 5), utc(2023, 10, 5, 4), utc(2023, 11, 5, 4)),
        # There is no midnight on 26 April: clocks jump to 01:00.
        ("Africa/Cairo", dt.date(2024, 4, 26), utc(2024, 4, 25, 22), utc(2024, 5, 25, 21)),
        ("Africa/Cairo", dt.date(2024, 3, 26), utc(2024, 3, 25, 22), utc(2024, 4, 25, 22)),
        ("America/Sao_Paulo", dt.date(2018, 11, 4), utc(2018, 11, 4, 3), utc(2018, 12, 4, 2)),
    ],
)
def test_an_event_at_the_start_of_a_period_is_in_it_and_one_at_its_end_is_in_the_next(
    tokens: BillableMetric, zone: str, first_date: dt.date, start_at: dt.datetime, end_at: dt.datetime
) -> None:
    contract = active_contract(
        published_plan(per_unit(tokens, "1.00")),
        customer=CustomerFactory(timezone=zone),
        start=first_date - dt.timedelta(days=40),
        anchor_day=first_date.day,
    )
    record_usage(
        contract.customer,
        tokens,
        (start_at - TICK, 1),
        (start_at, 10),
        (start_at + TICK, 100),
        (end_at - TICK, 1_000),
        (end_at, 10_000),
    )

    rated = rate_at(contract, start_at)

    assert (rated.period.start_at, rated.period.end_at) == (start_at, end_at)
    assert (rated.lines[0].rated.quantity, rated.lines[0].event_count) == (Decimal(1_110), 3)
    assert quantity_of(contract, start_at - TICK) == 1
    assert quantity_of(contract, end_at) == 10_000


def test_an_event_counts_by_its_own_time_and_not_by_when_it_was_sent(tokens: BillableMetric) -> None:
    contract = active_contract(published_plan(per_unit(tokens, "1.00")))
    record_usage(contract.customer, tokens, (utc(2023, 12, 5), 7))
    record_usage(contract.customer, tokens, (utc(2023, 11, 5), 5))

    assert quantity_of(contract, utc(2023, 11, 5)) == 5
    assert quantity_of(contract, utc(2023, 12, 5)) == 7


def test_an_event_before_the_contract_is_not_billed(tokens: BillableMetric) -> None:
    contract = active_contract(published_plan(per_unit(tokens, "1.00")), start=dt.date(2023, 11, 10))
    record_usage(contract.customer, tokens, (utc(2023, 11, 10) - TICK, 500), (utc(2023, 11, 10), 5))

    assert quantity_of(contract) == 5


def test_only_what_the_metric_measures_is_counted(tokens: BillableMetric) -> None:
    contract = active_contract(published_plan(per_unit(tokens, "1.00")))
    record_usage(contract.customer, tokens, (NOON, 5))
    record_usage(contract.customer, BillableMetricFactory(event_type="image.generation"), (NOON, 50))
    record_usage(contract.customer, BillableMetricFactory(value_property="output_tokens"), (NOON, 500))
    record_usage(CustomerFactory(), tokens, (NOON, 5_000))

    assert quantity_of(contract) == 5


def test_usage_of_a_customer_that_we_learn_of_later_is_billed_once_it_is_matched(tokens: BillableMetric) -> None:
    plan = published_plan(per_unit(tokens, "1.00"))
    record_usage("newcomer", tokens, (NOON, 5))
    contract = active_contract(plan, customer=CustomerFactory(external_id="newcomer"))

    before = quantity_of(contract)
    assert attribute_events() == 1

    assert before == 0
    assert quantity_of(contract) == 5


def test_usage_that_reaches_a_customer_by_an_alias_is_billed(tokens: BillableMetric) -> None:
    contract = active_contract(published_plan(per_unit(tokens, "1.00")))
    contract.customer.aliases.create(alias="old-name")

    record_usage("old-name", tokens, (NOON, 5))

    assert quantity_of(contract) == 5


def test_what_was_stored_at_the_cutoff_or_later_is_left_out(tokens: BillableMetric) -> None:
    contract = active_contract(published_plan(per_unit(tokens, "1.00")))
    record_usage(contract.customer, tokens, (NOON, 1))
    record_usage(contract.customer, tokens, (NOON, 10))
    first, second = UsageEvent.objects.order_by("stored_at")

    assert quantity_of(contract, stored_before=first.stored_at) == 0
    assert quantity_of(contract, stored_before=second.stored_at) == 1
    assert quantity_of(contract, stored_before=second.stored_at + TICK) == 11
    assert quantity_of(contract, stored_before=None) == 11


def test_for_the_cutoff_an_event_is_stored_when_its_customer_becomes_known(tokens: BillableMetric) -> None:
    plan = published_plan(per_unit(tokens, "1.00"))
    record_usage("newcomer", tokens, (NOON, 5))
    contract = active_contract(plan, customer=CustomerFactory(external_id="newcomer"))
    stored_at = UsageEvent.objects.get().stored_at
    attribute_events()
    attributed_at = UsageEvent.objects.get().attributed_at
    assert attributed_at is not None

    assert quantity_of(contract, stored_before=stored_at + TICK) == 0
    assert quantity_of(contract, stored_before=attributed_at) == 0
    assert quantity_of(contract, stored_before=attributed_at + TICK) == 5


def test_a_rated_period_says_what_it_was_rated_with(tokens: BillableMetric) -> None:
    contract = active_contract(published_plan(per_unit(tokens, "1.00")))

    assert rate_at(contract, stored_before=NOON).stored_before == NOON
    assert rate_at(contract).stored_before is None


def test_each_contract_of_a_customer_bills_what_its_own_plan_measures(
    tokens: BillableMetric, calls: BillableMetric
) -> None:
    customer = CustomerFactory()
    for_tokens = active_contract(published_plan(per_unit(tokens, "1.00")), customer=customer)
    for_calls = active_contract(published_plan(per_unit(calls, "2.00"), code="calls"), customer=customer, anchor_day=15)
    record_usage(customer, tokens, (NOON, 5))
    record_usage(customer, calls, (NOON, 1), (utc(2023, 11, 14), 1))

    assert amounts_of(rate_at(for_tokens)) == [("Input tokens", "5.00")]
    assert amounts_of(rate_at(for_calls, NOVEMBER_15)) == [("Calls", "2.00")]
    assert amounts_of(rate_at(for_calls, utc(2023, 11, 14))) == [("Calls", "2.00")]


def test_an_event_may_count_for_several_prices(tokens: BillableMetric) -> None:
    plan = published_plan(per_unit(tokens, "1.00"), per_unit(tokens, "0.10", name="Carbon levy"))
    contract = active_contract(plan)
    record_usage(contract.customer, tokens, (NOON, 5))

    assert amounts_of(rate_at(contract)) == [("Input tokens", "5.00"), ("Carbon levy", "0.50")]
