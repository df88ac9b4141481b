"""The rows of a file as events: each row and a mapping make one CloudEvent, which is checked like any other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import blake2b
from typing import Any

import msgspec

from apps.common.problems import Fault
from apps.common.spreadsheets import without_escape
from apps.usage.exporting import cell_value
from apps.usage_imports.mapping import EventMapping, IdBy, Text
from apps.usage_imports.times import instant_of, time_advice

Record = Mapping[str, Any]

# What looks like a number in a CSV file. Leading zeros make a text (a post code), and so does an exponent: a
# spreadsheet writes one where it has rounded, and 12e4 may be somebody's ID.
_is_number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?").fullmatch
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode_sorted = msgspec.json.Encoder(decimal_format="string", order="sorted").encode


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
            return instant_of(text, rule)
        except (ValueError, OverflowError) as error:
            faults.append(Fault("time", "invalid_time", f"“{text[:60]}” {time_advice(rule, error)}"))
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
