"""Keeping the usage cache: folding deltas into buckets, building buckets from events, and comparing the two.

The cache changes cost, never meaning. Whatever is done here is one statement, or one transaction, after which every
read gives what it gave before. One lock keeps folding, rebuilding and corrections apart; ingestion and reads take no
part in it.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models import F, Q

from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.models import MetricVersion
from apps.common.database import raw_cursor
from apps.usage.metric_sql import metric_sql
from apps.usage.models import CacheState, UsageCache
from apps.usage.partitions import Month, attach_partition, bounds_of, partition_bounds
from apps.usage.selectors.states import (
    LATEST,
    MERGED_LATEST_SQL,
    MERGED_SQL,
    NO_LATEST_SQL,
    STATE_COLUMNS,
    state_sql,
)
from apps.usage.services.recording import settle_cutoff

logger = logging.getLogger(__name__)

CACHE_LOCK = 4_846_216_003
FOLD_AT_ONCE = 200_000
CLAIM = dt.timedelta(minutes=15)

_KEY = "customer_id, metric_version_id, grain, starts_at, dims"


def _fold_sql(*, with_latest: bool) -> str:
    """Hours and days of the deltas that do, or do not, carry a latest value: sorting these is for few metrics."""
    latest = MERGED_LATEST_SQL if with_latest else NO_LATEST_SQL
    name = "latest" if with_latest else "plain"
    return f"""
        {name}_hour AS (
            SELECT customer_id, metric_version_id, 0 AS grain, hour AS starts_at, dims, {MERGED_SQL}, {latest},
                   max(stamp) AS last_stamp
            FROM gone WHERE latest_at IS {"NOT NULL" if with_latest else "NULL"}
            GROUP BY customer_id, metric_version_id, hour, dims
        ), {name}_day AS (
            SELECT customer_id, metric_version_id, 1 AS grain, date_trunc('day', starts_at, 'UTC') AS starts_at, dims,
                   {MERGED_SQL}, {latest}, max(last_stamp) AS last_stamp
            FROM {name}_hour GROUP BY customer_id, metric_version_id, date_trunc('day', starts_at, 'UTC'), dims
        )
    """


_FOLD = f"""
    WITH gone AS (
        DELETE FROM usage_delta WHERE ctid = ANY (ARRAY (SELECT ctid FROM usage_delta LIMIT %b)) RETURNING *
    ), {_fold_sql(with_latest=False)}, {_fold_sql(with_latest=True)}, folded AS (
        INSERT INTO usage_bucket AS known ({_KEY}, {STATE_COLUMNS}, last_stamp)
        SELECT {_KEY}, {STATE_COLUMNS}, last_stamp FROM plain_hour
        UNION ALL SELECT {_KEY}, {STATE_COLUMNS}, last_stamp FROM plain_day
        UNION ALL SELECT {_KEY}, {STATE_COLUMNS}, last_stamp FROM latest_hour
        UNION ALL SELECT {_KEY}, {STATE_COLUMNS}, last_stamp FROM latest_day
        ON CONFLICT ({_KEY}) DO UPDATE SET
            event_count = known.event_count + excluded.event_count,
            total = coalesce(known.total + excluded.total, known.total, excluded.total),
            time_total = coalesce(known.time_total + excluded.time_total, known.time_total, excluded.time_total),
            lowest = least(known.lowest, excluded.lowest),
            highest = greatest(known.highest, excluded.highest),
            latest_at = greatest(known.latest_at, excluded.latest_at),
            latest_id = CASE WHEN known.latest_at IS NULL OR (excluded.latest_at, excluded.latest_id)
                > (known.latest_at, known.latest_id) THEN excluded.latest_id ELSE known.latest_id END,
            latest = CASE WHEN known.latest_at IS NULL OR (excluded.latest_at, excluded.latest_id)
                > (known.latest_at, known.latest_id) THEN excluded.latest ELSE known.latest END,
            last_stamp = greatest(known.last_stamp, excluded.last_stamp)
    )
    SELECT count(*) FROM gone
"""

_FOLD_VALUES = """
    WITH gone AS (
        DELETE FROM usage_value_delta WHERE ctid = ANY (ARRAY (SELECT ctid FROM usage_value_delta LIMIT %b))
        RETURNING *
    ), folded AS (
        INSERT INTO usage_value AS known (customer_id, metric_version_id, day, dims, value,
                                          first_at, last_at, last_stamp)
        SELECT customer_id, metric_version_id, day, dims, value, min(first_at), max(last_at), max(stamp)
        FROM gone GROUP BY customer_id, metric_version_id, day, dims, value
        ON CONFLICT (customer_id, metric_version_id, day, dims, value) DO UPDATE SET
            first_at = least(known.first_at, excluded.first_at),
            last_at = greatest(known.last_at, excluded.last_at),
            last_stamp = greatest(known.last_stamp, excluded.last_stamp)
    )
    SELECT count(*) FROM gone
"""


# --- Folding ---------------------------------------------------------------------------------------------------------


def fold_usage(*, at_once: int = FOLD_AT_ONCE) -> int:
    """Fold waiting deltas into buckets, and return how many there were. Does nothing while another does it."""
    folded = 0
    for statement in (_FOLD, _FOLD_VALUES):
        while count := _fold_some(statement, at_once):
            folded += count
            if count < at_once:
                break
    return folded


@transaction.atomic
def _fold_some(statement: str, at_once: int) -> int:
    with raw_cursor() as cursor:
        # What is aggregated at once fits into this; the server's default would send it to disk.
        cursor.execute("SELECT pg_try_advisory_xact_lock(%b), set_config('work_mem', '128MB', true)", [CACHE_LOCK])
        if (cursor.fetchone() or (False,))[0] is not True:
            return 0
        cursor.execute(statement, [at_once])
        [count] = cursor.fetchone() or (0,)
        return int(count)


# --- Building from events --------------------------------------------------------------------------------------------


@transaction.atomic
def rebuild(
    version: MetricVersion, *, start_at: dt.datetime, end_at: dt.datetime, customer_ids: Collection[int] | None = None
) -> None:
    """Make the buckets of whole UTC days anew from the events, and drop the deltas that they then contain.

    One statement reads, deletes and writes, so that an event committed meanwhile is either in it or still has its
    delta, and never both.
    """
    if not version.definition.is_mergeable:
        return
    customers = None if customer_ids is None else sorted(set(customer_ids))
    with raw_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%b)", [CACHE_LOCK])
        range_ = {"version": version.pk, "start": start_at, "end": end_at, "customers": customers}
        cursor.execute(_rebuild_sql(version), range_)
        if version.aggregation == Aggregation.UNIQUE_COUNT:
            cursor.execute(_rebuild_values_sql(version), range_)


_OF_CUSTOMERS = "(%(customers)s::bigint[] IS NULL OR customer_id = ANY (%(customers)s::bigint[]))"
_IN_RANGE = "{column} >= %(start)s AND {column} < %(end)s"


def _counted_events_sql(version: MetricVersion) -> str:
    """Every event that a version counts in the range, voided ones included, with the latest of its instants."""
    parts = metric_sql(version.definition)
    value, dimensions, conditions = (
        text.replace("%", "%%") for text in (parts.value, parts.dimensions, parts.conditions)
    )
    return f"""
        SELECT * FROM (
            SELECT customer_id, {value} AS value, {dimensions} AS dims, event.occurred_at, event.id,
                   event.voided_at IS NULL AS counts,
                   greatest(event.attributed_at, event.voided_at) AS stamp
            FROM usage_event event
            WHERE customer_id IS NOT NULL AND {_OF_CUSTOMERS} AND {_IN_RANGE.format(column="event.occurred_at")}
              AND {conditions}
            OFFSET 0
        ) counted WHERE value IS NOT NULL
    """


def _hours_sql(version: MetricVersion) -> str:
    """Hour buckets from events. An hour whose events are all voided stays, with its stamp, and counts nothing."""
    counting = "FILTER (WHERE counts)"
    return f"""
        SELECT customer_id, date_trunc('hour', occurred_at, 'UTC') AS hour, dims,
               {state_sql(version.aggregation, counting=counting)}, max(stamp) AS last_stamp
        FROM ({_counted_events_sql(version)}) event
        GROUP BY customer_id, date_trunc('hour', occurred_at, 'UTC'), dims
    """


def _true_buckets_sql(version: MetricVersion) -> str:
    """The buckets of both grains as the events have them, under the name “truth”: to be stored, or compared with."""
    latest = MERGED_LATEST_SQL if version.aggregation in LATEST else NO_LATEST_SQL
    return f"""
        hours AS MATERIALIZED ({_hours_sql(version)}), truth AS MATERIALIZED (
            SELECT customer_id, 0 AS grain, hour AS starts_at, dims, {STATE_COLUMNS}, last_stamp FROM hours
            UNION ALL
            SELECT customer_id, 1, date_trunc('day', hour, 'UTC'), dims, {MERGED_SQL}, {latest}, max(last_stamp)
            FROM hours GROUP BY customer_id, date_trunc('day', hour, 'UTC'), dims
        )
    """


def _rebuild_sql(version: MetricVersion) -> str:
    return f"""
        WITH gone AS (
            DELETE FROM usage_delta
            WHERE metric_version_id = %(version)s AND {_OF_CUSTOMERS} AND {_IN_RANGE.format(column="hour")}
        ), {_true_buckets_sql(version)}, wrong AS (
            DELETE FROM usage_bucket bucket
            WHERE metric_version_id = %(version)s AND {_OF_CUSTOMERS} AND {_IN_RANGE.format(column="starts_at")}
              AND NOT EXISTS (
                SELECT 1 FROM truth WHERE truth.customer_id = bucket.customer_id AND truth.grain = bucket.grain
                    AND truth.starts_at = bucket.starts_at AND truth.dims = bucket.dims
              )
        )
        INSERT INTO usage_bucket ({_KEY}, {STATE_COLUMNS}, last_stamp)
        SELECT customer_id, %(version)s, grain, starts_at, dims, {STATE_COLUMNS}, last_stamp FROM truth
        ON CONFLICT ({_KEY}) DO UPDATE SET ({STATE_COLUMNS}, last_stamp)
            = ({", ".join(f"excluded.{column}" for column in STATE_COLUMNS.split(", "))}, excluded.last_stamp)
    """


def _seen_values_sql(version: MetricVersion) -> str:
    return f"""
        SELECT customer_id, date_trunc('day', occurred_at, 'UTC') AS day, dims, usage_value_key(value) AS value,
               min(occurred_at) AS first_at, max(occurred_at) AS last_at, max(stamp) AS last_stamp
        FROM ({_counted_events_sql(version)}) event
        WHERE counts GROUP BY customer_id, date_trunc('day', occurred_at, 'UTC'), dims, usage_value_key(value)
    """


def _rebuild_values_sql(version: MetricVersion) -> str:
    """As for buckets. A value that was voided away leaves its row, seen at no time, so that older cutoffs notice."""
    key = "customer_id, metric_version_id, day, dims, value"
    return f"""
        WITH gone AS (
            DELETE FROM usage_value_delta
            WHERE metric_version_id = %(version)s AND {_OF_CUSTOMERS} AND {_IN_RANGE.format(column="day")}
        ), truth AS MATERIALIZED (
            SELECT customer_id, date_trunc('day', occurred_at, 'UTC') AS day, dims, usage_value_key(value) AS value,
                   min(occurred_at) FILTER (WHERE counts) AS first_at,
                   max(occurred_at) FILTER (WHERE counts) AS last_at, max(stamp) AS last_stamp
            FROM ({_counted_events_sql(version)}) event
            GROUP BY customer_id, date_trunc('day', occurred_at, 'UTC'), dims, usage_value_key(value)
        ), wrong AS (
            DELETE FROM usage_value seen
            WHERE metric_version_id = %(version)s AND {_OF_CUSTOMERS} AND {_IN_RANGE.format(column="day")}
              AND NOT EXISTS (
                SELECT 1 FROM truth WHERE truth.customer_id = seen.customer_id AND truth.day = seen.day
                    AND truth.dims = seen.dims AND truth.value = seen.value
              )
        )
        INSERT INTO usage_value ({key}, first_at, last_at, last_stamp)
        SELECT customer_id, %(version)s, day, dims, value,
               coalesce(first_at, 'infinity'), coalesce(last_at, '-infinity'), last_stamp
        FROM truth
        ON CONFLICT ({key}) DO UPDATE SET (first_at, last_at, last_stamp)
            = (excluded.first_at, excluded.last_at, excluded.last_stamp)
    """


@transaction.atomic
def restore_month(month: Month) -> None:
    """Put a month back into the log, and have the metrics count it that were made while it was away.

    Raises PartitionRefused when the log has that month.
    """
    attach_partition(month)
    start_at, end_at = bounds_of(month)
    for version in MetricVersion.objects.all():
        rebuild(version, start_at=start_at, end_at=end_at)


def request_rebuild(versions: Collection[MetricVersion] | None = None) -> int:
    """Distrust the cache of these versions, or of all, from now on: it is read no more until it is built anew."""
    _know_all_versions()
    caches = UsageCache.objects.all()
    if versions is not None:
        caches = caches.filter(metric_version_id__in=[version.pk for version in versions])
    return caches.update(
        state=CacheState.WAITING,
        partitions_done=0,
        next_partition="",
        claimed_until=None,
        finished_at=None,
        requested_at=_now(),
    )


def backfill_metrics() -> int:
    """Build the cache of every metric version that has none, and return how many were finished.

    A new metric so measures last year's events. Progress is kept with each partition; whoever comes next goes on.
    """
    _know_all_versions()
    finished = 0
    while cache := _claim():
        version = MetricVersion.objects.filter(pk=cache.metric_version_id).first()
        if version is None:
            _forget(cache.metric_version_id)
            continue
        # From here on, everyone who stores events knows the version and writes its deltas.
        settle_cutoff()
        _build(version, cache)
        finished += 1
    return finished


def _build(version: MetricVersion, cache: UsageCache) -> None:
    bounds = partition_bounds()
    UsageCache.objects.filter(pk=cache.pk).update(partitions_total=len(bounds))
    for name, start_at, end_at in bounds:
        if name <= cache.next_partition:
            continue
        with transaction.atomic():
            rebuild(version, start_at=start_at, end_at=end_at)
            UsageCache.objects.filter(pk=cache.pk).update(
                partitions_done=F("partitions_done") + 1, next_partition=name, claimed_until=_now() + CLAIM
            )
    UsageCache.objects.filter(pk=cache.pk, state=CacheState.BUILDING).update(
        state=CacheState.READY, finished_at=_now(), claimed_until=None
    )


@transaction.atomic
def _claim() -> UsageCache | None:
    now = _now()
    free = Q(claimed_until=None) | Q(claimed_until__lt=now)
    waiting = UsageCache.objects.select_for_update(skip_locked=True).exclude(state=CacheState.READY).filter(free)
    cache = waiting.order_by("requested_at", "pk").first()
    if cache is not None:
        cache.state, cache.claimed_until = CacheState.BUILDING, now + CLAIM
        cache.save(update_fields=["state", "claimed_until"])
    return cache


def _know_all_versions() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO usage_cache (metric_version_id, state, partitions_done, partitions_total, next_partition,"
            " requested_at) SELECT id, 'waiting', 0, 0, '', now() FROM billable_metrics_metricversion"
            " ON CONFLICT DO NOTHING"
        )


@transaction.atomic
def _forget(version_id: int) -> None:
    """Remove what is left of a metric that was deleted."""
    with raw_cursor() as cursor:
        for table in ("usage_delta", "usage_bucket", "usage_value_delta", "usage_value", "usage_cache"):
            cursor.execute(f"DELETE FROM {table} WHERE metric_version_id = %b", [version_id])


def _now() -> dt.datetime:
    """The database's clock, which stamps everything else here."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        instant: dt.datetime = cursor.fetchone()[0]
        return instant


# --- Comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the cache does not say what the events do. ``starts_at`` is the bucket's; figures are in text."""

    version: MetricVersion
    customer_id: int
    grain: str
    starts_at: dt.datetime
    dimensions: tuple[str | None, ...]
    cached: str
    true: str


def mend_cache() -> list[Difference]:
    """Compare all of the cache with the events; log each difference, and have what is wrong built anew."""
    differences = compare_usage()
    for found in differences:
        logger.error(
            "usage cache differs: %s of customer %s, %s %s %s: cache %s, events %s",
            found.version,
            found.customer_id,
            found.grain,
            found.starts_at,
            found.dimensions,
            found.cached,
            found.true,
        )
    if differences:
        request_rebuild(list({found.version for found in differences}))
        backfill_metrics()
    return differences


def compare_usage(versions: Sequence[MetricVersion] | None = None) -> list[Difference]:
    """Compare the whole cache with the events, and return every difference. Reads each event once for each metric."""
    chosen = MetricVersion.objects.select_related("metric").all() if versions is None else versions
    ready = set(UsageCache.objects.filter(state=CacheState.READY).values_list("pk", flat=True))
    found: list[Difference] = []
    for version in chosen:
        if version.pk in ready and version.definition.is_mergeable:
            for _, start_at, end_at in partition_bounds():
                found.extend(_compare(version, start_at, end_at))
    return found


def _compare(version: MetricVersion, start_at: dt.datetime, end_at: dt.datetime) -> list[Difference]:
    statements = [_compare_sql(version)]
    if version.aggregation == Aggregation.UNIQUE_COUNT:
        statements.append(_compare_values_sql(version))
    range_ = {"version": version.pk, "start": start_at, "end": end_at, "customers": None}
    found = []
    for statement in statements:
        with raw_cursor() as cursor:
            cursor.execute(statement, range_)
            found += [
                Difference(version, customer, grain, starts_at, tuple(dims), cached or "nothing", true or "nothing")
                for customer, grain, starts_at, dims, cached, true in cursor
            ]
    return found


def _shown(table: str) -> str:
    """A state as text, in which equal numbers read alike."""
    numbers = ("total", "time_total", "lowest", "highest", "latest")
    columns = [
        f"trim_scale({table}.{column})" if column in numbers else f"{table}.{column}"
        for column in STATE_COLUMNS.split(", ")
    ]
    return f"CASE WHEN {table}.event_count > 0 THEN ({', '.join(columns)})::text END"


def _compare_sql(version: MetricVersion) -> str:
    key = "customer_id, grain, starts_at, dims"
    return f"""
        WITH {_true_buckets_sql(version)}, known AS (
            SELECT customer_id, grain, starts_at, dims, {STATE_COLUMNS} FROM usage_bucket
            WHERE metric_version_id = %(version)s AND {_IN_RANGE.format(column="starts_at")}
            UNION ALL
            SELECT customer_id, bucket.grain, bucket.starts_at, dims, {STATE_COLUMNS}
            FROM usage_delta CROSS JOIN LATERAL (
                VALUES (0, hour), (1, date_trunc('day', hour, 'UTC'))
            ) AS bucket(grain, starts_at)
            WHERE metric_version_id = %(version)s AND {_IN_RANGE.format(column="hour")}
        ), cached AS (
            SELECT {key}, {MERGED_SQL}, {MERGED_LATEST_SQL} FROM known GROUP BY {key}
        )
        SELECT customer_id, CASE grain WHEN 0 THEN 'hour' ELSE 'day' END, starts_at, dims,
               {_shown("cached")}, {_shown("truth")}
        FROM cached FULL JOIN truth USING ({key})
        WHERE {_shown("cached")} IS DISTINCT FROM {_shown("truth")}
        ORDER BY starts_at, customer_id
    """


def _compare_values_sql(version: MetricVersion) -> str:
    key = "customer_id, day, dims, value"
    return f"""
        WITH truth AS ({_seen_values_sql(version)}), known AS (
            SELECT {key}, first_at, last_at FROM usage_value
            WHERE metric_version_id = %(version)s AND {_IN_RANGE.format(column="day")} AND first_at <> 'infinity'
            UNION ALL
            SELECT {key}, first_at, last_at FROM usage_value_delta
            WHERE metric_version_id = %(version)s AND {_IN_RANGE.format(column="day")}
        ), cached AS (
            SELECT {key}, min(first_at) AS first_at, max(last_at) AS last_at FROM known GROUP BY {key}
        )
        SELECT customer_id, 'value', day, dims, (cached.first_at, cached.last_at)::text,
               (truth.first_at, truth.last_at)::text
        FROM cached FULL JOIN truth USING ({key})
        WHERE (cached.first_at, cached.last_at) IS DISTINCT FROM (truth.first_at, truth.last_at)
        ORDER BY day, customer_id
    """
