"""Price lists as files of any of the three forms."""

from __future__ import annotations

from enum import StrEnum

from apps.products.price_lists.building import ReadPriceList
from apps.products.price_lists.csv_form import BOM, read_csv, write_csv
from apps.products.price_lists.document import PriceList
from apps.products.price_lists.nodes import Place
from apps.products.price_lists.table import refused
from apps.products.price_lists.yaml_form import read_yaml, write_yaml

MOST_BYTES = 2 * 1024 * 1024


class FileForm(StrEnum):
    YAML = "yaml"
    CSV = "csv"
    XLSX = "xlsx"


CONTENT_TYPES = {
    FileForm.YAML: "application/yaml; charset=utf-8",
    FileForm.CSV: "text/csv; charset=utf-8",
    FileForm.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_ENDINGS = {"yaml": FileForm.YAML, "yml": FileForm.YAML, "csv": FileForm.CSV, "xlsx": FileForm.XLSX}
_ZIP = b"PK\x03\x04"


def read_file(content: bytes, name: str) -> ReadPriceList:
    """Read a price list; the form is that of the name's ending.

    Raises PriceListRefused for a file that is too large, or cannot be read at all. What is faulty in one that can be
    read is told in the result.
    """
    if len(content) > MOST_BYTES:
        raise refused(Place(1), f"The file is larger than {MOST_BYTES // 1024 // 1024} MiB. Split it by plan.")
    form = _ENDINGS.get(name.rpartition(".")[2].lower())
    if form is None:
        raise refused(Place(1), f"“{name}” is none of the files that are read. Use .yaml, .csv or .xlsx.")
    if form == FileForm.XLSX:
        # Loaded with the first workbook: openpyxl would add a quarter of a second to the start of every process.
        from apps.products.price_lists.xlsx_form import read_xlsx

        return read_xlsx(content)
    if content.startswith(_ZIP):
        raise refused(Place(1), "This is a workbook under another name. Name it .xlsx.")
    text = _text(content)
    return read_yaml(text) if form == FileForm.YAML else read_csv(text)


def write_file(document: PriceList, form: FileForm) -> bytes:
    """The price list in a form. Tables hold its plans; only YAML holds what defines products and metrics."""
    if form == FileForm.XLSX:
        from apps.products.price_lists.xlsx_form import write_xlsx

        return write_xlsx(document)
    return write_yaml(document).encode() if form == FileForm.YAML else (BOM + write_csv(document)).encode()


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise refused(Place(line), "The file is not in UTF-8. Save it again as UTF-8.") from error
