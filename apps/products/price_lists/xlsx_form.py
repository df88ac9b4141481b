"""Price lists as XLSX workbooks: the prices on the first sheet, every cell a text, and the columns explained on the
second."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from openpyxl import Workbook, load_workbook
from openpyxl.cell.cell import Cell
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from apps.pricing.formatting import plain_decimal
from apps.products.price_lists.building import ReadPriceList
from apps.products.price_lists.document import PriceList
from apps.products.price_lists.nodes import Faults, Place
from apps.products.price_lists.table import (
    COLUMNS,
    MATCH_EXPLAINED,
    MATCH_PREFIX,
    MOST_COLUMNS,
    MOST_ROWS,
    read_rows,
    refused,
    table_of,
)

MOST_UNPACKED_BYTES = 50 * 1024 * 1024
MOST_PARTS = 200
# A spreadsheet keeps this many digits of a number; a float needs up to 17 to be told from its neighbours.
KEPT_DIGITS = 15
_WIDEST = 42
_NARROWEST = 9


# --- Reading ---------------------------------------------------------------------------------------------------------


def read_xlsx(content: bytes) -> ReadPriceList:
    """Read the plans of a price list from the sheet “Prices”, or the first one.

    Raises PriceListRefused for what is no workbook, or one that unpacks to too much.
    """
    _refuse_bombs(content)
    try:
        workbook = load_workbook(io.BytesIO(content), read_only=True, keep_links=False)
        sheet = workbook["Prices"] if "Prices" in workbook.sheetnames else workbook.worksheets[0]
        cells = _Cells(Faults())
        rows = list(cells.rows(sheet))
        while rows and not rows[-1]:
            rows.pop()  # Rows that were formatted and never filled.
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, SyntaxError, zipfile.BadZipFile) as error:
        # What openpyxl raises for parts that are missing or say what they may not. SyntaxError: broken XML.
        raise refused(Place(1), "This is no workbook that can be read. Save it as .xlsx again, or use CSV.") from error
    return read_rows(rows, cells.faults, cells.remarks)


def _refuse_bombs(content: bytes) -> None:
    """Look at what is packed before it is unpacked, and refuse entities, by which a small part could grow endless."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MOST_UNPACKED_BYTES:
                raise refused(Place(1), "The workbook unpacks to too much. Copy the prices into a new one, or use CSV.")
            for part in parts:
                text = archive.read(part)
                if part.filename.endswith((".xml", ".rels", ".vml")) and not _is_harmless(text):
                    raise refused(Place(1), "The workbook holds XML that no spreadsheet program writes. Save it anew.")
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise refused(Place(1), "This is no workbook. Save it as .xlsx again, or use CSV.") from error


def _is_harmless(xml: bytes) -> bool:
    try:
        text = xml.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    return text.lstrip().startswith("<") and "<!DOCTYPE" not in text and "<!ENTITY" not in text


class _Cells:
    """The cells of a sheet as texts."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.remarks: list[str] = []
        self.numbers = 0

    def rows(self, sheet: Any) -> Iterator[list[str]]:
        for number, row in enumerate(sheet.iter_rows(max_col=MOST_COLUMNS + 1, max_row=MOST_ROWS + 1), start=1):
            texts = [self._text(number, cell) for cell in row]
            while texts and not texts[-1]:
                texts.pop()
            yield texts
        if self.numbers:
            cells = "1 cell holds a number" if self.numbers == 1 else f"{self.numbers:,} cells hold numbers"
            self.remarks.append(
                f"{cells} and no text. They are taken as the spreadsheet shows them in full, with {KEPT_DIGITS} digits."
            )

    def _text(self, number: int, cell: Any) -> str:
        value = cell.value
        if value is None:
            return ""
        place, name = Place(number), f"{get_column_letter(cell.column)}{number}"
        if cell.data_type == "f":
            self.faults.add(place, name, "A formula stands here. Paste its value instead.")
            return ""
        if cell.data_type == "e":
            self.faults.add(place, name, f"The spreadsheet shows the error {value} here. Enter a value.")
            return ""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, dt.datetime):
            return value.date().isoformat()
        if isinstance(value, int | float):
            return self._number(place, name, value)
        return str(value)

    def _number(self, place: Place, name: str, value: float) -> str:
        self.numbers += 1
        exact = Decimal(repr(value))
        if not exact.is_finite() or len(exact.normalize().as_tuple().digits) > KEPT_DIGITS:
            self.faults.add(
                place, name, f"This number has more than the {KEPT_DIGITS} digits that are kept. Enter it as text."
            )
            return ""
        return plain_decimal(exact)


# --- Writing ---------------------------------------------------------------------------------------------------------


def write_xlsx(document: PriceList) -> bytes:
    """The plans of a price list as a workbook. Every cell is a text, so that no digit is lost."""
    table = table_of(document)
    workbook = Workbook()
    prices = workbook.active
    assert isinstance(prices, Worksheet)  # noqa: S101 - a new workbook has one sheet
    prices.title = "Prices"
    _fill(prices, table)
    prices.freeze_panes = f"{get_column_letter(1 + _names_to_freeze(table[0]))}2"
    prices.auto_filter.ref = prices.dimensions
    explained = workbook.create_sheet("Columns")
    _fill(explained, [["column", "what stands in it"], *([name, _explained(name)] for name in _columns_to_tell(table))])
    explained.freeze_panes = "A2"
    explained.column_dimensions["B"].width = 110
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def _fill(sheet: Worksheet, table: list[list[str]]) -> None:
    for number, row in enumerate(table, start=1):
        for column, text in enumerate(row, start=1):
            if text or number == 1:
                _write(sheet.cell(number, column), text, is_header=number == 1)
    for column, cells in enumerate(zip(*table, strict=True), start=1):
        width = max(len(cell) for cell in cells) + 2
        sheet.column_dimensions[get_column_letter(column)].width = min(max(width, _NARROWEST), _WIDEST)


def _write(cell: Any, text: str, *, is_header: bool) -> None:
    if isinstance(cell, Cell):
        cell.value = text
        cell.data_type = "s"  # A text that begins with “=” is no formula.
        cell.number_format = "@"
        if is_header:
            cell.font = Font(bold=True)
            cell.fill = PatternFill("solid", fgColor="E5E7EB")
            cell.alignment = Alignment(vertical="center")


def _names_to_freeze(header: list[str]) -> int:
    """The columns up to the line stay in sight where that leaves room for the others."""
    return header.index("line") + 1 if header.index("line") < 3 else 1


def _columns_to_tell(table: list[list[str]]) -> list[str]:
    """All columns there are, with the file's own match columns after those of tiers."""
    matches = [name for name in table[0] if name.startswith(MATCH_PREFIX)]
    return [*COLUMNS, *(matches or [f"{MATCH_PREFIX}model"])]


def _explained(name: str) -> str:
    return COLUMNS.get(name, MATCH_EXPLAINED)
