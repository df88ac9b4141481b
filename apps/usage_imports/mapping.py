"""Which column of a file becomes which part of an event. Plain values: ready mappings are written in Python, saved
ones are rows that hold the same thing as JSON."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec

from apps.common.api import Fault
from apps.common.errors import InvalidInput
from apps.usage.exporting import cell_value, without_escape

Record = Mapping[str, Any]

# What looks like a number in a CSV file. Leading zeros make a text (a post code), and so does an exponent: a
# spreadsheet writes one where it has rounded, and 12e4 may be somebody's ID.
_is_number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?").fullmatch
_is_epoch = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,12})?").fullmatch
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode_sorted = msgspec.json.Encoder(decimal_format="string", order="sorted").encode


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


_PER_SECOND = {TimeFormat.SECONDS: 1, TimeFormat.MILLISECONDS: 10**3, TimeFormat.NANOSECONDS: 10**9}


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


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a file. ``number`` is its row as a spreadsheet counts; ``ordinal`` its place among the records."""

    number: int
    ordinal: int
    record: Record


@dataclass(slots=True)
class MappedRow:
    """What a mapping made of a row: a CloudEvent to check, and what could not be read."""

    event: dict[str, Any]
    faults: list[Fault] = field(default_factory=list)


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


def column_of(mapping: EventMapping, event_field: str | None, record: Record) -> str:
    """The column that a fault in ``event_field`` comes from; empty where no single one does."""
    if event_field is None:
        return ""
    if event_field == "id":
        return " + ".join(_filled_group(mapping, record) or ()) if mapping.id.by == IdBy.COLUMNS else ""
    if event_field in ("source", "type", "subject", "time"):
        columns: Sequence[str] = getattr(mapping, event_field).columns
        return next((name for name in columns if name in record), columns[0] if columns else "")
    name = event_field.removeprefix("data.")
    if name in mapping.data.properties:
        columns = mapping.data.properties[name]
        return next((column for column in columns if find(record, column) is not None), columns[0])
    prefixed = mapping.data.prefix + name
    return prefixed if prefixed in record else mapping.data.json


class Mapper:
    """Turns the rows of one file into events."""

    def __init__(self, mapping: EventMapping, *, file_name: str, is_text: bool) -> None:
        self.mapping = mapping
        self.file_name = file_name
        self.is_text = is_text  # A CSV file knows texts only; JSON has types of its own.
        self.texts = frozenset(mapping.data.texts)
        self.used = frozenset(_used_columns(mapping))

    def map(self, row: Row) -> MappedRow:
        """Return the row as a CloudEvent in plain JSON form, with what could not be read of it."""
        record, mapping = row.record, self.mapping
        mapped = MappedRow(event={})
        subject = self._text(mapping.subject, record)
        mapped.event["source"] = self._text(mapping.source, record)
        mapped.event["type"] = self._text(mapping.type, record)
        mapped.event["subject"] = subject
        mapped.event["id"] = self._id(row, subject)
        mapped.event["data"] = self._data(record, mapped.faults)
        instant = self._time(record, mapped.faults)
        if instant is not None:
            mapped.event["time"] = instant
        return mapped

    def _text(self, text: Text, record: Record) -> str:
        for name in text.columns:
            value = find(record, name)
            if value is not None and value != "":
                return self._shown(value)
        return text.fixed

    def _shown(self, value: Any) -> str:
        """A value as a text: an ID may be a number in JSON, and a text may be escaped in our own CSV."""
        if isinstance(value, str):
            return without_escape(value) if self.mapping.is_own_export and self.is_text else value
        if isinstance(value, Decimal):
            return format(value, "f")
        return str(value)

    def _id(self, row: Row, subject: str) -> str:
        rule = self.mapping.id
        if rule.by == IdBy.ROW_HASH:
            return blake2b(_encode_sorted(row.record), digest_size=16).hexdigest()
        if rule.by == IdBy.ROW_NUMBER:
            return f"{rule.prefix.replace('{file}', self.file_name).replace('{subject}', subject)}{row.ordinal}"
        group = _filled_group(self.mapping, row.record)
        if group is None:
            return ""
        parts = [self._shown(find(row.record, name)) for name in group]
        # Escaped, so that no two rows with different parts get the same ID.
        return parts[0] if len(parts) == 1 else ":".join(p.replace("\\", "\\\\").replace(":", "\\:") for p in parts)

    def _time(self, record: Record, faults: list[Fault]) -> str | None:
        """The event time as RFC 3339 in UTC, or None with a fault."""
        rule = self.mapping.time
        for name in rule.columns:
            value = find(record, name)
            if value is not None and value != "":
                break
        else:
            faults.append(Fault("time", "required", "The row has no time. Usage is billed by the time of the event."))
            return None
        text = self._shown(value).strip()
        try:
            return _instant(text, rule)
        except (ValueError, OverflowError) as error:
            faults.append(Fault("time", "invalid_time", f"“{text[:60]}” {_time_advice(rule, error)}"))
            return None

    def _data(self, record: Record, faults: list[Fault]) -> dict[str, Any]:
        rule = self.mapping.data
        data: dict[str, Any] = {}
        if rule.json:
            data.update(_json_object(find(record, rule.json), rule.json, faults))
        if rule.rest:
            data.update({name: self._value(name, value) for name, value in record.items() if name not in self.used})
        if rule.prefix:
            for name, value in record.items():
                if name.startswith(rule.prefix):
                    short = name[len(rule.prefix) :]
                    data[short] = self._value(short, value)
        for name, columns in rule.properties.items():
            for column in columns:
                value = find(record, column)
                if value is not None and value != "":
                    data[name] = self._value(name, value)
                    break
        return {name: value for name, value in data.items() if value is not _ABSENT}

    def _value(self, name: str, value: Any) -> Any:
        """A cell as a value of the event's data."""
        if not self.is_text or not isinstance(value, str):
            return str(value) if name in self.texts and isinstance(value, int | Decimal) else value
        if value == "":
            return _ABSENT
        if self.mapping.is_own_export:
            return cell_value(value)
        stripped = value.strip()
        if name not in self.texts and _is_number(stripped):
            return Decimal(stripped) if "." in stripped else int(stripped) if len(stripped) < 100 else value
        return value


_ABSENT = object()


def find(record: Record, name: str) -> Any:
    """The value under a name, or under a dotted path into nested objects; None where there is none."""
    if name in record:
        return record[name]
    dot = name.find(".")
    while dot > 0:
        inner = record.get(name[:dot])
        if isinstance(inner, dict) and (found := find(inner, name[dot + 1 :])) is not None:
            return found
        dot = name.find(".", dot + 1)
    return None


def _filled_group(mapping: EventMapping, record: Record) -> tuple[str, ...] | None:
    for group in mapping.id.columns:
        if group and all(find(record, name) not in (None, "") for name in group):
            return group
    return None


def _used_columns(mapping: EventMapping) -> Iterator[str]:
    yield from mapping.ignored
    for group in mapping.id.columns:
        yield from group
    for text in (mapping.source, mapping.type, mapping.subject, mapping.time):
        yield from text.columns
    for columns in mapping.data.properties.values():
        yield from columns
    if mapping.data.json:
        yield mapping.data.json


def _json_object(value: Any, column: str, faults: list[Fault]) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            value = _decode(value.encode())
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            faults.append(Fault("data", "invalid_json", f"“{column}” holds no valid JSON: {error}."))
            return {}
    if not isinstance(value, dict):
        faults.append(Fault("data", "not_an_object", f'“{column}” holds a JSON object, such as {{"tokens": 5}}.'))
        return {}
    return value


def _instant(text: str, rule: Time) -> str:
    """A time of the file as RFC 3339 in UTC. Raises ValueError or OverflowError."""
    if rule.format == TimeFormat.RFC3339:
        instant = dt.datetime.fromisoformat(text.upper())
        if instant.tzinfo is None:
            raise ValueError("has no zone")
    elif rule.format == TimeFormat.NAIVE:
        instant = _wall_clock(text, rule)
    else:
        if not _is_epoch(text):
            raise ValueError("is no number")
        microseconds = Decimal(text) * 1_000_000 / _PER_SECOND[rule.format]
        instant = _EPOCH + dt.timedelta(microseconds=int(microseconds))
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _wall_clock(text: str, rule: Time) -> dt.datetime:
    # The zone is named beside the pattern.
    naive = dt.datetime.strptime(text, rule.pattern) if rule.pattern else dt.datetime.fromisoformat(text)  # noqa: DTZ007
    if naive.tzinfo is not None:
        return naive
    zone = _zone(rule.zone)
    instant = naive.replace(tzinfo=zone)
    if instant.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise ValueError("never was")
    return instant


@lru_cache(maxsize=64)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


def _time_advice(rule: Time, error: Exception) -> str:
    """The end of a sentence that begins with the text at fault."""
    if str(error) == "never was":
        return f"is an hour that the clocks of {rule.zone} skipped. Is the zone right?"
    if rule.format == TimeFormat.RFC3339:
        return (
            "is no time with a zone, such as 2026-01-31T12:00:00Z. If the file's times have no zone, choose a mapping "
            "that names it."
        )
    if rule.format == TimeFormat.NAIVE:
        example = f"of the form {rule.pattern}" if rule.pattern else "such as 2026-01-31 12:00:00"
        return f"is no time {example}."
    return f"is no number of {rule.format.removeprefix('epoch_')} since 1970."
