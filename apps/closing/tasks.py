"""Celery wakes the close; the rows say what is to be done, so a lost or repeated message does no harm."""

from __future__ import annotations

import contextlib
import logging

from celery import shared_task
from django.utils import timezone

from apps.closing import services
from apps.closing.models import CloseRun, RunState

logger = logging.getLogger(__name__)


@shared_task(name="closing.start_due_run")
def start_due_run(**_: object) -> None:
    """Start a run over the periods whose grace period is over, if there are any."""
    with contextlib.suppress(services.NothingToClose):
        services.start_close_run(as_of=timezone.now(), retry_failed=False)


@shared_task(name="closing.work_run", acks_late=True)
def work_run(*, run_id: int, **_: object) -> None:
    services.work_run(run_id=run_id, now=timezone.now())


@shared_task(name="closing.resume_runs")
def resume_runs(**_: object) -> None:
    """Take up every run that a lost message or a killed worker left unfinished."""
    for run_id in CloseRun.objects.filter(state=RunState.RUNNING).order_by("pk").values_list("pk", flat=True):
        try:
            services.work_run(run_id=run_id, now=timezone.now())
        except Exception:
            # One run that cannot go on must not hold up the others.
            logger.exception("close run %s could not be resumed", run_id)
