"""Background work on invoices."""

from __future__ import annotations

from celery import shared_task
from django.utils import timezone

from apps.invoices.services.documents import RENDER_TASK, render_pending_documents

# A long queue is worked off by many messages, so that other work gets its turn in between.
DOCUMENTS_A_TASK = 25


@shared_task(name=RENDER_TASK, acks_late=True)
def render_documents(**_: object) -> None:
    """Render PDFs that are due. Safe to run twice, and at once."""
    for _turn in range(DOCUMENTS_A_TASK):
        # One by one, because the pause after a failed attempt counts from when that attempt began.
        if not render_pending_documents(now=timezone.now(), limit=1):
            break
