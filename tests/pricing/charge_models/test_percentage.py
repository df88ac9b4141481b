from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.base import Component, InvalidPrice, NotRatable, Usage
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charges import Charge
from apps.pricing.money import exact_arithmetic, settle
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import cents, exact_amounts, near_small, percentages, transactions, unit_amounts


def rate(price: Percentage, *amounts: str) -> Decimal:
    paid = tuple(Decimal(amount) for amount in amounts)
    return price.rate(sum(paid, Decimal(0)), Usage(sum(paid, Decimal(0)), count=len(paid), transactions=paid)).amount


def percent(rate_percent: str, **others: str) -> Percentage:
    return Percentage(Decimal(rate_percent), **{name: Decimal(value) for name, value in others.items()})


CARDS = percent("1.2", fixed_amount="0.10", free_transactions="3", free_amount="500")


@pytest.mark.parametrize(
    ("amounts", "exact"),
    [
        # Three transactions within 500 are free.
        (["200", "100", "50"], "0"),
        # The third ends the free amount within: the fee, and 1.2% of the 100 beyond.
        (["200", "200", "200"], "1.30"),
        # The fourth is beyond the free count, although 150 of the free amount are left: 1.2% of 100 and the fee.
        (["200", "100", "50", "100"], "1.30"),
        # Both are used up: 1.2% of 100 and the fee, and 1.2% of 50 and the fee.
        (["200", "200", "200", "50"], "2.00"),
        ([], "0"),
    ],
)
def test_what_is_free_ends_with_the_count_or_the_amount(amounts: list[str], exact: str) -> None:
    assert rate(CARDS, *amounts) == Decimal(exact)


@pytest.mark.parametrize(
    ("price", "amounts", "exact"),
    [
        (percent("1"), ["1000"], "10"),
        (percent("2.9", fixed_amount="0.30"), ["100", "50"], "4.95"),
        (percent("1", free_amount="100"), ["60", "30"], "0"),
        (percent("1", free_amount="100"), ["60", "30", "20"], "0.10"),
        (percent("1", fixed_amount="0.25", free_amount="100"), ["60", "30", "20"], "0.35"),
        (percent("1", free_transactions="2"), ["500", "500", "20"], "0.20"),
        # Held between bounds: 0.10 is raised to 0.50, 1.00 stays, 10.00 is cut to 5.00.
        (percent("1", transaction_minimum="0.50", transaction_maximum="5"), ["10", "100", "1000"], "6.50"),
        # The bounds hold for the fee as well: 0.10 + 0.30 is raised to 0.50.
        (percent("1", fixed_amount="0.30", transaction_minimum="0.50"), ["10"], "0.50"),
        # Free transactions are not raised to the minimum.
        (percent("1", free_transactions="1", transaction_minimum="0.50"), ["10", "10"], "0.50"),
        # A correction takes the rate and neither fee nor minimum.
        (percent("1", fixed_amount="0.30"), ["100", "-50"], "0.80"),
        (percent("1", transaction_minimum="2"), ["100", "-50"], "1.50"),
        # What was free is not given back as money, and is free again.
        (percent("1", free_amount="100"), ["80", "-30", "60"], "0.10"),
        (percent("1", free_amount="100", fixed_amount="0.30"), ["80", "-30", "60"], "0.40"),
        (percent("1", free_amount="100", fixed_amount="0.30"), ["180", "-130"], "0.30"),
        (percent("1", free_transactions="1"), ["80", "-30"], "-0.30"),
        (percent("0", fixed_amount="0.30"), ["0", "5"], "0.60"),
    ],
)
def test_a_part_of_each_transaction(price: Percentage, amounts: list[str], exact: str) -> None:
    assert rate(price, *amounts) == Decimal(exact)


def test_the_parts_of_an_amount() -> None:
    price = percent("1", fixed_amount="0.10", free_transactions="1", transaction_minimum="0.50")
    paid = (Decimal(40), Decimal(10), Decimal(100))

    assert price.rate(Decimal(150), Usage(Decimal(150), transactions=paid)).components == (
        Component("free", Decimal(1), Decimal(40), Decimal(0)),
        Component("rate", Decimal(110), Decimal(1), Decimal("1.1")),
        Component("fixed", Decimal(2), Decimal("0.10"), Decimal("0.2")),
        Component("raised", Decimal(1), Decimal("0.50"), Decimal("0.3")),
    )


def test_a_sum_is_enough_for_a_rate_alone() -> None:
    assert percent("2.5").rate(Decimal("1234.56")).amount == Decimal("30.864")
    assert percent("2.5", free_amount="1000").rate(Decimal("1234.56")).amount == Decimal("5.864")
    assert percent("2.5", free_amount="1000").rate(Decimal(-10)).amount == Decimal("-0.25")


def test_a_sum_and_a_count_are_enough_for_a_fee() -> None:
    assert percent("2", fixed_amount="0.10").rate(Decimal(100), Usage(Decimal(100), count=7)).amount == Decimal("2.70")


@pytest.mark.parametrize(
    "price",
    [percent("1", transaction_minimum="1"), percent("1", free_transactions="2"), percent("1", fixed_amount="1")],
)
def test_what_needs_single_transactions_is_refused_without_them(price: Percentage) -> None:
    with pytest.raises(NotRatable, match="transaction"):
        price.rate(Decimal(100))


def test_an_allowance_that_single_transactions_would_not_see_is_refused() -> None:
    with pytest.raises(InvalidPrice, match="Leave out the allowance"):
        Charge(percent("1", free_transactions="2"), included_units=Decimal(100))


def test_what_is_free_is_prorated() -> None:
    prorated = CARDS.prorate(ShareOfDays(10, 30))

    assert prorated.free_transactions == 1
    assert (prorated.rate_percent, prorated.fixed_amount) == (CARDS.rate_percent, CARDS.fixed_amount)
    assert settle(prorated.free_amount * 3) == 500


def test_bounds_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidPrice, match="above the maximum") as refusal:
        percent("1", transaction_minimum="2", transaction_maximum="1")

    assert refusal.value.field == "transaction_minimum"


@pytest.mark.parametrize("field", ["fixed_amount", "free_transactions", "free_amount", "transaction_minimum"])
def test_a_negative_number_is_refused(field: str) -> None:
    with pytest.raises(InvalidPrice, match="Enter 0 or more") as refusal:
        percent("1", **{field: "-1"})

    assert refusal.value.field == field


@given(unit_amounts, exact_amounts, exact_amounts)
def test_a_rate_alone_is_additive(rate_percent: Decimal, one: Decimal, other: Decimal) -> None:
    price = Percentage(rate_percent)
    with exact_arithmetic():
        assert price.rate(one + other).amount == price.rate(one).amount + price.rate(other).amount


@given(percentages(), transactions(), near_small)
def test_another_transaction_never_costs_less(price: Percentage, usage: Usage, amount: Decimal) -> None:
    assert usage.transactions is not None
    more = Usage(usage.quantity + amount, count=len(usage.transactions) + 1, transactions=(*usage.transactions, amount))

    assert price.rate(usage.quantity, usage).amount <= price.rate(more.quantity, more).amount


@given(cents, cents, transactions())
def test_the_parts_add_up(rate_percent: Decimal, fee: Decimal, usage: Usage) -> None:
    rating = Percentage(rate_percent, fee, transaction_minimum=Decimal(1)).rate(usage.quantity, usage)

    with exact_arithmetic():
        assert sum((part.amount for part in rating.components), Decimal(0)) == rating.amount
