"""Events, found and explained."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from django.db.models import BooleanField, DecimalField, Q, QuerySet, TextField
from django.db.models.expressions import RawSQL

from apps.billable_metrics.definitions import Aggregation, PropertyFilter
from apps.billable_metrics.models import MetricVersion
from apps.usage.events import key_of
from apps.usage.metric_sql import condition_sql, metric_sql
from apps.usage.models import UsageEvent, UsageEventKey, UsageSource
from apps.usage.selectors.windows import UsageWindow

LOOKED_UP_AT_ONCE = 10_000


class EventPlace(NamedTuple):
    """Which event, and what finds it quickly: its time names its partition, its customer or subject the index."""

    id: int
    occurred_at: dt.datetime
    customer_id: int | None
    type: str
    subject: str


def place_of(event: UsageEvent) -> EventPlace:
    return EventPlace(event.pk, event.occurred_at, event.customer_id, event.type, event.subject)


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Which events somebody looks for. Between ``start_at`` and ``end_at`` by event time, whatever else is asked.

    ``event_id`` is looked up by the key table, whatever its time. ``condition`` is on a property of the data.
    """

    start_at: dt.datetime
    end_at: dt.datetime
    event_id: str = ""
    customer_id: int | None = None
    customer_name: str = ""
    type: str = ""
    subject: str = ""
    source: str = ""
    condition: PropertyFilter | None = None
    is_attributed: bool | None = None
    is_voided: bool | None = None

    def events(self) -> QuerySet[UsageEvent]:
        """The events, in no order."""
        events: QuerySet[UsageEvent] = UsageEvent.objects.order_by()
        if self.event_id:
            events = events.filter(_of_id(self.event_id))
        else:
            events = events.filter(occurred_at__gte=self.start_at, occurred_at__lt=self.end_at)
        if self.customer_id is not None:
            events = events.filter(customer_id=self.customer_id)
        if self.type:
            events = events.filter(type=self.type)
        if self.subject:
            events = events.filter(subject=self.subject)
        if self.source:
            events = events.filter(source_id__in=_source_ids(self.source))
        if self.condition is not None:
            condition = condition_sql(self.condition, "usage_event.data").replace("%", "%%")
            events = events.filter(RawSQL(f"({condition})", [], output_field=BooleanField()))
        if self.is_attributed is not None:
            events = events.filter(customer__isnull=not self.is_attributed)
        if self.is_voided is not None:
            # By the column that has an index of the corrected ones.
            events = events.filter(correction__isnull=not self.is_voided)
        return events

    def describe(self) -> str:
        """The query in words, as it is kept with a correction."""
        parts = []
        if self.event_id:
            parts.append(f"ID {self.event_id}")
        else:
            parts.append(
                f"event time from {self.start_at:%-d %b %Y, %H:%M:%S} up to {self.end_at:%-d %b %Y, %H:%M:%S} UTC"
            )
        if self.customer_id is not None:
            parts.append(f"customer {self.customer_name or self.customer_id}")
        parts += [f"{name} {text}" for name, text in (("type", self.type), ("subject", self.subject)) if text]
        if self.source:
            parts.append(f"source {self.source}")
        if self.condition is not None:
            parts.append(self.condition.describe())
        if self.is_attributed is not None:
            parts.append("with a customer" if self.is_attributed else "without a customer")
        if self.is_voided is not None:
            parts.append("voided" if self.is_voided else "not voided")
        return "; ".join(parts)


def _shown(instant: dt.datetime) -> str:
    return f"{instant.astimezone(dt.UTC):%-d %b %Y, %H:%M:%S}"


def _source_ids(name: str) -> list[int]:
    return list(UsageSource.objects.filter(name=name).values_list("pk", flat=True))


def _of_id(event_id: str) -> Q:
    """The event with this ID, of any source, and what replaced it."""
    chain = _chain(_keyed(event_id))
    return Q(pk__in=[pk for pk, _ in chain], occurred_at__in={occurred_at for _, occurred_at in chain})


def _keyed(event_id: str) -> list[tuple[int, dt.datetime]]:
    kind, key = key_of(event_id)
    keys = UsageEventKey.objects.filter(
        source_id__in=UsageSource.objects.values("id"), kind=kind, key=uuid.UUID(bytes=key)
    )
    return list(keys.values_list("event_pk", "occurred_at"))


def _chain(stored: Sequence[tuple[int, dt.datetime]]) -> list[tuple[int, dt.datetime]]:
    """These events and, one after another, the replacements of each: by the index of the few that replace."""
    found = newest = list(stored)
    while newest:
        newest = list(
            UsageEvent.objects.filter(replaces_id__in=[pk for pk, _ in newest])
            .order_by()
            .values_list("pk", "occurred_at")
        )
        found = [*found, *newest]
    return found


def chain_of(event: UsageEvent) -> list[UsageEvent]:
    """All that was ever stored for the event's source and ID, oldest first: the event, what it replaces, and so on."""
    kind, key = key_of(event.event_id)
    stored = UsageEventKey.objects.filter(source_id=event.source_id, kind=kind, key=uuid.UUID(bytes=key))
    chain = _chain(list(stored.values_list("event_pk", "occurred_at")))
    found = UsageEvent.objects.filter(
        pk__in=[pk for pk, _ in chain], occurred_at__in={occurred_at for _, occurred_at in chain}
    )
    return list(found.select_related("correction__actor").order_by("pk"))


def places_of(query: EventQuery, *, limit: int) -> list[EventPlace]:
    """Where the events of a query lie that still count: up to ``limit`` of them."""
    events = query.events().filter(voided_at__isnull=True)
    return [EventPlace(*row) for row in events.values_list(*EventPlace._fields)[:limit]]


def live_places(wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], EventPlace | None]:
    """What counts now for each (source, ID): the event, or what replaced it. None: it is voided.

    Unknown ones are left out. Safe for many at once: they are looked for in order, in the partitions of their months.
    """
    sources = dict(UsageSource.objects.filter(name__in={source for source, _ in wanted}).values_list("name", "pk"))
    by_key = {
        (sources[source], *key_of(event_id)): (source, event_id) for source, event_id in wanted if source in sources
    }
    keys = UsageEventKey.objects.filter(key__in=[uuid.UUID(bytes=key) for _, _, key in by_key])
    stored: dict[int, tuple[dt.datetime, tuple[str, str]]] = {}
    for source_id, kind, key, event_pk, occurred_at in keys.values_list(
        "source_id", "kind", "key", "event_pk", "occurred_at"
    ):
        if (name := by_key.get((source_id, kind, key.bytes))) is not None:
            stored[event_pk] = (occurred_at, name)
    found: dict[tuple[str, str], EventPlace | None] = {}
    names = {pk: name for pk, (_, name) in stored.items()}
    looked_up = [(pk, occurred_at) for pk, (occurred_at, _) in stored.items()]
    while looked_up:
        events = list(events_at(looked_up))
        found |= {names[event.pk]: None if event.correction_id else place_of(event) for event in events}
        voided = [event.pk for event in events if event.correction_id]
        replacing = UsageEvent.objects.filter(replaces_id__in=voided).order_by()
        rows = list(replacing.values_list("pk", "occurred_at", "replaces_id"))
        names |= {pk: names[replaced] for pk, _, replaced in rows if replaced is not None}
        looked_up = [(pk, occurred_at) for pk, occurred_at, _ in rows]
    return found


def events_at(stored: Iterable[tuple[int, dt.datetime]]) -> Iterator[UsageEvent]:
    """Events by primary key and time: month by month, and in the order of their keys, which is that of the disk."""
    by_month = sorted(stored, key=lambda item: (item[1].year, item[1].month, item[0]))
    for _, month in groupby(by_month, key=lambda item: (item[1].year, item[1].month)):
        rows = list(month)
        for start in range(0, len(rows), LOOKED_UP_AT_ONCE):
            chunk = rows[start : start + LOOKED_UP_AT_ONCE]
            instants = [occurred_at for _, occurred_at in chunk]
            pks = [pk for pk, _ in chunk]
            yield from UsageEvent.objects.filter(
                occurred_at__range=(min(instants), max(instants)), pk__range=(pks[0], pks[-1]), pk__in=pks
            ).order_by()


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
