"""Which windows of usage may have changed since they were measured: cheaply, so that few are measured again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from apps.common.database import raw_cursor
from apps.usage import binary
from apps.usage.selectors.states import EVER
from apps.usage.selectors.windows import UsageWindow, micros

# A bucket knows the last instant at which anything in it was stored, attributed or voided. Metrics that have no
# buckets, or whose buckets are still being built, are looked at event by event.
_CHANGED = """
    WITH asked AS MATERIALIZED (
        SELECT * FROM unnest(%b, %b, %b, %b, %b, %b::timestamptz[], %b::boolean[]) AS asked(
            position, customer_id, version_id, start_at, end_at, measured_at, is_cached
        )
    )
    SELECT position FROM asked JOIN billable_metrics_metricversion version ON version.id = asked.version_id
    LEFT JOIN usage_cache cache ON cache.metric_version_id = asked.version_id
    WHERE CASE WHEN is_cached AND cache.state = 'ready' THEN
        EXISTS (
            SELECT FROM usage_bucket bucket
            WHERE bucket.customer_id = asked.customer_id AND bucket.metric_version_id = asked.version_id
              AND grain = 1 AND starts_at > asked.start_at - interval '1 day' AND starts_at < asked.end_at
              AND last_stamp >= asked.measured_at
        ) OR EXISTS (
            SELECT FROM usage_delta delta
            WHERE delta.customer_id = asked.customer_id AND delta.metric_version_id = asked.version_id
              AND hour > asked.start_at - interval '1 hour' AND hour < asked.end_at AND stamp >= asked.measured_at
        )
    ELSE EXISTS (
        SELECT FROM usage_event event
        WHERE event.customer_id = asked.customer_id AND event.type = version.event_type
          AND event.occurred_at >= asked.start_at AND event.occurred_at < asked.end_at
          AND greatest(event.attributed_at, event.voided_at) >= asked.measured_at
    ) END
"""


def changed_since(windows: Sequence[tuple[UsageWindow, dt.datetime]]) -> list[bool]:
    """Whether each window may measure otherwise now than it did with its ``stored_before``. False is certain."""
    found: set[int] = set()
    if windows:
        with raw_cursor() as cursor:
            binary.register(cursor)
            cursor.execute(
                _CHANGED,
                [
                    binary.integers(range(len(windows))),
                    binary.bigints([window.customer_id for window, _ in windows]),
                    binary.bigints([window.version.pk for window, _ in windows]),
                    binary.timestamps(
                        [EVER if window.version.carries_over else micros(window.start_at) for window, _ in windows]
                    ),
                    binary.timestamps([micros(window.end_at) for window, _ in windows]),
                    [measured_at for _, measured_at in windows],
                    [window.version.definition.is_mergeable for window, _ in windows],
                ],
            )
            found = {int(position) for (position,) in cursor}
    return [position in found for position in range(len(windows))]
