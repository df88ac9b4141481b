"""Reads over imports: stored files, mappings by name, and what a file's first rows would become."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from apps.common.errors import InvalidInput
from apps.customers.selectors import customers_by_subject
from apps.usage_imports.checking import RowFault, import_rules, map_row
from apps.usage_imports.mapper import Mapper
from apps.usage_imports.mapping import EventMapping, FileFormat, require_columns
from apps.usage_imports.models import ImportFileChunk, ImportMapping
from apps.usage_imports.reading import ByteSource, find_layout, read_rows
from apps.usage_imports.ready import READY

CHUNK_SIZE = 1024 * 1024
PREVIEWED_ROWS = 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file, read chunk by chunk from the database."""

    file_id: int

    def blocks(self, offset: int) -> Iterator[bytes]:
        for number in itertools.count(offset // CHUNK_SIZE):
            chunk = ImportFileChunk.objects.filter(file_id=self.file_id, number=number).first()
            if chunk is None:
                return
            yield bytes(chunk.content)[max(0, offset - number * CHUNK_SIZE) :]


def mapping_named(name: str) -> tuple[str, EventMapping]:
    """A mapping by its code, saved or ready, with the name that people read. Raises InvalidInput."""
    if name in READY:
        return READY[name].name, READY[name].mapping
    saved = ImportMapping.objects.filter(code=name).first()
    if saved is None:
        codes = [*READY, *ImportMapping.objects.values_list("code", flat=True)]
        raise InvalidInput(f"There is no mapping “{name}”. There are: {', '.join(codes)}.", field="mapping")
    return saved.name, saved.mapping


@dataclass(frozen=True, slots=True)
class PreviewedRow:
    """A row as the event it would become. ``event`` None: the row cannot be read at all.

    An event whose subject is no customer is kept, too, and billed once it is matched.
    """

    number: int
    event: dict[str, Any] | None
    faults: list[RowFault]
    is_known_customer: bool = True


@dataclass(frozen=True, slots=True)
class Preview:
    file_format: FileFormat
    delimiter: str
    columns: tuple[str, ...]
    rows: list[PreviewedRow]


def preview(
    source: ByteSource, mapping: EventMapping, *, file_name: str, now: dt.datetime, limit: int = PREVIEWED_ROWS
) -> Preview:
    """The first rows of a file under a mapping. Raises UnreadableFile and InvalidMapping."""
    layout = find_layout(source, file_name=file_name, file_format=mapping.file_format)
    is_csv = layout.file_format == FileFormat.CSV
    if is_csv:
        require_columns(mapping, layout.header)
    mapper, rules = Mapper(mapping, file_name=file_name, is_text=is_csv), import_rules(now)
    rows: list[PreviewedRow] = []
    columns: dict[str, None] = dict.fromkeys(name for name in layout.header if name)
    reading = read_rows(source, layout, at=layout.first_row_at, number=layout.header_rows, ordinal=0)
    for read in itertools.islice(reading, limit):
        if read.fault is not None:
            fault = RowFault(read.number, "", "", read.fault.code, read.fault.detail)
            rows.append(PreviewedRow(read.number, None, [fault]))
        for row in read.rows[: limit - len(rows)]:
            mapped, faults = map_row(row, mapper, rules)
            columns.update(dict.fromkeys(row.record))
            rows.append(PreviewedRow(row.number, mapped.event, faults))
        if len(rows) >= limit:
            break
    customers = customers_by_subject({row.event["subject"] for row in rows if row.event})
    rows = [replace(row, is_known_customer=row.event is None or row.event["subject"] in customers) for row in rows]
    return Preview(layout.file_format, layout.delimiter, tuple(columns), rows)
