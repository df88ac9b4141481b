"""The short way for CloudEvents in which nothing is wrong, which is nearly all of them.

A typed decoder and a few comparisons for each event. Whatever is unusual in any way is left to ``cloudevents``,
which finds out whether it is a fault, and names it: this accepts only what that would accept, as the same values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec

from apps.usage.cloudevents import (
    LARGEST_INTEGER,
    LONGEST,
    LONGEST_NAME,
    MOST_CHARACTERS,
    MOST_DIGITS,
    MOST_PROPERTIES,
    SUMMED_BELOW,
    Rules,
    data_faults,
    has_control,
    has_unstorable,
    is_in_range,
    is_rfc3339,
    summed_faults,
)
from apps.usage.events import EventInput

# Sources, types, subjects and property names come again and again. Should someone send new ones with each event,
# memory stays bounded and only speed suffers.
MOST_REMEMBERED = 20_000


class _Event(msgspec.Struct, gc=False):
    """A CloudEvent whose attributes have the right types."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST["id"])]
    source: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST["source"])]
    type: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST["type"])]
    subject: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST["subject"])]
    specversion: Literal["1.0"] | None = None
    time: str | None = None
    data: dict[str, Any] | None = None
    data_base64: None = None


class _StrictEvent(_Event, gc=False, forbid_unknown_fields=True):
    """Where there are escapes, an attribute that the decoder skips might hide one that is no character."""


_decode_one = msgspec.json.Decoder(_Event, float_hook=Decimal).decode
_decode_many = msgspec.json.Decoder(list[_Event], float_hook=Decimal).decode
_decode_one_strictly = msgspec.json.Decoder(_StrictEvent, float_hook=Decimal).decode
_decode_many_strictly = msgspec.json.Decoder(list[_StrictEvent], float_hook=Decimal).decode

_good_texts: set[str] = set()  # sources, types and subjects
_good_names: set[str] = set()  # of properties


def good_events(body: bytes, rules: Rules, *, requires_specversion: bool) -> list[EventInput] | None:
    """The events in a body, an array or one object, if all of them are good; None if that takes a closer look."""
    is_escaped = b"\\" in body
    try:
        sent = _decoded(body, is_escaped)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    events = []
    for event in sent:
        if requires_specversion and event.specversion is None:
            return None
        good = _good_event(event, rules, is_escaped)
        if good is None:
            return None
        events.append(good)
    return events


def _decoded(body: bytes, is_escaped: bool) -> Sequence[_Event]:
    if not body.isascii():
        body.decode()  # The decoder does not look into attributes that it skips.
    first = body[:1]
    if first == b"[":
        return _decode_many_strictly(body) if is_escaped else _decode_many(body)
    return [_decode_one_strictly(body) if is_escaped else _decode_one(body)]


def _good_event(event: _Event, rules: Rules, is_escaped: bool) -> EventInput | None:
    event_id, source, event_type, subject, data = event.id, event.source, event.type, event.subject, event.data
    # JSON has no raw control character but U+007F to U+009F, which are not printable either.
    if not event_id.isprintable() and has_control(event_id):
        return None
    if (
        (source not in _good_texts and not _has_good_characters(source, _good_texts))
        or (event_type not in _good_texts and not _has_good_characters(event_type, _good_texts))
        or (subject not in _good_texts and not _has_good_characters(subject, _good_texts))
    ):
        return None
    occurred_at = _instant(event.time, rules) if event.time is not None else rules.now
    if occurred_at is None:
        return None
    if data is None:
        data = {}
    elif not (_is_good_data(data, is_escaped) or not data_faults(data)):
        return None
    summed = rules.summed.get(event_type)
    if summed and not _can_be_summed(data, summed):
        return None
    return EventInput(source, event_id, event_type, subject, occurred_at, data)


def _has_good_characters(text: str, remembered: set[str]) -> bool:
    if has_control(text):
        return False
    if len(remembered) >= MOST_REMEMBERED:
        remembered.clear()
    remembered.add(text)
    return True


def _instant(time: str, rules: Rules) -> dt.datetime | None:
    if not is_rfc3339(time):
        return None
    try:
        instant = dt.datetime.fromisoformat(time)
    except ValueError:
        return None
    if instant.tzinfo is not dt.UTC:
        if instant.tzinfo is None:
            return None
        try:
            instant = instant.astimezone(dt.UTC)
        except OverflowError:
            return None
    return instant if rules.earliest <= instant <= rules.latest else None


def _is_good_data(data: dict[str, Any], is_escaped: bool) -> bool:
    """Whether flat data is plainly good. False says nothing: there may be lists in it, or unusual numbers."""
    if len(data) > MOST_PROPERTIES:
        return False
    characters = 0
    for name, value in data.items():
        characters += len(name)
        if name not in _good_names and (len(name) > LONGEST_NAME or not _has_good_characters(name, _good_names)):
            return False
        kind = type(value)
        if kind is str:
            characters += len(value)
            if is_escaped and has_unstorable(value):
                return False
        elif kind is int:
            if not -LARGEST_INTEGER < value < LARGEST_INTEGER:
                return False
        elif kind is Decimal:
            if not _is_good_number(value):
                return False
        elif kind is not bool and value is not None:
            return False
    return characters <= MOST_CHARACTERS


def _is_good_number(number: Decimal) -> bool:
    # Written without an exponent, a number of so few characters cannot be out of range.
    text = str(number)
    return (len(text) <= MOST_DIGITS and "E" not in text) or is_in_range(number)


def _can_be_summed(data: Mapping[str, Any], summed: frozenset[str]) -> bool:
    for name in summed:
        value = data.get(name)
        if value is not None and not (type(value) is int and -SUMMED_BELOW < value < SUMMED_BELOW):
            return not any(summed_faults(data, summed))
    return True
