"""The whole way of one event: how it came, whose it is, what corrected it, and what it counts for."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Sum

from apps.billable_metrics.measuring import Value, explain, measurer
from apps.billable_metrics.models import MetricVersion
from apps.usage.models import UsageConflict, UsageEvent
from apps.usage.selectors.events import chain_of


@dataclass(frozen=True, slots=True)
class Conflicts:
    """Other events that came with the same source and ID: how many different ones, and how often."""

    different: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one metric version makes of one event, or why it does not count there."""

    version: MetricVersion
    is_counted: bool
    value: Value
    dimensions: tuple[tuple[str, str | None], ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EventWay:
    """``named_by`` says how the event's subject names its customer. ``replaces``/``replaced_by``: its neighbours."""

    event: UsageEvent
    conflicts: Conflicts
    named_by: str
    replaces: UsageEvent | None
    replaced_by: UsageEvent | None
    measurements: tuple[Measurement, ...]


def way_of(event: UsageEvent) -> EventWay:
    chain = {found.pk: found for found in chain_of(event)} if event.replaces_id or event.correction_id else {}
    first_id = min(chain, default=event.pk)
    conflicts = UsageConflict.objects.filter(first_event_id=first_id)
    return EventWay(
        event=event,
        conflicts=Conflicts(len(conflicts), conflicts.aggregate(n=Sum("times_received"))["n"] or 0),
        named_by=_named_by(event),
        replaces=chain.get(event.replaces_id) if event.replaces_id else None,
        replaced_by=next((found for found in chain.values() if found.replaces_id == event.pk), None),
        measurements=tuple(measurements_of(event)),
    )


def _named_by(event: UsageEvent) -> str:
    if event.customer is None:
        return ""
    if event.customer.external_id == event.subject:
        return "its external ID"
    if event.customer.aliases.filter(alias=event.subject).exists():
        return "an alias of it"
    return "a name that it had at that time"


def measurements_of(event: UsageEvent) -> list[Measurement]:
    """Every metric version of the event's type, with what it counts for this event."""
    found = []
    versions = MetricVersion.objects.filter(event_type=event.type).select_related("metric")
    for version in versions.order_by("metric__name", "metric_id", "number"):
        measured = measurer(version.definition)(event.data)
        dimensions, value = measured or ((), None)
        named: tuple[tuple[str, str | None], ...] = tuple(zip(version.group_by, dimensions, strict=False))
        reasons = () if measured is not None else explain(version.definition, event.data)
        found.append(Measurement(version, measured is not None, value, named, reasons))
    return found
