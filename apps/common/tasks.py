"""Housekeeping of the message broker."""

from __future__ import annotations

import time
from pathlib import Path

from celery import shared_task
from django.conf import settings

KEEP_SECONDS = 3600


@shared_task(name="common.clear_delivered_messages")
def clear_delivered_messages(**_: object) -> None:
    """Remove delivered messages that the filesystem transport keeps for ever; other brokers keep none."""
    folder = getattr(settings, "CELERY_BROKER_TRANSPORT_OPTIONS", {}).get("processed_folder")
    if not folder:
        return
    for message in Path(folder).iterdir():
        if time.time() - message.stat().st_mtime > KEEP_SECONDS:
            message.unlink(missing_ok=True)
