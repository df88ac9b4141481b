"""The way to the database for statements that the ORM does not write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
from django.db import connection


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
