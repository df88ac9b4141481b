"""Background work of usage. Each task is safe to run twice, and at once."""

from __future__ import annotations

import datetime as dt
import logging

from celery import shared_task
from django.utils import timezone

from apps.usage import partitions, services

DAYS_AHEAD = 92

logger = logging.getLogger(__name__)


@shared_task(name="usage.attribute_events")
def attribute_events(**_: object) -> None:
    """Attribute events whose subject has become a customer or an alias."""
    services.attribute_events()


@shared_task(name="usage.make_partitions")
def make_partitions(**_: object) -> None:
    """Make the month partitions of the coming quarter, so that no event has to wait for one."""
    today = timezone.now().date()
    services.ensure_partitions(today, today + dt.timedelta(days=DAYS_AHEAD))


@shared_task(name="usage.fold_usage")
def fold_usage(**_: object) -> None:
    """Fold what was stored since into the buckets, so that reads stay short."""
    services.fold_usage()


@shared_task(name="usage.backfill_metrics")
def backfill_metrics(**_: object) -> None:
    """Have new metrics measure the events that came before them."""
    services.backfill_metrics()


@shared_task(name="usage.mend_cache")
def mend_cache(**_: object) -> None:
    """Compare the cache with the events; where it differs, say so and build it anew."""
    services.mend_cache()


@shared_task(name="usage.detach_old_partitions")
def detach_old_partitions(**_: object) -> None:
    """Take the months out of the log that are older than EVENTS_KEEP_MONTHS says."""
    detached, refused = partitions.detach_old_partitions(today=timezone.now().date())
    for month in detached:
        logger.info("usage events of %s were taken out of the log", partitions.month_name(month))
    for refusal in refused:
        logger.warning("a partition was left in the log: %s", refusal)
