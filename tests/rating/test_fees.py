"""Fees as rating sees them: which bill of a period charges for them, over which days, and what is left of them."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.pricing.periods import Period
from apps.rating.services import rate_bill
from apps.rating.values import Billed, BillKind, PeriodToRate, RatedLine, RatedPeriod
from tests.builders import active_contract, flat_fee, per_unit, published_plan, record_usage
from tests.conftest import utc
from tests.rating.conftest import KNOWN_AT, NOVEMBER_15

pytestmark = pytest.mark.django_db


def rated(
    contract: Contract, kind: BillKind = BillKind.PERIOD, *billed: Billed, at: dt.datetime = NOVEMBER_15
) -> RatedPeriod:
    period = contract.period_at(at)
    assert period is not None
    return rate_bill(PeriodToRate(contract, period, kind, billed), as_of=KNOWN_AT)


def charged(period: RatedPeriod) -> list[tuple[str, str, str]]:
    """Each line's name, first day and amount."""
    return [(line.price.name, f"{line.window.first_date:%-d %b}", str(line.amount)) for line in period.lines]


def billed_as(line: RatedLine, amount: str, window: Period | None = None) -> Billed:
    return Billed(
        price_version=line.price_version,
        window=window or line.window,
        share=line.share,
        values=line.rated.values,
        bound=line.rated.bound,
        amount=Decimal(amount),
        bills=frozenset([1]),
    )


@pytest.fixture
def contract(tokens: BillableMetric) -> Contract:
    """Every kind of fee, and usage: two tokens in November."""
    found = active_contract(
        published_plan(
            flat_fee("30.00", "Arrears"),
            flat_fee("60.00", "Advance", in_advance=True),
            flat_fee("500.00", "Set-up", one_off=True),
            flat_fee("900.00", "Deposit", one_off=True, in_advance=True),
            per_unit(tokens, "1.00", name="Tokens"),
        )
    )
    record_usage(found.customer, tokens, (utc(2023, 11, 10), 2))
    return found


@pytest.mark.parametrize(
    ("kind", "lines"),
    [
        (BillKind.OPENING, [("Advance", "1 Nov", "60.00"), ("Deposit", "1 Nov", "900.00")]),
        (BillKind.INTERIM, [("Tokens", "1 Nov", "2.00")]),
        (
            BillKind.PERIOD,
            [
                ("Arrears", "1 Nov", "30.00"),
                ("Advance", "1 Nov", "60.00"),
                ("Set-up", "1 Nov", "500.00"),
                ("Deposit", "1 Nov", "900.00"),
                ("Tokens", "1 Nov", "2.00"),
                ("Advance", "1 Dec", "60.00"),
            ],
        ),
    ],
)
def test_what_each_bill_of_the_first_period_charges_for_while_nothing_is_billed(
    contract: Contract, kind: BillKind, lines: list[tuple[str, str, str]]
) -> None:
    assert charged(rated(contract, kind)) == lines


def test_a_one_off_fee_is_charged_in_the_first_period_only(contract: Contract) -> None:
    names = [line.price.name for line in rated(contract, at=utc(2023, 12, 15)).lines]

    assert names == ["Arrears", "Advance", "Tokens", "Advance"]


def test_a_one_off_fee_is_charged_in_full_for_a_first_period_that_is_short() -> None:
    contract = active_contract(published_plan(flat_fee("500.00", "Set-up", one_off=True)), start=dt.date(2023, 11, 30))

    assert charged(rated(contract, at=utc(2023, 11, 30))) == [("Set-up", "30 Nov", "500.00")]


def test_a_fee_that_came_to_what_was_billed_needs_no_line() -> None:
    contract = active_contract(published_plan(flat_fee("60.00", "Advance", in_advance=True)))
    [opening] = rated(contract, BillKind.OPENING).lines

    assert charged(rated(contract, BillKind.PERIOD, billed_as(opening, "60.00"))) == [("Advance", "1 Dec", "60.00")]


def test_the_last_period_of_a_contract_bills_nothing_in_advance() -> None:
    plan = published_plan(flat_fee("60.00", "Advance", in_advance=True))
    contract = active_contract(plan, end=dt.date(2023, 12, 1))

    assert charged(rated(contract)) == [("Advance", "1 Nov", "60.00")]


def test_what_was_billed_for_other_days_of_a_fee_comes_off_its_last_line(contract: Contract) -> None:
    line = rated(contract, BillKind.OPENING).lines[0]
    first_days = Period(line.window.start_at, utc(2023, 11, 16), line.window.zone)
    first_day = replace(first_days, end_at=utc(2023, 11, 2))
    billed = [billed_as(line, "20.00", first_days), billed_as(line, "45.00", first_day)]

    [advance, *_] = rated(contract, BillKind.OPENING, *billed).lines

    assert (advance.amount, advance.billed_before) == (Decimal("-5.00"), Decimal("65.00"))


def test_what_was_billed_for_a_price_that_is_not_charged_any_more_is_given_back(contract: Contract) -> None:
    other = active_contract(published_plan(flat_fee("7.00", "Other", in_advance=True), code="other"))
    [foreign] = rated(other, BillKind.OPENING).lines

    last = rated(contract, BillKind.OPENING, billed_as(foreign, "7.00")).lines[-1]

    assert (last.price.name, last.amount, last.is_reversal) == ("Other", Decimal("-7.00"), True)


def test_usage_so_far_that_is_billed_is_nothing_to_bill(contract: Contract) -> None:
    [line] = rated(contract, BillKind.INTERIM).lines

    assert rated(contract, BillKind.INTERIM, billed_as(line, "2.00")).is_empty


def test_an_interim_bill_does_not_count_fees_billed_in_advance(contract: Contract) -> None:
    opening = rated(contract, BillKind.OPENING).lines[0]

    assert charged(rated(contract, BillKind.INTERIM, billed_as(opening, "60.00"))) == [("Tokens", "1 Nov", "2.00")]
