"""Corrections of many events by a CSV file: one row for each event, read and checked before anything is corrected."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User

from apps.common.errors import BillingError, InvalidInput
from apps.usage.cloudevents import NotJson, decode_json
from apps.usage.models import CorrectionKind, UsageCorrection, UsageEvent
from apps.usage.selectors.events import EventPlace, events_at, live_places
from apps.usage.services.corrections import (
    MOST_CORRECTED,
    EventChanges,
    check_replacement,
    correct_in_chunks,
)

REQUIRED = ("source", "id", "action")
COLUMNS = (*REQUIRED, "type", "subject", "time", "data")
ACTIONS = tuple(CorrectionKind.values)
DATA_PREFIX = "data."
MOST_FAULTS = 1_000


class BadFile(BillingError):
    """A file that is no table of corrections at all."""

    code = "bad_file"
    status = 400


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong with one row; ``line`` is its line in the file, from 1 for the header."""

    line: int
    source: str
    event_id: str
    detail: str


@dataclass(slots=True)
class CorrectionPlan:
    """What a file would correct, and what is wrong with it. With any fault it corrects nothing."""

    voids: list[EventPlace] = field(default_factory=list)
    replacements: list[tuple[EventPlace, EventChanges]] = field(default_factory=list)
    faults: list[RowFault] = field(default_factory=list)

    @property
    def event_count(self) -> int:
        return len(self.voids) + len(self.replacements)


class FileHasFaults(BillingError):
    code = "file_has_faults"

    def __init__(self, count: int) -> None:
        rows = "1 row is" if count == 1 else f"{count:,} rows are"
        super().__init__(f"{rows} wrong, so nothing was corrected. Mend the file and check it again.")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    cells: Mapping[str, str]

    @property
    def name(self) -> tuple[str, str]:
        return self.cells["source"], self.cells["id"]

    def fault(self, detail: str) -> RowFault:
        return RowFault(self.line, *self.name, detail)


def plan_corrections(text: str) -> CorrectionPlan:
    """Read a file and check every row against the log. Nothing is changed."""
    rows = list(_rows(text))
    if len(rows) > MOST_CORRECTED:
        raise BadFile(f"The file has {len(rows):,} rows; at most {MOST_CORRECTED:,} are taken at once.")
    if not rows:
        raise BadFile("The file has a header and no rows.")
    plan = CorrectionPlan()
    places = live_places({row.name for row in rows})
    replaced = [place for row in rows if row.cells["action"] == "replace" and (place := places.get(row.name))]
    events = {event.pk: event for event in events_at((place.id, place.occurred_at) for place in replaced)}
    seen: dict[tuple[str, str], int] = {}
    for row in rows:
        try:
            _plan_row(row, places, events, seen, plan)
        except BillingError as refusal:
            plan.faults.append(row.fault(refusal.detail))
    return plan


def correct_by_file(*, text: str, reason: str, actor: User | None) -> list[UsageCorrection]:
    """Do what the file says, once every row is right. Voids and replacements are a correction each."""
    if not reason.strip():
        raise InvalidInput("Say why: the reason stays with the events.", field="reason")
    plan = plan_corrections(text)
    if plan.faults:
        raise FileHasFaults(len(plan.faults))
    done = [
        correct_in_chunks(
            corrections=corrections,
            kind=kind,
            reason=reason,
            actor=actor,
            selection=f"a file with {len(corrections):,} rows",
        )
        for kind, corrections in (
            (CorrectionKind.VOID, [(place, None) for place in plan.voids]),
            (CorrectionKind.REPLACE, list(plan.replacements)),
        )
        if corrections
    ]
    return [correction for correction in done if correction is not None]


def _rows(text: str) -> Iterator[_Row]:
    # Spreadsheets write a byte order mark, and some of them semicolons.
    text = text.removeprefix("\ufeff")
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in header and "," not in header else ",")
    try:
        names = [name.strip() for name in next(reader, [])]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise BadFile(f"The first row names the columns; “{missing[0]}” is missing. Needed: {', '.join(REQUIRED)}.")
        unknown = [name for name in names if name not in COLUMNS and not name.startswith(DATA_PREFIX)]
        if unknown:
            raise BadFile(
                f"There is no column “{unknown[0]}”. The columns are {', '.join(COLUMNS)} and data.<property>."
            )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                padded = [*cells, *[""] * (len(names) - len(cells))]
                yield _Row(reader.line_num, {name: cell.strip() for name, cell in zip(names, padded, strict=False)})
    except csv.Error as error:
        raise BadFile(f"The file is no CSV: {error}.") from error


def _plan_row(
    row: _Row,
    places: Mapping[tuple[str, str], EventPlace | None],
    events: Mapping[int, UsageEvent],
    seen: dict[tuple[str, str], int],
    plan: CorrectionPlan,
) -> None:
    if row.cells["action"] not in ACTIONS:
        raise InvalidInput(f"The action is {' or '.join(ACTIONS)}.")
    if row.name not in places:
        raise InvalidInput("There is no event with this source and ID.")
    place = places[row.name]
    if place is None:
        raise InvalidInput("The event is voided already.")
    if row.name in seen:
        raise InvalidInput(f"Line {seen[row.name]} corrects the same event.")
    seen[row.name] = row.line
    if row.cells["action"] == CorrectionKind.VOID:
        plan.voids.append(place)
        return
    plan.replacements.append((place, _changes(row, events[place.id])))


def _changes(row: _Row, event: UsageEvent) -> EventChanges:
    """What the filled cells of a row change, checked as the API would."""
    changes = EventChanges(
        type=row.cells.get("type") or None,
        subject=row.cells.get("subject") or None,
        occurred_at=_instant(row.cells.get("time", "")),
        data=_data(row, event),
    )
    if changes == EventChanges():
        raise InvalidInput("A replacement changes something: fill in type, subject, time or data.")
    check_replacement(
        event_id=event.event_id,
        event_type=changes.type or event.type,
        subject=changes.subject or event.subject,
        occurred_at=changes.occurred_at or event.occurred_at,
        data=event.data if changes.data is None else changes.data,
        original_at=event.occurred_at,
    )
    return changes


def _instant(text: str) -> dt.datetime | None:
    if not text:
        return None
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"“{text}” is no time; write 2026-01-31T23:59:00Z.") from None
    if instant.tzinfo is None:
        raise InvalidInput(f"“{text}” has no time zone; write 2026-01-31T23:59:00Z for UTC.")
    return instant


def _data(row: _Row, event: UsageEvent) -> dict[str, Any] | None:
    """All data from ``data``, single properties from ``data.<name>``; None when the row has neither."""
    data: dict[str, Any] | None = None
    if row.cells.get("data"):
        try:
            decoded = decode_json(row.cells["data"].encode())
        except NotJson:
            raise InvalidInput("The data is no JSON.") from None
        if not isinstance(decoded, dict):
            raise InvalidInput("The data is a JSON object.")
        data = decoded
    single = {
        name.removeprefix(DATA_PREFIX): cell
        for name, cell in row.cells.items()
        if name.startswith(DATA_PREFIX) and cell
    }
    if single:
        data = {**(event.data if data is None else data), **{name: _cell_value(cell) for name, cell in single.items()}}
    return data


def _cell_value(cell: str) -> Any:
    """A number, true, false or null as such; everything else as text."""
    try:
        value = json.loads(cell, parse_float=Decimal)
    except ValueError:
        return cell
    return cell if isinstance(value, str | float) else value
