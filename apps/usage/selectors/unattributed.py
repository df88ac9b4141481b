"""Usage that nobody is billed for: subjects that are no customer, and types that no metric measures.

Nothing here counts further than it is worth. Subjects are stepped through by the index on unattributed events, the
types of each as well, and of each pair no more than a bounded number of events is read.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.models import BillableMetric, MetricVersion, latest_version
from apps.common.database import TookTooLong, raw_cursor, time_limit
from apps.usage.metric_sql import metric_sql
from apps.usage.models import EventType, IgnoredKind, IgnoredUsage, UsageEvent
from apps.usage.selectors.explorer import DAY, newest_events

COUNTED_UP_TO = 10_000
ESTIMATED_FROM = 1_000
SECONDS_FOR_TYPES = 3

_WAITING = "event.customer_id IS NULL AND event.voided_at IS NULL"

_NEXT_SUBJECTS = f"""
    WITH RECURSIVE step(subject) AS (
        (SELECT subject FROM usage_event event WHERE {_WAITING} AND subject > %b::text ORDER BY subject LIMIT 1)
        UNION ALL
        SELECT (SELECT event.subject FROM usage_event event
                WHERE {_WAITING} AND event.subject > step.subject ORDER BY event.subject LIMIT 1)
        FROM step WHERE step.subject IS NOT NULL
    )
    SELECT subject FROM step WHERE subject IS NOT NULL
      AND (%b OR subject NOT IN (SELECT name FROM usage_ignoredusage WHERE kind = 'subject')) LIMIT %b
"""

# The first events by time are read up to a bound, and the newest one: both ends are right however many there are.
_GROUPS = f"""
    WITH RECURSIVE step(subject, type) AS (
        SELECT asked.subject, (
            SELECT event.type FROM usage_event event
            WHERE {_WAITING} AND event.subject = asked.subject ORDER BY event.type LIMIT 1
        ) FROM unnest(%b::text[]) AS asked(subject)
        UNION ALL
        SELECT step.subject, (
            SELECT event.type FROM usage_event event
            WHERE {_WAITING} AND event.subject = step.subject AND event.type > step.type ORDER BY event.type LIMIT 1
        ) FROM step WHERE step.type IS NOT NULL
    )
    SELECT step.subject, step.type, sum(counted), min(occurred_at), max(occurred_at), min(stored_at), max(stored_at)
    FROM step CROSS JOIN LATERAL (
        (SELECT occurred_at, stored_at, 1 AS counted FROM usage_event event
         WHERE {_WAITING} AND event.subject = step.subject AND event.type = step.type ORDER BY occurred_at LIMIT %b)
        UNION ALL
        (SELECT occurred_at, stored_at, 0 FROM usage_event event
         WHERE {_WAITING} AND event.subject = step.subject AND event.type = step.type
         ORDER BY occurred_at DESC LIMIT 1)
    ) found
    WHERE step.type IS NOT NULL GROUP BY step.subject, step.type ORDER BY step.subject, step.type
"""

_SAMPLED = f"""
    SELECT asked.position, count(*), coalesce(sum(value), 0)
    FROM unnest(%b::integer[], %b::text[]) AS asked(position, subject) CROSS JOIN LATERAL (
        SELECT CASE WHEN {{conditions}} THEN {{value}} END AS value
        FROM usage_event event
        WHERE {_WAITING} AND event.subject = asked.subject AND event.type = %b
        ORDER BY occurred_at LIMIT %b
    ) sampled GROUP BY asked.position
"""


@dataclass(frozen=True, slots=True)
class UnattributedGroup:
    """Events of one subject and type that no customer could be found for.

    ``event_count`` goes no further than COUNTED_UP_TO + 1. The first and last time are event times; ``first_stored_at``
    and ``last_stored_at`` say when they came. ``quantities`` is what they would measure, by metric, as an estimate.
    """

    subject: str
    type: str
    event_count: int
    first_at: dt.datetime
    last_at: dt.datetime
    first_stored_at: dt.datetime
    last_stored_at: dt.datetime
    quantities: dict[BillableMetric, Decimal] = field(default_factory=dict)

    @property
    def is_counted_in_full(self) -> bool:
        return self.event_count <= COUNTED_UP_TO


@dataclass(frozen=True, slots=True)
class UnmeasuredType:
    """A type that no metric measures. ``event_count`` None: there are too many to count in passing."""

    name: str
    first_seen_at: dt.datetime
    event_count: int | None
    newest: UsageEvent | None

    @property
    def is_counted_in_full(self) -> bool:
        return self.event_count is not None and self.event_count <= COUNTED_UP_TO


def unattributed_subjects(*, after: str, limit: int, with_ignored: bool = True) -> list[str]:
    """Distinct subjects of events without a customer, in order, beginning behind ``after``.

    Steps from one subject to the next through the index; the number of events behind each costs nothing.
    """
    with raw_cursor() as cursor:
        cursor.execute(_NEXT_SUBJECTS, [after, with_ignored, limit])
        return [str(subject) for (subject,) in cursor]


def unattributed_groups(*, after: str, limit: int) -> list[UnattributedGroup]:
    """The unattributed events of the next ``limit`` subjects behind ``after``, by subject and type."""
    return groups_of(unattributed_subjects(after=after, limit=limit, with_ignored=False))


def groups_of(subjects: Collection[str]) -> list[UnattributedGroup]:
    """The unattributed events of these subjects, by subject and type, with what they would measure."""
    with raw_cursor() as cursor:
        cursor.execute(_GROUPS, [list(subjects), COUNTED_UP_TO + 1])
        groups = [UnattributedGroup(*row) for row in cursor]
    _estimate_quantities(groups)
    return groups


def _estimate_quantities(groups: Sequence[UnattributedGroup]) -> None:
    """Fill in what the events would measure: from the first of each group, scaled to how many there are.

    Only counts and sums can be scaled; other metrics are left out.
    """
    by_type: defaultdict[str, list[UnattributedGroup]] = defaultdict(list)
    for group in groups:
        by_type[group.type].append(group)
    for version in _scalable_versions(by_type):
        chosen = by_type[version.event_type]
        parts = metric_sql(version.definition)
        statement = _SAMPLED.format(
            value=parts.value.replace("%", "%%"), conditions=parts.conditions.replace("%", "%%")
        )
        with raw_cursor() as cursor:
            cursor.execute(
                statement,
                [list(range(len(chosen))), [group.subject for group in chosen], version.event_type, ESTIMATED_FROM],
            )
            for position, sampled, total in cursor:
                group = chosen[position]
                count = min(group.event_count, COUNTED_UP_TO)
                group.quantities[version.metric] = total * max(count, sampled) / sampled


def _scalable_versions(types: Mapping[str, Any]) -> list[MetricVersion]:
    metrics = (
        BillableMetric.objects.filter(versions__event_type__in=list(types)).distinct().prefetch_related("versions")
    )
    current = [latest_version(metric.versions.all()) for metric in metrics]
    return [
        version
        for version in current
        if version.event_type in types
        and version.aggregation in (Aggregation.COUNT, Aggregation.SUM)
        and not version.carries_over
    ]


def unmeasured_types(*, limit: int) -> list[EventType]:
    """Event types that were seen, that no metric measures, and that nobody has set aside."""
    measured = MetricVersion.objects.values("event_type")
    ignored = IgnoredUsage.objects.filter(kind=IgnoredKind.TYPE).values("name")
    types = EventType.objects.exclude(name__in=measured).exclude(name__in=ignored)
    return list(types.order_by("-first_seen_at", "name")[:limit])


def looked_into(types: Sequence[EventType], *, now: dt.datetime) -> list[UnmeasuredType]:
    """Types with how many events there are and the newest one, as far as a short look tells."""
    return [
        UnmeasuredType(kind.name, kind.first_seen_at, _bounded_count(kind.name), _newest_of_type(kind, now))
        for kind in types
    ]


def _bounded_count(event_type: str) -> int | None:
    try:
        with time_limit(SECONDS_FOR_TYPES):
            return UsageEvent.objects.order_by().filter(type=event_type)[: COUNTED_UP_TO + 1].count()
    except TookTooLong:
        return None


def _newest_of_type(kind: EventType, now: dt.datetime) -> UsageEvent | None:
    events = UsageEvent.objects.filter(type=kind.name, occurred_at__lt=now + DAY)
    try:
        with time_limit(SECONDS_FOR_TYPES):
            return next(
                iter(newest_events(events, start_at=now - 366 * DAY, end_at=now + DAY, after=None, limit=1)), None
            )
    except TookTooLong:
        return None
