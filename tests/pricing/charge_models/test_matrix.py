from __future__ import annotations

from decimal import Decimal

import pytest

from apps.pricing.charge_models.base import InvalidPrice, NotRatable, Usage, UsageGroup
from apps.pricing.charge_models.matrix import Matrix, MatrixRow, Values, values_in_words
from apps.pricing.charges import Charge, PricingUnit, rate_charge, rate_lines

MILLION = Decimal(1_000_000)


def row(*values: str | None, amount: str = "1") -> MatrixRow:
    return MatrixRow(values, Decimal(amount))


def usage(*parts: tuple[Values, str], failed: str = "0") -> Usage:
    groups = tuple(UsageGroup(values, Decimal(quantity), Decimal(failed)) for values, quantity in parts)
    return Usage(sum((group.quantity for group in groups), Decimal(0)), groups=groups)


MODELS = Matrix(
    ("model", "direction"),
    (
        row("haiku", "input", amount="0.25"),
        row("haiku", "output", amount="1.25"),
        row("opus", None, amount="15"),
        row(None, "output", amount="2"),
    ),
    MILLION,
)


@pytest.mark.parametrize(
    ("values", "place"),
    [
        (("haiku", "input"), 0),
        (("haiku", "output"), 1),
        (("opus", "input"), 2),
        # Fits two rows that name one dimension each: the first.
        (("opus", "output"), 2),
        (("opus", None), 2),
        (("sonnet", "output"), 3),
        ((None, "output"), 3),
    ],
)
def test_usage_has_the_price_of_the_row_that_fits_closest(values: Values, place: int) -> None:
    assert MODELS.row_for(values) == place


@pytest.mark.parametrize(
    ("values", "named"),
    [(("sonnet", "input"), "model = sonnet, direction = input"), ((None, None), r"model = \(none\)")],
)
def test_usage_that_no_row_prices_is_refused_by_name(values: Values, named: str) -> None:
    with pytest.raises(NotRatable, match=f"No row prices {named}"):
        rate_lines(Charge(MODELS), usage((values, "5")), "USD")


def test_groups_without_usage_need_no_price() -> None:
    assert rate_lines(Charge(MODELS), usage((("sonnet", "input"), "0")), "USD") == ()


def test_each_row_that_is_used_is_a_line_in_the_order_of_the_rows() -> None:
    lines = rate_lines(
        Charge(MODELS),
        usage((("opus", "output"), "66667"), (("haiku", "input"), "100000000"), (("opus", "input"), "333333")),
        "USD",
    )

    assert [(line.values, line.quantity, line.amount) for line in lines] == [
        (("haiku", "input"), Decimal(100_000_000), Decimal("25.00")),
        (("opus", None), Decimal(400_000), Decimal("6.00")),
    ]


def test_a_default_row_takes_what_is_left() -> None:
    matrix = Matrix(("model",), (row("haiku"), row(None, amount="9")))

    assert [line.amount for line in rate_lines(Charge(matrix), usage((("x",), "1"), ((None,), "2")), "USD")] == [27]
    assert values_in_words(matrix.rows[1].values) == "all other usage"


def test_what_is_free_is_taken_by_the_rows_in_their_order() -> None:
    charge = Charge(Matrix(("m",), (row("a"), row("b"), row("c"))), included_units=Decimal(15))

    lines = rate_lines(charge, usage((("c",), "10"), (("a",), "10"), (("b",), "10")), "USD")

    assert [line.included_used for line in lines] == [10, 5, 0]
    assert [line.amount for line in lines] == [0, 5, 10]


def test_free_failures_are_taken_by_the_rows_in_their_order() -> None:
    charge = Charge(Matrix(("m",), (row("a"), row("b"))), free_failures=Decimal(3))

    lines = rate_lines(charge, usage((("a",), "10"), (("b",), "10"), failed="2"), "USD")

    assert [line.failures_free for line in lines] == [2, 1]
    assert [line.amount for line in lines] == [8, 9]


@pytest.mark.parametrize(
    ("bounds", "added"),
    [
        ({"minimum": "10"}, [("minimum", "7.00")]),
        ({"minimum": "3"}, []),
        ({"maximum": "2.50"}, [("maximum", "-0.50")]),
        ({"maximum": "3"}, []),
        # A bound of half a cent is rounded before the difference: 3.00 - 0.99 = 2.01.
        ({"maximum": "2.005"}, [("maximum", "-0.99")]),
    ],
)
def test_a_bound_is_a_line_of_its_own_below_the_rows(bounds: dict[str, str], added: list[tuple[str, str]]) -> None:
    charge = Charge(
        Matrix(("m",), (row("a"), row("b"))),
        **{name: Decimal(value) for name, value in bounds.items()},  # type: ignore[arg-type]
    )

    lines = rate_lines(charge, usage((("a",), "1"), (("b",), "2")), "USD")

    assert [(line.bound, str(line.amount)) for line in lines[2:]] == added


def test_a_minimum_holds_without_usage() -> None:
    lines = rate_lines(Charge(MODELS, minimum=Decimal(5)), Usage(Decimal(0)), "USD")

    assert [(line.bound, line.amount) for line in lines] == [("minimum", Decimal("5.00"))]


def test_a_pricing_unit_holds_for_rows_and_bounds() -> None:
    unit = PricingUnit("credit", "credits", Decimal("0.01"))
    charge = Charge(Matrix(("m",), (row("a", amount="2"),)), minimum=Decimal(1000), pricing_unit=unit)

    lines = rate_lines(charge, usage((("a",), "150")), "USD")

    assert [line.amount for line in lines] == [Decimal("3.00"), Decimal("7.00")]


def test_a_matrix_is_not_rated_as_one_line() -> None:
    with pytest.raises(TypeError, match="several lines"):
        rate_charge(Charge(MODELS), Decimal(1), "USD")


@pytest.mark.parametrize(
    ("dimensions", "rows", "field", "sentence"),
    [
        ((), (row("a"),), "prices", "no dimensions"),
        (("m", "m"), (row("a", "b"),), "prices", "named twice"),
        (("m",), (), "prices", "no rows"),
        (("m",), (row("a"), row("a", "b")), "prices.1", "Row 2 has 2 values for 1 dimensions"),
        (("m",), (row("a"), row("b", amount="-1")), "prices.1.unit_amount", "Row 2: The unit amount is -1"),
        (("m",), (row("a"), row(None), row("a")), "prices.2.match", "Rows 1 and 3 price the same values"),
    ],
)
def test_rows_that_leave_a_doubt_are_refused(
    dimensions: tuple[str, ...], rows: tuple[MatrixRow, ...], field: str, sentence: str
) -> None:
    with pytest.raises(InvalidPrice, match=sentence) as refusal:
        Matrix(dimensions, rows)

    assert refusal.value.field == field
