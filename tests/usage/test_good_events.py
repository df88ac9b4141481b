"""The short way for good events accepts nothing that the full check would not, and the same values."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from apps.usage.cloudevents import NotJson, Rules, check_events, decode_json
from apps.usage.events import EventInput
from apps.usage.good_events import good_events

NOW = dt.datetime(2026, 1, 31, 12, 0, tzinfo=dt.UTC)
RULES = Rules(
    now=NOW,
    earliest=NOW - dt.timedelta(days=1830),
    latest=NOW + dt.timedelta(hours=24),
    summed={"llm.completion": frozenset({"input_tokens", "seconds"}), "counted": frozenset()},
)
GOOD = {
    "specversion": "1.0",
    "id": "0198c2f0-5b1e-7cc0-8f6e-2f3b0f3e9a11",
    "source": "gateway",
    "type": "llm.completion",
    "subject": "acme",
    "time": "2026-01-31T11:00:00Z",
    "data": {"model": "large", "input_tokens": 1200, "cached": False, "region": None, "cost": 0.0125},
}


def thoroughly(body: bytes, *, requires_specversion: bool = True) -> list[EventInput] | None:
    """What the full check makes of a body: its events if it finds no fault."""
    try:
        decoded = decode_json(body)
    except NotJson:
        return None
    sent = decoded if isinstance(decoded, list) else [decoded]
    checked = check_events(sent, RULES, requires_specversion=requires_specversion)
    return None if checked.faults else checked.events


def exactly(events: list[EventInput]) -> list[str]:
    """As texts that tell 1 from 1.0 and from true, and one zone from another."""
    return [repr(event) for event in events]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"time": None},
        {"time": "2026-01-31T11:00:00.123456789Z"},
        {"time": "2026-01-31T11:00:00.5+02:00"},
        {"time": "2026-01-31 11:00:00-00:00"},
        {"data": None},
        {"data": {}},
        {"id": "ähnlich/7", "subject": "名前"},
        {"data": {"note": 'says "no"\n', "ünï": "ö\u00a0"}},
        {"data": {"tags": ["a", {"deep": [1]}], "seconds": "12.50"}},
        {"data": {"input_tokens": -5, "seconds": 1.5}},
        {"datacontenttype": "application/json", "traceparent": ["anything"]},
    ],
)
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_what_clients_really_send_goes_the_short_way(changes: dict[str, Any], ensure_ascii: bool) -> None:
    event = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    body = json.dumps([event], ensure_ascii=ensure_ascii).encode()
    expected = thoroughly(body)
    assert expected is not None
    good = good_events(body, RULES, requires_specversion=True)
    if b"\\" in body and "traceparent" in event:
        assert good is None
    else:
        assert good is not None
        assert exactly(good) == exactly(expected)


# --- Whatever is sent ------------------------------------------------------------------------------------------------

odd_characters = st.sampled_from(["\0", "\x1f", "\x7f", "\x85", "\u00a0", "\u2028", "\ud800", "\U0001f4b6", '"', "\\"])
texts = st.text(max_size=8) | st.text(odd_characters | st.characters(), max_size=6)
numbers = (
    st.integers(-(10**20), 10**20)
    | st.sampled_from([10**18, 10**18 - 1, 10**64, 10**64 - 1, -(10**64), 2**63, 2**64])
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["1e400", "1e-400", "1e100", "1e101", "0e9999", "1e18", "0." + "1" * 30, "0." + "1" * 31]).map(
        Decimal
    )
    | st.sampled_from(["0." + "1" * 64, "0." + "1" * 65, "1" * 64 + ".5", "-0.0", "1e-31", "1.50e-30"]).map(Decimal)
)
times = st.sampled_from(
    [
        "2026-01-31T11:00:00Z",
        "2026-01-31t11:00:00z",
        "2026-01-31 11:00:00.1Z",
        "2026-01-31T11:00:00.1234567899999Z",
        "2026-01-31T23:30:00-23:59",
        "2026-01-31T24:00:00Z",
        "2026-W05-6T11:00:00Z",
        "20260131T110000Z",
        "2026-01-31T11:00:60Z",
        "2026-02-30T11:00:00Z",
        "2026-01-31T11:00:00",
        "2026-01-31T11:00Z",
        "2026-01-31T11:00:00+00:00:30",
        "2026-01-31T11:00:00,5Z",
        "٢٠٢٦-01-31T11:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-02-01T12:00:00Z",
        "2026-02-01T12:00:00.000001Z",
        "2021-01-27T12:00:00Z",
        "2021-01-27T11:59:59.999999Z",
        "",
    ]
) | st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2027, 1, 1), timezones=st.just(dt.UTC)).map(dt.datetime.isoformat)  # noqa: DTZ001
values = st.none() | st.booleans() | numbers | texts | st.sampled_from(["12", "-3.5", "1e3", "٣", "1" * 19])
nested = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8
)
data = st.dictionaries(
    st.sampled_from(["input_tokens", "seconds", "model", "x" * 200, "x" * 201]) | texts, nested, max_size=6
)
hostile = {
    "specversion": st.sampled_from(["1.0", "0.3", None, 1]),
    "id": texts | st.sampled_from(["x" * 256, "x" * 257, "ü" * 256]) | values,
    "source": texts | st.sampled_from(["x" * 512, "x" * 513]) | values,
    "type": st.sampled_from(["llm.completion", "counted", "x" * 200, "x" * 201]) | texts | values,
    "subject": texts | values,
    "time": times | values,
    "data": data | st.dictionaries(st.sampled_from(["input_tokens", "cost", "model"]), values, max_size=3) | nested,
    "data_base64": values,
    "extension": nested,
    "data ": nested,
}
# Mostly good, so that the one odd thing decides.
one_change = st.sampled_from(sorted(hostile)).flatmap(lambda name: hostile[name].map(lambda value: {name: value}))
events = st.builds(
    lambda first, second, left_out: {k: v for k, v in {**GOOD, **first, **second}.items() if k != left_out},
    one_change,
    st.just({}) | st.just({}) | one_change,
    st.sampled_from(["nothing", "nothing", *sorted(GOOD)]),
)


def written(value: Any, *, ensure_ascii: bool) -> bytes:
    """As JSON, with decimals as numbers in every digit, and lone surrogates as whatever they become."""
    marks: dict[str, str] = {}

    def mark(number: object) -> str:
        assert isinstance(number, Decimal)
        name = f"@number-{len(marks)}@"
        marks[f'"{name}"'] = str(number)
        return name

    text = json.dumps(value, ensure_ascii=ensure_ascii, default=mark)
    for name, number in marks.items():
        text = text.replace(name, number)
    return text.encode(errors="surrogatepass")


def check_both_ways(body: bytes, requires_specversion: bool) -> None:
    good = good_events(body, RULES, requires_specversion=requires_specversion)
    if good is not None:
        expected = thoroughly(body, requires_specversion=requires_specversion)
        assert expected is not None
        assert exactly(good) == exactly(expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"time": "2026-02-01T12:00:00.000001Z"},
        {"time": "2021-01-27T11:59:59.999999Z"},
        {"time": "2026-W05-6T11:00:00Z"},
        {"time": "20260131T110000Z"},
        {"time": "2026-01-31T11:00Z"},
        {"time": "2026-01-31T11:00:00+00:00:30"},
        {"time": "2026-01-31T11:00:00,5Z"},
        {"data": {"note": "a\0b"}},
        {"data": {"deep": {"note": "a\0b"}}},
        {"data": {"text": "x" * 65_533}},
        {"data": {str(number): number for number in range(257)}},
        {"data": {"size": 10**64}},
        {"data": {"size": Decimal("1e101")}},
        {"data": {"size": Decimal("1e-101")}},
        {"data": {"size": Decimal("0." + "1" * 65)}},
        {"data": {"input_tokens": 10**18}},
        {"data": {"seconds": Decimal("1e-31")}},
        {"data": {"seconds": True}},
        {"data": [1]},
    ],
)
def test_what_the_full_check_refuses_the_short_way_does_not_take(changes: dict[str, Any]) -> None:
    body = written([{**GOOD, **changes}], ensure_ascii=False)
    assert thoroughly(body) is None
    assert good_events(body, RULES, requires_specversion=True) is None


@examples(max_examples=500)
@given(
    sent=st.lists(events, max_size=3) | events | nested, ensure_ascii=st.booleans(), requires_specversion=st.booleans()
)
def test_both_ways_agree_on_whatever_is_sent(sent: Any, ensure_ascii: bool, requires_specversion: bool) -> None:
    check_both_ways(written(sent, ensure_ascii=ensure_ascii), requires_specversion)


@examples(max_examples=300)
@given(
    sent=st.lists(events, min_size=1, max_size=2),
    ensure_ascii=st.booleans(),
    place=st.integers(0, 2000),
    put=st.binary(max_size=3)
    | st.sampled_from([b"\xed\xa0\x80", b"\xff", b"\x7f", b"\xc2\x85", b"\\", b'"', b"\0", b"01"]),
    cut=st.integers(0, 3),
)
@example([GOOD | {"extension": "X"}], False, 0, b"", 0)
def test_both_ways_agree_on_broken_bytes(sent: Any, ensure_ascii: bool, place: int, put: bytes, cut: int) -> None:
    body = written(sent, ensure_ascii=ensure_ascii)
    at = place % (len(body) + 1)
    check_both_ways(body[:at] + put + body[at + cut :], requires_specversion=True)


@pytest.mark.parametrize(
    "hidden", [rb'"\ud800"', b'"\xff"', b'"\xed\xa0\x80"', b"01", b"[" * 3000 + b"]" * 3000, b'"\0"']
)
def test_nothing_hides_in_an_attribute_that_is_not_kept(hidden: bytes) -> None:
    body = json.dumps([GOOD]).encode().replace(b'"subject"', b'"extension": ' + hidden + b', "subject"')
    assert thoroughly(body) is None
    assert good_events(body, RULES, requires_specversion=True) is None


@pytest.mark.parametrize("character", ["\x7f", "\x80", "\x85", "\x9f"])
@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_control_characters_that_need_no_escape_are_still_refused(name: str, character: str) -> None:
    for _ in range(2):  # What was refused once is not remembered as good.
        body = json.dumps([{**GOOD, name: f"a{character}"}], ensure_ascii=False).encode()
        assert good_events(body, RULES, requires_specversion=True) is None
    body = json.dumps([{**GOOD, "data": {f"a{character}": 1}}], ensure_ascii=False).encode()
    assert good_events(body, RULES, requires_specversion=True) is None


def test_a_long_source_is_not_remembered_as_a_good_name_of_a_property() -> None:
    long = "s" * 300
    assert good_events(json.dumps([{**GOOD, "source": long}]).encode(), RULES, requires_specversion=True) is not None
    body = json.dumps([{**GOOD, "data": {long: 1}}]).encode()
    assert good_events(body, RULES, requires_specversion=True) is None
