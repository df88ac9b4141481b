"""Reads over usage: what was measured, and by which events."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import psycopg
from django.db import connection
from django.db.models import Count, DecimalField, F, Func, Max, Min, QuerySet, TextField, Value
from django.db.models.functions import Cast

from apps.billable_metrics.models import Aggregation, BillableMetric
from apps.usage.events import key_of
from apps.usage.models import EventType, UsageEvent, UsageEventKey, UsageSource

# Quantities are exact to this many decimals, which is what an invoice line stores. A sum is formed exactly
# and rounded once, half away from zero, so numbers with more decimals lose nothing on the way.
QUANTITY_DECIMALS = 12

# The aggregate stands in a LATERAL of its own so that each window is read through the index on
# (customer, type, event time), in the partitions of its own months only. OFFSET 0 keeps the value from being
# computed twice. A count adds up ones.
_MEASURE = """
    SELECT round(coalesce(measured.quantity, 0), %b), measured.event_count
    FROM unnest(%b::bigint[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[])
         WITH ORDINALITY AS usage_window(customer_id, event_type, property, start_at, end_at, position)
    CROSS JOIN LATERAL (
        SELECT sum(matched.value) AS quantity, count(matched.value) AS event_count
        FROM (
            SELECT CASE WHEN usage_window.property IS NULL THEN 1
                        ELSE usage_number(event.data -> usage_window.property) END AS value
            FROM usage_event event
            WHERE event.customer_id = usage_window.customer_id
              AND event.type = usage_window.event_type
              AND event.occurred_at >= usage_window.start_at
              AND event.occurred_at < usage_window.end_at
              AND (%b::timestamptz IS NULL OR event.attributed_at < %b::timestamptz)
            OFFSET 0
        ) matched
    ) measured
    ORDER BY usage_window.position
"""

_NEXT_SUBJECTS = """
    WITH RECURSIVE step(subject) AS (
        (SELECT subject FROM usage_event WHERE customer_id IS NULL AND subject > %b::text
         ORDER BY subject LIMIT 1)
        UNION ALL
        SELECT (SELECT event.subject FROM usage_event event
                WHERE event.customer_id IS NULL AND event.subject > step.subject
                ORDER BY event.subject LIMIT 1)
        FROM step WHERE step.subject IS NOT NULL
    )
    SELECT subject FROM step WHERE subject IS NOT NULL LIMIT %b
"""


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """One metric of one customer over a half-open stretch of event time."""

    customer_id: int
    metric: BillableMetric
    start_at: dt.datetime
    end_at: dt.datetime


@dataclass(frozen=True, slots=True)
class MeasuredUsage:
    """What a window measured: the quantity in the metric's unit, and how many events it was formed of."""

    quantity: Decimal
    event_count: int


def measure_usage(windows: Sequence[UsageWindow], *, stored_before: dt.datetime | None) -> list[MeasuredUsage]:
    """Measure any number of windows with one statement; results are in the order of ``windows``.

    ``stored_before`` counts only events whose customer was known before that instant; None counts all there
    are. An event matches a count by its type, and a sum when its property holds a number.
    """
    if not windows:
        return []
    with raw_cursor() as cursor:
        cursor.execute(
            _MEASURE,
            [
                QUANTITY_DECIMALS,
                [window.customer_id for window in windows],
                [window.metric.event_type for window in windows],
                [_summed_property(window.metric) for window in windows],
                [window.start_at for window in windows],
                [window.end_at for window in windows],
                stored_before,
                stored_before,
            ],
        )
        return [MeasuredUsage(quantity=quantity, event_count=count) for quantity, count in cursor]


def unattributed_subjects(*, after: str, limit: int) -> list[str]:
    """Distinct subjects of events without a customer, in order, beginning behind ``after``.

    Steps from one subject to the next through the index; the number of events behind each costs nothing.
    """
    with raw_cursor() as cursor:
        cursor.execute(_NEXT_SUBJECTS, [after, limit])
        return [str(subject) for (subject,) in cursor]


def events_of(window: UsageWindow, *, stored_before: dt.datetime | None) -> QuerySet[UsageEvent]:
    """Exactly the events that ``measure_usage`` counts for the window; for a sum, each with its ``value``."""
    events: QuerySet[UsageEvent] = UsageEvent.objects.filter(
        customer_id=window.customer_id,
        type=window.metric.event_type,
        occurred_at__gte=window.start_at,
        occurred_at__lt=window.end_at,
    )
    if stored_before is not None:
        events = events.filter(attributed_at__lt=stored_before)
    summed = _summed_property(window.metric)
    if summed is not None:
        events = events.annotate(value=UsageNumber(summed)).filter(value__isnull=False)
    return events


class UsageNumber(Func):
    """The number in a property of an event's data, by the very SQL function that measuring uses."""

    function = "usage_number"
    arg_joiner = " -> "
    output_field: DecimalField[Decimal, Decimal] = DecimalField(max_digits=60, decimal_places=30)

    def __init__(self, value_property: str) -> None:
        super().__init__(F("data"), Cast(Value(value_property), TextField()))


@contextmanager
def raw_cursor() -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
    """A cursor that binds on the server, on Django's own connection and in its transaction.

    Django's cursors bind in the client; binary arrays, which this app lives on, need the server. Errors are raised
    as Django's, which is what callers catch.
    """
    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(cast("psycopg.Connection[tuple[Any, ...]]", connection.connection)) as cursor,
    ):
        yield cursor


def _summed_property(metric: BillableMetric) -> str | None:
    return metric.value_property if metric.aggregation == Aggregation.SUM else None


@dataclass(frozen=True, slots=True)
class UnattributedGroup:
    """Events of one subject and type that no customer could be found for. Times are event times."""

    subject: str
    type: str
    event_count: int
    first_at: dt.datetime
    last_at: dt.datetime


def unattributed_groups(*, after: str, limit: int) -> list[UnattributedGroup]:
    """The unattributed events of the next ``limit`` subjects behind ``after``, by subject and type."""
    groups = (
        UsageEvent.objects.unattributed()
        .filter(subject__in=unattributed_subjects(after=after, limit=limit))
        .order_by("subject", "type")
        .values_list("subject", "type")
        .annotate(Count("pk"), Min("occurred_at"), Max("occurred_at"))
    )
    return [UnattributedGroup(*group) for group in groups]


def unmeasured_types(*, limit: int) -> list[EventType]:
    """Event types that were seen and that no metric measures."""
    measured = BillableMetric.objects.values("event_type")
    return list(EventType.objects.exclude(name__in=measured).order_by("-first_seen_at", "name")[:limit])


def events_with_id(event_id: str) -> list[int]:
    """Primary keys of the events with this ID, of any source: by the key table, whatever their month."""
    kind, key = key_of(event_id)
    sources = UsageSource.objects.values("id")
    keys = UsageEventKey.objects.filter(source_id__in=sources, kind=kind, key=uuid.UUID(bytes=key))
    return list(keys.values_list("event_pk", flat=True))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one metric makes of one event; ``value`` None when its property holds no number."""

    metric: BillableMetric
    value: Decimal | None


def measurements_of(event: UsageEvent) -> list[Measurement]:
    """Every metric of the event's type, with what it counts for this event."""
    found = []
    for metric in BillableMetric.objects.filter(event_type=event.type).order_by("name", "id"):
        value: Decimal | None = Decimal(1)
        if metric.aggregation == Aggregation.SUM:
            events = UsageEvent.objects.filter(pk=event.pk, occurred_at=event.occurred_at)
            value = events.values_list(UsageNumber(metric.value_property), flat=True).get()
        found.append(Measurement(metric=metric, value=value))
    return found
