"""Many periods at once: the same result as one by one, a fixed number of queries, and no contract stops another."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract, ContractPhase
from apps.products.models import ChargeModelName, Price, PriceVersion
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms
from apps.rating.services import UNEXPECTED_ERROR, rate_period, rate_periods
from apps.rating.values import PeriodToRate, RatedPeriod, RatingRefused
from tests.builders import (
    active_contract,
    active_contracts,
    flat_fee,
    graduated,
    per_unit,
    published_plan,
    record_usage,
)
from tests.conftest import utc
from tests.factories import CustomerFactory
from tests.rating.conftest import KNOWN_AT, NOVEMBER_15, amounts_of

pytestmark = pytest.mark.django_db


def to_rate(contract: Contract, instant: dt.datetime = NOVEMBER_15) -> PeriodToRate:
    period = contract.period_at(instant)
    assert period is not None
    return PeriodToRate(contract, period)


@contextmanager
def rolled_back() -> Iterator[None]:
    """Leave no trace of one example of a property."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def counted_statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Every statement that reaches the database, also those that pass Django's own cursors by."""
    statements: list[object] = []
    execute = psycopg.Cursor.execute

    def counting(cursor: psycopg.Cursor[Any], query: Any, *args: Any, **kwargs: Any) -> psycopg.Cursor[Any]:
        statements.append(query)
        return execute(cursor, query, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Cursor, "execute", counting)
        yield statements


@pytest.fixture
def contracts(months: None, tokens: BillableMetric, calls: BillableMetric) -> list[Contract]:
    """Contracts of several plans, zones and anchors, two of them of one customer."""
    small = published_plan(flat_fee("49.00"), per_unit(tokens, "3.00", per=1000, included="50"), code="small")
    large = published_plan(
        per_unit(calls, "0.25"), graduated(tokens, ("100", "0.10"), (None, "0.05")), code="large", currency="JPY"
    )
    schedule_price_version(
        price=Price.objects.get(name="Input tokens", plan_version=small),
        effective_from=dt.date(2023, 11, 10),
        terms=PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("2.00"), per_units=Decimal(1000)),
        now=utc(2023, 11, 1),
    )
    other = published_plan(per_unit(calls, "0.25", name="Calls"), code="other")
    new_yorker = CustomerFactory(timezone="America/New_York")
    return [
        active_contract(small, start=dt.date(2023, 11, 5)),
        active_contract(small, customer=new_yorker, anchor_day=31, start=dt.date(2023, 10, 1)),
        active_contract(other, customer=new_yorker),
        active_contract(large, end=dt.date(2023, 11, 20)),
    ]


usage = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.booleans(),
        st.datetimes(dt.datetime(2023, 10, 28), dt.datetime(2023, 12, 3), timezones=st.just(dt.UTC)),  # noqa: DTZ001
        st.integers(0, 300),
    ),
    max_size=12,
)


@given(usage)
@settings(max_examples=25)
def test_together_gives_what_one_by_one_gives(
    contracts: list[Contract],
    tokens: BillableMetric,
    calls: BillableMetric,
    used: list[tuple[int, bool, dt.datetime, int]],
) -> None:
    requests = [to_rate(contract) for contract in contracts]

    with rolled_back():
        for index, is_call, occurred_at, quantity in used:
            record_usage(contracts[index].customer, calls if is_call else tokens, (occurred_at, quantity))
        together = rate_periods(requests, as_of=KNOWN_AT)
        one_by_one = [rate_period(contract=one.contract, period=one.period, as_of=KNOWN_AT) for one in requests]

    assert together == one_by_one


def test_the_number_of_queries_does_not_grow_with_the_number_of_contracts(
    contracts: list[Contract], tokens: BillableMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = published_plan(flat_fee("1.00"), graduated(tokens, ("10", "1.00"), (None, "0.50")), code="third")
    twenty = [to_rate(contract) for contract in [*contracts, *active_contracts(plan, 16)]]

    with counted_statements(monkeypatch) as for_one:
        rate_periods(twenty[:1], as_of=KNOWN_AT)
    with counted_statements(monkeypatch) as for_twenty:
        results = rate_periods(twenty, as_of=KNOWN_AT)

    assert len(results) == 20
    # Phases, prices, their versions, the tiers and the rows of these, those of the metrics, and all usage in one. While
    # the cache is not built, as here, the events of each metric are read as well.
    assert (len(for_one), len(for_twenty)) == (7 + 1, 7 + 2)


def test_no_request_is_no_query(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with counted_statements(monkeypatch) as statements:
        assert rate_periods([], as_of=KNOWN_AT) == []

    assert statements == []


def test_results_come_in_the_order_of_the_requests(contracts: list[Contract]) -> None:
    requests = [to_rate(contract) for contract in reversed(contracts)]
    requests.append(to_rate(contracts[0], utc(2023, 12, 15)))

    results = rate_periods(requests, as_of=KNOWN_AT)

    assert [(result.contract, result.period) for result in results] == [(one.contract, one.period) for one in requests]


def test_one_broken_contract_does_not_stop_the_others(contracts: list[Contract]) -> None:
    broken, *sound = contracts
    ContractPhase.objects.filter(contract=broken).update(start_date=dt.date(2023, 11, 9))
    before = rate_periods([to_rate(contract) for contract in sound], as_of=KNOWN_AT)

    refused, *rated = rate_periods([to_rate(contract) for contract in contracts], as_of=KNOWN_AT)

    assert isinstance(refused, RatingRefused)
    assert (refused.contract, refused.period, refused.code) == (broken, to_rate(broken).period, "period_without_plan")
    assert refused.detail.endswith(
        "has no plan for all of 5 Nov 2023 to 30 Nov 2023. Let its phases cover the whole contract."
    )
    assert rated == before


def test_a_fault_that_nobody_foresaw_stops_only_the_contracts_that_meet_it(
    contracts: list[Contract], caplog: pytest.LogCaptureFixture
) -> None:
    units = Price.objects.get(name="Input tokens", plan_version__plan__code="small")
    # No service writes tiers that are none; a shell can.
    PriceVersion.objects.create(
        price=units, charge_model=ChargeModelName.GRADUATED, per_units=Decimal(1), recorded_at=utc(2023, 11, 2)
    )

    results = rate_periods([to_rate(contract) for contract in contracts], as_of=KNOWN_AT)

    refusals = [result for result in results if isinstance(result, RatingRefused)]
    assert [refusal.contract for refusal in refusals] == contracts[:2]
    assert {refusal.code for refusal in refusals} == {UNEXPECTED_ERROR}
    assert "InvalidTiers: There are no tiers." in refusals[0].detail
    assert f"rating contract {contracts[0].pk} failed" in caplog.text
    assert [amounts_of(result) for result in results if isinstance(result, RatedPeriod)] == [
        [("Calls", "0.00")],
        [("Calls", "0"), ("Input tokens", "0")],
    ]
