"""A mapping as people write it: in a line or two for each part, on a page or on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from apps.usage_imports.mapping import (
    Data,
    EventMapping,
    Id,
    IdBy,
    InvalidMapping,
    Text,
    Time,
    TimeFormat,
    check_mapping,
)

# How several columns are written in one line: the first that is filled, and all of them together.
EITHER, TOGETHER = " | ", " + "


def mapping_from_flags(flags: Sequence[str]) -> EventMapping:
    """The mapping of ``--map`` options such as ``id=request``, ``source=:gateway``. Raises InvalidMapping."""
    parts: dict[str, str] = {}
    properties: dict[str, tuple[str, ...]] = {}
    for flag in flags:
        name, equals, value = flag.partition("=")
        if not equals or not value:
            raise InvalidMapping(f"“{flag}” is no FIELD=COLUMN.", field="map")
        if name.startswith("data."):
            properties[name.removeprefix("data.")] = (value,)
        elif name in ("id", "source", "type", "subject", "time", "data"):
            parts[name] = value
        else:
            raise InvalidMapping(
                f"“{name}” is no field of an event. Use id, source, type, subject, time, data or data.PROPERTY.",
                field="map",
            )
    data = parts.get("data", "")
    return check_mapping(
        EventMapping(
            id=_id(parts.get("id", "")),
            source=_text(parts.get("source", "")),
            type=_text(parts.get("type", "")),
            subject=_text(parts.get("subject", "")),
            time=_time(parts.get("time", "")),
            data=Data(
                rest=data == ":rest" or not (data or properties),
                json="" if data.startswith(":") else data,
                properties=properties,
            ),
        )
    )


def _id(value: str) -> Id:
    if value.startswith(":"):
        by = value[1:].replace("-", "_")
        if by not in (IdBy.ROW_HASH, IdBy.ROW_NUMBER):
            raise InvalidMapping(f"“{value}” is no way to make an ID. Use :row-hash or :row-number.", field="id")
        return Id(by=IdBy(by))
    return Id(columns=(tuple(value.split("+")),) if value else ())


def _text(value: str) -> Text:
    if value.startswith(":"):
        return Text(fixed=value[1:])
    return Text(columns=(value,) if value else ())


def _time(value: str) -> Time:
    column, colon, form = value.partition(":")
    if not column:
        return Time()
    if not colon:
        return Time(columns=(column,))
    if form in list(TimeFormat):
        return Time(columns=(column,), format=TimeFormat(form))
    return Time(columns=(column,), format=TimeFormat.NAIVE, zone=form)


# --- The parts as fields of a form -----------------------------------------------------------------------------------


def form_values(mapping: EventMapping) -> dict[str, Any]:
    """The mapping as the texts and choices of a form; ``mapping_from_form`` reads them back."""
    return {
        "file_format": mapping.file_format or "",
        "id_by": mapping.id.by,
        "id_columns": EITHER.join(TOGETHER.join(group) for group in mapping.id.columns),
        "id_prefix": mapping.id.prefix,
        "source_columns": EITHER.join(mapping.source.columns),
        "source_fixed": mapping.source.fixed,
        "type_columns": EITHER.join(mapping.type.columns),
        "type_fixed": mapping.type.fixed,
        "subject_columns": EITHER.join(mapping.subject.columns),
        "subject_fixed": mapping.subject.fixed,
        "time_columns": EITHER.join(mapping.time.columns),
        "time_format": mapping.time.format,
        "time_zone": mapping.time.zone,
        "time_pattern": mapping.time.pattern,
        "data_properties": "\n".join(
            f"{name} = {EITHER.join(columns)}" for name, columns in mapping.data.properties.items()
        ),
        "data_rest": mapping.data.rest,
        "data_json": mapping.data.json,
        "data_prefix": mapping.data.prefix,
        "data_texts": EITHER.join(mapping.data.texts),
        "ignored": EITHER.join(mapping.ignored),
        "is_own_export": mapping.is_own_export,
    }


def mapping_from_form(values: dict[str, Any]) -> EventMapping:
    """The mapping that a form says. Raises InvalidMapping."""
    properties: dict[str, tuple[str, ...]] = {}
    for line in filter(str.strip, values["data_properties"].splitlines()):
        name, equals, columns = line.partition("=")
        if not equals or not name.strip() or not columns.strip():
            raise InvalidMapping(f"“{line}” is no “property = column”.", field="data_properties")
        properties[name.strip()] = _split(columns)
    return check_mapping(
        EventMapping(
            file_format=values["file_format"] or None,
            id=Id(
                by=IdBy(values["id_by"]),
                columns=tuple(
                    tuple(name.strip() for name in group.split(TOGETHER)) for group in _split(values["id_columns"])
                ),
                prefix=values["id_prefix"],
            ),
            source=Text(_split(values["source_columns"]), values["source_fixed"]),
            type=Text(_split(values["type_columns"]), values["type_fixed"]),
            subject=Text(_split(values["subject_columns"]), values["subject_fixed"]),
            time=Time(
                _split(values["time_columns"]),
                TimeFormat(values["time_format"]),
                values["time_zone"] or "UTC",
                values["time_pattern"],
            ),
            data=Data(
                json=values["data_json"],
                rest=values["data_rest"],
                prefix=values["data_prefix"],
                properties=properties,
                texts=_split(values["data_texts"]),
            ),
            is_own_export=values["is_own_export"],
            ignored=_split(values["ignored"]),
        )
    )


def _split(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(EITHER) if name.strip())
