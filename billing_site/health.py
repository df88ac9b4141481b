"""Is the process alive, and can it serve: for load balancers, orchestrators, and the demo."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

from celery import current_app
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from apps.invoices.pdf import pdf_support

logger = logging.getLogger(__name__)


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers. Asks nobody else: a database that is away must restart no web server."""
    return HttpResponse("ok", content_type="text/plain", headers={"Cache-Control": "no-store"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when every check passes, else 503. ``information`` is told, but does not decide.

    The broker is information: while it is away, events are stored and the admin works; only background work waits.

    Failures are named here in a word; the reason is in the log, where strangers do not read it.
    """
    checks = {name: _passes(name, check) for name, check in CHECKS.items()}
    is_ready = all(checks.values())
    return JsonResponse(
        {
            "status": "ready" if is_ready else "not ready",
            "checks": {name: "ok" if passed else "failed" for name, passed in checks.items()},
            "information": {
                "broker": "ok" if _passes("broker", check_broker) else "failed",
                "pdf": pdf_problem() or "ok",
            },
        },
        status=200 if is_ready else 503,
        headers={"Cache-Control": "no-store"},
    )


def _passes(name: str, check: Callable[[], None]) -> bool:
    try:
        check()
    except Exception:
        # Whatever it is, the answer must be "not ready" and not an error page.
        logger.exception("readiness check failed: %s", name)
        return False
    return True


def check_database() -> None:
    """Raises when the database does not answer."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


class UnappliedMigrations(RuntimeError):
    """The database is older than the code."""


def check_migrations() -> None:
    """Raises when the database lacks migrations of this code."""
    _migrations_are_applied()


@lru_cache(maxsize=1)
def _migrations_are_applied() -> bool:
    # A success is remembered (a raised error is not): reading all migration files takes tens of milliseconds.
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise UnappliedMigrations(", ".join(str(migration) for migration, _ in missing))
    return True


def check_broker() -> None:
    """Raises when no message could be sent to the worker now."""
    with current_app.connection_for_write() as broker:
        broker.ensure_connection(max_retries=1, interval_start=0, timeout=3)


@lru_cache(maxsize=1)
def pdf_problem() -> str | None:
    """What PDFs lack on this machine; asked once, for a new library needs a new process anyway."""
    return pdf_support()


CHECKS: dict[str, Callable[[], None]] = {
    "database": check_database,
    "migrations": check_migrations,
}
