from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.money import exact_arithmetic, minor_units, round_money, settle, split_money
from tests.pricing.strategies import CURRENCIES, currencies, decimals, exact_amounts, rounded_amounts


def places_of(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return -exponent


@pytest.mark.parametrize(
    ("currency", "places"),
    [
        ("USD", 2), ("EUR", 2), ("GBP", 2), ("CHF", 2), ("INR", 2), ("MXN", 2), ("HUF", 2), ("MGA", 2),
        ("JPY", 0), ("KRW", 0), ("CLP", 0), ("ISK", 0), ("VND", 0), ("XAF", 0), ("XOF", 0), ("XPF", 0),
        ("BHD", 3), ("IQD", 3), ("JOD", 3), ("KWD", 3), ("LYD", 3), ("OMR", 3), ("TND", 3),
        ("CLF", 4), ("UYW", 4),
    ],
)  # fmt: skip
def test_minor_units_are_those_of_iso_4217(currency: str, places: int) -> None:
    assert minor_units(currency) == places


@pytest.mark.parametrize("code", ["", "usd", "ZZZ", "USDT", "$"])
def test_an_unknown_currency_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="not a currency code"):
        minor_units(code)


@pytest.mark.parametrize(
    ("exact", "currency", "rounded"),
    [
        ("180.59974", "USD", "180.60"),
        ("1.005", "USD", "1.01"),
        ("1.015", "USD", "1.02"),
        ("1.025", "USD", "1.03"),
        ("1.00499999999999999999999999999999999999", "USD", "1.00"),
        ("-1.005", "USD", "-1.01"),
        ("-0.004", "USD", "0.00"),
        ("0.002", "USD", "0.00"),
        ("3", "USD", "3.00"),
        ("3.10", "USD", "3.10"),
        ("1E+3", "USD", "1000.00"),
        ("0.5", "JPY", "1"),
        ("1.5", "JPY", "2"),
        ("-2.5", "JPY", "-3"),
        ("-0.4", "JPY", "0"),
        ("1.0005", "KWD", "1.001"),
        ("2.34449", "KWD", "2.344"),
        ("12345678901234567890123456789012.345", "USD", "12345678901234567890123456789012.35"),
    ],
)
def test_an_amount_is_rounded_half_away_from_zero(exact: str, currency: str, rounded: str) -> None:
    assert str(round_money(Decimal(exact), currency)) == rounded


@pytest.mark.parametrize("amount", [1.5, 1, "1.5", None, True])
def test_only_decimals_are_rounded(amount: object) -> None:
    with pytest.raises(TypeError, match="Money and quantities are Decimals"):
        round_money(amount, "USD")  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="not a number"):
        round_money(Decimal(amount), "USD")


@given(exact_amounts, currencies)
def test_rounding_agrees_with_whole_number_arithmetic(exact: Decimal, currency: str) -> None:
    units = floor(abs(Fraction(exact)) * 10 ** CURRENCIES[currency] + Fraction(1, 2))
    expected = Fraction(units if exact > 0 else -units, 10 ** CURRENCIES[currency])

    assert Fraction(round_money(exact, currency)) == expected


@given(exact_amounts, currencies)
def test_rounding_gives_the_decimals_of_the_currency_and_no_negative_zero(exact: Decimal, currency: str) -> None:
    rounded = round_money(exact, currency)

    assert places_of(rounded) == CURRENCIES[currency]
    assert rounded or not rounded.is_signed()


@given(exact_amounts, currencies)
def test_rounding_twice_changes_nothing(exact: Decimal, currency: str) -> None:
    rounded = round_money(exact, currency)

    assert round_money(rounded, currency) == rounded


@given(exact_amounts, currencies)
def test_rounding_is_the_same_on_both_sides_of_zero(exact: Decimal, currency: str) -> None:
    assert round_money(-exact, currency) == -round_money(exact, currency)


@given(exact_amounts, currencies)
def test_rounding_moves_an_amount_by_half_a_unit_at_most(exact: Decimal, currency: str) -> None:
    assert abs(round_money(exact, currency) - exact) <= Decimal("0.5").scaleb(-CURRENCIES[currency])


@given(st.integers(0, 10**12), currencies)
def test_exactly_half_a_unit_is_rounded_away_from_zero(units: int, currency: str) -> None:
    half_above = (Decimal(units) + Decimal("0.5")).scaleb(-CURRENCIES[currency])

    assert round_money(half_above, currency) == Decimal(units + 1).scaleb(-CURRENCIES[currency])


@given(exact_amounts, exact_amounts, currencies)
def test_rounding_keeps_the_order_of_amounts(one: Decimal, other: Decimal, currency: str) -> None:
    smaller, larger = sorted([one, other])

    assert round_money(smaller, currency) <= round_money(larger, currency)


def test_a_coarse_surrounding_context_does_not_reach_the_amount() -> None:
    with decimal.localcontext(prec=3, rounding=decimal.ROUND_DOWN):
        assert round_money(Decimal("123456.785"), "USD") == Decimal("123456.79")


def test_exact_arithmetic_refuses_floats() -> None:
    tenth: float = 0.1

    with exact_arithmetic(), pytest.raises(decimal.FloatOperation):
        Decimal(tenth)


def test_three_thirds_settle_to_a_whole() -> None:
    with exact_arithmetic():
        whole = 3 * (Decimal(1) / 3)

        assert whole < 1
    assert settle(whole) == 1


@given(decimals("-1000000000000", "1000000000000", 40))
def test_settling_leaves_forty_decimals_as_they_are(amount: Decimal) -> None:
    assert settle(amount) == amount


@pytest.mark.parametrize(
    ("total", "weights", "currency", "shares"),
    [
        ("100.00", ["1", "1", "1"], "USD", ["33.34", "33.33", "33.33"]),
        ("-100.00", ["1", "1", "1"], "USD", ["-33.34", "-33.33", "-33.33"]),
        ("0.01", ["1", "1", "1"], "USD", ["0.01", "0.00", "0.00"]),
        ("0.05", ["1", "1"], "USD", ["0.03", "0.02"]),
        ("10.00", ["1", "2", "3"], "USD", ["1.67", "3.33", "5.00"]),
        ("99.00", ["10", "21"], "USD", ["31.94", "67.06"]),
        ("0.00", ["5", "7"], "USD", ["0.00", "0.00"]),
        ("7.00", ["0", "1", "0"], "USD", ["0.00", "7.00", "0.00"]),
        ("100", ["1", "1", "1"], "JPY", ["34", "33", "33"]),
        ("1.000", ["1", "1", "1"], "KWD", ["0.334", "0.333", "0.333"]),
        ("5.00", ["0.0000001"], "USD", ["5.00"]),
        # Remainders of 0.2, 0.4 and 0.4: the first of the two largest gets the cent.
        ("0.06", ["1.2", "2.4", "2.4"], "USD", ["0.01", "0.03", "0.02"]),
    ],
)
def test_a_total_is_split_by_largest_remainder(
    total: str, weights: Sequence[str], currency: str, shares: Sequence[str]
) -> None:
    split = split_money(Decimal(total), [Decimal(weight) for weight in weights], currency)

    assert [str(share) for share in split] == shares


@pytest.mark.parametrize(
    ("total", "weights", "sentence"),
    [
        ("1.005", ["1"], "is not rounded"),
        ("1.00", [], "at least one above zero"),
        ("1.00", ["0", "0"], "at least one above zero"),
        ("1.00", ["2", "-1"], "weights of zero or more"),
        ("1.00", ["NaN"], "not a number"),
    ],
)
def test_a_split_that_cannot_add_up_is_refused(total: str, weights: Sequence[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        split_money(Decimal(total), [Decimal(weight) for weight in weights], "USD")


def test_float_weights_are_refused() -> None:
    with pytest.raises(TypeError, match="not float"):
        split_money(Decimal("1.00"), [0.5, 0.5], "USD")  # type: ignore[list-item]


weight_lists = st.lists(decimals("0", "100000", 6), min_size=1, max_size=12).filter(any)


@given(rounded_amounts(2), weight_lists)
def test_a_split_gives_back_exactly_what_was_split(total: Decimal, weights: list[Decimal]) -> None:
    shares = split_money(total, weights, "USD")

    assert len(shares) == len(weights)
    assert sum(shares) == total


@given(rounded_amounts(2), weight_lists)
def test_each_share_is_within_a_cent_of_its_exact_part(total: Decimal, weights: list[Decimal]) -> None:
    shares = split_money(total, weights, "USD")

    for share, weight in zip(shares, weights, strict=True):
        exact = Fraction(total) * Fraction(weight) / Fraction(sum(weights))
        assert abs(Fraction(share) - exact) < Fraction(1, 100)


@given(rounded_amounts(2), weight_lists)
def test_nothing_is_given_to_a_weight_of_zero(total: Decimal, weights: list[Decimal]) -> None:
    shares = split_money(total, weights, "USD")

    assert not any(share for share, weight in zip(shares, weights, strict=True) if weight == 0)


@given(rounded_amounts(0), st.integers(1, 40))
def test_among_equal_weights_the_earlier_get_the_larger_shares(total: Decimal, parts: int) -> None:
    shares = split_money(total, [Decimal(1)] * parts, "JPY")

    sizes = [abs(share) for share in shares]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


@given(rounded_amounts(3), weight_lists, decimals("0.001", "1000", 3))
def test_only_the_proportion_of_the_weights_counts(total: Decimal, weights: list[Decimal], factor: Decimal) -> None:
    scaled = [weight * factor for weight in weights]

    assert split_money(total, scaled, "KWD") == split_money(total, weights, "KWD")


@given(rounded_amounts(2), weight_lists)
def test_a_credit_is_split_like_the_charge(total: Decimal, weights: list[Decimal]) -> None:
    charge = split_money(total, weights, "USD")

    assert split_money(-total, weights, "USD") == tuple(-share for share in charge)
