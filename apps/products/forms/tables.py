"""The tables of a price form: tiers and matrix rows, as they are typed or pasted, and what is wrong at which cell."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string

from apps.common.forms import AmountField
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow, Values
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers
from apps.pricing.formatting import format_decimal
from apps.products.models import ChargeModelName

ZERO = Decimal(0)
_GROUPED = re.compile(r"-?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
LONGEST_VALUE = 500
MOST_ROWS = 2000

Row = Mapping[str, str]


class NumberField(AmountField):
    """A decimal that may have a comma between each three digits: ``1,000,000``. Any other comma is refused."""

    def to_python(self, value: Any) -> Decimal | None:  # type: ignore[override]  # as DecimalField itself
        if isinstance(value, str) and _GROUPED.fullmatch(value.strip()):
            value = value.replace(",", "")
        return super().to_python(value)

    def prepare_value(self, value: Any) -> Any:
        return format_decimal(value) if isinstance(value, Decimal) else value


def amount_field(**kwargs: Any) -> NumberField:
    """The field of an amount, as precise as a price is stored."""
    return NumberField(max_digits=24, decimal_places=12, **{"required": False, **kwargs})


def quantity_field(**kwargs: Any) -> NumberField:
    return NumberField(max_digits=30, decimal_places=12, **{"required": False, **kwargs})


@dataclass(frozen=True, slots=True)
class CellFault:
    """What is wrong in a row, which counts from 0, at a column."""

    row: int
    column: str
    sentence: str


# --- Tiers -----------------------------------------------------------------------------------------------------------

_PACKAGED = (ChargeModelName.GRADUATED, ChargeModelName.VOLUME)
TIER_COLUMNS: Mapping[str, Mapping[ChargeModelName, str]] = {
    "up_to": {
        ChargeModelName.GRADUATED: "Up to and including",
        ChargeModelName.VOLUME: "Up to and including",
        ChargeModelName.STAIRSTEP: "Up to and including",
        ChargeModelName.GRADUATED_PERCENTAGE: "Amounts up to",
    },
    "unit_amount": {
        ChargeModelName.GRADUATED: "Unit price",
        ChargeModelName.VOLUME: "Unit price",
        ChargeModelName.GRADUATED_PERCENTAGE: "Rate in %",
    },
    "flat_amount": {
        ChargeModelName.GRADUATED: "Flat fee",
        ChargeModelName.VOLUME: "Flat fee",
        ChargeModelName.STAIRSTEP: "Amount",
        ChargeModelName.GRADUATED_PERCENTAGE: "Flat fee",
    },
    "package_size": dict.fromkeys(_PACKAGED, "In packages of"),
}
"""The columns of the tiers' table and their headings; a model without one has no such column."""


def read_tiers(rows: Sequence[Row], model: ChargeModelName) -> tuple[tuple[Tier, ...], list[CellFault]]:
    """The tiers that were typed for a charge model, or what is wrong with them, at the cell where it is mended."""
    tiers: list[Tier] = []
    faults: list[CellFault] = []
    for number, row in enumerate(rows):
        cells, wrong = _read_cells(number, row, [name for name in TIER_COLUMNS if model in TIER_COLUMNS[name]])
        needed = "flat_amount" if model == ChargeModelName.STAIRSTEP else "unit_amount"
        if not wrong and cells.get("unit_amount") is None and cells.get("flat_amount") is None:
            wrong = [CellFault(number, needed, "Enter the amount; 0 is allowed.")]
        faults += wrong
        tiers.append(
            Tier(
                up_to=cells.get("up_to"),
                unit_amount=cells.get("unit_amount") or ZERO,
                flat_amount=cells.get("flat_amount") or ZERO,
                package_size=cells.get("package_size"),
            )
        )
    return tuple(tiers), faults or _sequence_faults(tiers)


def _read_cells(number: int, row: Row, columns: Sequence[str]) -> tuple[dict[str, Decimal | None], list[CellFault]]:
    cells: dict[str, Decimal | None] = {}
    faults = []
    for name in columns:
        field = quantity_field() if name in {"up_to", "package_size"} else amount_field()
        try:
            value = cells[name] = field.clean(row.get(name, ""))
        except ValidationError as error:
            faults.append(CellFault(number, name, " ".join(error.messages)))
            continue
        if value is not None and (value < 0 or (value == 0 and name in {"up_to", "package_size"})):
            least = "a number above 0" if name in {"up_to", "package_size"} else "0 or more"
            faults.append(CellFault(number, name, f"Enter {least}."))
    return cells, faults


def _sequence_faults(tiers: Sequence[Tier]) -> list[CellFault]:
    """The first row with which the tiers before it, and an open end after it, no longer follow one another."""
    try:
        if tiers:
            check_tiers(tiers)
    except InvalidTiers as fault:
        return [CellFault(_row_at_fault(tiers), "up_to", str(fault))]
    return []


def _row_at_fault(tiers: Sequence[Tier]) -> int:
    open_end = Tier(up_to=None)
    for number in range(1, len(tiers)):
        try:
            check_tiers([*tiers[:number], open_end])
        except InvalidTiers:
            return number - 1
    return len(tiers) - 1


# --- Matrix rows -----------------------------------------------------------------------------------------------------


def read_matrix_rows(rows: Sequence[Row], dimensions: Sequence[str]) -> tuple[tuple[MatrixRow, ...], list[CellFault]]:
    """The rows that were typed for these dimensions, or what is wrong with them. An empty cell stands for any value."""
    read: list[MatrixRow] = []
    faults: list[CellFault] = []
    known: dict[Values, int] = {}
    for number, row in enumerate(rows):
        values = tuple(row.get(f"value-{name}", "").strip() or None for name in dimensions)
        cells, wrong = _read_cells(number, row, ["unit_amount"])
        if not wrong and cells["unit_amount"] is None:
            wrong = [CellFault(number, "unit_amount", "Enter the unit price; 0 is allowed.")]
        if any(value is not None and len(value) > LONGEST_VALUE for value in values):
            wrong.append(CellFault(number, "values", f"A value has at most {LONGEST_VALUE} characters."))
        if values in known:
            sentence = f"Prices the same values as row {known[values] + 1}. Remove one of them."
            wrong.append(CellFault(number, "values", sentence))
        known.setdefault(values, number)
        faults += wrong
        read.append(MatrixRow(values=values, unit_amount=cells.get("unit_amount") or ZERO))
    return tuple(read), faults


# --- Fields ----------------------------------------------------------------------------------------------------------


class TableWidget(forms.Widget):
    """Rows of text inputs. Row and column are in the names: ``tiers-up_to``, once for each row."""

    template = ""
    empty_rows = 2
    faults: Sequence[CellFault] = ()

    def columns_in(self, data: Any, name: str) -> list[str]:
        start = f"{name}-"
        return [key[len(start) :] for key in data if key.startswith(start)]

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        columns = self.columns_in(data, name)
        cells = zip_longest(*(data.getlist(f"{name}-{column}") for column in columns), fillvalue="")
        rows = (dict(zip(columns, row, strict=True)) for row in cells)
        return [row for row in rows if any(cell.strip() for cell in row.values())]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        rows = [self.row_shown(row) for row in value or ()]
        rows += [{} for _ in range(self.empty_rows - len(rows))]
        by_row: dict[int, list[CellFault]] = {}
        for fault in self.faults:
            by_row.setdefault(fault.row, []).append(fault)
        shown = [
            {
                "cells": list(self.cells(name, row)),
                "faults": [fault.sentence for fault in by_row.get(number, ())],
                "columns_at_fault": {fault.column for fault in by_row.get(number, ())},
            }
            for number, row in enumerate(rows)
        ]
        context = {"name": name, "rows": shown, "empty": {"cells": list(self.cells(name, {}))}, **self.context(value)}
        return render_to_string(self.template, context | {"attrs": {**self.attrs, **(attrs or {})}})

    def row_shown(self, row: Any) -> dict[str, str]:
        return dict(row)

    def cells(self, name: str, row: Row) -> Iterator[dict[str, Any]]:
        raise NotImplementedError

    def context(self, value: Any) -> dict[str, Any]:
        return {}


class TiersWidget(TableWidget):
    template = "admin/products/price_tiers.html"

    def row_shown(self, row: Any) -> dict[str, str]:
        if not isinstance(row, Tier):
            return dict(row)
        return {
            "up_to": _written(row.up_to),
            "unit_amount": _written(row.unit_amount),
            "flat_amount": _written(row.flat_amount or None),
            "package_size": _written(row.package_size),
        }

    def cells(self, name: str, row: Row) -> Iterator[dict[str, Any]]:
        for column, headings in TIER_COLUMNS.items():
            yield {
                "name": f"{name}-{column}",
                "column": column,
                "label": next(iter(headings.values())),
                "value": row.get(column, ""),
                "models": " ".join(headings),
                "placeholder": {"up_to": "no end", "package_size": "single units"}.get(column, ""),
            }

    def context(self, value: Any) -> dict[str, Any]:
        headings = [
            {"models": " ".join(names), "texts": _by_text(names), "column": column}
            for column, names in TIER_COLUMNS.items()
        ]
        return {"headings": headings}


class MatrixWidget(TableWidget):
    """The rows of a matrix: a column for each dimension, and the unit price."""

    template = "admin/products/price_rows.html"
    dimensions: Sequence[str] = ()

    def row_shown(self, row: Any) -> dict[str, str]:
        if not isinstance(row, MatrixRow):
            return dict(row)
        values = zip(self.dimensions, row.values, strict=True)
        return {f"value-{name}": value or "" for name, value in values} | {"unit_amount": _written(row.unit_amount)}

    def cells(self, name: str, row: Row) -> Iterator[dict[str, Any]]:
        for dimension in self.dimensions:
            yield {
                "name": f"{name}-value-{dimension}",
                "column": "values",
                "label": dimension,
                "value": row.get(f"value-{dimension}", ""),
                "placeholder": "any",
            }
        yield {
            "name": f"{name}-unit_amount",
            "column": "unit_amount",
            "label": "Unit price",
            "value": row.get("unit_amount", ""),
            "is_amount": True,
        }

    def context(self, value: Any) -> dict[str, Any]:
        return {"dimensions": self.dimensions}


class TableField(forms.Field):
    """The rows of a table as they were typed; the form reads them, for it knows the charge model."""

    def to_python(self, value: Any) -> list[dict[str, str]]:
        rows = list(value or ())
        if len(rows) > MOST_ROWS:
            raise ValidationError(f"These are {len(rows):,} rows, and {MOST_ROWS:,} are the most. Leave some out.")
        return rows

    def validate(self, value: Any) -> None:
        """Left to the form."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        return True


def _written(number: Decimal | None) -> str:
    return "" if number is None else format_decimal(number)


def _by_text(headings: Mapping[ChargeModelName, str]) -> list[tuple[str, str]]:
    """Each heading with the models that have it."""
    models: dict[str, list[str]] = {}
    for model, text in headings.items():
        models.setdefault(text, []).append(model)
    return [(text, " ".join(names)) for text, names in models.items()]
