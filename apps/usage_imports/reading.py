"""The rows of a file, one after another, with the place of each: any size, and never more than a row in memory.

A file that cannot be read at all is refused (``UnreadableFile``). A row that cannot be read is given as a
``BrokenRow``, and reading goes on behind it.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from apps.common.errors import InvalidInput
from apps.common.problems import Fault
from apps.usage_imports.mapper import Row
from apps.usage_imports.mapping import FileFormat
from apps.usage_imports.otlp import spans, with_attributes

LONGEST_ROW = 1024 * 1024
BLOCK = 256 * 1024
MOST_COLUMNS = 2_000
DELIMITERS = ",;\t|"
GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"

_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_NOT_TEXT = {
    b"PK\x03\x04": "an Excel workbook or a zip archive. Save the sheet as “CSV UTF-8”, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook. Save the sheet as “CSV UTF-8”",
    b"%PDF": "a PDF",
    b"PAR1": "a Parquet file. Write it as NDJSON or CSV",
    b"\x28\xb5\x2f\xfd": "packed with zstd. Unpack it, or pack it with gzip",
    b"BZh": "packed with bzip2. Unpack it, or pack it with gzip",
    b"\xff\xfe": "text in UTF-16 (“Unicode text”). Save it as “CSV UTF-8”",
    b"\xfe\xff": "text in UTF-16 (“Unicode text”). Save it as “CSV UTF-8”",
}


class UnreadableFile(InvalidInput):
    code = "unreadable_file"


class ByteSource(Protocol):
    """The unpacked bytes of a file, from any place on."""

    def blocks(self, offset: int) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file on this machine; gzip is unpacked on the way."""

    path: Path

    def is_packed(self) -> bool:
        with self.path.open("rb") as file:
            return file.read(2) == GZIP_MAGIC

    def blocks(self, offset: int) -> Iterator[bytes]:
        unpack: Any = gzip.open if self.is_packed() else open
        try:
            with unpack(self.path, "rb") as file:
                file.seek(offset)
                while block := file.read(BLOCK):
                    yield block
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UnreadableFile(broken_gzip(error)) from error


def broken_gzip(error: Exception) -> str:
    return f"The file is not whole: its gzip stream breaks off or is damaged ({error}). Send it again."


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read, found once at its beginning. ``first_row_at`` is the offset behind the header."""

    file_format: FileFormat
    delimiter: str = ""
    header: tuple[str, ...] = ()
    first_row_at: int = 0
    header_rows: int = 0


@dataclass(frozen=True, slots=True)
class ReadRow:
    """A row with the offset where it begins and the one behind it. One line of traces may hold several rows."""

    rows: tuple[Row, ...]
    fault: Fault | None
    number: int
    start: int
    end: int


class _TooLong(Exception):
    pass


class Lines:
    """The lines of a source, with the offset behind the last one given. Holds one line and one block."""

    def __init__(self, source: ByteSource, offset: int) -> None:
        self.offset = offset
        self._blocks = source.blocks(offset)
        self._rest = b""
        self._at = 0
        self._given_back: list[bytes] = []

    def next(self) -> bytes | None:
        """The next line with its end, None after the last. One that is too long is cut, and its rest skipped."""
        line = self._given_back.pop() if self._given_back else self._read()
        if line is not None:
            self.offset += len(line)
        return line

    def give_back(self, lines: list[bytes]) -> None:
        self._given_back.extend(reversed(lines))
        self.offset -= sum(map(len, lines))

    def _read(self) -> bytes | None:
        found = self._rest.find(b"\n", self._at)
        if found >= 0:
            line = self._rest[self._at : found + 1]
            self._at = found + 1
            return line
        parts, size = [self._rest[self._at :]], len(self._rest) - self._at
        for block in self._blocks:
            found = block.find(b"\n")
            if found >= 0:
                self._rest, self._at = block, found + 1
                parts.append(block[: found + 1])
                return self._joined(parts, size)
            if size > LONGEST_ROW:
                self.offset += len(block)  # Too long already: the rest of the line is not kept.
            else:
                parts.append(block)
            size += len(block)
        self._rest, self._at = b"", 0
        return self._joined(parts, size) if size else None

    def _joined(self, parts: list[bytes], size: int) -> bytes:
        return b"".join(parts)


def find_layout(source: ByteSource, *, file_name: str, file_format: FileFormat | None) -> Layout:
    """Look at the beginning of a file. Raises UnreadableFile with what is wrong and how to mend it."""
    lines = Lines(source, 0)
    first = _first_line(lines)
    kind = file_format or _format_of(file_name, first)
    stripped = first.lstrip()
    if kind == FileFormat.NDJSON:
        if stripped.startswith(b"["):
            raise UnreadableFile(
                "The file is one JSON array. Write one object on each line instead, such as by “jq -c '.[]'”."
            )
        if not stripped.startswith(b"{"):
            raise UnreadableFile("The file is no NDJSON: its first line is no JSON object.")
        return Layout(FileFormat.NDJSON)
    if stripped.startswith((b"{", b"[")):
        raise UnreadableFile("The file is JSON, and the mapping reads CSV. Choose a mapping for NDJSON.")
    return _csv_layout(source, first)


def _first_line(lines: Lines) -> bytes:
    """The first line that is not empty; it shows whether the file is text at all."""
    first = lines.next()
    if first is None:
        raise UnreadableFile("The file is empty.")
    for magic, kind in _NOT_TEXT.items():
        if first.startswith(magic):
            raise UnreadableFile(f"The file is {kind}.")
    if b"\0" in first[:BLOCK]:
        raise UnreadableFile("The file is no text: it holds NUL bytes. CSV and NDJSON in UTF-8 are read, also gzipped.")
    first = first.removeprefix(BOM)
    while not first.strip():
        following = lines.next()
        if following is None:
            raise UnreadableFile("The file holds nothing but empty lines.")
        first = following
    try:
        first.decode()
    except UnicodeDecodeError as error:
        raise UnreadableFile(_not_utf8(error, "The first line")) from error
    return first


def _format_of(file_name: str, first: bytes) -> FileFormat:
    name = file_name.lower().removesuffix(".gz")
    if name.endswith((".ndjson", ".jsonl")):
        return FileFormat.NDJSON
    if name.endswith((".csv", ".tsv")):
        return FileFormat.CSV
    return FileFormat.NDJSON if first.lstrip().startswith((b"{", b"[")) else FileFormat.CSV


def _csv_layout(source: ByteSource, first: bytes) -> Layout:
    if b"\r" in first.rstrip(b"\r\n"):
        raise UnreadableFile("The lines end in CR alone, as on old Macs. Save the file as “CSV UTF-8”.")
    text = first.decode()
    delimiter = max(DELIMITERS, key=lambda one: (len(next(csv.reader([text], delimiter=one), [])), one == ","))
    rows = CsvRows(source, Layout(FileFormat.CSV, delimiter), at=0, number=0, ordinal=0)
    for cells, fault in rows.records():
        if fault is not None:
            raise UnreadableFile(f"The header cannot be read: {fault.detail}")
        if any(cells):
            break
    header = tuple(cell.strip() for cell in cells)
    if len(header) > MOST_COLUMNS:
        raise UnreadableFile(f"The file has {len(header):,} columns; at most {MOST_COLUMNS:,} are read.")
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise UnreadableFile(f"Two columns are named “{twice[0]}”. Rename one of them.")
    return Layout(FileFormat.CSV, delimiter, header, rows.lines.offset, rows.number)


def read_rows(source: ByteSource, layout: Layout, *, at: int, number: int, ordinal: int) -> Iterator[ReadRow]:
    """Read on from an offset where a row begins; ``number`` and ``ordinal`` are those of the row before it."""
    if layout.file_format == FileFormat.CSV:
        return CsvRows(source, layout, at=at, number=number, ordinal=ordinal).read()
    return _ndjson_rows(source, at=at, number=number, ordinal=ordinal)


class CsvRows:
    """The records of a CSV file. A quoted cell may span lines, so a record is what the CSV reader makes of them."""

    def __init__(self, source: ByteSource, layout: Layout, *, at: int, number: int, ordinal: int) -> None:
        self.lines = Lines(source, at)
        self.layout = layout
        self.number = number
        self.ordinal = ordinal
        self.taken: list[bytes] = []
        self.taken_bytes = 0

    def read(self) -> Iterator[ReadRow]:
        header = self.layout.header
        start = self.lines.offset
        for cells, fault in self.records():
            end = self.lines.offset
            rows: tuple[Row, ...] = ()
            if fault is None and any(cells):
                if len(cells) == len(header):
                    self.ordinal += 1
                    record = {name: cell for name, cell in zip(header, cells, strict=True) if name}
                    rows = (Row(self.number, self.ordinal, record),)
                else:
                    fault = Fault(None, "wrong_cell_count", _wrong_count(len(cells), len(header)))
            if fault is not None:
                self.ordinal += 1
            if rows or fault is not None:
                yield ReadRow(rows, fault, self.number, start, end)
            start = end

    def records(self) -> Iterator[tuple[list[str], Fault | None]]:
        """Every record, empty ones too, or what is wrong with it. ``number`` is the record's when it is given."""
        reader = self._reader()
        while True:
            self.taken, self.taken_bytes = [], 0
            try:
                cells = next(reader)
            except StopIteration:
                return
            except _TooLong:
                self.number += 1
                self._leave_record()
                yield [], Fault(None, "row_too_long", _too_long(has_quote=len(self.taken) > 1))
                reader = self._reader()
            except UnicodeDecodeError as error:
                self.number += 1
                yield [], Fault(None, "not_utf8", _not_utf8(error, "The row"))
                reader = self._reader()
            except csv.Error as error:
                self.number += 1
                if len(self.taken) > 1:
                    self._leave_record()
                yield [], Fault(None, "invalid_csv", _csv_advice(error))
                reader = self._reader()
            else:
                self.number += 1
                if any(b"\0" in line for line in self.taken):
                    yield [], Fault(None, "nul", "The row holds a NUL character. Remove it.")
                else:
                    yield cells, None

    def _reader(self) -> Any:
        return csv.reader(self._texts(), delimiter=self.layout.delimiter, strict=True)

    def _texts(self) -> Iterator[str]:
        while (line := self.lines.next()) is not None:
            is_first = self.lines.offset == len(line)
            self.taken.append(line)
            self.taken_bytes += len(line)
            if self.taken_bytes > LONGEST_ROW:
                raise _TooLong
            yield (line.removeprefix(BOM) if is_first else line).decode()

    def _leave_record(self) -> None:
        """Go on behind the record's first line: a quote that is never closed swallows no more than that."""
        self.lines.give_back(self.taken[1:])


def _ndjson_rows(source: ByteSource, *, at: int, number: int, ordinal: int) -> Iterator[ReadRow]:
    lines = Lines(source, at)
    start = at
    while (line := lines.next()) is not None:
        number += 1
        end = lines.offset
        if line.strip() and line.strip() != BOM:
            found = _records(line.removeprefix(BOM) if start == 0 else line)
            if isinstance(found, Fault):
                ordinal += 1
                yield ReadRow((), found, number, start, end)
            else:
                rows = tuple(Row(number, ordinal + place, record) for place, record in enumerate(found, start=1))
                ordinal += len(rows)
                yield ReadRow(rows, None, number, start, end)
        start = end


def _records(line: bytes) -> list[dict[str, Any]] | Fault:
    if len(line) > LONGEST_ROW:
        return Fault(None, "row_too_long", _too_long(has_quote=False))
    if b"\0" in line:
        return Fault(None, "nul", "The line holds a NUL character. Remove it.")
    try:
        value = _decode(line)
    except UnicodeDecodeError as error:
        return Fault(None, "not_utf8", _not_utf8(error, "The line"))
    except (msgspec.DecodeError, RecursionError) as error:
        return Fault(None, "invalid_json", f"The line is no valid JSON: {error}. Write one object on each line.")
    if not isinstance(value, dict):
        return Fault(None, "not_an_object", "The line is no JSON object. Write one object on each line.")
    return list(spans(value)) if "resourceSpans" in value else [with_attributes(value)]


def _wrong_count(found: int, expected: int) -> str:
    cells = "cell" if found == 1 else "cells"
    return (
        f"The row has {found:,} {cells}, the header {expected:,}. A comma inside a text needs quotes around the text; "
        "a cell without a value is still there, empty."
    )


def _too_long(*, has_quote: bool) -> str:
    megabytes = LONGEST_ROW // 1024 // 1024
    if has_quote:
        return f"A quote opens in this row and does not close within {megabytes} MiB. Close it, or double it."
    return f"The row is longer than {megabytes} MiB."


def _csv_advice(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "A quote opens in this row and is never closed. Close it, or double it where it belongs to the text."
    if "expected after" in text:
        return 'There is text behind a closing quote. Double a quote that belongs to the text: "a ""b"" c".'
    if "new-line character" in text:
        return "There is a carriage return inside a cell. Put the cell in quotes."
    if "field limit" in text:
        return f"A cell is longer than {csv.field_size_limit():,} characters."
    return f"The row is no valid CSV: {text}."


def _not_utf8(error: UnicodeDecodeError, what: str) -> str:
    byte = bytes(error.object)[error.start]
    return f"{what} is not in UTF-8 (byte 0x{byte:02X}). Save the file as “CSV UTF-8”."


def unpacked(file: io.BufferedIOBase | Any) -> Iterator[bytes]:
    """The bytes of an upload, in blocks, unpacked where it is gzip. Raises UnreadableFile when that breaks off."""
    head = file.read(2)
    file.seek(0)
    opened = gzip.GzipFile(fileobj=file) if head == GZIP_MAGIC else file
    try:
        while block := opened.read(BLOCK):
            yield block
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UnreadableFile(broken_gzip(error)) from error
