"""Writes of usage: storing events, attributing them, and keeping the cache of what they come to."""

from __future__ import annotations

from apps.usage.events import EventInput
from apps.usage.partitions import ensure_partitions
from apps.usage.services.attribution import attribute_events
from apps.usage.services.cache import (
    Difference,
    backfill_metrics,
    compare_usage,
    fold_usage,
    mend_cache,
    rebuild,
    request_rebuild,
)
from apps.usage.services.recording import (
    EventBatch,
    EventConflict,
    RecordedBatch,
    UsageIsArriving,
    record_batches,
    record_events,
    settle_cutoff,
)

__all__ = [
    "Difference",
    "EventBatch",
    "EventConflict",
    "EventInput",
    "RecordedBatch",
    "UsageIsArriving",
    "attribute_events",
    "backfill_metrics",
    "compare_usage",
    "ensure_partitions",
    "fold_usage",
    "mend_cache",
    "rebuild",
    "record_batches",
    "record_events",
    "request_rebuild",
    "settle_cutoff",
]
