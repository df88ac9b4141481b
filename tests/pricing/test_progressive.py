from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.money import round_money
from apps.pricing.progressive import next_bill, progressive_bills
from tests.pricing.strategies import exact_amounts


@pytest.mark.parametrize(
    ("totals", "bills"),
    [
        ([], []),
        (["2", "5"], ["2.00", "3.00"]),
        # Each of three bills of 0.335 alone would be 0.34, and together a cent too much.
        (["0.335", "0.67", "1.005"], ["0.34", "0.33", "0.34"]),
        # A cheaper tier, or corrections: what was billed too much comes back.
        (["30", "25", "25"], ["30.00", "-5.00", "0.00"]),
        (["0.004", "0.008"], ["0.00", "0.01"]),
    ],
)
def test_each_bill_is_the_running_total_less_what_is_billed(totals: list[str], bills: list[str]) -> None:
    assert [str(bill) for bill in progressive_bills(map(Decimal, totals), "USD")] == bills


def test_a_bill_starts_from_what_others_billed() -> None:
    assert next_bill(Decimal("12.345"), Decimal("10.00"), "USD") == Decimal("2.35")


@given(st.lists(exact_amounts, min_size=1, max_size=8))
def test_the_bills_add_up_to_the_one_true_amount(totals: list[Decimal]) -> None:
    assert sum(progressive_bills(totals, "USD")) == round_money(totals[-1], "USD")
