"""PostgreSQL arrays in the binary wire format, made in one pass.

A batch travels as one array for each column. The general array adapter looks at each element in turn; these
know their element type and are several times faster, which counts on a path that is run for every event.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEADER = struct.Struct(">iiIii")
_NULL = b"\xff\xff\xff\xff"
_length = struct.Struct(">i").pack
_int16 = struct.Struct(">ih").pack
_int32 = struct.Struct(">ii").pack
_int64 = struct.Struct(">iq").pack


class BinaryArray(bytes):
    """An array as it goes over the wire."""


class SmallintArray(BinaryArray):
    pass


class IntegerArray(BinaryArray):
    pass


class BigintArray(BinaryArray):
    pass


class TextArray(BinaryArray):
    pass


class UuidArray(BinaryArray):
    pass


class ByteaArray(BinaryArray):
    pass


class TimestamptzArray(BinaryArray):
    pass


def smallints(values: Iterable[int]) -> SmallintArray:
    return SmallintArray(_array(21, [_int16(2, value) for value in values]))


def integers(values: Iterable[int]) -> IntegerArray:
    return IntegerArray(_array(23, [_int32(4, value) for value in values]))


def bigints(values: Iterable[int | None]) -> BigintArray:
    return BigintArray(_array(20, [_NULL if value is None else _int64(8, value) for value in values]))


def timestamps(microseconds_since_2000: Iterable[int]) -> TimestamptzArray:
    """Instants as PostgreSQL keeps them: microseconds since the year 2000 began in UTC."""
    return TimestamptzArray(_array(1184, [_int64(8, value) for value in microseconds_since_2000]))


def texts(values: Iterable[bytes]) -> TextArray:
    """Texts, already encoded as UTF-8."""
    return TextArray(_array(25, [_length(len(value)) + value for value in values]))


def uuids(values: Iterable[bytes]) -> UuidArray:
    return UuidArray(_array(2950, [b"\0\0\0\x10" + value for value in values]))


def byteas(values: Iterable[bytes]) -> ByteaArray:
    return ByteaArray(_array(17, [_length(len(value)) + value for value in values]))


def register(cursor: Cursor[tuple[Any, ...]]) -> None:
    """Teach the cursor to send these arrays."""
    for kind, dumper in _DUMPERS.items():
        cursor.adapters.register_dumper(kind, dumper)


def _array(element_oid: int, elements: Sequence[bytes]) -> bytes:
    header = _HEADER.pack(1, 1, element_oid, len(elements), 1)
    return header + b"".join(elements)


def _dumper(array_oid: int) -> type[Dumper]:
    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = array_oid

        def dump(self, obj: BinaryArray) -> Buffer:
            return obj

    return ArrayDumper


_DUMPERS: dict[type[BinaryArray], type[Dumper]] = {
    SmallintArray: _dumper(1005),
    IntegerArray: _dumper(1007),
    BigintArray: _dumper(1016),
    TextArray: _dumper(1009),
    UuidArray: _dumper(2951),
    ByteaArray: _dumper(1001),
    TimestamptzArray: _dumper(1185),
}
