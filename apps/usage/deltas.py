"""What stored events add to the usage cache, put together in Python before it is written.

A batch of a thousand events of a hundred customers becomes a few hundred rows. They are only ever appended, so that
no two batches wait for one another; a job folds them into buckets, and a read adds up both.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from apps.billable_metrics.catalogue import Measure
from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.formulas import EXACT
from apps.billable_metrics.measuring import Data, Dimensions
from apps.common.database import raw_cursor
from apps.usage import binary

EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # PostgreSQL's own.
HOUR = 3_600 * 10**6
DAY = 24 * HOUR

_exact_sum = EXACT.add
_exact_product = EXACT.multiply


class CountedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that was just stored or attributed. ``occurred`` and ``hour`` are in microseconds since 2000."""

    id: int
    customer_id: int
    occurred: int
    hour: int
    data: Data


class _State:
    """What the events of one bucket come to so far."""

    __slots__ = ("event_count", "highest", "latest", "latest_at", "latest_id", "lowest", "time_total", "total")

    def __init__(self) -> None:
        self.event_count = 0
        self.total: int | Decimal | None = None
        self.time_total: int | Decimal | None = None
        self.lowest: int | Decimal | None = None
        self.highest: int | Decimal | None = None
        self.latest: int | Decimal | None = None
        self.latest_at: int | None = None
        self.latest_id: int | None = None


def _add_to_total(state: _State, value: Any, _: CountedEvent) -> None:
    total = state.total
    if total is None:
        state.total = value
    elif type(value) is int and type(total) is int:
        state.total = total + value
    else:
        state.total = _exact_sum(total, value)


def _add_over_time(state: _State, value: Any, event: CountedEvent) -> None:
    _add_to_total(state, value, event)
    product = value * event.occurred if type(value) is int else _exact_product(value, event.occurred)
    state.time_total = _exact_sum(state.time_total or 0, product)


def _widen(state: _State, value: Any, _: CountedEvent) -> None:
    if state.lowest is None or value < state.lowest:
        state.lowest = value
    if state.highest is None or value > state.highest:
        state.highest = value


def _supersede(state: _State, value: Any, event: CountedEvent) -> None:
    if state.latest_at is None or (event.occurred, event.id) > (state.latest_at, state.latest_id):
        state.latest, state.latest_at, state.latest_id = value, event.occurred, event.id


def _add_level(state: _State, value: Any, event: CountedEvent) -> None:
    _widen(state, value, event)
    _supersede(state, value, event)


# None: the number of events is all.
_ADD: dict[Aggregation, Callable[[_State, Any, CountedEvent], None] | None] = {
    Aggregation.COUNT: None,
    Aggregation.UNIQUE_COUNT: None,
    Aggregation.SUM: _add_to_total,
    Aggregation.AVERAGE: _add_to_total,
    Aggregation.MAX: _add_level,
    Aggregation.MIN: _add_level,
    Aggregation.LATEST: _supersede,
    Aggregation.TIME_WEIGHTED_SUM: _add_over_time,
}

_Key = tuple[int, int, int, Dimensions]


class Deltas:
    """Collects what events add, and writes it at once."""

    def __init__(self) -> None:
        self._states: dict[_Key, _State] = {}
        self._values: dict[tuple[int, int, int, Dimensions, str], list[int]] = {}

    def add(self, events: Iterable[CountedEvent], measures: Sequence[Measure]) -> None:
        """Add events of one type, measured by ``measures``."""
        chosen = list(events)
        for measure in measures:
            if measure.is_mergeable:
                self._add(chosen, measure)

    def _add(self, events: Sequence[CountedEvent], measure: Measure) -> None:
        states, measure_data = self._states, measure.measure
        version_id, add = measure.version_id, _ADD[measure.aggregation]
        for event in events:
            measured = measure_data(event.data)
            if measured is None:
                continue
            dimensions, value = measured
            key = (event.customer_id, version_id, event.hour, dimensions)
            state = states.get(key)
            if state is None:
                state = states[key] = _State()
            state.event_count += 1
            if add is not None:
                add(state, value, event)
            elif type(value) is str:
                self._add_value(event, version_id, dimensions, value)

    def _add_value(self, event: CountedEvent, version_id: int, dimensions: Dimensions, value: str) -> None:
        day = event.occurred - event.occurred % DAY
        seen = self._values.setdefault((event.customer_id, version_id, day, dimensions, value), [])
        seen[:] = [min([event.occurred, *seen]), max([event.occurred, *seen])]

    def write(self, *, stamp: dt.datetime) -> None:
        """Append the rows. ``stamp`` is the instant at which this transaction stores or attributes events."""
        if self._states:
            with raw_cursor() as cursor:
                binary.register(cursor)
                cursor.execute(_WRITE_STATES, [stamp, *_state_columns(self._states)], prepare=True)
        if self._values:
            with raw_cursor() as cursor:
                binary.register(cursor)
                cursor.execute(_WRITE_VALUES, [stamp, *_value_columns(self._values)], prepare=True)


_WRITE_STATES = """
    INSERT INTO usage_delta (stamp, customer_id, metric_version_id, hour, dims, event_count, total, time_total,
                             lowest, highest, latest, latest_at, latest_id)
    SELECT %b::timestamptz, customer_id, metric_version_id, hour, dims::text[], event_count, total::numeric,
           time_total::numeric, lowest::numeric, highest::numeric, latest::numeric, latest_at, latest_id
    FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b) AS state(
        customer_id, metric_version_id, hour, dims, event_count, total, time_total, lowest, highest, latest,
        latest_at, latest_id
    )
"""

_WRITE_VALUES = """
    INSERT INTO usage_value_delta (stamp, customer_id, metric_version_id, day, dims, value, first_at, last_at)
    SELECT %b::timestamptz, customer_id, metric_version_id, day, dims::text[], value, first_at, last_at
    FROM unnest(%b, %b, %b, %b, %b, %b, %b) AS seen(
        customer_id, metric_version_id, day, dims, value, first_at, last_at
    )
"""


def _state_columns(states: dict[_Key, _State]) -> list[binary.BinaryArray]:
    keys, rows = list(states), list(states.values())
    return [
        binary.bigints([key[0] for key in keys]),
        binary.bigints([key[1] for key in keys]),
        binary.timestamps([key[2] for key in keys]),
        binary.texts([array_text(key[3]) for key in keys]),
        binary.bigints([row.event_count for row in rows]),
        _numerics([row.total for row in rows]),
        _numerics([row.time_total for row in rows]),
        _numerics([row.lowest for row in rows]),
        _numerics([row.highest for row in rows]),
        _numerics([row.latest for row in rows]),
        binary.timestamps([row.latest_at for row in rows]),
        binary.bigints([row.latest_id for row in rows]),
    ]


def _value_columns(values: dict[tuple[int, int, int, Dimensions, str], list[int]]) -> list[binary.BinaryArray]:
    keys, seen = list(values), list(values.values())
    return [
        binary.bigints([key[0] for key in keys]),
        binary.bigints([key[1] for key in keys]),
        binary.timestamps([key[2] for key in keys]),
        binary.texts([array_text(key[3]) for key in keys]),
        binary.uuids([value_key(key[4]) for key in keys]),
        binary.timestamps([first for first, _ in seen]),
        binary.timestamps([last for _, last in seen]),
    ]


def _numerics(values: Sequence[int | Decimal | None]) -> binary.TextArray:
    """Numbers as text, which PostgreSQL reads with every digit."""
    return binary.texts([None if value is None else str(value).encode() for value in values])


def value_key(text: str) -> bytes:
    """What tells distinct values apart: 128 bits of SHA-256, as ``usage_value_key`` has it in SQL."""
    return hashlib.sha256(text.encode()).digest()[:16]


def array_text(dimensions: Dimensions) -> bytes:
    """Dimensions as PostgreSQL writes an array."""
    if not dimensions:
        return b"{}"
    members = ("NULL" if text is None else _quoted_member(text) for text in dimensions)
    return f"{{{','.join(members)}}}".encode()


def _quoted_member(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
