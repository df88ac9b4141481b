"""Rows of a file into events to store, and into what is wrong with the others: the same for an import and a preview."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from apps.billable_metrics.selectors import summed_properties_by_event_type
from apps.common.problems import Fault
from apps.usage.cloudevents import Rules, check_events
from apps.usage.events import EventInput
from apps.usage_imports.mapper import MappedRow, Mapper, Record, Row, column_of
from apps.usage_imports.mapping import EventMapping
from apps.usage_imports.reading import ReadRow


@dataclass(frozen=True, slots=True)
class RowFault:
    """One thing that is wrong with a row: in which column of the file, and in which part of the event."""

    row_number: int
    column: str
    field: str
    code: str
    detail: str


@dataclass(slots=True)
class CheckedRows:
    """Good events with the rows they come from, the faults of the others, and how many rows have any."""

    events: list[EventInput] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    faults: list[RowFault] = field(default_factory=list)
    rejected: int = 0


def import_rules(now: dt.datetime) -> Rules:
    """The limits that the API holds events to."""
    return Rules(
        now=now,
        earliest=now - dt.timedelta(days=settings.EVENTS_MAX_AGE_DAYS),
        latest=now + dt.timedelta(hours=settings.EVENTS_MAX_AHEAD_HOURS),
        summed=summed_properties_by_event_type(),
    )


def check_rows(read: Sequence[ReadRow], mapper: Mapper, rules: Rules) -> CheckedRows:
    """Map and check every row. One that is faulty is left out, with all that is wrong with it listed."""
    checked = CheckedRows()
    for one in read:
        if one.fault is not None:
            checked.faults.append(_row_fault(one.number, mapper.mapping, {}, one.fault))
            checked.rejected += 1
    rows = [row for one in read for row in one.rows]
    mapped = [mapper.map(row) for row in rows]
    judged = check_events([mapped_row.event for mapped_row in mapped], rules, requires_specversion=False)
    faults: dict[int, list[Fault]] = {}
    for index, mapped_row in enumerate(mapped):
        if mapped_row.faults:
            faults[index] = list(mapped_row.faults)
    for fault in judged.faults:
        faults.setdefault(fault.index or 0, []).append(fault)
    for index, event in zip(judged.indexes, judged.events, strict=True):
        if index not in faults:
            checked.events.append(event)
            checked.rows.append(rows[index])
    for index, found in faults.items():
        row = rows[index]
        checked.faults.extend(_row_fault(row.number, mapper.mapping, row.record, fault) for fault in found)
    checked.rejected += len(faults)
    checked.faults.sort(key=lambda fault: fault.row_number)
    return checked


def map_row(row: Row, mapper: Mapper, rules: Rules) -> tuple[MappedRow, list[RowFault]]:
    """One row as the event it becomes, with its faults."""
    mapped = mapper.map(row)
    judged = check_events([mapped.event], rules, requires_specversion=False)
    faults = [*mapped.faults, *judged.faults]
    return mapped, [_row_fault(row.number, mapper.mapping, row.record, fault) for fault in faults]


def _row_fault(number: int, mapping: EventMapping, record: Record, fault: Fault) -> RowFault:
    column = column_of(mapping, fault.field, record)
    detail = fault.detail
    if fault.code == "required" and fault.field in ("id", "source", "type", "subject"):
        detail = _missing(mapping, fault.field)
    return RowFault(number, column, fault.field or "", fault.code, _storable(detail))


def _missing(mapping: EventMapping, event_field: str) -> str:
    part: Any = getattr(mapping, event_field)
    columns = [" + ".join(group) for group in mapping.id.columns] if event_field == "id" else part.columns
    shown = " or ".join(f"“{name}”" for name in columns[:4])
    if event_field == "id":
        return f"The row has no ID: {shown} is empty. Fill it, or let a hash of the row be the ID."
    return f"The row names no {event_field}: {shown} is empty. Fill it, or give one {event_field} for all rows."


def _storable(text: str) -> str:
    """A sentence that quotes the file may hold what the database does not take."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
