"""Looking through the log, newest events first, without ever reading all of it.

No index orders events by time alone. A BRIN index finds the blocks of a stretch of time, so a list is filled from its
newest end: first from the last minute, then from stretches that grow, until there are enough rows.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from apps.common.database import raw_cursor
from apps.usage.models import UsageEvent
from apps.usage.partitions import partition_bounds

DAY = dt.timedelta(days=1)
FIRST_STRETCH = dt.timedelta(minutes=1)
GROWTH = 16
MOST_TYPES_PROBED = 200

# The newest event of each type of a customer, or subject, is one step into the index of each partition.
_LATEST = """
    SELECT max(latest.at) FROM (SELECT name FROM usage_event_type ORDER BY name LIMIT %b) AS type
    CROSS JOIN LATERAL (
        SELECT occurred_at AS at FROM usage_event
        WHERE {owner} AND type = type.name ORDER BY occurred_at DESC LIMIT 1
    ) AS latest
"""


@dataclass(frozen=True, slots=True)
class ListPosition:
    """Where a page of the list ends: its last event."""

    occurred_at: dt.datetime
    id: int

    @classmethod
    def of(cls, event: UsageEvent) -> ListPosition:
        return cls(event.occurred_at, event.pk)

    @classmethod
    def from_text(cls, text: str) -> ListPosition | None:
        instant, _, pk = text.partition("_")
        try:
            position = cls(dt.datetime.fromisoformat(instant), int(pk))
        except ValueError:
            return None
        return position if position.occurred_at.tzinfo else None

    def as_text(self) -> str:
        return f"{self.occurred_at.isoformat()}_{self.id}"


def newest_events(
    events: QuerySet[UsageEvent],
    *,
    start_at: dt.datetime | None,
    end_at: dt.datetime | None,
    after: ListPosition | None,
    limit: int,
) -> list[UsageEvent]:
    """The newest ``limit`` of the events by event time, or those that follow ``after``; of equal times by ID.

    ``events`` are already within the range, which is None where something else bounds them.
    """
    ordered = events.order_by("-occurred_at", "-pk")
    if after is not None:
        earlier = Q(occurred_at__lt=after.occurred_at) | Q(occurred_at=after.occurred_at, pk__lt=after.id)
        ordered = ordered.filter(earlier, occurred_at__lte=after.occurred_at)
    if start_at is None or end_at is None:
        return list(ordered[:limit])
    newest = end_at if after is None else min(end_at, after.occurred_at)
    stretch = FIRST_STRETCH
    while newest - stretch > start_at:
        found = list(ordered.filter(occurred_at__gte=newest - stretch)[:limit])
        if len(found) == limit:
            return found
        stretch *= GROWTH
    return list(ordered[:limit])


def latest_event_of(*, customer_id: int | None = None, subject: str = "") -> dt.datetime | None:
    """When the newest event of a customer, or of a subject without one, occurred."""
    owner = "customer_id = %b" if customer_id is not None else "customer_id IS NULL AND subject = %b"
    with raw_cursor() as cursor:
        cursor.execute(
            _LATEST.format(owner=owner), [MOST_TYPES_PROBED, subject if customer_id is None else customer_id]
        )
        found = cursor.fetchone()
        return found[0] if found else None


# Days are tried from the newest back; each is a look at the summaries of one partition.
_LAST_DAY = """
    SELECT day FROM generate_series(%b::timestamptz, %b::timestamptz, '-1 day') AS day
    WHERE EXISTS (SELECT FROM usage_event WHERE occurred_at >= day AND occurred_at < day + interval '24 hours')
    ORDER BY day DESC LIMIT 1
"""


def last_day_with_events(*, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """The last 24 hours, or, when nothing occurred in them, the last UTC day in which something did."""
    if _has_events(now - DAY, now + DAY):
        return now - DAY, now + DAY
    bounds = partition_bounds()
    if bounds:
        today = now.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with raw_cursor() as cursor:
            cursor.execute(_LAST_DAY, [today, bounds[0][1]])
            if (found := cursor.fetchone()) is not None:
                return found[0], found[0] + DAY
    return now - DAY, now + DAY


def _has_events(start_at: dt.datetime, end_at: dt.datetime) -> bool:
    return UsageEvent.objects.order_by().filter(occurred_at__gte=start_at, occurred_at__lt=end_at).exists()
