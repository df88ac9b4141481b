"""Writes of usage: storing events, attributing them, and keeping the cache of what they come to."""

from __future__ import annotations

from apps.usage.events import EventInput
from apps.usage.partitions import ensure_partitions
from apps.usage.services.attribution import attribute_events, attribute_subject, heed_usage, ignore_usage
from apps.usage.services.cache import (
    Difference,
    backfill_metrics,
    compare_usage,
    fold_usage,
    mend_cache,
    rebuild,
    request_rebuild,
    restore_month,
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
from apps.usage.services.quarantine import (
    Released,
    discard_events,
    quarantine_events,
    release_events,
    take_batches,
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
    "Released",
    "SelectionChanged",
    "TooManyEvents",
    "UsageIsArriving",
    "attribute_events",
    "attribute_subject",
    "backfill_metrics",
    "check_replacement",
    "compare_usage",
    "correct_in_chunks",
    "correct_matching",
    "discard_events",
    "ensure_partitions",
    "fold_usage",
    "heed_usage",
    "ignore_usage",
    "mend_cache",
    "quarantine_events",
    "rebuild",
    "record_batches",
    "record_events",
    "release_events",
    "replace_event",
    "replace_events",
    "request_rebuild",
    "restore_month",
    "settle_cutoff",
    "take_batches",
    "void_events",
]
