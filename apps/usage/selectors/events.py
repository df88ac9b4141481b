"""Events, found and explained."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from django.db.models import BooleanField, DecimalField, Q, QuerySet, TextField
from django.db.models.expressions import RawSQL

from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.measuring import Dimensions, Value, measurer
from apps.billable_metrics.models import MetricVersion
from apps.usage.events import key_of
from apps.usage.metric_sql import metric_sql
from apps.usage.models import UsageEvent, UsageEventKey, UsageSource
from apps.usage.selectors.windows import UsageWindow


def events_of(window: UsageWindow, *, stored_before: dt.datetime | None) -> QuerySet[UsageEvent]:
    """Exactly the events that ``measure_usage`` counts for the window, each with its ``value``."""
    definition = window.version.definition
    events: QuerySet[UsageEvent] = UsageEvent.objects.filter(
        customer_id=window.customer_id,
        type=definition.event_type,
        occurred_at__gte=window.start_at,
        occurred_at__lt=window.end_at,
    )
    if stored_before is None:
        events = events.filter(voided_at__isnull=True)
    else:
        events = events.filter(attributed_at__lt=stored_before)
        events = events.filter(Q(voided_at=None) | Q(voided_at__gte=stored_before))
    return matching(events, window.version)


def matching(events: QuerySet[UsageEvent], version: MetricVersion) -> QuerySet[UsageEvent]:
    """Those of the events that a metric version counts, by the very SQL that measuring uses, with their ``value``."""
    definition = version.definition
    parts = metric_sql(definition, alias="usage_event")
    is_text = definition.aggregation == Aggregation.UNIQUE_COUNT
    number = DecimalField[object, object](max_digits=1000, decimal_places=500)
    value = RawSQL(parts.value.replace("%", "%%"), [], output_field=TextField() if is_text else number)
    conditions = RawSQL(parts.conditions.replace("%", "%%"), [], output_field=BooleanField())
    return events.filter(conditions).annotate(value=value).filter(value__isnull=False)


def events_with_id(event_id: str) -> list[int]:
    """Primary keys of the events with this ID, of any source: by the key table, whatever their month."""
    kind, key = key_of(event_id)
    sources = UsageSource.objects.values("id")
    keys = UsageEventKey.objects.filter(source_id__in=sources, kind=kind, key=uuid.UUID(bytes=key))
    return list(keys.values_list("event_pk", flat=True))


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one metric version makes of one event; ``value`` and ``dimensions`` None when it does not count there."""

    version: MetricVersion
    is_counted: bool
    value: Value
    dimensions: Dimensions


def measurements_of(event: UsageEvent) -> list[Measurement]:
    """Every metric of the event's type in its current version, with what it counts for this event."""
    found = []
    versions = MetricVersion.objects.filter(event_type=event.type).select_related("metric")
    for version in versions.order_by("metric__name", "metric_id", "number"):
        measured = measurer(version.definition)(event.data)
        dimensions, value = measured or ((), None)
        found.append(Measurement(version, measured is not None, value, dimensions))
    return found
