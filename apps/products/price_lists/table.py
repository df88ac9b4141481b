"""Price lists as one flat table, which CSV and XLSX share: what the columns mean, and rows from and to a price list.

The first row of a plan carries what holds for the plan, the first row of a price in a currency its terms. Rows below
with the same plan, line, currency and day add a tier or a matrix row each. A table defines no products or metrics.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.common.spreadsheets import escaped, without_escape
from apps.products.models import TIERED_MODELS, ChargeModelName
from apps.products.price_lists.building import FORMAT_VERSION, MODELS, ReadPriceList, build_price_list
from apps.products.price_lists.document import ListedPlan, PriceList
from apps.products.price_lists.entries import did_you_mean
from apps.products.price_lists.nodes import Faults, Node, Place, PriceListRefused
from apps.products.price_lists.writing import TERM_NAMES, Entry, plan_entries, scalar_text

MOST_ROWS = 20_000
MOST_COLUMNS = 200
MATCH_PREFIX = "match: "

COLUMNS: dict[str, str] = {
    "plan": "Code of the plan. On every row.",
    "plan_name": "Name of the plan. On its first row; empty: as it is.",
    "plan_description": "Description of the plan. On its first row; empty: as it is.",
    "billing": "monthly, quarterly or yearly. On the plan's first row; empty: as it is, monthly for a new plan.",
    "currencies": "The plan's currencies, such as USD, EUR. On its first row; empty: those of its rows.",
    "line": "Name of the price, as invoices print it. On every row of the price.",
    "product": "Code of the product. On the price's first row.",
    "metric": "Code of the metric whose units are charged. Empty for a fee.",
    "model": "Charge model: " + ", ".join(MODELS) + ".",
    "pricing_unit": "Code of the pricing unit, such as credits, that amounts are in. Empty: money.",
    "recurrence": "recurring or one_off, for fees. Empty: recurring.",
    "timing": "arrears or advance, for fees. Empty: arrears.",
    "currency": "Currency of the amounts. On every row.",
    "effective_from": "First day of the amounts, as 2026-01-31. Empty: from the beginning. On every row of them.",
    "up_to": "Last unit of a tier, one tier on each row. Empty: without end.",
    "flat_amount": "A fee; or what a tier costs once it is reached.",
    "unit_amount": "Price of so many units as per_units says, of a package or a seat; of the row's tier or values.",
    "per_units": "Number of units that unit_amount is for. Empty: 1.",
    "package_size": "Units in a package; each started one is charged.",
    "rate_percent": "Percentage, of a price or of the row's tier.",
    "fixed_amount": "Charged once for each transaction.",
    "free_transactions": "First transactions of each period that are free.",
    "transaction_minimum": "The least that one transaction costs.",
    "transaction_maximum": "The most that one transaction costs.",
    "multiplier": "What amounts in events are multiplied by.",
    "included_units": "Free in each period: units, seats or an amount.",
    "prorates_included": "yes or no: what is included is prorated in a part of a period. Empty: yes.",
    "minimum": "The least that a period costs.",
    "maximum": "The most that a period costs.",
    "flat_fee_at_zero_usage": "yes or no: the first tier's flat amount is charged without usage. Empty: no.",
    "divide_by": "Turns the measured quantity into billing units, such as 60 for minutes.",
    "quantity_rounding": "With divide_by: ceil, floor, half_up or none.",
    "free_failures": "Failed outcomes that are free: a number, or all.",
    "prorates_added": "yes or no, for seats: an added seat is charged from its day on. Empty: yes.",
    "prorates_removed": "yes or no, for seats: a removed seat is charged up to its day. Empty: yes.",
    "pricing_unit_rate": "What one pricing unit is worth, in the currency.",
    "dimensions": "What a matrix prices by, in order, such as model, direction. Empty: the match columns it uses.",
}
"""The columns in their order, and what stands in each. A matrix has a column ``match: <dimension>`` for each one."""

MATCH_EXPLAINED = "The dimension's value that a matrix row prices. Empty: any value."
ALWAYS_THERE = ("plan", "line", "product", "metric", "model", "currency")
NEEDED = ("plan", "line", "currency")
_PLAN_COLUMNS = {"plan_name": "name", "plan_description": "description", "billing": "billing"}
_PRICE_COLUMNS = ("product", "metric", "pricing_unit", "recurrence", "timing")
_TIER_COLUMNS = ("up_to", "unit_amount", "flat_amount", "package_size", "rate_percent")
_TEXTS = frozenset(["plan", "plan_name", "plan_description", "line", "product", "metric", "pricing_unit"])

Row = Mapping[str, str]


# --- Cells -----------------------------------------------------------------------------------------------------------


def text_cell(text: str) -> str:
    """A text as a cell, so that ``cell_text`` brings it back exactly: what a spreadsheet would damage is JSON."""
    if text and text == text.strip() and text.isprintable() and text[0] != '"' and not _looks_coded(text):
        return escaped(text)
    # Spreadsheet files write characters as _x000D_, so that a text which looks like it must not stand there.
    return re.sub(r"x(?=[0-9A-Fa-f]{4}_)", r"\\u0078", json.dumps(text))


def cell_text(cell: str) -> str:
    if cell.startswith('"'):
        try:
            text = json.loads(cell)
        except ValueError:
            return cell
        return text if isinstance(text, str) else cell
    return without_escape(cell)


def _looks_coded(text: str) -> bool:
    return re.search(r"x[0-9A-Fa-f]{4}_", text) is not None


def list_cell(texts: Iterable[str]) -> str:
    """``USD, EUR``; a text with a comma of its own is JSON."""
    return ", ".join(json.dumps(text) if "," in text else text_cell(text) for text in texts)


_is_item = re.compile(r'\s*("(?:[^"\\]|\\.)*"|[^,]*)\s*(?:,|$)')


def cell_list(cell: str) -> list[str]:
    found = []
    at = 0
    while at < len(cell) and (item := _is_item.match(cell, at)):
        found.append(cell_text(item[1].strip()))
        at = item.end()
    return [text for text in found if text]


# --- Writing ---------------------------------------------------------------------------------------------------------


def table_of(document: PriceList) -> list[list[str]]:
    """The header and the rows, with the columns that are needed."""
    rows = [row for plan in document.plans for row in _plan_rows(plan)]
    used = {name for row in rows for name in row}
    matches = list(dict.fromkeys(name for row in rows for name in row if name.startswith(MATCH_PREFIX)))
    columns = [name for name in COLUMNS if name in used or name in ALWAYS_THERE]
    place = columns.index("unit_amount") if "unit_amount" in columns else len(columns)
    columns[place:place] = matches
    return [columns, *([row.get(name, "") for name in columns] for row in rows)]


def _plan_rows(plan: ListedPlan) -> Iterator[Row]:
    entries = plan_entries(plan)
    first = {column: _cell(column, entries[name]) for column, name in _PLAN_COLUMNS.items() if name in entries}
    stated = tuple(dict.fromkeys(amounts.currency for price in plan.prices for amounts in price.amounts))
    if plan.currencies != stated:
        first["currencies"] = list_cell(plan.currencies)
    rows = [row for price in entries["prices"] for row in _price_rows(price)] or [{}]
    for number, row in enumerate(rows):
        yield {"plan": text_cell(plan.code), **(first if number == 0 else {}), **row}


def _price_rows(price: Entry) -> Iterator[dict[str, str]]:
    first = {name: _cell(name, price[name]) for name in _PRICE_COLUMNS if name in price}
    for number, amounts in enumerate(price["amounts"]):
        stated_for = {"line": text_cell(price["line"]), "currency": amounts["currency"]}
        if "effective_from" in amounts:
            stated_for["effective_from"] = amounts["effective_from"]
        terms = {name: scalar_text(amounts[name]) for name in TERM_NAMES if name in amounts}
        terms["model"] = amounts.get("model", price["model"])
        if "dimensions" in amounts:
            terms["dimensions"] = list_cell(amounts["dimensions"])
        for part_number, part in enumerate(_part_rows(amounts)):
            heads = {**(first if number == 0 else {}), **terms} if part_number == 0 else {}
            yield {**stated_for, **heads, **part}


def _part_rows(amounts: Entry) -> list[dict[str, str]]:
    """The cells of each tier or matrix row; one row without any where there are none."""
    tiers = [
        {name: scalar_text(value) for name, value in tier.items() if value is not None}
        for tier in amounts.get("tiers", [])
    ]
    rows = [
        {MATCH_PREFIX + text_cell(name): text_cell(value) for name, value in row["match"].items()}
        | {"unit_amount": scalar_text(row["unit_amount"])}
        for row in amounts.get("rows", [])
    ]
    nothing: dict[str, str] = {}
    return tiers or rows or [nothing]


def _cell(column: str, value: Any) -> str:
    return text_cell(value) if column in _TEXTS else scalar_text(value)


# --- Reading ---------------------------------------------------------------------------------------------------------


@dataclass
class TableReader:
    """Puts the rows of a table together as plans, prices and amounts. Rows are counted as a spreadsheet does."""

    header: Sequence[str]
    faults: Faults = field(default_factory=Faults)
    remarks: list[str] = field(default_factory=list)
    plans: dict[str, _Record] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.columns = [column_name(name) for name in self.header]
        place = Place(1)
        if len(self.header) > MOST_COLUMNS:
            raise refused(place, f"The table has more than {MOST_COLUMNS} columns.")
        known = [*COLUMNS, MATCH_PREFIX.strip()]
        for name in self.columns:
            if name and name not in COLUMNS and not name.startswith(MATCH_PREFIX):
                self.faults.add(place, name, f"“{name}” is no column of a price list. {did_you_mean(name, known)}")
        for name in sorted({name for name in self.columns if name and self.columns.count(name) > 1}):
            self.faults.add(place, name, "Two columns have this name. Remove one of them.")
        for name in NEEDED:
            if name not in self.columns:
                self.faults.add(place, name, f"The column “{name}” is missing. {COLUMNS[name]}")

    def add(self, number: int, cells: Sequence[str]) -> None:
        """Take in a row; an empty one is passed over."""
        place = Place(number)
        row = {name: cell.strip() for name, cell in zip(self.columns, cells, strict=False) if cell.strip() and name}
        if any(cell.strip() for cell in cells[len(self.columns) :]):
            self.faults.add(place, "", "The row has more cells than the header names columns.")
        if not any(cell.strip() for cell in cells):
            return
        plan = self._plan(place, row)
        if plan is None:
            return
        if "line" not in row:
            if set(row) - {"plan", "currencies", *_PLAN_COLUMNS}:
                self.faults.add(place, "line", "Enter the line that this row belongs to; it stands on every row.")
            return
        self._add_to_price(place, plan, row)

    def result(self) -> ReadPriceList:
        place = Place(1)
        plans = Node([plan.node("prices") for plan in self.plans.values()], place)
        root = Node({"price_list": Node(FORMAT_VERSION, place), "plans": plans}, place)
        if not self.plans and not self.faults:
            self.faults.add(Place(2), "plan", "The table has a header and no rows. Add a row for each price.")
            return ReadPriceList(PriceList(plans=()), self.faults.in_order())
        return build_price_list(root, faults=self.faults, remarks=tuple(self.remarks))

    def _plan(self, place: Place, row: Row) -> _Record | None:
        if "plan" not in row:
            self.faults.add(place, "plan", "Enter the plan that this row belongs to; it stands on every row.")
            return None
        plan = self.plans.setdefault(row["plan"], _Record(place))
        plan.state(self.faults, place, row, {"plan": "code", **_PLAN_COLUMNS})
        if "currencies" in row:
            self._state_list(plan, place, row, "currencies")
        return plan

    def _add_to_price(self, place: Place, plan: _Record, row: Row) -> None:
        price = plan.parts.setdefault((row["line"],), _Record(place))
        price.state(self.faults, place, row, {"line": "line", **{name: name for name in _PRICE_COLUMNS}})
        known_by = (row.get("currency", ""), row.get("effective_from", ""))
        is_new = known_by not in price.parts
        amounts = price.parts.setdefault(known_by, _Record(place))
        amounts.state(self.faults, place, row, {name: name for name in ("currency", "effective_from", "model")})
        if "model" not in amounts.entries:
            amounts.entries["model"] = next(
                (one.entries["model"] for one in price.parts.values() if "model" in one.entries),
                Node(None, place),
            )
        self._add_terms(place, amounts, row, is_new=is_new)

    def _add_terms(self, place: Place, amounts: _Record, row: Row, *, is_new: bool) -> None:
        model = amounts.entries["model"].value
        own: Sequence[str] = ()
        if model in TIERED_MODELS:
            own = _TIER_COLUMNS
        elif model == ChargeModelName.MATRIX:
            own = ("unit_amount", *(name for name in row if name.startswith(MATCH_PREFIX)))
        terms = {name: name for name in TERM_NAMES if name not in own}
        amounts.state(self.faults, place, row, terms)
        if "dimensions" in row:
            self._state_list(amounts, place, row, "dimensions")
        if model in TIERED_MODELS:
            amounts.add("tiers", Node({name: Node(row[name], place) for name in own if name in row}, place))
        elif model == ChargeModelName.MATRIX:
            self._add_matrix_row(place, amounts, row)
        elif not is_new:
            self.faults.add(place, "line", f"This price is there already, at {amounts.place}. Remove one of the two.")
        for name in row:
            if (name == "up_to" or name.startswith(MATCH_PREFIX)) and name not in own:
                words = str(model or "this").replace("_", " ")
                self.faults.add(place, name, f"The {words} model takes none. Clear the cell, or change the model.")

    def _add_matrix_row(self, place: Place, amounts: _Record, row: Row) -> None:
        match = {
            cell_text(name.removeprefix(MATCH_PREFIX)): Node(cell_text(cell), place)
            for name, cell in row.items()
            if name.startswith(MATCH_PREFIX)
        }
        entries = {"match": Node(match, place)}
        if "unit_amount" in row:
            entries["unit_amount"] = Node(row["unit_amount"], place)
        amounts.add("rows", Node(entries, place))
        if not amounts.states_dimensions:
            used = {name for one in amounts.lists["rows"] for name in one.value["match"].value}  # type: ignore[index, call-overload, union-attr]
            in_order = [cell_text(name.removeprefix(MATCH_PREFIX)) for name in self.columns if MATCH_PREFIX in name]
            names = [Node(name, amounts.place) for name in in_order if name in used]
            amounts.entries["dimensions"] = Node(list(names), amounts.place)

    def _state_list(self, record: _Record, place: Place, row: Row, name: str) -> None:
        texts = cell_list(row[name])
        node = Node([Node(text, place) for text in texts], place)
        if name == "dimensions":
            first, record.states_dimensions = not record.states_dimensions, True
        else:
            first = name not in record.entries
        if first:
            record.entries[name] = node
        elif record.entries[name].plain() != texts:
            self.faults.add(place, name, _differs(record.entries[name].place))


@dataclass
class _Record:
    """What the rows say of one plan, price or amounts: entries, its parts by their key, and lists of its rows."""

    place: Place
    entries: dict[str, Node] = field(default_factory=dict)
    parts: dict[tuple[str, ...], _Record] = field(default_factory=dict)
    lists: dict[str, list[Node]] = field(default_factory=dict)
    states_dimensions: bool = False

    def state(self, faults: Faults, place: Place, row: Row, names: Mapping[str, str]) -> None:
        """Note cells as entries, by their names there. A later row repeats what the first one says, or is empty."""
        for column, name in names.items():
            if column not in row:
                continue
            text = cell_text(row[column]) if column in _TEXTS else row[column]
            known = self.entries.get(name)
            if known is None or known.value is None:
                self.entries[name] = Node(text, place)
            elif known.value != text:
                faults.add(place, column, _differs(known.place))

    def add(self, name: str, node: Node) -> None:
        self.lists.setdefault(name, []).append(node)

    def node(self, parts_name: str) -> Node:
        entries = dict(self.entries)
        for name, nodes in self.lists.items():
            entries[name] = Node(list(nodes), self.place)
        if self.parts or parts_name == "prices":
            below = "amounts" if parts_name == "prices" else ""
            entries[parts_name] = Node([part.node(below) for part in self.parts.values()], self.place)
        return Node(entries, self.place)


def _differs(first: Place) -> str:
    return f"This differs from {first}, which says it first. Clear the cell, or make them the same."


def column_name(header: str) -> str:
    """``Effective from`` is taken for ``effective_from``; the name of a dimension stands as it is."""
    text = header.strip()
    if text.lower().startswith(MATCH_PREFIX.strip()):
        return MATCH_PREFIX + text[len(MATCH_PREFIX.strip()) :].strip()
    return text.lower().replace(" ", "_")


def refused(place: Place, detail: str) -> PriceListRefused:
    faults = Faults()
    faults.add(place, "", detail)
    return PriceListRefused(faults.in_order())


def read_rows(rows: Iterable[Sequence[str]], faults: Faults, remarks: list[str]) -> ReadPriceList:
    """Read a table, its header first. ``faults`` and ``remarks`` are added to, also by whoever yields the rows.

    Raises PriceListRefused for a table that is too long.
    """
    reader: TableReader | None = None
    for number, cells in enumerate(rows, start=1):
        if number > MOST_ROWS:
            raise refused(Place(number), f"The table has more than {MOST_ROWS:,} rows. Split it by plan.")
        if reader is None:
            reader = TableReader(cells, faults, remarks)
        else:
            reader.add(number, cells)
    if reader is None:
        raise refused(Place(1), "The table is empty. Its first row names the columns.")
    return reader.result()
