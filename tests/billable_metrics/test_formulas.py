"""Expressions: what is read, what is refused and why, and that Python and PostgreSQL compute the same."""

from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.billable_metrics.formulas import Formula, parse_formula
from apps.common.errors import InvalidInput

NUMBERS = {"a": Decimal(7), "b": Decimal(2), "gpu.seconds": Decimal("1.5"), "input-tokens": Decimal(40)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a + b", "9"),
        ("a - b * 3", "1"),
        ("(a - b) * 3", "15"),
        ("-a + 10", "3"),
        ("a / b", "3.5"),
        ("1 / 3 * a", "2.333333333333333333333333333331"),  # The quotient is rounded to 30 decimals, then times 7.
        ("2 / 3 + 0 * a", "0.666666666666666666666666666667"),
        ("ceil(a / b)", "4"),
        ("floor(a / b)", "3"),
        ("round(a / b)", "4"),
        ("round(-a / b)", "-4"),  # Half away from zero.
        ("ceil(-a / b)", "-3"),
        ("floor(-a / b)", "-4"),
        ("min(a, b, 3)", "2"),
        ("max(a, b, 3)", "7"),
        ("gpu.seconds * 2", "3"),
        ("gpu . seconds * 2", "3"),
        ("'gpu.seconds' * 2", "3"),
        ("'input-tokens' / 10", "4"),
        ("a * 1e3", "7000"),
        ("a * 1_000", "7000"),
        ("a * .5", "3.5"),
        ("a + nothing_of_the_kind", "7"),  # A missing property counts as nothing beside one that is there.
        ("  a  ", "7"),
    ],
)
def test_an_expression_is_worth(text: str, value: str) -> None:
    assert parse_formula(text).value(NUMBERS) == Decimal(value)


@pytest.mark.parametrize("text", ["a / 0", "a / (b - 2)", "ceil(a / 0)", "min(a / 0, b)", "1 + a / nothing"])
def test_dividing_by_zero_is_worth_nothing(text: str) -> None:
    assert parse_formula(text).value(NUMBERS) is None


def test_without_any_of_its_numbers_an_expression_is_worth_nothing() -> None:
    assert parse_formula("x + y + 5").value({}) is None


@pytest.mark.parametrize(
    ("text", "properties"),
    [
        ("b + a + b", ("b", "a")),
        ("usage.input.tokens + 1", ("usage.input.tokens",)),
        ("duration_µs / 1000", ("duration_µs",)),  # The micro sign, which Python itself would read as a Greek letter.
        ("'a b' + \"it's\"", ("a b", "it's")),
        ("'class' + 'input-tokens'", ("class", "input-tokens")),
        ("'with space'.inner + 1", ("with space.inner",)),
    ],
)
def test_properties_are_read_as_they_are_written(text: str, properties: tuple[str, ...]) -> None:
    assert parse_formula(text).properties == properties


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no expression"),
        ("a +", "is no expression"),
        ("a b", "is no expression"),
        ("import os", "is no expression"),
        ("class + 1", "stands in quotes"),
        ("a\x00b", "is no expression"),
        ("(" * 220 + "a" + ")" * 220, "is no expression"),
        ("a" * 501, "at most 500 characters"),
        ("5", "reads at least one property"),
        ("5 + 7 * 2", "reads at least one property"),
        ("a ** 2", "Use property names"),
        ("a % 2", "Use property names"),
        ("a // 2", "Use property names"),
        ("a == 2", "Use property names"),
        ("a if b else 2", "Use property names"),
        ("a and b", "Use property names"),
        ("not a", "Use property names"),
        ("[a]", "Use property names"),
        ("a[0]", "Use property names"),
        ("True + a", "Use property names"),
        ("None + a", "Use property names"),
        ("lambda: a", "Use property names"),
        ("a + ''", "Use property names"),
        ("f'{a}' + 1", "Use property names"),
        ("a + 1j", "Use property names"),
        ("(a := 1)", "Use property names"),
        ("a + 0x10", "in decimal"),
        ("a * 1e31", "at most 30 digits"),
        ("a * 1e-31", "at most 30 digits"),
        ("a * 1e999999999", "at most 30 digits"),
        ("sqrt(a)", "The functions are ceil, floor, max, min, round"),
        ("a.round(2)", "The functions are"),
        ("__import__('os')", "The functions are"),
        ("round(a, 2)", "takes one value"),
        ("ceil()", "takes one value"),
        ("min(a)", "takes two values or more"),
        ("max(*a)", "takes two values or more"),
        ("max(a, key=b)", "The functions are"),
        ("+".join(["a"] * 40), "at most 32 steps"),
        ("'a\\x00b' + 1", "control characters"),
        ("'a\\ud800' + 1", "control characters"),
        (f"'{'n' * 201}' + 1", "at most 200 characters"),
    ],
)
def test_what_is_no_expression_is_refused_with_a_reason(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence.replace("(", r"\(")) as refused:
        parse_formula(text)
    assert refused.value.field == "value_expression"


# --- Python and PostgreSQL -------------------------------------------------------------------------------------------

names = st.sampled_from(["a", "b", "c.d", "'it''s'", "'50%'", "'{e}'"])
plain_numbers = st.one_of(
    st.integers(0, 9).map(str), st.decimals(0, 1000, places=3).map(str), st.sampled_from(["1e20", "1e-20", "0"])
)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda text: f"(-{text})"),
        st.tuples(st.sampled_from(["ceil", "floor", "round"]), inner).map(lambda parts: f"{parts[0]}({parts[1]})"),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(
            lambda parts: f"{parts[0]}({parts[1]}, {parts[2]})"
        ),
    )


formulas = st.recursive(st.one_of(names, plain_numbers), nested, max_leaves=10)
values = st.one_of(
    st.none(),
    st.integers(-9, 9).map(Decimal),
    st.decimals(-1000, 1000, places=6),
    st.decimals(allow_nan=False, allow_infinity=False, places=40, min_value=-1, max_value=1),
    st.sampled_from([Decimal("1e100"), Decimal("-1e100"), Decimal("1e-100"), Decimal("0.5"), Decimal("-0.5")]),
)


def in_sql(formula: Formula, numbers: dict[str, Decimal | None]) -> Decimal | None:
    def property_sql(name: str) -> str:
        number = numbers.get(name)
        return "NULL::numeric" if number is None else f"({number:f})::numeric"

    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {formula.sql(property_sql)}")
        value: Decimal | None = cursor.fetchone()[0]
        return value


class PythonAndPostgresAgree(TestCase):
    @settings(max_examples=400)
    @given(text=formulas, found=st.lists(values, min_size=6, max_size=6))
    @example(text="a * a * a / b", found=[Decimal("1e100"), Decimal(3), None, None, None, None])
    @example(text="a / b", found=[Decimal(1), Decimal("-7e-100"), None, None, None, None])
    def test_a_formula_is_worth_the_same_in_both(self, text: str, found: list[Any]) -> None:
        try:
            formula = parse_formula(text)
        except InvalidInput:
            return
        known: dict[str, Decimal | None] = dict(zip(formula.properties, found, strict=False))
        numbers = {name: number for name, number in known.items() if number is not None}

        value = formula.value(numbers)

        with decimal.localcontext(prec=10_000):
            assert in_sql(formula, known) == value, formula
