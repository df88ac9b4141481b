"""Which column of a file becomes which part of an event. Plain values: ready mappings are written in Python, saved
ones are rows that hold the same thing as JSON."""

from __future__ import annotations

import zoneinfo
from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from apps.common.errors import InvalidInput


class FileFormat(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"


class IdBy(StrEnum):
    COLUMNS = "columns"
    ROW_HASH = "row_hash"
    ROW_NUMBER = "row_number"


class TimeFormat(StrEnum):
    RFC3339 = "rfc3339"
    SECONDS = "epoch_seconds"
    MILLISECONDS = "epoch_milliseconds"
    NANOSECONDS = "epoch_nanoseconds"
    NAIVE = "naive"


class InvalidMapping(InvalidInput):
    code = "invalid_mapping"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A text of an event: the first of ``columns`` that holds something, else ``fixed``."""

    columns: tuple[str, ...] = ()
    fixed: str = ""


class Id(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What makes a row's event unique.

    ``columns``: the first group of columns that are all filled; a group of several is joined by colons.
    ``row_hash``: a hash of the whole row, so that equal rows are one event. ``row_number``: ``prefix`` and the number
    of the row after the header, for files that never change; ``{file}`` and ``{subject}`` may stand in the prefix.
    """

    by: IdBy = IdBy.COLUMNS
    columns: tuple[tuple[str, ...], ...] = ()
    prefix: str = "{file}:"


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The event's own time: the first of ``columns`` that is filled.

    A naive time is a wall clock of ``zone``, read by ``pattern`` (as of strptime) where there is one.
    """

    columns: tuple[str, ...] = ()
    format: TimeFormat = TimeFormat.RFC3339
    zone: str = "UTC"
    pattern: str = ""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The event's data, from any of four places; a later one wins.

    ``json``: a column that holds a JSON object. ``rest``: every column that nothing else uses, under its own name.
    ``prefix``: every column whose name begins so, under the rest of its name. ``properties``: a property by name, and
    the columns of which the first that is filled gives it. ``texts`` are properties that stay text though they look
    like numbers.
    """

    json: str = ""
    rest: bool = False
    prefix: str = ""
    properties: dict[str, tuple[str, ...]] = {}
    texts: tuple[str, ...] = ()


class EventMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A whole mapping. ``file_format`` None: the file shows it.

    ``is_own_export``: cells are written as our export writes them, so that every value comes back as it was.
    ``ignored`` columns never become data.
    """

    id: Id = Id()
    source: Text = Text()
    type: Text = Text()
    subject: Text = Text()
    time: Time = Time()
    data: Data = Data()
    file_format: FileFormat | None = None
    is_own_export: bool = False
    ignored: tuple[str, ...] = ()


def mapping_from(definition: Any) -> EventMapping:
    """Read a saved mapping. Raises InvalidMapping."""
    try:
        mapping = msgspec.convert(definition, EventMapping)
    except msgspec.ValidationError as error:
        raise InvalidMapping(f"This is no mapping: {error}.") from error
    return mapping


def definition_of(mapping: EventMapping) -> dict[str, Any]:
    """The mapping as JSON holds it."""
    definition: dict[str, Any] = msgspec.to_builtins(mapping)
    return definition


def check_mapping(mapping: EventMapping) -> EventMapping:
    """Return the mapping when it can make events. Raises InvalidMapping that names the part which is missing."""
    if mapping.id.by == IdBy.COLUMNS and not any(mapping.id.columns):
        raise InvalidMapping(
            "Say what makes a row's event unique: one or several ID columns, a hash of the row, or its number.",
            field="id",
        )
    for name in ("source", "type", "subject"):
        text: Text = getattr(mapping, name)
        if not text.columns and not text.fixed:
            raise InvalidMapping(f"Name the column of the {name}, or give one {name} for all rows.", field=name)
    if not mapping.time.columns:
        raise InvalidMapping("Name the column of the event time: usage is billed by it.", field="time")
    try:
        zoneinfo.ZoneInfo(mapping.time.zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidMapping(
            f"“{mapping.time.zone}” is not a time zone. Use an IANA name such as Europe/Berlin or UTC.", field="time"
        ) from error
    return mapping


def with_fixed(mapping: EventMapping, **texts: str) -> EventMapping:
    """The mapping with a source, type or subject that holds for all rows, whatever its columns say."""
    return msgspec.structs.replace(mapping, **{name: Text(fixed=text) for name, text in texts.items() if text})


def require_columns(mapping: EventMapping, header: Collection[str]) -> None:
    """Refuse a CSV file that lacks a column which the mapping needs. Raises InvalidMapping with all that are missing.

    A property whose columns are all missing counts as well: usage that is left out silently is lost money.
    """
    wanted: list[Sequence[str]] = [mapping.time.columns]
    wanted += [text.columns for text in (mapping.source, mapping.type, mapping.subject) if not text.fixed]
    wanted += mapping.data.properties.values()
    if mapping.data.json and not mapping.data.prefix:
        wanted.append([mapping.data.json])
    missing = [columns for columns in wanted if columns and not set(columns) & set(header)]
    if mapping.id.by == IdBy.COLUMNS and not any(set(group) <= set(header) for group in mapping.id.columns):
        missing.append([" + ".join(group) for group in mapping.id.columns])
    if missing:
        lacking = "; ".join(" or ".join(f"“{name}”" for name in columns) for columns in missing)
        there = ", ".join(f"“{name}”" for name in list(header)[:30])
        raise InvalidMapping(f"The file has no column {lacking}. Its columns are {there}. Choose another mapping.")
