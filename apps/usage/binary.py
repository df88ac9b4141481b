"""PostgreSQL arrays in the binary wire format, made in one pass.

A batch travels as one array for each column. The general array adapter looks at each element in turn; these
know their element type and are several times faster, which counts on a path that is run for every event.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from psycopg import Cursor
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

Value = TypeVar("Value", int, int | None, bytes | None)

_HEADER = struct.Struct(">iiIii")
_NULL = b"\xff\xff\xff\xff"
_UUID = b"\0\0\0\x10"
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


class TimestamptzArray(BinaryArray):
    pass


def smallints(values: Sequence[int]) -> SmallintArray:
    return SmallintArray(_elements(21, values, lambda value: _int16(2, value)))


def integers(values: Sequence[int]) -> IntegerArray:
    return IntegerArray(_elements(23, values, lambda value: _int32(4, value)))


def bigints(values: Sequence[int | None]) -> BigintArray:
    return BigintArray(_elements(20, values, _bigint))


def timestamps(microseconds_since_2000: Sequence[int | None]) -> TimestamptzArray:
    """Instants as PostgreSQL keeps them: microseconds since the year 2000 began in UTC."""
    return TimestamptzArray(_elements(1184, microseconds_since_2000, _bigint))


def texts(values: Sequence[bytes | None]) -> TextArray:
    """Texts, already encoded as UTF-8."""
    return TextArray(_elements(25, values, _text))


def uuids(values: Sequence[bytes]) -> UuidArray:
    """UUIDs as their 16 bytes. One length stands before each, so that joining makes the array."""
    return UuidArray(_array(2950, [_UUID + _UUID.join(values)], len(values)) if values else _array(2950, []))


def register(cursor: Cursor[tuple[Any, ...]]) -> None:
    """Teach the cursor to send these arrays."""
    for kind, dumper in _DUMPERS.items():
        cursor.adapters.register_dumper(kind, dumper)


def _bigint(value: int | None) -> bytes:
    return _NULL if value is None else _int64(8, value)


def _text(value: bytes | None) -> bytes:
    return _NULL if value is None else _length(len(value)) + value


def _elements(element_oid: int, values: Sequence[Value], element: Callable[[Value], bytes]) -> bytes:
    """An array of values, of which batches have few: one source, some types and customers, one instant."""
    distinct = set(values)
    if len(distinct) == 1:
        return _array(element_oid, [element(values[0]) * len(values)], len(values))
    if len(distinct) < len(values) // 2:
        known = {value: element(value) for value in distinct}
        return _array(element_oid, [known[value] for value in values])
    return _array(element_oid, [element(value) for value in values])


def _array(element_oid: int, elements: Sequence[bytes], size: int | None = None) -> bytes:
    if not elements:
        return struct.pack(">iiI", 0, 0, element_oid)
    return _HEADER.pack(1, 1, element_oid, len(elements) if size is None else size, 1) + b"".join(elements)


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
    TimestamptzArray: _dumper(1185),
}
