"""What a file says is understood, or told with its place, its field and the mend; all of it at once."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from openpyxl import Workbook, load_workbook

from apps.products.price_lists.building import ReadPriceList
from apps.products.price_lists.files import MOST_BYTES, FileForm, read_file, write_file
from apps.products.price_lists.nodes import PriceListRefused
from apps.products.price_lists.table import MOST_ROWS
from tests.products.price_lists.files import CHAT, HEADER, read, table


def found(result: ReadPriceList) -> list[tuple[str, str]]:
    return [(str(fault.place), fault.field) for fault in result.faults]


def test_a_sound_file_has_no_faults() -> None:
    assert read(CHAT).faults == ()


@pytest.mark.parametrize(
    ("old", "new", "path", "field", "mend"),
    [
        ("price_list: 1", "price_list: 2", "price_list", "price_list", "Begin the file with"),
        ("model: flat", "model: flatt", "plans[0].prices[0].model", "model", "Did you mean “flat”"),
        ("flat_amount", "flat_amont", "plans[0].prices[0].amounts[0].flat_amont", "flat_amont", "“flat_amount”"),
        ('"99"', '"1,000"', "plans[0].prices[0].amounts[0].flat_amount", "flat_amount", "no separators"),
        ('"99"', "1e-6", "plans[0].prices[0].amounts[0].flat_amount", "flat_amount", "shortened by a spreadsheet"),
        ('"99"', '"0.0000000000001"', "plans[0].prices[0].amounts[0].flat_amount", "flat_amount", "12 decimals"),
        ('"99"', '"1234567890123"', "plans[0].prices[0].amounts[0].flat_amount", "flat_amount", "12 digits"),
        ('"2.5"', "[1]", "plans[0].prices[1].amounts[0].tiers[1].unit_amount", "unit_amount", "One value"),
        ("[USD]", "[USD, DEM]", "plans[0].currencies", "currencies", "Use USD, EUR"),
        ("{currency: USD, ", "{currency: USX, ", "plans[0].prices[0].amounts[0].currency", "currency", "Use USD, EUR"),
        ("line: Tokens", "line: Fee", "plans[0].prices[1].line", "line", "Remove one of the two"),
        ("aggregation: sum", "aggregation: total", "metrics[0].aggregation", "aggregation", "Use count, sum"),
        ("value_property: tokens", "value_property: ''", "metrics[0].value_property", "value_property", "Name the"),
        ("billing: monthly", "billing: weekly", "plans[0].billing", "billing", "monthly, quarterly, yearly"),
    ],
)
def test_a_fault_in_yaml_names_its_place_and_the_mend(old: str, new: str, path: str, field: str, mend: str) -> None:
    result = read(CHAT.replace(old, new, 1))

    fault = result.faults[0]
    assert (fault.place.path, fault.field) == (path, field)
    assert mend in fault.detail
    line = next(number for number, text in enumerate(CHAT.splitlines(), start=1) if old in text)
    assert fault.place.number == line


def test_all_faults_are_told_at_once() -> None:
    result = read(CHAT.replace('"99"', "x").replace('"3"', "y").replace("currencies: [USD]", "currencies: [XXX]"))

    assert [fault.field for fault in result.faults] == ["currencies", "flat_amount", "unit_amount"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["chat,,Fee,chat,,flat,USD,,,9,,", ",,Fee,chat,,flat,USD,,,9,,"], [("row 3", "plan")]),
        (["chat,,,chat,,flat,USD,,,9,,"], [("row 2", "line")]),
        (["chat,,Fee,chat,,flat,USD,,,9 €,,"], [("row 2", "flat_amount")]),
        (["chat,,Fee,chat,,flat,USD,,,9,,", "chat,,Fee,,,,USD,,,10,,"], [("row 3", "flat_amount"), ("row 3", "line")]),
        (["chat,,Fee,chat,,flat,USD,31.1.2026,,9,,"], [("row 2", "effective_from")]),
        (["chat,,T,chat,t,graduated,USD,,10,,,1", "chat,,T,,u,,USD,,,,,2"], [("row 3", "metric")]),
        (["chat,,T,chat,t,graduated,USD,,10,,gpt,1"], [("row 2", "match: model")]),
        (["chat,,T,chat,t,matrix,USD,,,,gpt,"], [("row 2", "unit_amount")]),
        (["chat,,T,chat,t,matrix,USD,,,,gpt,1,1"], [("row 2", "")]),
        (["chat,,T,chat,t,,USD,,,,,1"], [("row 2", "model")]),
    ],
)
def test_a_fault_in_a_table_names_row_and_column(rows: list[str], expected: list[tuple[str, str]]) -> None:
    assert found(table(*rows)) == expected


def test_unknown_and_missing_columns_are_told() -> None:
    result = read("plan,lin,product\nchat,Fee,chat", "list.csv")

    assert [(place, field) for place, field in found(result) if place == "row 1"] == [
        ("row 1", "lin"),
        ("row 1", "line"),
        ("row 1", "currency"),
    ]


def test_a_table_may_repeat_what_its_first_row_says_and_be_separated_otherwise() -> None:
    rows = [HEADER, "chat,Chat,T,chat,t,matrix,USD,,,,gpt,1", "chat,Chat,T,chat,t,matrix,USD,,,,,2"]
    result = read("\n".join(rows).replace(",", ";"), "list.csv")

    assert result.faults == ()
    assert [row.values for row in result.document.plans[0].prices[0].amounts[0].terms.rows] == [("gpt",), (None,)]


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("a: &one [1]\nb: *one", "Aliases"),
        ("[" * 50 + "]" * 50, "nested too deeply"),
        ("a: [", "no valid YAML"),
        ("", "empty"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("a: \x07", "characters"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str, mend: str) -> None:
    with pytest.raises(PriceListRefused, match=mend):
        read(text)


def test_a_tag_makes_no_object() -> None:
    result = read(CHAT.replace("name: Chat\n", "name: !!python/object/apply:os.getcwd []\n"))

    assert [fault.field for fault in result.faults] == [""]
    assert "tag" in result.faults[0].detail


def test_words_that_yaml_takes_for_something_else_stay_texts() -> None:
    result = read(CHAT.replace("line: Fee", "line: NO").replace("name: Chat\n", "name: 1.10\n"))

    plan = result.document.plans[0]
    assert (plan.name, plan.prices[0].line) == ("1.10", "NO")


@pytest.mark.parametrize(
    ("content", "name", "mend"),
    [
        (b"x" * (MOST_BYTES + 1), "list.csv", "larger than 2 MiB"),
        (b"plan\n\xff", "list.csv", "UTF-8"),
        (b"x", "list.pdf", "Use .yaml, .csv or .xlsx"),
        (b"PK\x03\x04", "list.csv", "workbook under another name"),
        (b"PK\x03\x04", "list.xlsx", "no workbook"),
        (b"", "list.csv", "empty"),
        (b"plan,line\n" + b"x,y\n" * MOST_ROWS, "list.csv", "more than 20,000 rows"),
    ],
)
def test_what_is_no_price_list_is_refused(content: bytes, name: str, mend: str) -> None:
    with pytest.raises(PriceListRefused, match=mend):
        read_file(content, name)


# --- Workbooks -------------------------------------------------------------------------------------------------------


def workbook(change: Callable[[Any], None]) -> bytes:
    """The chat list as a workbook, changed by hand."""
    opened = load_workbook(io.BytesIO(write_file(read(CHAT).document, FileForm.XLSX)))
    change(opened["Prices"])
    buffer = io.BytesIO()
    opened.save(buffer)
    return buffer.getvalue()


def amount_cell(sheet: Any, row: int = 2) -> Any:
    column = [cell.value for cell in sheet[1]].index("flat_amount") + 1
    return sheet.cell(row, column)


def test_cells_are_texts_under_a_frozen_header_and_explained() -> None:
    opened = load_workbook(io.BytesIO(write_file(read(CHAT).document, FileForm.XLSX)))

    assert {cell.data_type for row in opened["Prices"].iter_rows() for cell in row if cell.value} == {"s"}
    assert opened["Prices"].freeze_panes is not None
    assert opened["Columns"]["A1"].value == "column"


@pytest.mark.parametrize(("number", "amount"), [(0.000003, "0.000003"), (12, "12"), (0.1, "0.1"), (99.99, "99.99")])
def test_a_number_typed_by_hand_is_taken_with_the_digits_that_are_kept(number: float, amount: str) -> None:
    def type_in(sheet: Any) -> None:
        amount_cell(sheet).value = number

    result = read_file(workbook(type_in), "list.xlsx")

    assert result.document.plans[0].prices[0].amounts[0].terms.flat_amount == Decimal(amount)
    assert result.remarks == (
        "1 cell holds a number and no text. They are taken as the spreadsheet shows them in full, with 15 digits.",
    )


@pytest.mark.parametrize(("value", "mend"), [(1 / 3, "15 digits"), ("=1+1", "Paste its value"), ("#N/A", "error")])
def test_a_cell_that_is_no_plain_value_is_told(value: object, mend: str) -> None:
    def type_in(sheet: Any) -> None:
        amount_cell(sheet).value = value

    result = read_file(workbook(type_in), "list.xlsx")

    assert str(result.faults[0].place) == "row 2"
    assert mend in result.faults[0].detail


def test_a_workbook_that_unpacks_to_too_much_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<" + b" " * 60_000_000)

    with pytest.raises(PriceListRefused, match="unpacks to too much"):
        read_file(buffer.getvalue(), "list.xlsx")


def test_a_workbook_with_entities_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("xl/workbook.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')

    with pytest.raises(PriceListRefused, match="no spreadsheet program writes"):
        read_file(buffer.getvalue(), "list.xlsx")


def test_a_workbook_of_something_else_names_the_missing_columns() -> None:
    buffer = io.BytesIO()
    Workbook().save(buffer)

    with pytest.raises(PriceListRefused, match="empty"):
        read_file(buffer.getvalue(), "list.xlsx")


def test_texts_that_a_spreadsheet_would_run_are_escaped_in_csv() -> None:
    document = read(CHAT.replace("line: Fee", "line: '=HYPERLINK(1)'")).document

    assert ",'=HYPERLINK(1)," in write_file(document, FileForm.CSV).decode()
