from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import Tier, Usage
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge, PricingUnit, rate_charge
from apps.pricing.conversion import Conversion
from apps.pricing.invoice_pipeline import INVOICE_STAGES, InvoiceTotals, invoice_totals
from apps.pricing.money import exact_arithmetic
from tests.pricing.strategies import failing_usage, graduated_prices, rounded_amounts, wrapped_charges


@pytest.mark.parametrize(
    ("amounts", "currency", "total"),
    [
        (["180.60", "7.38"], "USD", "187.98"),
        (["99.00", "-99.00"], "USD", "0.00"),
        (["0.00", "-0.01"], "USD", "-0.01"),
        ([], "USD", "0.00"),
        (["3", "4.00"], "USD", "7.00"),
        (["120", "35"], "JPY", "155"),
        (["0.001", "0.002"], "KWD", "0.003"),
    ],
)
def test_totals_are_sums_of_rounded_lines(amounts: Sequence[str], currency: str, total: str) -> None:
    totals = invoice_totals([Decimal(amount) for amount in amounts], currency)

    assert (str(totals.subtotal), str(totals.total)) == (total, total)


@pytest.mark.parametrize(("amount", "currency"), [("180.59974", "USD"), ("0.5", "JPY"), ("0.0001", "KWD")])
def test_a_line_that_is_not_rounded_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(ValueError, match="is not rounded"):
        invoice_totals([Decimal("1"), Decimal(amount)], currency)


def test_rounding_each_line_may_differ_from_rounding_the_sum() -> None:
    lines = [rate_charge(Charge(PerUnit(Decimal("0.005"))), Decimal(1), "USD").amount for _ in range(3)]

    assert invoice_totals(lines, "USD").total == Decimal("0.03")


@given(st.lists(rounded_amounts(2), max_size=20))
def test_the_order_of_the_lines_does_not_matter(amounts: list[Decimal]) -> None:
    assert invoice_totals(amounts, "USD") == invoice_totals(amounts[::-1], "USD")


def run_stages(charges: Sequence[tuple[Charge, Usage]], currency: str) -> tuple[Any, Any]:
    """Compute an invoice by calling the listed functions one after another, each with what the one before gave."""
    failures, conversion, allowance, charge_model, bounds, money, line_rounding, subtotal, total = (
        stage.function for stage in INVOICE_STAGES
    )
    amounts = []
    for charge, usage in charges:
        failed: Any = failures(usage.failed, charge.free_failures)
        with exact_arithmetic():
            quantity: Any = usage.quantity - failed
        if charge.conversion is not None:
            quantity = conversion(charge.conversion, quantity)
        taken: Any = allowance(quantity, charge.included_units)
        rating: Any = charge_model(charge.model, taken[1], usage)
        bounded = bounds(rating.amount, charge.minimum, charge.maximum)
        amounts.append(line_rounding(money(bounded, charge.pricing_unit), currency))
    return subtotal(amounts, currency), total(amounts, currency)


@given(st.lists(st.tuples(wrapped_charges(graduated_prices), failing_usage()), max_size=4))
def test_the_listed_stages_in_their_order_make_the_invoice(charges: list[tuple[Charge, Usage]]) -> None:
    lines = [rate_charge(charge, usage, "USD").amount for charge, usage in charges]
    totals = invoice_totals(lines, "USD")

    assert run_stages(charges, "USD") == (totals.subtotal, totals)


def test_the_allowance_comes_before_the_tiers() -> None:
    tiers = (Tier(Decimal(500), Decimal("0.02")), Tier(None, Decimal("0.01")))
    charge = Charge(Graduated(tiers), included_units=Decimal(500))

    # 500 billable units fill the first tier; were they the last of 1,000 units, they would cost 5.00.
    assert run_stages([(charge, Usage(Decimal(1000)))], "USD")[1] == InvoiceTotals(Decimal("10.00"), Decimal("10.00"))


def test_what_is_free_as_a_failure_uses_nothing_of_the_allowance() -> None:
    charge = Charge(PerUnit(Decimal(1)), included_units=Decimal(10), free_failures=None)

    # 4 of 20 failed: 16 are left, 10 of them included. Of 12, 8 are left and all of them included.
    assert rate_charge(charge, Usage(Decimal(20), failed=Decimal(4)), "USD").amount == Decimal("6.00")
    assert rate_charge(charge, Usage(Decimal(12), failed=Decimal(4)), "USD").amount == Decimal("0.00")


def test_an_allowance_is_in_billing_units() -> None:
    minutes = Conversion(Decimal(60), "ceil")
    charge = Charge(PerUnit(Decimal(1)), included_units=Decimal(10), conversion=minutes)

    # 601 seconds are 11 started minutes, 10 of them included.
    assert rate_charge(charge, Decimal(601), "USD").amount == Decimal("1.00")


def test_a_minimum_is_in_the_unit_of_the_price() -> None:
    credits = PricingUnit("credit", "credits", Decimal("0.01"))
    charge = Charge(PerUnit(Decimal(1)), minimum=Decimal(500), pricing_unit=credits)

    assert rate_charge(charge, Decimal(3), "USD").amount == Decimal("5.00")


def test_the_stages_are_listed_in_the_order_of_an_invoice() -> None:
    assert [stage.name for stage in INVOICE_STAGES] == [
        "Failures",
        "Conversion",
        "Allowance",
        "Charge model",
        "Minimum and maximum",
        "Money",
        "Line rounding",
        "Subtotal",
        "Total",
    ]


def test_each_stage_says_why_it_stands_where_it_does() -> None:
    assert all(stage.reason.endswith(".") and callable(stage.function) for stage in INVOICE_STAGES)
