"""The way to the database for statements that the ORM does not write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from django.db import OperationalError, connection, transaction

from apps.common.errors import BillingError


class TookTooLong(BillingError):
    """A question to the log that would keep the database busy for too long."""

    code = "took_too_long"
    status = 503

    def __init__(self) -> None:
        super().__init__(
            "This search looks through too many events and was stopped. Choose a shorter time range, or add a "
            "customer and a type."
        )


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Stop a statement in the block that takes longer, and raise TookTooLong."""
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{seconds}s"])
            yield
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('statement_timeout', '0', true)")
    except OperationalError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise TookTooLong from error
        raise


@contextmanager
def raw_cursor() -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
    """A cursor that binds on the server, on Django's own connection and in its transaction.

    Django's cursors bind in the client; binary arrays, which this app lives on, need the server. Errors are raised
    as Django's, which is what callers catch.
    """
    connection.ensure_connection()
    with (
        connection.wrap_database_errors,
        psycopg.Cursor(cast("psycopg.Connection[tuple[Any, ...]]", connection.connection)) as cursor,
    ):
        yield cursor


_SCANS = ("enable_hashjoin", "enable_mergejoin", "enable_seqscan")


@contextmanager
def row_by_row(cursor: psycopg.Cursor[tuple[Any, ...]]) -> Iterator[None]:
    """Have the statements in the block look rows up one by one, in the transaction that is open.

    The planner cannot know how few rows of a log of any size a list names, and would read all of the log to join it.
    """
    switch = ", ".join(f"set_config('{name}', %b, true)" for name in _SCANS)
    cursor.execute(f"SELECT {switch}", ["off"] * len(_SCANS))
    yield
    # Not after an error: the transaction is over then, and with it the settings.
    cursor.execute(f"SELECT {switch}", ["on"] * len(_SCANS))
