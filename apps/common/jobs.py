"""Waking background work: the database row is the truth, the message only wakes a worker."""

from __future__ import annotations

import logging
from typing import Any

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)


def enqueue_after_commit(task_name: str, **kwargs: Any) -> None:
    """Send the named task once the current transaction has committed.

    Tasks are named, not imported, so that a lower app can wake a higher one. A broker that is away costs
    time and no work: every job is a row that a beat sweeper finds again, so a failure to send is only logged.
    """

    def send() -> None:
        try:
            current_app.send_task(task_name, kwargs=kwargs, ignore_result=True)
        except Exception:
            logger.exception("could not wake %s; the sweeper will find the work", task_name)

    transaction.on_commit(send)
