"""Which events, and which usage, an export holds."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from django.db.models import QuerySet

from apps.billable_metrics.models import BillableMetric, version_in_force
from apps.common.errors import InvalidInput
from apps.customers.models import Customer
from apps.usage.models import UsageEvent, UsageSource
from apps.usage.selectors import UsageWindow

MOST_WINDOWS = 1_000_000


class WindowSize(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Events that count: by time (``end_at`` is the first instant outside), customer, type, source and subject."""

    start_at: dt.datetime | None = None
    end_at: dt.datetime | None = None
    customer: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""

    def events(self) -> QuerySet[UsageEvent]:
        """Raises InvalidInput for a customer or a source that there is not."""
        events: QuerySet[UsageEvent] = UsageEvent.objects.filter(voided_at__isnull=True)
        if self.start_at is not None:
            events = events.filter(occurred_at__gte=self.start_at)
        if self.end_at is not None:
            events = events.filter(occurred_at__lt=self.end_at)
        if self.customer:
            events = events.filter(customer_id=customer_named(self.customer).pk)
        if self.source:
            events = events.filter(source_id=_source_named(self.source).pk)
        if self.type:
            events = events.filter(type=self.type)
        if self.subject:
            events = events.filter(subject=self.subject)
        return events


def customer_named(external_id: str) -> Customer:
    customer = Customer.objects.filter(external_id=external_id).first()
    if customer is None:
        raise InvalidInput(f"There is no customer with the external ID “{external_id}”.", field="customer")
    return customer


def _source_named(name: str) -> UsageSource:
    source = UsageSource.objects.filter(name=name).first()
    if source is None:
        raise InvalidInput(f"No event has come from the source “{name}”.", field="source")
    return source


def usage_windows(
    *, start_at: dt.datetime, end_at: dt.datetime, size: WindowSize, customer: str = "", metric: str = ""
) -> Iterator[UsageWindow]:
    """Windows of every customer and metric, or of one of them, from ``start_at`` to ``end_at``, in UTC.

    Raises InvalidInput for unknown names, and for more windows than anybody reads.
    """
    if end_at <= start_at:
        raise InvalidInput("The end lies after the start.", field="end")
    customers = [customer_named(customer).pk] if customer else list(Customer.objects.values_list("pk", flat=True))
    metrics = list(
        (BillableMetric.objects.filter(code=metric) if metric else BillableMetric.objects.all()).prefetch_related(
            "versions__metric"
        )
    )
    if metric and not metrics:
        raise InvalidInput(f"There is no billable metric with the code “{metric}”.", field="metric")
    bounds = list(itertools.islice(_bounds(start_at, end_at, size), MOST_WINDOWS + 1))
    if len(customers) * len(metrics) * len(bounds) > MOST_WINDOWS:
        raise InvalidInput(
            f"These are more than {MOST_WINDOWS:,} windows. Choose longer windows, a shorter time, one customer or one "
            "metric.",
            field="window",
        )
    return (
        UsageWindow(customer_id, version_in_force(one.versions.all(), at=first), first, last)
        for customer_id in customers
        for one in metrics
        for first, last in bounds
    )


def _bounds(start_at: dt.datetime, end_at: dt.datetime, size: WindowSize) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """Whole windows of UTC, the first and the last cut to what was asked for."""
    first = start_at
    while first < end_at:
        last = end_at if size == WindowSize.WHOLE else min(end_at, _next_bound(first.astimezone(dt.UTC), size))
        yield first, last
        first = last


def _next_bound(instant: dt.datetime, size: WindowSize) -> dt.datetime:
    midnight = instant.replace(hour=0, minute=0, second=0, microsecond=0)
    if size == WindowSize.HOUR:
        return instant.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    if size == WindowSize.DAY:
        return midnight + dt.timedelta(days=1)
    return (midnight.replace(day=28) + dt.timedelta(days=4)).replace(day=1)
