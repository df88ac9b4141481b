"""Matrix: a unit price for each combination of dimension values, such as model and direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    ONE,
    InvalidPrice,
    NotRatable,
    check_amounts,
    check_per_units,
)
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.periods import ShareOfDays

Values = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A unit price for usage with these values of the dimensions; None stands for any value.

    A row of None only is the default row.
    """

    values: Values
    unit_amount: Decimal

    @property
    def named(self) -> int:
        """How many dimensions the row names: the more, the closer it fits."""
        return sum(value is not None for value in self.values)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Unit prices by dimension values. Each row that is used becomes a line of its own, rounded by itself.

    Usage has the price of the row that fits it and names most dimensions, of several such the first. Usage that no row
    fits is refused rather than billed at nothing; a default row takes what is left.
    """

    name: ClassVar[str] = "matrix"

    dimensions: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    per_units: Decimal = ONE
    # The rows by the dimensions they name, so that finding one takes no longer in a list of thousands; and the rows
    # found and models made so far, because the same few are asked for on every line.
    _places: dict[tuple[bool, ...], dict[Values, int]] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    _found: dict[Values, int] = field(default_factory=dict, init=False, compare=False, repr=False)
    _models: dict[Decimal, PerUnit] = field(default_factory=dict, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_per_units(self.per_units)
        check_rows(self.dimensions, self.rows)
        for place, row in enumerate(self.rows):
            named = tuple(value is not None for value in row.values)
            self._places.setdefault(named, {})[row.values] = place

    def row_for(self, values: Values) -> int:
        """The place of the row that prices these values. Raises NotRatable, which names them, if there is none."""
        place = self._found.get(values)
        if place is None:
            fitting = self._fitting(values)
            if not fitting:
                raise NotRatable(f"No row prices {self.describe(values)}. Add a row for it, or a default row.")
            place = self._found[values] = max(fitting, key=lambda place: (self.rows[place].named, -place))
        return place

    def _fitting(self, values: Values) -> list[int]:
        """The places of all rows that fit: at most one for each choice of dimensions that rows name."""
        wanted = (
            (places, tuple(value if is_named else None for value, is_named in zip(values, named, strict=True)))
            for named, places in self._places.items()
        )
        return [places[row_values] for places, row_values in wanted if row_values in places]

    def model_of(self, row: MatrixRow) -> PerUnit:
        """What one row charges."""
        model = self._models.get(row.unit_amount)
        if model is None:
            model = self._models[row.unit_amount] = PerUnit(row.unit_amount, self.per_units)
        return model

    def describe(self, values: Values) -> str:
        """``model = gpt-4, direction = input``; a missing property is ``(none)``."""
        named = zip(self.dimensions, values, strict=True)
        return ", ".join(f"{name} = {'(none)' if value is None else value}" for name, value in named)

    def row_with(self, values: Values) -> MatrixRow:
        """The row that states these very values. Raises KeyError if there is none."""
        named = tuple(value is not None for value in values)
        return self.rows[self._places[named][values]]

    def prorate(self, share: ShareOfDays) -> Self:
        """A unit costs the same on every day."""
        return self


def values_in_words(values: Sequence[str | None]) -> str:
    """The values of a row: ``gpt-4, input``; ``all other usage`` for a default row."""
    return ", ".join(value for value in values if value is not None) or "all other usage"


def check_rows(dimensions: Sequence[str], rows: Sequence[MatrixRow]) -> None:
    """Raise InvalidPrice unless there are dimensions and rows, and each row is priced, complete and there once."""
    if not dimensions:
        raise InvalidPrice("A matrix has no dimensions. Name at least one, such as model.", "prices")
    if len(set(dimensions)) < len(dimensions):
        raise InvalidPrice("A dimension is named twice. Name each one once.", "prices")
    if not rows:
        raise InvalidPrice("The matrix has no rows. Add at least one.", "prices")
    known: dict[Values, int] = {}
    for number, row in enumerate(rows, start=1):
        if len(row.values) != len(dimensions):
            raise InvalidPrice(
                f"Row {number} has {len(row.values)} values for {len(dimensions)} dimensions.", f"prices.{number - 1}"
            )
        try:
            check_amounts(unit_amount=row.unit_amount)
        except InvalidPrice as fault:
            raise InvalidPrice(f"Row {number}: {fault}", f"prices.{number - 1}.unit_amount") from None
        if row.values in known:
            raise InvalidPrice(
                f"Rows {known[row.values]} and {number} price the same values. Remove one of them.",
                f"prices.{number - 1}.match",
            )
        known[row.values] = number
