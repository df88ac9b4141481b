"""The month partitions of the event log, made before the first event of a month is stored."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from django.db import connection, transaction
from psycopg import sql

from apps.usage.database import raw_cursor

PARTITION_LOCK = 4_846_216_002  # An advisory lock of ours: two processes never make the same partition at once.

Month = tuple[int, int]

_known: set[Month] = set()


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
            table, log = sql.Identifier(_name(month)), sql.Identifier("usage_event")
            start, end = sql.Literal(_start(month)), sql.Literal(_start(_following(month)))
            cursor.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table, log)
            )
            cursor.execute(
                sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
                    log, table, start, end
                )
            )


def partition_bounds() -> list[tuple[str, dt.datetime, dt.datetime]]:
    """Name, start and end of every partition of the log, in the order of time."""
    return [
        (_name(month), dt.datetime(*month, 1, tzinfo=dt.UTC), dt.datetime(*_following(month), 1, tzinfo=dt.UTC))
        for month in sorted(_existing())
    ]


def _existing() -> set[Month]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid"
            " WHERE inhparent = 'usage_event'::regclass"
        )
        return {_month_of(name) for (name,) in cursor.fetchall()}


def _name(month: Month) -> str:
    return f"usage_event_{month[0]:04}_{month[1]:02}"


def _month_of(name: str) -> Month:
    year, month = name.removeprefix("usage_event_").split("_")
    return int(year), int(month)


def _start(month: Month) -> str:
    return f"{month[0]:04}-{month[1]:02}-01 00:00:00+00"


def _following(month: Month) -> Month:
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)


def _months_between(first: dt.date, last: dt.date) -> Iterator[Month]:
    month = (first.year, first.month)
    while month <= (last.year, last.month):
        yield month
        month = _following(month)
