"""Usage of a customer that came late: long after it occurred, or after its period was invoiced."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from apps.common.database import raw_cursor

LATE_AFTER = dt.timedelta(hours=24)
MOST_COUNTED = 10_000


@dataclass(frozen=True, slots=True)
class LateUsage:
    """Late events of one UTC day and type. ``after_invoice`` of them came when the invoice was issued already."""

    day: dt.date
    type: str
    event_count: int
    after_invoice: int
    last_stored_at: dt.datetime


# Buckets tell the hours in which anything came late; only the events of these are read, and no more than a bound.
_LATE = """
    WITH invoiced AS MATERIALIZED (
        SELECT * FROM unnest(%b::timestamptz[], %b::timestamptz[], %b::timestamptz[]) AS invoiced(start_at, end_at, at)
    ), touched AS (
        SELECT metric_version_id, starts_at AS hour, last_stamp AS stamp FROM usage_bucket
        WHERE customer_id = %b AND grain = 0 AND starts_at >= %b AND metric_version_id = ANY (
            ARRAY (SELECT id FROM billable_metrics_metricversion)
        )
        UNION ALL
        SELECT metric_version_id, hour, stamp FROM usage_delta WHERE customer_id = %b AND hour >= %b
    ), hours AS (
        SELECT DISTINCT version.event_type AS type, hour
        FROM touched JOIN billable_metrics_metricversion version ON version.id = metric_version_id
        WHERE stamp >= hour + %b OR EXISTS (
            SELECT FROM invoiced WHERE hour > invoiced.start_at - interval '1 hour' AND hour < invoiced.end_at
                AND stamp >= invoiced.at
        )
    ), events AS (
        SELECT event.type, event.occurred_at, event.stored_at, EXISTS (
            SELECT FROM invoiced WHERE event.occurred_at >= invoiced.start_at AND event.occurred_at < invoiced.end_at
                AND event.stored_at >= invoiced.at
        ) AS is_after_invoice
        FROM hours CROSS JOIN LATERAL (
            SELECT type, occurred_at, stored_at FROM usage_event
            WHERE customer_id = %b AND type = hours.type AND occurred_at >= hours.hour
              AND occurred_at < hours.hour + interval '1 hour' AND voided_at IS NULL AND replaces_id IS NULL
        ) event
    ), late AS (
        SELECT * FROM events WHERE stored_at > occurred_at + %b OR is_after_invoice LIMIT %b
    )
    SELECT (date_trunc('day', occurred_at, 'UTC') AT TIME ZONE 'UTC')::date, type, count(*),
           count(*) FILTER (WHERE is_after_invoice), max(stored_at)
    FROM late GROUP BY 1, 2 ORDER BY 1 DESC, 2
"""


def late_usage(
    *, customer_id: int, since: dt.datetime, invoiced: Sequence[tuple[dt.datetime, dt.datetime, dt.datetime]]
) -> list[LateUsage]:
    """Late events that a metric measures, newest day first. ``invoiced``: periods, and when each was issued."""
    with raw_cursor() as cursor:
        cursor.execute(
            _LATE,
            [
                [start_at for start_at, _, _ in invoiced],
                [end_at for _, end_at, _ in invoiced],
                [at for _, _, at in invoiced],
                customer_id,
                since,
                customer_id,
                since,
                LATE_AFTER,
                customer_id,
                LATE_AFTER,
                MOST_COUNTED,
            ],
        )
        return [LateUsage(*row) for row in cursor]
