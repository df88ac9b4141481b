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
from apps.usage.services.corrections import (
    EventChanges,
    EventIsVoided,
    EventNotFound,
    SelectionChanged,
    TooManyEvents,
    check_replacement,
    correct_in_chunks,
    correct_matching,
    replace_event,
    replace_events,
    void_events,
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
    "EventChanges",
    "EventConflict",
    "EventInput",
    "EventIsVoided",
    "EventNotFound",
    "RecordedBatch",
    "SelectionChanged",
    "TooManyEvents",
    "UsageIsArriving",
    "attribute_events",
    "backfill_metrics",
    "check_replacement",
    "compare_usage",
    "correct_in_chunks",
    "correct_matching",
    "ensure_partitions",
    "fold_usage",
    "mend_cache",
    "rebuild",
    "record_batches",
    "record_events",
    "replace_event",
    "replace_events",
    "request_rebuild",
    "settle_cutoff",
    "void_events",
]
