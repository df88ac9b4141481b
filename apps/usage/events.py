"""Usage events as values: what a caller hands in, and the key and hash that tell a repeat from a conflict."""

from __future__ import annotations

import datetime as dt
import decimal
import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

# Wide enough for any number that may be stored, so that normalising rounds nothing.
_EXACT = decimal.Context(
    prec=200, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX, traps=[decimal.InvalidOperation, decimal.Inexact]
)
LARGEST_EXPONENT = 100  # Numbers lie within 1e±100; beyond, a short text would unfold into a huge number.
_MOST_DECIMALS = 200

_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode
_is_canonical_uuid = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII).fullmatch
_ENCODED_AS_THEY_ARE = frozenset([str, int, bool, type(None)])


class ExactDecoder(json.JSONDecoder):
    """Reads stored data with every digit: a float would show other numbers than were sent."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(parse_float=Decimal, **kwargs)


class EventInput(msgspec.Struct, frozen=True, gc=False):
    """One event to store. ``(source, event_id)`` makes it unique; ``data`` holds no float and no NUL.

    ``occurred_at`` is aware. The API checks events in ``cloudevents``; other callers hand in what they know
    to be good.
    """

    source: str
    event_id: str
    type: str
    subject: str
    occurred_at: dt.datetime
    data: Mapping[str, Any]


def canonical_json(data: Mapping[str, Any]) -> bytes:
    """One text for one meaning: keys sorted, and 1, 1.0 and 1e0 written alike.

    Raises TypeError for a float, which is not exact, and ValueError for a number out of range.
    """
    for value in data.values():
        kind = type(value)
        if kind not in _ENCODED_AS_THEY_ARE and not (kind is Decimal and _is_normal(value)):
            return _encode(_normalised(data))
    return _encode(data)


def readable_json(data: Mapping[str, Any]) -> str:
    """Data as people read it: keys sorted, indented, numbers with every digit."""
    return msgspec.json.format(_encode(data), indent=2).decode()


def key_of(event_id: str) -> tuple[int, bytes]:
    """Return kind and 16 bytes: a canonical UUID as it is, so that its order survives, else a hash."""
    if _is_canonical_uuid(event_id):
        return 0, bytes.fromhex(event_id.replace("-", ""))
    return 1, hashlib.blake2b(event_id.encode(), digest_size=16).digest()


def payload_hash(event: EventInput, data: bytes) -> bytes:
    """Sixteen bytes over type, subject and canonical data.

    The event time is left out: a client that retries may stamp the event anew, and means the same event.
    """
    head = f"{event.type}\0{event.subject}\0".encode()
    return hashlib.blake2b(head + data, digest_size=16).digest()


def _is_normal(number: Decimal) -> bool:
    """Whether the number is written as its normal form is: a fraction without trailing zeros and without exponent."""
    text = str(number)
    return "." in text and text[-1] != "0" and "E" not in text and len(text) <= _MOST_DECIMALS


def _normalised(value: Any) -> Any:
    kind = type(value)
    if kind in _ENCODED_AS_THEY_ARE:
        return value
    if kind is Decimal:
        return _normalised_number(value)
    if isinstance(value, Mapping):
        return {
            key: member if type(member) in _ENCODED_AS_THEY_ARE else _normalised(member)
            for key, member in value.items()
        }
    if isinstance(value, list | tuple):
        return [_normalised(member) for member in value]
    raise TypeError(f"{kind.__name__} has no place in the data of a usage event")


def _normalised_number(number: Decimal) -> int | Decimal:
    try:
        plain = number.normalize(_EXACT)
    except decimal.Inexact as error:
        raise ValueError("a number has too many digits") from error
    exponent = plain.as_tuple().exponent
    if not isinstance(exponent, int) or not -_MOST_DECIMALS <= exponent <= LARGEST_EXPONENT:
        raise ValueError(f"{number} is out of range")
    return int(plain) if exponent >= 0 else plain
