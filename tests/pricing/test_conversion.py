from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import InvalidPrice
from apps.pricing.conversion import Conversion
from tests.pricing import naive
from tests.pricing.strategies import conversions, decimals


@pytest.mark.parametrize(
    ("quantity", "divide_by", "rounding", "units"),
    [
        ("0", "60", "ceil", "0"),
        ("0.000001", "60", "ceil", "1"),
        ("60", "60", "ceil", "1"),
        ("60.000001", "60", "ceil", "2"),
        ("59.999999", "60", "floor", "0"),
        ("120", "60", "floor", "2"),
        ("29.999999", "60", "half_up", "0"),
        ("30", "60", "half_up", "1"),
        ("90", "60", "", "1.5"),
        ("1500000000", "1000000000", "", "1.5"),
        # Upwards and downwards on the number line, half away from zero.
        ("-90", "60", "ceil", "-1"),
        ("-90", "60", "floor", "-2"),
        ("-90", "60", "half_up", "-2"),
        ("-1", "60", "ceil", "0"),
        # All thirty digits count.
        ("999999999999999999.999999999999", "1", "floor", "999999999999999999"),
        ("999999999999999999.000000000001", "1", "ceil", "1000000000000000000"),
    ],
)
def test_a_quantity_in_billing_units(quantity: str, divide_by: str, rounding: str, units: str) -> None:
    assert Conversion(Decimal(divide_by), rounding).convert(Decimal(quantity)) == Decimal(units)


def test_a_part_without_end_stops_at_its_last_fixed_decimal() -> None:
    assert str(Conversion(Decimal(3)).convert(Decimal(100))) == "33." + 56 * "3"


@pytest.mark.parametrize(
    ("divide_by", "rounding", "field"), [("0", "", "divide_by"), ("-60", "ceil", "divide_by"), ("60", "up", "rounding")]
)
def test_what_is_no_conversion_is_refused(divide_by: str, rounding: str, field: str) -> None:
    with pytest.raises(InvalidPrice) as refusal:
        Conversion(Decimal(divide_by), rounding)

    assert refusal.value.field == field


def test_a_float_is_no_quantity() -> None:
    with pytest.raises(TypeError, match="not float"):
        Conversion(Decimal(60)).convert(1.5)  # type: ignore[arg-type]


@given(conversions, st.one_of(decimals("-1000", "1000", 2), st.integers(-500, 500).map(Decimal)))
def test_a_slow_calculator_agrees(conversion: Conversion, quantity: Decimal) -> None:
    converted = Fraction(conversion.convert(quantity))

    assert abs(converted - naive.converted(Fraction(quantity), conversion)) < Fraction(1, 10**55)
    assert not conversion.rounding or converted.denominator == 1
