"""The month partitions of the event log: made before the first event of a month is stored, and taken out of the log
when they are older than events are kept.

A partition that was taken out is a table of its own, named ``usage_event_archive_YYYY_MM``, until an operator puts it
back or drops it. The keys of its events stay, so that an event sent again is a duplicate for ever.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import psycopg.errors
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection, transaction
from psycopg import sql

from apps.common.database import raw_cursor
from apps.common.errors import BillingError

# Advisory locks of ours. Two processes never make the same partition at once, nor move one. They are two locks, since a
# detach may wait long for those who read, and must not hold up an event that needs a new partition meanwhile.
PARTITION_LOCK = 4_846_216_002
MOVE_LOCK = 4_846_216_009
PATIENCE = "3s"
LIVE, ARCHIVED = "usage_event_", "usage_event_archive_"
_LOG = sql.Identifier("usage_event")

Month = tuple[int, int]

_known: set[Month] = set()


class PartitionState(StrEnum):
    LIVE = "live"
    DETACHING = "detaching"  # A detach was interrupted; doing it again ends it.
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Partition:
    """A month of the log. ``estimated_rows`` is the planner's guess, None before the table was ever analysed."""

    month: Month
    table: str
    state: PartitionState
    estimated_rows: int | None
    size_bytes: int

    @property
    def name(self) -> str:
        return month_name(self.month)

    @property
    def month_start(self) -> dt.date:
        return dt.date(*self.month, 1)


class PartitionRefused(BillingError):
    code = "partition_refused"


# --- Making ----------------------------------------------------------------------------------------------------------


def ensure_partitions(first: dt.date, last: dt.date) -> None:
    """Make the partitions of all months from ``first`` to ``last``, both included, where they are missing."""
    ensure_months(_months_between(first, last))


def ensure_months(months: Iterable[Month]) -> None:
    """Make the partitions of these (year, month) pairs, in UTC, where they are missing. Safe to run at once."""
    wanted = set(months) - _known
    if not wanted:
        return
    if wanted - _existing():
        _make_missing(wanted)
    # Only what is committed is remembered: what a rolled-back transaction made is gone with it.
    transaction.on_commit(lambda: _known.update(wanted))


def forget_known() -> None:
    """Look at the database again: partitions may have been removed."""
    _known.clear()


@transaction.atomic
def _make_missing(months: set[Month]) -> None:
    """Create each table by itself and attach it, so that nobody who reads or writes the log has to wait."""
    # Django's cursor would have the history of changes look into the statements, which it cannot.
    with raw_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
        for month in sorted(months - _existing()):
            table = sql.Identifier(_table(LIVE, month))
            cursor.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table, _LOG)
            )
            cursor.execute(_attaching(table, month))


# --- Listing ---------------------------------------------------------------------------------------------------------

_LIST = r"""
    SELECT child.relname, CASE WHEN inhdetachpending IS NULL THEN 'archived'
                               WHEN inhdetachpending THEN 'detaching' ELSE 'live' END,
           nullif(child.reltuples, -1)::bigint, pg_total_relation_size(child.oid)
    FROM pg_class child
    LEFT JOIN pg_inherits ON inhrelid = child.oid AND inhparent = 'usage_event'::regclass
    WHERE child.relkind = 'r' AND child.relnamespace = (SELECT relnamespace FROM pg_class
                                                        WHERE oid = 'usage_event'::regclass)
      AND child.relname ~ '^usage_event_(archive_)?[0-9]{4}_[0-9]{2}$'
"""


def partitions() -> list[Partition]:
    """Every month of the log and of the archive, the newest first."""
    with connection.cursor() as cursor:
        cursor.execute(_LIST)
        found = [
            Partition(_month_of(table), table, PartitionState(state), rows, size)
            for table, state, rows, size in cursor.fetchall()
        ]
    return sorted(found, key=lambda partition: (partition.month, partition.state), reverse=True)


def refuse_archived(months: Iterable[Month]) -> None:
    """Raise PartitionRefused for a month whose events have left the log.

    An event that is put into it late would stand there alone: its buckets would be built anew from this one event.
    """
    archived = {partition.month for partition in partitions() if partition.state != PartitionState.LIVE}
    if gone := sorted(set(months) & archived):
        raise PartitionRefused(
            f"The events of {month_name(gone[0])} have left the log. Attach that month again before you change it."
        )


def month_name(month: Month) -> str:
    return f"{month[0]:04}-{month[1]:02}"


def archive_table(month: Month) -> str:
    """The table of a month that was taken out of the log. Raises PartitionRefused when there is none."""
    return _only(month, PartitionState.ARCHIVED).table


# --- Keeping ---------------------------------------------------------------------------------------------------------


def least_keep_months(max_age_days: int) -> int:
    """How many whole months cover ``max_age_days``, whichever months they are."""
    lengths = [calendar.monthrange(year, month)[1] for year in range(2025, 2029) for month in range(1, 13)]
    months = 0
    while min(_days_of(lengths, start, months) for start in range(len(lengths))) < max_age_days:
        months += 1
    return months


def _days_of(lengths: list[int], start: int, months: int) -> int:
    return sum(lengths[(start + number) % len(lengths)] for number in range(months))


def retention_problem() -> str | None:
    """What is wrong with EVENTS_KEEP_MONTHS: an event may be as old as EVENTS_MAX_AGE_DAYS when it arrives."""
    months: int | None = settings.EVENTS_KEEP_MONTHS
    least = least_keep_months(settings.EVENTS_MAX_AGE_DAYS) if months is not None else 0
    if months is None or months >= least:
        return None
    return (
        f"EVENTS_KEEP_MONTHS is {months}, but events are taken until they are {settings.EVENTS_MAX_AGE_DAYS} days "
        f"old (EVENTS_MAX_AGE_DAYS). Keep at least {least} months, or take events for a shorter time."
    )


def keep_months() -> int | None:
    """The retention that is set; None keeps events for ever. Raises ImproperlyConfigured when it is too short."""
    problem = retention_problem()
    if problem is not None:
        raise ImproperlyConfigured(problem)
    months: int | None = settings.EVENTS_KEEP_MONTHS
    return months


def detach_old_partitions(*, today: dt.date) -> tuple[list[Month], list[PartitionRefused]]:
    """Take every month out of the log that is older than the retention; return which, and what was refused."""
    months = keep_months()
    if months is None:
        return [], []
    oldest_kept = _minus(months, (today.year, today.month))
    detached: list[Month] = []
    refused: list[PartitionRefused] = []
    for partition in partitions():
        if partition.month < oldest_kept and partition.state != PartitionState.ARCHIVED:
            try:
                detach_partition(partition.month, today=today)
                detached.append(partition.month)
            except PartitionRefused as refusal:
                refused.append(refusal)
    return detached, refused


def detach_partition(month: Month, *, today: dt.date, leave_unattributed: bool = False) -> str:
    """Take a month out of the log, without holding up those who read and write it; return the table's name.

    Must be called outside of a transaction. Raises PartitionRefused for a month whose events may still arrive, and
    for one with events that wait for a customer, which would never be billed, unless ``leave_unattributed``.
    """
    if connection.in_atomic_block:
        raise RuntimeError("a partition is detached outside of any transaction")
    last_day = dt.date(*month, calendar.monthrange(*month)[1])
    if last_day >= today - dt.timedelta(days=settings.EVENTS_MAX_AGE_DAYS):
        raise PartitionRefused(
            f"Events of {month_name(month)} may still arrive: they are taken until they are "
            f"{settings.EVENTS_MAX_AGE_DAYS} days old (EVENTS_MAX_AGE_DAYS)."
        )
    with _alone():
        partition = _only(month, PartitionState.LIVE, PartitionState.DETACHING)
        if any(one.month == month and one.state == PartitionState.ARCHIVED for one in partitions()):
            raise PartitionRefused(
                f"The archive has a table of {month_name(month)} already. Drop or attach that first."
            )
        waiting = 0 if leave_unattributed else _unattributed_in(partition.table)
        if waiting:
            raise PartitionRefused(
                f"{month_name(month)} holds {waiting:,} events without a customer, which would never be billed. "
                "Match them first, or insist with --leave-unattributed."
            )
        return _detach(partition)


def _detach(partition: Partition) -> str:
    """Give the table its archive name, then detach it: interrupted in between, it is still a part of the log."""
    archive = _table(ARCHIVED, partition.month)
    with raw_cursor() as cursor:
        if partition.table != archive:
            _rename(partition, archive)
        how = "FINALIZE" if partition.state == PartitionState.DETACHING else "CONCURRENTLY"
        cursor.execute(
            sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}").format(_LOG, sql.Identifier(archive), sql.SQL(how))
        )
    _known.discard(partition.month)
    return archive


def _rename(partition: Partition, name: str) -> None:
    """Rename a table, or give up soon: while this waits for a long reader, everybody else would wait behind it."""
    try:
        with transaction.atomic(), raw_cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])
            cursor.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(partition.table), sql.Identifier(name))
            )
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.LockNotAvailable):
            raise PartitionRefused(f"{partition.name} is being read right now. Try again later.") from error
        raise


def attach_partition(month: Month) -> None:
    """Put a month back into the log. Raises PartitionRefused when the log has that month."""
    with _alone(), transaction.atomic(), raw_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
        archive, live = _table(ARCHIVED, month), _table(LIVE, month)
        _only(month, PartitionState.ARCHIVED)
        if month in _existing():
            raise PartitionRefused(
                f"The log has a partition of {month_name(month)}, made since for events that came later. "
                "Export the archived ones and import them."
            )
        cursor.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(sql.Identifier(archive), sql.Identifier(live)))
        cursor.execute(_attaching(sql.Identifier(live), month))
        # Detaching left a check that every row is of this month. It has saved a look at each row; the bounds of the
        # partition say the same from here on.
        for name in _bound_checks(live):
            cursor.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(live), sql.Identifier(name))
            )


def drop_partition(month: Month) -> None:
    """Drop a month that was taken out of the log, for good. The keys of its events stay."""
    with _alone(), raw_cursor() as cursor:
        table = _only(month, PartitionState.ARCHIVED).table
        cursor.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))


def _only(month: Month, *states: PartitionState) -> Partition:
    found = [one for one in partitions() if one.month == month and one.state in states]
    if not found:
        wanted = "in the archive" if states == (PartitionState.ARCHIVED,) else "in the log"
        raise PartitionRefused(f"There is no partition of {month_name(month)} {wanted}.")
    return found[0]


def _unattributed_in(table: str) -> int:
    with raw_cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {} WHERE customer_id IS NULL").format(sql.Identifier(table)))
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _bound_checks(table: str) -> list[str]:
    """The checks of a table that its log does not have."""
    with raw_cursor() as cursor:
        cursor.execute(
            "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = %s::regclass AND conname NOT IN"
            " (SELECT conname FROM pg_constraint WHERE contype = 'c' AND conrelid = 'usage_event'::regclass)",
            [table],
        )
        return [name for (name,) in cursor.fetchall()]


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from moving partitions meanwhile, also across transactions."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [MOVE_LOCK])
        if not cursor.fetchone()[0]:
            raise PartitionRefused("Another process is moving a partition right now. Try again later.")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MOVE_LOCK])


# --- Months ----------------------------------------------------------------------------------------------------------


def partition_bounds() -> list[tuple[str, dt.datetime, dt.datetime]]:
    """Name, start and end of every partition of the log, in the order of time."""
    return [(_table(LIVE, month), *bounds_of(month)) for month in sorted(_existing())]


def bounds_of(month: Month) -> tuple[dt.datetime, dt.datetime]:
    """The instants at which a month begins and the next one does, in UTC."""
    return dt.datetime(*month, 1, tzinfo=dt.UTC), dt.datetime(*_following(month), 1, tzinfo=dt.UTC)


def _existing() -> set[Month]:
    """The months that the log has. One that is being detached takes no events any more and does not count."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
            " WHERE inhparent = 'usage_event'::regclass AND NOT inhdetachpending"
        )
        return {_month_of(name) for (name,) in cursor.fetchall()}


def _attaching(table: sql.Identifier, month: Month) -> sql.Composed:
    start, end = sql.Literal(_start(month)), sql.Literal(_start(_following(month)))
    return sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(_LOG, table, start, end)


def _table(prefix: str, month: Month) -> str:
    return f"{prefix}{month[0]:04}_{month[1]:02}"


def _month_of(table: str) -> Month:
    *_, year, month = table.split("_")
    return int(year), int(month)


def _start(month: Month) -> str:
    return f"{month[0]:04}-{month[1]:02}-01 00:00:00+00"


def _following(month: Month) -> Month:
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)


def _minus(months: int, month: Month) -> Month:
    count = month[0] * 12 + month[1] - 1 - months
    return count // 12, count % 12 + 1


def _months_between(first: dt.date, last: dt.date) -> Iterator[Month]:
    month = (first.year, first.month)
    while month <= (last.year, last.month):
        yield month
        month = _following(month)
