"""Celery wakes imports; their rows say what is to be done, so a lost or repeated message does no harm."""

from __future__ import annotations

import logging

from celery import shared_task
from django.utils import timezone

from apps.common.jobs import enqueue_after_commit
from apps.usage_imports import services
from apps.usage_imports.models import ImportState, UsageImport

logger = logging.getLogger(__name__)


@shared_task(name="usage_imports.work_import", acks_late=True)
def work_import(*, import_id: int, **_: object) -> None:
    if services.work_import(import_id=import_id, now=timezone.now(), seconds=services.SECONDS_AT_ONCE):
        enqueue_after_commit("usage_imports.work_import", import_id=import_id)


@shared_task(name="usage_imports.resume_imports")
def resume_imports(**_: object) -> None:
    """Take up every import of an uploaded file that a lost message or a killed worker left unfinished."""
    running = UsageImport.objects.filter(state=ImportState.RUNNING, file__isnull=False).order_by("pk")
    for import_id in running.values_list("pk", flat=True):
        try:
            work_import(import_id=import_id)
        except Exception:
            # One import that cannot go on must not hold up the others.
            logger.exception("import %s could not be resumed", import_id)


@shared_task(name="usage_imports.remove_old_files")
def remove_old_files(**_: object) -> None:
    """Remove the contents of files that were uploaded a while ago; what was counted stays."""
    services.remove_old_files(now=timezone.now())
