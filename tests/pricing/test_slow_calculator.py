"""Every model and all that stands around it, against a slow calculator that goes by the plain definitions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import ChargeModel, NotRatable, Usage, UsageGroup
from apps.pricing.charge_models.matrix import Matrix, MatrixRow
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charges import Charge, PricingUnit, RatedCharge, rate_charge, rate_lines
from apps.pricing.conversion import Conversion
from apps.pricing.periods import ShareOfDays
from tests.pricing import naive
from tests.pricing.strategies import (
    CURRENCIES,
    cents,
    currencies,
    levels,
    near_small,
    percentages,
    seat_models,
    transactions,
    unit_models,
)

SMALLEST = Fraction(1, 10**30)

shares = st.builds(ShareOfDays, st.integers(1, 31), st.sampled_from([31, 32, 366]))
whole_units = st.builds(
    Conversion,
    st.sampled_from([Decimal(3), Decimal(7), Decimal("0.25")]),
    st.sampled_from(["ceil", "floor", "half_up"]),
)
conversions = st.one_of(whole_units, st.builds(Conversion, st.sampled_from([Decimal(3), Decimal(8)])))


@st.composite
def wrapped(draw: st.DrawFn, conversion: st.SearchStrategy[Conversion]) -> Charge:
    minimum, maximum = sorted([draw(cents), draw(cents)])
    return Charge(
        draw(unit_models),
        included_units=draw(st.one_of(st.just(Decimal(0)), near_small)),
        prorates_included=draw(st.booleans()),
        minimum=draw(st.sampled_from([None, minimum])),
        maximum=draw(st.sampled_from([None, maximum])),
        conversion=draw(st.one_of(st.none(), conversion)),
        free_failures=draw(st.sampled_from([None, Decimal(0), Decimal(2)])),
        pricing_unit=draw(st.sampled_from([None, PricingUnit("credit", "credits", Decimal("0.015"))])),
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    quantity = draw(st.one_of(near_small, near_small.map(lambda number: -number)))
    return Usage(quantity, failed=draw(st.sampled_from([Decimal(0), Decimal(1), abs(quantity)])))


def agrees(charge: Charge, usage: Usage, currency: str, share: ShareOfDays | None = None) -> RatedCharge | None:
    """Rate a charge and compare it with the slow calculator; None where both refuse the quantity."""
    part = naive.WHOLE if share is None else Fraction(share.days, share.of)
    prorated = charge if share is None else charge.prorate(share)
    try:
        exact, amount = naive.amount_of(charge, usage, CURRENCIES[currency], part)
    except naive.NoPrice:
        with pytest.raises(NotRatable):
            rate_charge(prorated, usage, currency)
        return None
    rated = rate_charge(prorated, usage, currency)
    assert abs(Fraction(rated.exact_amount) - exact) < SMALLEST
    assert rated.amount == amount
    return rated


@given(unit_models, usages(), currencies)
def test_models_that_charge_a_quantity(model: ChargeModel, usage: Usage, currency: str) -> None:
    agrees(Charge(model), usage, currency)


@given(wrapped(conversions), usages(), currencies)
def test_all_that_stands_around_a_model(charge: Charge, usage: Usage, currency: str) -> None:
    agrees(charge, usage, currency)


@given(wrapped(whole_units), usages(), shares)
def test_all_that_stands_around_a_model_for_a_share_of_days(charge: Charge, usage: Usage, share: ShareOfDays) -> None:
    agrees(charge, usage, "USD", share)


@given(percentages(), transactions(), currencies)
def test_percentages_of_transactions(model: Percentage, usage: Usage, currency: str) -> None:
    agrees(Charge(model), usage, currency)


@given(percentages(), transactions(), shares)
def test_percentages_for_a_share_of_days(model: Percentage, usage: Usage, share: ShareOfDays) -> None:
    agrees(Charge(model), usage, "USD", share)


@given(seat_models, levels(), currencies)
def test_seats_by_the_day(model: Seats, usage: Usage, currency: str) -> None:
    agrees(Charge(model), usage, currency)


VALUES = st.sampled_from(["a", "b", "c", None])
rows_of_two = st.dictionaries(st.tuples(VALUES, VALUES), cents, min_size=1, max_size=8)
groups_of_two = st.lists(st.builds(UsageGroup, st.tuples(VALUES, VALUES), near_small), max_size=8)


def fit(wanted: tuple[str | None, ...], values: tuple[str | None, ...]) -> int:
    """How many values a row names; -1 where it does not fit."""
    named = [(want, value) for want, value in zip(wanted, values, strict=True) if want is not None]
    return len(named) if all(want == value for want, value in named) else -1


@given(rows_of_two, groups_of_two, near_small)
def test_the_rows_of_a_matrix(
    prices: dict[tuple[str | None, ...], Decimal], groups: list[UsageGroup], included: Decimal
) -> None:
    matrix = Matrix(("model", "direction"), tuple(MatrixRow(values, amount) for values, amount in prices.items()))
    charge = Charge(matrix, included_units=included)
    usage = Usage(sum((group.quantity for group in groups), Decimal(0)), groups=tuple(groups))
    used: dict[tuple[str | None, ...], Fraction] = {}
    for group in groups:
        if not group.quantity:
            continue
        best = max(prices, key=lambda wanted: fit(wanted, group.values))
        if fit(best, group.values) < 0:
            with pytest.raises(NotRatable, match="No row prices"):
                rate_lines(charge, usage, "USD")
            return
        used[best] = used.get(best, Fraction(0)) + Fraction(group.quantity)

    lines = rate_lines(charge, usage, "USD")

    assert {line.values: Fraction(line.quantity) for line in lines} == used
    assert sum(line.quantity for line in lines) == usage.quantity
    free = Fraction(included)
    for line in lines:
        assert line.values is not None
        taken = min(free, used[line.values])
        free -= taken
        exact = (used[line.values] - taken) * Fraction(prices[line.values])
        assert Fraction(line.exact_amount) == exact
        assert line.amount == naive.rounded(exact, 2)
