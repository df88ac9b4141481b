"""A definition tried on real recent events, before or after it is saved.

It looks at the newest events of the type only, so that it answers while somebody types. The number comes from
``measure_usage`` over the stretch that these events cover, as any other; why an event does not count comes from
``explain``.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from apps.billable_metrics.definitions import Aggregation, MetricDefinition
from apps.billable_metrics.measuring import Dimensions, Value, explain, measurer
from apps.billable_metrics.models import MetricVersion
from apps.customers.models import Customer
from apps.usage.metric_sql import quoted, readable_sql
from apps.usage.models import UsageEvent
from apps.usage.selectors import MeasuredUsage, UsageWindow, measure_usage

MOST_EVENTS = 1_000
MOST_CUSTOMERS = 10
TIMEOUT_MILLISECONDS = 3_000
ADD_UP = frozenset([Aggregation.COUNT, Aggregation.SUM])
# No row of a metric has this key, so nothing is read from the cache.
_NO_VERSION = -1
_MICROSECOND = dt.timedelta(microseconds=1)
# Without a customer no index leads to the newest events of a type, so ever longer stretches are looked through.
_STRETCHES = (dt.timedelta(minutes=10), dt.timedelta(hours=1), dt.timedelta(hours=6), dt.timedelta(days=1))


class TooSlow(Exception):
    """The database was stopped: a preview that takes seconds is none."""


@dataclass(frozen=True, slots=True)
class CountedEvent:
    event: UsageEvent
    value: Value
    dimensions: Dimensions


@dataclass(frozen=True, slots=True)
class LeftOutEvent:
    event: UsageEvent
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CustomerUsage:
    customer: Customer
    usage: MeasuredUsage


@dataclass(frozen=True, slots=True)
class Preview:
    """What a definition makes of the newest events of its type in a stretch of time.

    ``measured`` has the customers with the most of these events. ``is_cut`` tells that there are older ones in the
    stretch that was asked for, and ``unattributed`` how many of the events have no customer, for whom nothing is
    measured.
    """

    start_at: dt.datetime
    end_at: dt.datetime
    is_cut: bool
    counted: tuple[CountedEvent, ...]
    left_out: tuple[LeftOutEvent, ...]
    unattributed: int
    measured: tuple[CustomerUsage, ...]
    customer_count: int
    adds_up: bool
    sql: str

    @property
    def event_count(self) -> int:
        return len(self.counted) + len(self.left_out)


def preview_metric(
    definition: MetricDefinition, *, customer: Customer | None, since: dt.timedelta, now: dt.datetime
) -> Preview:
    """Try a definition on the events of one customer or of all. Raises TooSlow."""
    with _at_most(TIMEOUT_MILLISECONDS):
        start_at = now - since
        events = _newest_events(definition.event_type, customer, start_at, now)
        is_cut = len(events) > MOST_EVENTS
        if is_cut:
            events = events[:MOST_EVENTS]
            start_at = events[-1].occurred_at
        # Events may be a little ahead of the clock.
        end_at = max([now, *(event.occurred_at + _MICROSECOND for event in events[:1])])
        counts = Counter(event.customer_id for event in events)
        unattributed = counts.pop(None, 0)
        chosen = [pk for pk, _ in counts.most_common(MOST_CUSTOMERS) if pk is not None]
        measured = _measured(definition, [customer.pk] if customer else chosen, start_at, end_at, now)
    counted, left_out = _sorted_out(definition, events)
    return Preview(
        start_at=start_at,
        end_at=end_at,
        is_cut=is_cut,
        counted=tuple(counted),
        left_out=tuple(left_out),
        unattributed=unattributed,
        measured=measured,
        customer_count=len(counts),
        adds_up=definition.aggregation in ADD_UP,
        sql=_shown_sql(definition, customer, start_at, end_at),
    )


@contextmanager
def _at_most(milliseconds: int) -> Iterator[None]:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{milliseconds}ms"])
            yield
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise TooSlow from error
        raise


def _newest_events(
    event_type: str, customer: Customer | None, start_at: dt.datetime, now: dt.datetime
) -> list[UsageEvent]:
    """One more than a preview looks at, where there are so many: the newest first."""
    events = UsageEvent.objects.filter(type=event_type, voided_at=None).order_by("-occurred_at", "-id")
    events = events.select_related("customer")
    if customer is not None:
        events = events.filter(customer=customer)
    else:
        for stretch in _STRETCHES:
            if now - stretch > start_at:
                found = list(events.filter(occurred_at__gte=now - stretch)[: MOST_EVENTS + 1])
                if len(found) > MOST_EVENTS:
                    return found
    return list(events.filter(occurred_at__gte=start_at)[: MOST_EVENTS + 1])


def _measured(
    definition: MetricDefinition, customer_ids: list[int], start_at: dt.datetime, end_at: dt.datetime, now: dt.datetime
) -> tuple[CustomerUsage, ...]:
    version = MetricVersion.of(definition, pk=_NO_VERSION)
    customers = Customer.objects.in_bulk(customer_ids)
    usages = measure_usage(
        [UsageWindow(pk, version, start_at, end_at) for pk in customer_ids],
        stored_before=None,
        as_of=max(now, end_at),
        group_by=None,
    )
    return tuple(CustomerUsage(customers[pk], usage) for pk, usage in zip(customer_ids, usages, strict=True))


def _sorted_out(
    definition: MetricDefinition, events: list[UsageEvent]
) -> tuple[list[CountedEvent], list[LeftOutEvent]]:
    measure = measurer(definition)
    counted, left_out = [], []
    for event in events:
        found = measure(event.data)
        if found is None:
            left_out.append(LeftOutEvent(event, explain(definition, event.data)))
        else:
            dimensions, value = found
            counted.append(CountedEvent(event, value, dimensions))
    return counted, left_out


def _shown_sql(
    definition: MetricDefinition, customer: Customer | None, start_at: dt.datetime, end_at: dt.datetime
) -> str:
    where = [] if customer is None else [f"event.customer_id = {customer.pk}"]
    where += [
        f"event.occurred_at >= {quoted(start_at.isoformat())}",
        f"event.occurred_at < {quoted(end_at.isoformat())}",
        "event.voided_at IS NULL",
    ]
    return readable_sql(definition, where=where)
