from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.formatting import (
    format_decimal,
    format_quantity,
    format_unit_amount,
    format_units,
    plain_decimal,
)
from tests.pricing.strategies import exact_amounts


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("18059974", "18,059,974"),
        ("1E+6", "1,000,000"),
        ("2.50E-10", "0.00000000025"),
        ("12.500", "12.5"),
        ("100.000", "100"),
        ("0", "0"),
        ("0E-12", "0"),
        ("-0.00", "0"),
        ("-1234.5", "-1,234.5"),
        ("-0.5", "-0.5"),
        ("1234567890123456789012345678.123456789012", "1,234,567,890,123,456,789,012,345,678.123456789012"),
        ("0.123456789012345678", "0.123456789012345678"),
        ("0.3333333333333333333333", "0.333333333333…"),
        ("-1666.6666666666666666667", "-1,666.666666666666…"),
    ],
)
def test_a_quantity_is_printed_in_full_without_an_exponent(number: str, text: str) -> None:
    assert format_quantity(Decimal(number)) == text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("10", "USD", "10.00 USD"),
        ("10.000000000000", "USD", "10.00 USD"),
        ("0.0025", "USD", "0.0025 USD"),
        ("0.000000250000", "USD", "0.00000025 USD"),
        ("1234567.5", "EUR", "1,234,567.50 EUR"),
        ("150", "JPY", "150 JPY"),
        ("0.5", "JPY", "0.5 JPY"),
        ("1.5", "KWD", "1.500 KWD"),
        ("-10", "USD", "-10.00 USD"),
    ],
)
def test_a_price_has_the_decimals_of_its_currency_or_more(amount: str, currency: str, text: str) -> None:
    assert format_unit_amount(Decimal(amount), currency) == text


@pytest.mark.parametrize(
    ("quantity", "text"),
    [("1", "1 token"), ("1.000", "1 token"), ("0", "0 tokens"), ("1.5", "1.5 tokens"), ("-1", "-1 tokens")],
)
def test_one_unit_is_singular(quantity: str, text: str) -> None:
    assert format_units(Decimal(quantity), singular="token", plural="tokens") == text


def test_a_quantity_without_a_unit_ends_with_its_digits() -> None:
    assert format_units(Decimal(3), singular="", plural="") == "3"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1E+6", "1000000"),
        ("2.5E-10", "0.00000000025"),
        ("-0.0", "0"),
        ("12.50", "12.5"),
        ("0.3333333333333333333333333", "0.3333333333333333333333333"),
    ],
)
def test_a_stored_number_keeps_every_digit(number: str, text: str) -> None:
    assert plain_decimal(Decimal(number)) == text


@given(exact_amounts)
def test_what_is_printed_is_the_number(number: Decimal) -> None:
    assert Decimal(plain_decimal(number)) == number
    assert Decimal(format_decimal(number).replace(",", "")) == number


def test_a_coarse_surrounding_context_does_not_reach_the_text() -> None:
    with decimal.localcontext(prec=3):
        assert format_quantity(Decimal("123456.789")) == "123,456.789"
