"""CloudEvents 1.0 as they arrive, into events to store, or into a list of all that is wrong with them.

One validator for every form, which finds all faults. What is good as a rule goes through ``good_events`` first,
which is several times faster and accepts nothing that this would not.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import msgspec

from apps.common.errors import BillingError
from apps.common.problems import Fault, InvalidBatch
from apps.usage.events import LARGEST_EXPONENT, EventInput

LONGEST = {"id": 256, "source": 512, "type": 200, "subject": 256}
LONGEST_NAME = 200
MOST_PROPERTIES = 256  # In one event, at all depths; list members count as well.
MOST_CHARACTERS = 65_536  # In the names and texts of one event's data.
DEEPEST = 8
MOST_DIGITS = 64
# A number that a metric adds up: far beyond any real quantity, and still exact in every sum.
SUMMED_BELOW = 10**18
SUMMED_DECIMALS = 30

LARGEST_INTEGER: int = 10**MOST_DIGITS
has_control = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
has_unstorable = re.compile("[\x00\ud800-\udfff]").search
is_rfc3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,12})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
).fullmatch
_is_plain_number = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,30})?").fullmatch
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class NotJson(BillingError):
    code = "invalid_json"
    status = 400


class BatchTooLarge(BillingError):
    code = "batch_too_large"
    status = 413

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"The batch has {size:,} events; at most {limit:,} are taken at once. Send it in parts.")


@dataclass(frozen=True, slots=True)
class Rules:
    """What the validator holds events against. ``now`` stands in for a missing time.

    ``summed`` names, for each measured event type, the properties that a metric adds up.
    """

    now: dt.datetime
    earliest: dt.datetime
    latest: dt.datetime
    summed: Mapping[str, frozenset[str]]


@dataclass(slots=True)
class CheckedEvents:
    """The good events with their places in what was sent, and all faults of the others."""

    events: list[EventInput] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def require_all(self) -> None:
        """Raise InvalidBatch, with every fault, unless all events are good."""
        if self.faults:
            wrong = len({fault.index for fault in self.faults})
            total = wrong + len(self.events)
            raise InvalidBatch(
                f"{wrong:,} of {total:,} events cannot be taken as they are. Nothing was stored.",
                errors=self.faults,
            )


def decode_json(body: bytes) -> Any:
    """Decode JSON with every fraction as an exact Decimal. Raises NotJson."""
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJson(f"The body is not valid JSON: {error}.") from error


def binary_event(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """The event of a binary-mode request: attributes from ``ce-`` headers in lower case, the body as data."""
    event: dict[str, Any] = {name[3:]: unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    event["data"] = decode_json(body) if body else None
    return event


def check_events(sent: Sequence[Any], rules: Rules, *, requires_specversion: bool = True) -> CheckedEvents:
    """Check every event. One that is faulty is left out, with all its faults listed.

    CloudEvents demands ``specversion``; the plain JSON form and the forms of other products do without.
    """
    checked = CheckedEvents()
    for index, event in enumerate(sent):
        faults: list[Fault] = []
        good = _check(event, rules, faults, requires_specversion)
        if good is not None:
            checked.events.append(good)
            checked.indexes.append(index)
        else:
            checked.faults.extend(Fault(fault.field, fault.code, fault.detail, index=index) for fault in faults)
    return checked


def _check(event: Any, rules: Rules, faults: list[Fault], requires_specversion: bool) -> EventInput | None:
    """Return the event to store, or None with its faults added to ``faults``."""
    if type(event) is not dict:
        faults.append(Fault(None, "not_an_object", "An event is a JSON object."))
        return None
    version = event.get("specversion")
    if version != "1.0" and (version is not None or requires_specversion):
        code, verb = ("required", "Send") if version is None else ("unsupported", "Use")
        faults.append(Fault("specversion", code, f"{verb} specversion “1.0”; no other version is supported."))
    event_id: Any = event.get("id")
    source: Any = event.get("source")
    event_type: Any = event.get("type")
    subject: Any = event.get("subject")
    for name, value in (("id", event_id), ("source", source), ("type", event_type), ("subject", subject)):
        if type(value) is not str or not value or len(value) > LONGEST[name] or not value.isprintable():
            faults.extend(_text_faults(name, value))
    occurred_at = _time(event.get("time"), rules, faults)
    data = event.get("data")
    if data is None:
        data = {}
        if event.get("data_base64") is not None:
            faults.append(Fault("data_base64", "unsupported", "Send the data as a JSON object in “data”."))
    elif type(data) is not dict:
        faults.append(Fault("data", "not_an_object", "The data of an event is a JSON object."))
        data = {}
    elif data:
        faults.extend(data_faults(data))
        # The type may be at fault itself and not even be a text.
        summed = rules.summed.get(event_type) if type(event_type) is str else None
        if summed:
            faults.extend(summed_faults(data, summed))
    if faults or occurred_at is None:
        return None
    return EventInput(source, event_id, event_type, subject, occurred_at, data)


def _text_faults(name: str, value: Any) -> Iterator[Fault]:
    """Say what is wrong with a required text; unusual spaces and the like are no fault."""
    if value is None or value == "":
        yield Fault(name, "required", f"An event needs a non-empty “{name}”.")
    elif type(value) is not str:
        yield Fault(name, "not_a_text", f"“{name}” is a text.")
    elif len(value) > LONGEST[name]:
        yield Fault(name, "too_long", f"“{name}” has at most {LONGEST[name]} characters.")
    elif has_control(value):
        yield Fault(name, "invalid_characters", f"“{name}” may have no control characters or lone surrogates.")


def _time(value: Any, rules: Rules, faults: list[Fault]) -> dt.datetime | None:
    """The event time in UTC, to the microsecond; None with a fault added when it cannot be taken."""
    if value is None:
        return rules.now
    if type(value) is not str or not is_rfc3339(value):
        faults.append(
            Fault("time", "invalid_time", "Send the time as RFC 3339 with a zone, such as 2026-01-31T12:00:00Z.")
        )
        return None
    try:
        instant = dt.datetime.fromisoformat(value.upper()).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        faults.append(Fault("time", "invalid_time", f"“{value}” is no time of any day."))
        return None
    if instant < rules.earliest:
        faults.append(Fault("time", "too_old", f"Events before {rules.earliest:%Y-%m-%dT%H:%M:%SZ} are not taken."))
        return None
    if instant > rules.latest:
        faults.append(
            Fault("time", "in_the_future", f"Events after {rules.latest:%Y-%m-%dT%H:%M:%SZ} are not taken yet.")
        )
        return None
    return instant


def data_faults(data: dict[str, Any]) -> list[Fault]:
    """Limits on names and values. The loop settles flat data; lists and objects go to ``_Walk``."""
    characters = 0
    for name, value in data.items():
        kind = type(value)
        characters += len(name)
        if not name.isprintable() or len(name) > LONGEST_NAME:
            break
        if kind is str:
            characters += len(value)
            if not value.isprintable() and has_unstorable(value):
                break
        elif kind is int:
            if not -LARGEST_INTEGER < value < LARGEST_INTEGER:
                break
        elif kind is not bool and value is not None and (kind is not Decimal or not is_in_range(value)):
            break
    else:
        if characters <= MOST_CHARACTERS and len(data) <= MOST_PROPERTIES:
            return []
    walk = _Walk()
    walk.members("data", data, depth=1)
    return walk.faults


class _Walk:
    """A full look at the data of one event: finds every fault, at any depth."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.properties = 0
        self.characters = 0

    def members(self, path: str, value: dict[str, Any] | list[Any], depth: int) -> None:
        if depth > DEEPEST:
            self._add(path, "too_deep", f"Data is nested at most {DEEPEST} levels deep.")
            return
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, member in named:
            self.properties += 1
            if self.properties > MOST_PROPERTIES:
                self._add("data", "too_many_properties", f"Data has at most {MOST_PROPERTIES} properties.")
                return
            if isinstance(name, str):
                self._name(path, name)
            self._value(f"{path}.{_shown(name)}", member, depth)

    def _name(self, path: str, name: str) -> None:
        self._count(name)
        if len(name) > LONGEST_NAME:
            self._add(f"{path}.{_shown(name)}", "too_long", f"A name has at most {LONGEST_NAME} characters.")
        elif has_control(name):
            self._add(f"{path}.{_shown(name)}", "invalid_characters", "A name may have no control characters.")

    def _value(self, path: str, value: Any, depth: int) -> None:
        if isinstance(value, str):
            self._count(value)
            if has_unstorable(value):
                self._add(path, "invalid_characters", "A text may have no NUL character.")
        elif isinstance(value, dict | list):
            self.members(path, value, depth + 1)
        elif isinstance(value, int | Decimal) and not is_in_range(value):
            self._add(
                path,
                "number_out_of_range",
                f"A number has at most {MOST_DIGITS} digits and lies within 1e±{LARGEST_EXPONENT}.",
            )

    def _count(self, text: str) -> None:
        before, self.characters = self.characters, self.characters + len(text)
        if before <= MOST_CHARACTERS < self.characters:
            self._add("data", "too_large", f"Names and texts have at most {MOST_CHARACTERS:,} characters together.")

    def _add(self, path: str, code: str, detail: str) -> None:
        self.faults.append(Fault(path, code, detail))


def is_in_range(number: int | Decimal) -> bool:
    if isinstance(number, int):
        return -LARGEST_INTEGER < number < LARGEST_INTEGER
    if not number.is_finite():
        return False
    return number.is_zero() or (
        len(number.as_tuple().digits) <= MOST_DIGITS and abs(number.adjusted()) <= LARGEST_EXPONENT
    )


def summed_faults(data: Mapping[str, Any], summed: frozenset[str]) -> Iterator[Fault]:
    """A property that a metric adds up is a number, or a text that is one; it may be missing or null."""
    for name in summed:
        value = data.get(name)
        if value is None:
            continue
        kind = type(value)
        if kind is int:
            if -SUMMED_BELOW < value < SUMMED_BELOW:
                continue
        elif kind is Decimal:
            if not is_in_range(value) or _is_quantity(value):
                continue  # What is out of range altogether was named already.
        elif kind is not str or not _is_plain_number(value):
            yield Fault(
                f"data.{_shown(name)}",
                "not_a_number",
                f"“{name}” is added up by a metric: send a number, or a plain number as text.",
            )
            continue
        else:
            continue
        yield Fault(
            f"data.{_shown(name)}",
            "number_out_of_range",
            f"“{name}” is added up by a metric: it stays below 1e18 and has at most {SUMMED_DECIMALS} decimals.",
        )


def _is_quantity(number: Decimal) -> bool:
    if number.is_zero():
        return True
    _, digits, exponent = number.as_tuple()
    trailing_zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return abs(number) < SUMMED_BELOW and int(exponent) + trailing_zeros >= -SUMMED_DECIMALS


def _shown(name: str | int) -> str:
    """A property's name as an answer may show it: short, and without control characters."""
    text = str(name)
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:80])
