"""What the explanations say of every model: in worked examples, and that they add up to the amount."""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import NotRatable, Usage
from apps.pricing.charges import Charge, PricingUnit, RatedCharge, rate_charge, rate_lines
from apps.pricing.explain import Explanation, explain_charge
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import ShareOfDays
from apps.pricing.written_prices import read_written_price
from tests.pricing.strategies import (
    cents,
    conversions,
    failing_usage,
    levels,
    near_small,
    percentages,
    seat_models,
    transactions,
    unit_models,
)

TEN_DAYS = ShareOfDays(10, 30)
STEPS = [{"up_to": 10, "flat_amount": "5"}, {"up_to": 30, "flat_amount": 9}]


def explained(rated: RatedCharge, charge: Charge, share: ShareOfDays | None = None) -> Explanation:
    return explain_charge(rated, charge, unit_singular="call", unit_plural="calls", share=share)


def explain_written(fields: dict[str, Any], share: ShareOfDays | None = None) -> list[Explanation]:
    price = read_written_price({"currency": "USD", **fields})
    charge = price.charge if share is None else price.charge.prorate(share)
    return [explained(line, charge, share) for line in rate_lines(charge, price.usage, price.currency)]


@pytest.mark.parametrize(
    ("fields", "share", "steps", "formula"),
    [
        (
            {"model": "package", "quantity": 1001, "package_size": 1000, "package_amount": "0.03"},
            None,
            [
                "1,001 calls start 2 packages of 1,000; a started one is charged whole.",
                "2 packages of 1,000 × 0.03 USD",
            ],
            "2 packages of 1,000 × 0.03 USD = 0.06 USD",
        ),
        (
            {"model": "volume", "quantity": 150, "tiers": [{"up_to": 90, "unit_amount": 1}, {"unit_amount": "0.05"}]},
            TEN_DAYS,
            ["The tiers hold for 10 of 30 days", "Above 30: 150 calls × 0.05 USD = 7.50 USD."],
            "150 calls × 0.05 USD = 7.50 USD",
        ),
        (
            {"model": "stairstep", "quantity": 15, "tiers": STEPS},
            None,
            ["15 calls fall on the step “above 10, up to 30”, which costs 9.00 USD."],
            "15 calls, on the step “above 10, up to 30” = 9.00 USD",
        ),
        (
            {"model": "stairstep", "quantity": 0, "tiers": STEPS},
            None,
            ["No step is reached: nothing is charged."],
            "0 calls = 0.00 USD",
        ),
        (
            {
                "model": "percentage",
                "rate": "1.2",
                "fixed_amount": "0.10",
                "free_count": 3,
                "free_amount": 500,
                "transactions": [200, 200, 200, 50],
            },
            None,
            [
                "500.00 USD in 2 transactions are free of charge.",
                "1.2% of 150.00 USD = 1.80 USD.",
                "2 transactions × 0.10 USD = 0.20 USD.",
                "Together: 1.80 USD + 0.20 USD = 2.00 USD.",
            ],
            "1.2% of 150.00 USD + 2 transactions × 0.10 USD = 2.00 USD",
        ),
        (
            {"model": "percentage", "rate": 1, "transaction_minimum": "0.5", "transactions": [10, 100]},
            None,
            ["Transactions are raised to at least 0.50 USD: 0.40 USD."],
            "1% of 110.00 USD + 0.40 USD = 1.50 USD",
        ),
        (
            {
                "model": "graduated_percentage",
                "quantity": 7000,
                "tiers": [{"up_to": 1000, "rate": 2, "flat_amount": 10}, {"rate": "1.5"}],
            },
            None,
            ["Up to 1,000.00 USD: 2% of 1,000.00 USD + 10.00 USD flat = 30.00 USD.", "Together: 30.00 USD + 90.00 USD"],
            "2% of 1,000.00 USD + 10.00 USD flat + 1.5% of 6,000.00 USD = 120.00 USD",
        ),
        (
            {
                "model": "seats",
                "unit_amount": 30,
                "levels": [{"quantity": 10, "days": 10}, {"quantity": 13, "days": 20}],
                "of_days": 30,
                "included_seats": 4,
            },
            None,
            ["4 calls are included on each day.", "6 calls × 30.00 USD × 10 of 30 days = 60.00 USD."],
            "6 calls × 30.00 USD × 10 of 30 days + 9 calls × 30.00 USD × 20 of 30 days = 240.00 USD",
        ),
        (
            {"model": "amount_in_event", "quantity": "123.456", "multiplier": "1.2"},
            None,
            ["The events come to 123.456 USD.", "148.1472 USD is rounded, once, to 148.15 USD."],
            "123.456 USD × 1.2 = 148.1472 USD, rounded to 148.15 USD",
        ),
        (
            {
                "quantity": 601,
                "unit_amount": "0.10",
                "failed": 1,
                "free_failures": "all",
                "conversion": {"divide_by": 60, "rounding": "ceil"},
                "maximum": "0.9",
                "pricing_unit": {"singular": "credit", "rate": "0.015"},
            },
            None,
            [
                "1 of them failed and is free of charge.",
                "600 ÷ 60, rounded up, are 10 billing units.",
                "10 calls × 0.1 credits = 1 credit.",
                "The maximum applies: 0.9 credits.",
                "0.9 credits × 0.015 USD = 0.0135 USD.",
            ],
            "10 calls × 0.1 credits = 1 credit, maximum 0.9 credits × 0.015 USD = 0.0135 USD, rounded to 0.01 USD",
        ),
    ],
)
def test_each_model_tells_its_calculation(
    fields: dict[str, Any], share: ShareOfDays | None, steps: list[str], formula: str
) -> None:
    [explanation] = explain_written(fields, share)

    for step in steps:
        assert any(told.startswith(step) for told in explanation.steps), explanation.steps
    assert explanation.formula == formula


def test_a_matrix_tells_its_rows_and_its_bound() -> None:
    prices = [{"match": {"model": "a"}, "unit_amount": "2"}, {"match": {}, "unit_amount": 1}]
    events = [{"quantity": 3, "properties": {"model": "a"}}, {"quantity": 4}]

    explanations = explain_written({"prices": prices, "events": events, "minimum": 20})

    assert [explanation.formula for explanation in explanations] == [
        "3 calls × 2.00 USD = 6.00 USD",
        "4 calls × 1.00 USD = 4.00 USD",
        "minimum of 20.00 USD, less the lines above: 10.00 USD",
    ]
    assert explanations[2].steps == ("The minimum is 20.00 USD. It lifts the sum of the lines above by 10.00 USD.",)


MONEY = re.compile(r"(-?[\d,]+(?:\.\d+)?)(…?) USD")


def stated(text: str) -> list[Fraction | None]:
    """Every amount of money in a sentence; None for one that does not end."""
    return [None if cut else Fraction(number.replace(",", "")) for number, cut in MONEY.findall(text)]


def adds_up(rated: RatedCharge, charge: Charge, share: ShareOfDays | None = None) -> None:
    """The parts make the amount of the model, the sums told are right, and the last money told is the amount."""
    explanation = explained(rated, charge, share)
    parts = [tier.amount for tier in rated.tiers] + [part.amount for part in rated.components]
    priced = rated.exact_amount if rated.priced_amount is None else rated.priced_amount
    before = priced if rated.model_amount is None else rated.model_amount
    if parts:
        with exact_arithmetic():
            assert abs(sum(parts, Decimal(0)) - before) < Decimal("1E-37")
    assert stated(explanation.formula)[-1] == Fraction(rated.amount)
    told = [amount for step in explanation.steps for amount in stated(step)]
    assert told[-1] == Fraction(rated.amount) if told else rated.amount == 0
    for step in explanation.steps:
        summands = stated(step)
        if step.startswith("Together: ") and summands and None not in summands:
            assert sum((summand for summand in summands[:-1] if summand is not None), Fraction(0)) == summands[-1]


shares = st.one_of(st.none(), st.builds(ShareOfDays, st.integers(1, 31), st.just(31)))


@st.composite
def explained_charges(draw: st.DrawFn) -> Charge:
    minimum, maximum = sorted([draw(cents), draw(cents)])
    return Charge(
        draw(unit_models),
        included_units=draw(st.one_of(st.just(Decimal(0)), near_small)),
        minimum=draw(st.sampled_from([None, minimum])),
        maximum=draw(st.sampled_from([None, maximum])),
        conversion=draw(st.one_of(st.none(), conversions)),
        free_failures=draw(st.sampled_from([None, Decimal(0), Decimal(2)])),
        pricing_unit=draw(st.sampled_from([None, PricingUnit("credit", "credits", Decimal("0.015"))])),
    )


@given(explained_charges(), st.one_of(st.builds(Usage, near_small), failing_usage()), shares)
def test_explanations_of_any_charge_add_up(charge: Charge, usage: Usage, share: ShareOfDays | None) -> None:
    prorated = charge if share is None else charge.prorate(share)
    try:
        rated = rate_charge(prorated, usage, "USD")
    except NotRatable:
        return

    adds_up(rated, prorated, share)


@given(percentages(), transactions())
def test_explanations_of_percentages_add_up(model: Any, usage: Usage) -> None:
    adds_up(rate_charge(Charge(model), usage, "USD"), Charge(model))


@given(seat_models, levels())
def test_explanations_of_seats_add_up(model: Any, usage: Usage) -> None:
    adds_up(rate_charge(Charge(model), usage, "USD"), Charge(model))
