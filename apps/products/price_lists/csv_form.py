"""Price lists as CSV in UTF-8, as spreadsheet programs write it: separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io

from apps.products.price_lists.building import ReadPriceList
from apps.products.price_lists.document import PriceList
from apps.products.price_lists.nodes import Faults, Place
from apps.products.price_lists.table import COLUMNS, column_name, read_rows, refused, table_of

# Without it Excel takes the file for one in an old encoding.
BOM = "\ufeff"


def read_csv(text: str) -> ReadPriceList:
    """Read the plans of a price list. Raises PriceListRefused for a text that is no table."""
    lines = csv.reader(io.StringIO(text.removeprefix(BOM), newline=""), delimiter=_delimiter(text))
    try:
        return read_rows(lines, Faults(), [])
    except csv.Error as error:
        raise refused(Place(lines.line_num), f"This is no valid CSV: {error}.") from error


def write_csv(document: PriceList) -> str:
    """The plans of a price list, for people and programs: begin the file with ``BOM`` for Excel."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(table_of(document))
    return buffer.getvalue()


def _delimiter(text: str) -> str:
    """The character that makes most known columns of the header."""
    header = text.removeprefix(BOM).partition("\n")[0]

    def known(mark: str) -> int:
        return sum(column_name(cell.strip(' "\r')) in COLUMNS for cell in header.split(mark))

    return max(",;\t", key=known)
