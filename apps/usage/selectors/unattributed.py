"""Usage that nobody is billed for: subjects that are no customer, and types that no metric measures."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db.models import Count, Max, Min

from apps.billable_metrics.models import MetricVersion
from apps.common.database import raw_cursor
from apps.usage.models import EventType, UsageEvent

_NEXT_SUBJECTS = """
    WITH RECURSIVE step(subject) AS (
        (SELECT subject FROM usage_event WHERE customer_id IS NULL AND voided_at IS NULL AND subject > %b::text
         ORDER BY subject LIMIT 1)
        UNION ALL
        SELECT (SELECT event.subject FROM usage_event event
                WHERE event.customer_id IS NULL AND event.voided_at IS NULL AND event.subject > step.subject
                ORDER BY event.subject LIMIT 1)
        FROM step WHERE step.subject IS NOT NULL
    )
    SELECT subject FROM step WHERE subject IS NOT NULL LIMIT %b
"""


@dataclass(frozen=True, slots=True)
class UnattributedGroup:
    """Events of one subject and type that no customer could be found for. Times are event times."""

    subject: str
    type: str
    event_count: int
    first_at: dt.datetime
    last_at: dt.datetime


def unattributed_subjects(*, after: str, limit: int) -> list[str]:
    """Distinct subjects of events without a customer, in order, beginning behind ``after``.

    Steps from one subject to the next through the index; the number of events behind each costs nothing.
    """
    with raw_cursor() as cursor:
        cursor.execute(_NEXT_SUBJECTS, [after, limit])
        return [str(subject) for (subject,) in cursor]


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
    measured = MetricVersion.objects.values("event_type")
    return list(EventType.objects.exclude(name__in=measured).order_by("-first_seen_at", "name")[:limit])
