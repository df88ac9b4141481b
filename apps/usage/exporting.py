"""Events and measured usage as rows of a file: streamed, flat, and so that an import brings every value back.

Plain generators of text, for a command, a page and the API alike. Events are read through a cursor on the server, in
one transaction, so that any number of them takes the same memory and all belong to one moment.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any, cast

import msgspec
import psycopg
from django.db import connection, transaction
from django.db.models import QuerySet
from psycopg import sql

from apps.common.spreadsheets import escaped, without_escape
from apps.customers.models import Customer
from apps.pricing.formatting import plain_decimal
from apps.usage.events import ExactDecoder
from apps.usage.models import UsageEvent
from apps.usage.selectors import UsageWindow, measure_usage

AT_ONCE = 2_000
MOST_COLUMNS = 200
WINDOWS_AT_ONCE = 500
DATA_PREFIX = "data."
# Without it Excel takes a CSV file for one in an old encoding. For files that people open; programs do without.
BOM = "\ufeff"

_reads_as_json = re.compile(
    r'-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?|true|false|null|[\[{"].*', re.DOTALL
).fullmatch
_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_exact = ExactDecoder().decode


class ExportFormat(StrEnum):
    CSV = "csv"
    NDJSON = "ndjson"


CONTENT_TYPES = {ExportFormat.CSV: "text/csv; charset=utf-8", ExportFormat.NDJSON: "application/x-ndjson"}


@dataclass(frozen=True, slots=True)
class ExportedEvent:
    """One event, flat. The fields are the columns, in order."""

    id: str
    source: str
    type: str
    subject: str
    customer: str | None
    time: dt.datetime
    stored_at: dt.datetime
    attributed_at: dt.datetime | None
    data: Mapping[str, Any]


_COLUMNS = tuple(column.name for column in fields(ExportedEvent))
EVENT_COLUMNS = _COLUMNS[:-1]  # The data stands in columns of its own.


@dataclass(frozen=True, slots=True)
class ExportedUsage:
    """The usage of one metric of one customer over one window. The fields are the columns, in order."""

    customer: str
    metric: str
    start: dt.datetime
    end: dt.datetime
    quantity: Decimal
    unit: str
    event_count: int


USAGE_COLUMNS = tuple(column.name for column in fields(ExportedUsage))


# --- Events ----------------------------------------------------------------------------------------------------------


def export_events(events: QuerySet[UsageEvent], file_format: ExportFormat, *, flat_data: bool = True) -> Iterator[str]:
    """Yield the lines of a file with these events, in pieces.

    With ``flat_data`` each property of the data is a column ``data.<name>``; in CSV the most frequent properties are,
    and ``data`` holds the others as JSON. Without, ``data`` holds all of them as JSON text.
    """
    # A cursor lives as long as its transaction. What is stored after the columns were found may have properties
    # without a column; those go into “data”, so nothing is left out.
    with transaction.atomic():
        if file_format == ExportFormat.NDJSON:
            yield from event_lines(read_events(events), flat_data=flat_data)
        else:
            properties = property_names(events) if flat_data else ()
            yield from event_rows(read_events(events), properties)


def read_events(events: QuerySet[UsageEvent]) -> Iterator[ExportedEvent]:
    """Read any number of events through a cursor on the server. Call it inside a transaction.

    They come in no order: sorting a whole log would take minutes before the first row, and the space of it on disk.
    """
    rows = (
        events.order_by()
        .values_list(
            "event_id",
            "source__name",
            "type",
            "subject",
            "customer__external_id",
            "occurred_at",
            "stored_at",
            "attributed_at",
            "data",
        )
        .iterator(chunk_size=AT_ONCE)
    )
    for row in rows:
        yield ExportedEvent(*row)


_FROM_TABLE = sql.SQL(
    "SELECT event.event_id, source.name, event.type, event.subject, customer.external_id, event.occurred_at,"
    " event.stored_at, event.attributed_at, event.data::text"
    " FROM {} event JOIN usage_source source ON source.id = event.source_id"
    " LEFT JOIN customers_customer customer ON customer.id = event.customer_id"
    " WHERE event.voided_at IS NULL"
)


def read_table(table: str) -> Iterator[ExportedEvent]:
    """Read the events of a partition that was taken out of the log. Call it inside a transaction."""
    connection.ensure_connection()
    raw = cast("psycopg.Connection[tuple[Any, ...]]", connection.connection)
    with connection.wrap_database_errors, raw.cursor(name="usage_export") as cursor:
        cursor.itersize = AT_ONCE
        cursor.execute(_FROM_TABLE.format(sql.Identifier(table)))
        for row in cursor:
            values = dict(zip(_COLUMNS, row, strict=True))
            yield ExportedEvent(**{**values, "data": _exact(values["data"])})


def property_names(events: QuerySet[UsageEvent]) -> tuple[str, ...]:
    """The names of the data's properties, the most frequent ones where there are too many for columns, in order."""
    query, parameters = events.order_by().values("data").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT name FROM ({query}) matched, jsonb_object_keys(matched.data) name"
            " GROUP BY name ORDER BY count(*) DESC, name LIMIT %s",
            [*parameters, MOST_COLUMNS],
        )
        return tuple(sorted(name for (name,) in cursor.fetchall()))


def event_rows(events: Iterator[ExportedEvent], properties: Sequence[str]) -> Iterator[str]:
    """CSV: a header, then a row for each event, in pieces of many rows."""
    header = [*EVENT_COLUMNS, *(DATA_PREFIX + name for name in properties), "data"]
    columns = frozenset(properties)
    return _csv(header, (_event_row(event, properties, columns) for event in events))


def event_lines(events: Iterator[ExportedEvent], *, flat_data: bool) -> Iterator[str]:
    """NDJSON: an object of plain values for each event, in pieces of many lines."""
    return _ndjson(_event_line(event, flat_data=flat_data) for event in events)


def _event_row(event: ExportedEvent, properties: Sequence[str], columns: frozenset[str]) -> list[str]:
    others = {name: value for name, value in event.data.items() if name not in columns}
    return [
        escaped(event.id),
        escaped(event.source),
        escaped(event.type),
        escaped(event.subject),
        escaped(event.customer or ""),
        rfc3339(event.time),
        rfc3339(event.stored_at),
        rfc3339(event.attributed_at) if event.attributed_at else "",
        *(data_cell(event.data[name]) if name in event.data else "" for name in properties),
        plain_json(others) if others else "",
    ]


def _event_line(event: ExportedEvent, *, flat_data: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "customer": event.customer,
        "time": rfc3339(event.time),
        "stored_at": rfc3339(event.stored_at),
        "attributed_at": rfc3339(event.attributed_at) if event.attributed_at else None,
    }
    if flat_data:
        line.update({DATA_PREFIX + name: _plain(value) for name, value in event.data.items()})
    else:
        line["data"] = plain_json(event.data)
    return line


# --- Measured usage --------------------------------------------------------------------------------------------------


def export_usage(windows: Iterator[UsageWindow], file_format: ExportFormat) -> Iterator[str]:
    """Yield the lines of a file with what these windows measure, in pieces. Windows without usage are left out."""
    rows = measured_rows(windows)
    if file_format == ExportFormat.NDJSON:
        return _ndjson(
            {
                "customer": row.customer,
                "metric": row.metric,
                "start": rfc3339(row.start),
                "end": rfc3339(row.end),
                "quantity": _plain(row.quantity),
                "unit": row.unit,
                "event_count": row.event_count,
            }
            for row in rows
        )
    return _csv(
        list(USAGE_COLUMNS),
        (
            [
                escaped(row.customer),
                escaped(row.metric),
                rfc3339(row.start),
                rfc3339(row.end),
                plain_decimal(row.quantity),
                escaped(row.unit),
                str(row.event_count),
            ]
            for row in rows
        ),
    )


def measured_rows(windows: Iterator[UsageWindow]) -> Iterator[ExportedUsage]:
    """Measure windows, a few hundred with each statement."""
    for some in _in_parts(windows, WINDOWS_AT_ONCE):
        names = dict(
            Customer.objects.filter(pk__in={window.customer_id for window in some}).values_list("pk", "external_id")
        )
        for window, usage in zip(some, measure_usage(some, stored_before=None), strict=True):
            if usage.event_count or usage.quantity:
                yield ExportedUsage(
                    customer=names[window.customer_id],
                    metric=window.version.metric.code,
                    start=window.start_at,
                    end=window.end_at,
                    quantity=usage.quantity,
                    unit=window.version.metric.unit_plural,
                    event_count=usage.event_count,
                )


# --- Cells -----------------------------------------------------------------------------------------------------------


def rfc3339(instant: dt.datetime) -> str:
    """An instant in UTC, always with six decimals, so that texts sort as times do."""
    return instant.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def data_cell(value: Any) -> str:
    """A value of the data as a CSV cell; ``cell_value`` reads it back.

    Texts stand as they are, unless they would read as something else ("5", "true", an empty one): those are written
    as JSON, in quotes, as everything else is written as JSON.
    """
    if isinstance(value, str) and value and not _reads_as_json(value):
        return escaped(value)
    return plain_json(value)


def cell_value(cell: str) -> Any:
    """The value that ``data_cell`` wrote, which is never an empty cell."""
    if _reads_as_json(cell):
        try:
            return _decode(cell.encode())
        except msgspec.DecodeError:
            return cell  # Somebody has typed it in.
    return without_escape(cell)


def plain_json(value: Any) -> str:
    """JSON with every digit of every number, and never an exponent."""
    return _encode(_plain(value)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, Mapping):
        return {name: _plain(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value


def _csv(header: list[str], rows: Iterator[list[str]]) -> Iterator[str]:
    buffer = io.StringIO()
    write = csv.writer(buffer, lineterminator="\r\n").writerow
    write(header)
    for number, row in enumerate(rows, start=1):
        write(row)
        if number % AT_ONCE == 0:
            yield _emptied(buffer)
    yield _emptied(buffer)


def _ndjson(lines: Iterator[dict[str, Any]]) -> Iterator[str]:
    for some in _in_parts(lines, AT_ONCE):
        yield "".join(f"{_encode(line).decode()}\n" for line in some)


def _emptied(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text


def _in_parts(items: Iterator[Any], size: int) -> Iterator[list[Any]]:
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
