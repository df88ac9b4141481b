from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import ChargeModel, Tier
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge, rate_charge
from apps.pricing.explain import Explanation, explain_charge
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import decimals, tier_lists

MILLION = Decimal(1_000_000)


def explain(
    charge: Charge,
    quantity: Decimal,
    *,
    share: ShareOfDays | None = None,
    unit: str = "input token",
    currency: str = "USD",
) -> Explanation:
    """Rate a charge, for a share of days if one is given, and explain what came out."""
    prorated = charge if share is None else charge.prorate(share)
    return explain_charge(
        rate_charge(prorated, quantity, currency),
        prorated,
        unit_singular=unit,
        unit_plural=f"{unit}s",
        share=share,
    )


def test_a_price_per_million() -> None:
    explanation = explain(Charge(PerUnit(Decimal(10), MILLION)), Decimal(18_059_974))

    assert explanation == Explanation(
        steps=(
            "18,059,974 input tokens were used.",
            "18,059,974 input tokens × 10.00 USD per 1,000,000 = 180.59974 USD.",
            "180.59974 USD is rounded, once, to 180.60 USD.",
        ),
        formula="18,059,974 input tokens × 10.00 USD per 1,000,000 = 180.59974 USD, rounded to 180.60 USD",
    )


def test_a_price_of_single_units_that_needs_no_rounding() -> None:
    explanation = explain(Charge(PerUnit(Decimal("0.99"))), Decimal(1), unit="resolution")

    assert explanation == Explanation(
        steps=("1 resolution was used.", "1 resolution × 0.99 USD = 0.99 USD."),
        formula="1 resolution × 0.99 USD = 0.99 USD",
    )


def test_an_allowance() -> None:
    charge = Charge(PerUnit(Decimal("0.10"), Decimal(1000)), included_units=Decimal(100_000))

    explanation = explain(charge, Decimal(150_001), unit="API call")

    assert explanation == Explanation(
        steps=(
            "150,001 API calls were used.",
            "100,000 API calls are included: 100,000 are free of charge, 50,001 are charged.",
            "50,001 API calls × 0.10 USD per 1,000 = 5.0001 USD.",
            "5.0001 USD is rounded, once, to 5.00 USD.",
        ),
        formula=(
            "150,001 API calls, of which 100,000 are included: "
            "50,001 API calls × 0.10 USD per 1,000 = 5.0001 USD, rounded to 5.00 USD"
        ),
    )


def test_an_allowance_that_is_not_used_up() -> None:
    explanation = explain(Charge(PerUnit(Decimal("0.99")), Decimal(500)), Decimal(1), unit="resolution")

    assert explanation == Explanation(
        steps=(
            "1 resolution was used.",
            "500 resolutions are included: 1 is free of charge, 0 are charged.",
            "0 resolutions × 0.99 USD = 0.00 USD.",
        ),
        formula="1 resolution, of which 1 is included: 0 resolutions × 0.99 USD = 0.00 USD",
    )


def test_an_allowance_for_a_part_of_the_period() -> None:
    charge = Charge(PerUnit(Decimal("0.10"), Decimal(1000)), included_units=Decimal(100_000))

    explanation = explain(charge, Decimal(80_000), share=ShareOfDays(15, 30), unit="API call")

    assert explanation.steps[1] == (
        "50,000 API calls are included for 15 of 30 days: 50,000 are free of charge, 30,000 are charged."
    )


def test_tiers() -> None:
    tiers = (
        Tier(MILLION, Decimal(3)),
        Tier(10 * MILLION, Decimal("2.5"), Decimal(5)),
        Tier(None, Decimal(2)),
    )

    explanation = explain(Charge(Graduated(tiers, MILLION)), Decimal(12_345_678))

    assert explanation == Explanation(
        steps=(
            "12,345,678 input tokens were used.",
            "Up to 1,000,000: 1,000,000 input tokens × 3.00 USD per 1,000,000 = 3.00 USD.",
            "Above 1,000,000, up to 10,000,000: "
            "9,000,000 input tokens × 2.50 USD per 1,000,000 + 5.00 USD flat = 27.50 USD.",
            "Above 10,000,000: 2,345,678 input tokens × 2.00 USD per 1,000,000 = 4.691356 USD.",
            "Together: 3.00 USD + 27.50 USD + 4.691356 USD = 35.191356 USD.",
            "35.191356 USD is rounded, once, to 35.19 USD.",
        ),
        formula=(
            "1,000,000 input tokens × 3.00 USD per 1,000,000"
            " + 9,000,000 input tokens × 2.50 USD per 1,000,000 + 5.00 USD flat"
            " + 2,345,678 input tokens × 2.00 USD per 1,000,000 = 35.191356 USD, rounded to 35.19 USD"
        ),
    )


def test_tiers_for_a_part_of_the_period() -> None:
    tiers = (Tier(Decimal(1000), Decimal("0.02"), Decimal(6)), Tier(None, Decimal("0.01")))

    explanation = explain(Charge(Graduated(tiers)), Decimal(400), share=ShareOfDays(15, 30), unit="call")

    assert explanation == Explanation(
        steps=(
            "400 calls were used.",
            "The tiers hold for 15 of 30 days: their bounds and flat fees are that part of those of a full period.",
            "Up to 500: 400 calls × 0.02 USD + 3.00 USD flat = 11.00 USD.",
        ),
        formula="400 calls × 0.02 USD + 3.00 USD flat = 11.00 USD",
    )


def test_tiers_that_nothing_reached() -> None:
    tiers = (Tier(Decimal(1000), Decimal("0.02")), Tier(None, Decimal("0.01")))

    explanation = explain(Charge(Graduated(tiers)), Decimal(0), share=ShareOfDays(15, 30))

    assert explanation == Explanation(steps=("0 input tokens were used.",), formula="0 input tokens = 0.00 USD")


def test_a_fee() -> None:
    assert explain(Charge(Flat(Decimal(99))), Decimal(0)) == Explanation(
        steps=("The fee for a billing period is 99.00 USD.",), formula="99.00 USD"
    )


@pytest.mark.parametrize(
    ("days", "of", "calculation"),
    [
        (15, 30, "99.00 USD × 15 of 30 days = 49.50 USD"),
        (10, 31, "99.00 USD × 10 of 31 days = 31.935483870967… USD"),
        (31, 31, "99.00 USD"),
    ],
)
def test_a_fee_for_a_part_of_the_period(days: int, of: int, calculation: str) -> None:
    explanation = explain(Charge(Flat(Decimal(99))), Decimal(0), share=ShareOfDays(days, of))

    assert explanation.formula.removesuffix(", rounded to 31.94 USD") == calculation


def test_corrections_that_outweigh_usage() -> None:
    explanation = explain(Charge(PerUnit(Decimal("0.40"), Decimal(1000))), Decimal(-2500), unit="call")

    assert explanation.formula == "-2,500 calls × 0.40 USD per 1,000 = -1.00 USD"


def test_an_amount_in_a_currency_without_minor_units() -> None:
    explanation = explain(Charge(PerUnit(Decimal("0.5"))), Decimal(3), unit="call", currency="JPY")

    assert explanation.formula == "3 calls × 0.5 JPY = 1.5 JPY, rounded to 2 JPY"


def calculate(formula: str) -> Fraction:
    """Type a formula into a pocket calculator: terms of factors, as a customer would read them."""
    return sum((calculate_term(term) for term in formula.split(" + ")), Fraction(0))


def calculate_term(term: str) -> Fraction:
    plain = term.replace(",", "").replace(" USD", "").replace(" flat", "")
    plain = re.sub(r" input tokens?", "", plain)
    plain = plain.replace(" per ", " / ").replace(" days", "").replace(" of ", " / ").replace(" × ", " * ")
    first, *rest = re.split(r" ([*/]) ", plain)
    result = Fraction(first)
    for operator, number in zip(rest[::2], rest[1::2], strict=True):
        result = result * Fraction(number) if operator == "*" else result / Fraction(number)
    return result


prices = decimals("0", "100", 6)
usage = decimals("0", "5000000", 3)
shares = st.one_of(st.none(), st.builds(ShareOfDays, st.sampled_from([1, 3, 15, 16, 32]), st.just(32)))
explained_models: st.SearchStrategy[ChargeModel] = st.one_of(
    st.builds(Flat, prices),
    st.builds(PerUnit, prices, st.sampled_from([Decimal(1), Decimal(1000), MILLION])),
    st.builds(Graduated, tier_lists(bounds=usage, with_flat_fees=False), st.sampled_from([Decimal(1), MILLION])),
)


@given(explained_models, st.one_of(st.just(Decimal(0)), usage), usage, shares)
def test_an_explanation_adds_up_to_the_amount(
    model: ChargeModel, included: Decimal, quantity: Decimal, share: ShareOfDays | None
) -> None:
    charge = Charge(model, included)
    prorated = charge if share is None else charge.prorate(share)
    rated = rate_charge(prorated, quantity, "USD")

    formula = explain(charge, quantity, share=share).formula

    before_rounding, _, rounded = formula.partition(", rounded to ")
    *allowance, calculation = before_rounding.split(": ")
    left, _, right = calculation.partition(" = ")
    if "…" not in formula:
        assert calculate(left) == calculate(right or left) == Fraction(rated.exact_amount)
    assert calculate(rounded or right or left) == Fraction(rated.amount)
    for sentence in allowance:
        used, free = re.findall(r"[\d.,]+(?= input| are| is)", sentence)
        assert calculate(used) - calculate(free) == Fraction(rated.billable_quantity)


@given(tier_lists(bounds=usage), usage.filter(bool))
def test_the_steps_of_the_tiers_add_up_to_the_amount(tiers: tuple[Tier, ...], quantity: Decimal) -> None:
    rated = rate_charge(Charge(Graduated(tiers)), quantity, "USD")

    steps = explain(Charge(Graduated(tiers)), quantity).steps

    tier_steps = [step.removesuffix(".") for step in steps if step.startswith(("Up to", "Above", "All units"))]
    results = [calculate(step.rpartition(" = ")[2]) for step in tier_steps]
    assert results == [calculate(re.split(": | = ", step)[1]) for step in tier_steps]
    assert sum(results) == Fraction(rated.exact_amount)
