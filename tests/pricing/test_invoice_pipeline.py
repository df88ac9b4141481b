from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge, rate_charge
from apps.pricing.invoice_pipeline import INVOICE_STAGES, InvoiceTotals, invoice_totals
from tests.pricing.strategies import graduated_prices, quantities, rounded_amounts


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


def run_stages(charges: Sequence[tuple[Charge, Decimal]], currency: str) -> tuple[Any, Any]:
    """Compute an invoice by calling the listed functions one after another, each with what the one before gave."""
    allowance, charge_model, line_rounding, subtotal, total = (stage.function for stage in INVOICE_STAGES)
    amounts = []
    for charge, quantity in charges:
        taken: Any = allowance(quantity, charge.included_units)
        rating: Any = charge_model(charge.model, taken[1])
        amounts.append(line_rounding(rating.amount, currency))
    return subtotal(amounts, currency), total(amounts, currency)


@given(st.lists(st.tuples(st.builds(Charge, graduated_prices, quantities), quantities), max_size=4))
def test_the_listed_stages_in_their_order_make_the_invoice(charges: list[tuple[Charge, Decimal]]) -> None:
    lines = [rate_charge(charge, quantity, "USD").amount for charge, quantity in charges]
    totals = invoice_totals(lines, "USD")

    assert run_stages(charges, "USD") == (totals.subtotal, totals)


def test_the_allowance_comes_before_the_tiers() -> None:
    tiers = (Tier(Decimal(500), Decimal("0.02")), Tier(None, Decimal("0.01")))
    charge = Charge(Graduated(tiers), included_units=Decimal(500))

    # 500 billable units fill the first tier; were they the last of 1,000 units, they would cost 5.00.
    assert run_stages([(charge, Decimal(1000))], "USD")[1] == InvoiceTotals(Decimal("10.00"), Decimal("10.00"))


def test_the_stages_are_listed_in_the_order_of_an_invoice() -> None:
    names = [stage.name for stage in INVOICE_STAGES]

    assert names == ["Allowance", "Charge model", "Line rounding", "Subtotal", "Total"]
