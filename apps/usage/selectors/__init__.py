"""Reads over usage: what was measured, and by which events."""

from __future__ import annotations

from apps.usage.selectors.changes import changed_since
from apps.usage.selectors.events import (
    EventPlace,
    EventQuery,
    chain_of,
    events_of,
    live_places,
    matching,
    place_of,
    places_of,
)
from apps.usage.selectors.late import LateUsage, late_usage
from apps.usage.selectors.quantities import measure_usage
from apps.usage.selectors.singly import DailyLevels, daily_levels, event_values
from apps.usage.selectors.unattributed import (
    UnattributedGroup,
    UnmeasuredType,
    groups_of,
    looked_into,
    unattributed_groups,
    unattributed_subjects,
    unmeasured_types,
)
from apps.usage.selectors.windows import QUANTITY_DECIMALS, GroupUsage, MeasuredUsage, UsageWindow, rounded

__all__ = [
    "QUANTITY_DECIMALS",
    "DailyLevels",
    "EventPlace",
    "EventQuery",
    "GroupUsage",
    "LateUsage",
    "MeasuredUsage",
    "UnattributedGroup",
    "UnmeasuredType",
    "UsageWindow",
    "chain_of",
    "changed_since",
    "daily_levels",
    "event_values",
    "events_of",
    "groups_of",
    "late_usage",
    "live_places",
    "looked_into",
    "matching",
    "measure_usage",
    "place_of",
    "places_of",
    "rounded",
    "unattributed_groups",
    "unattributed_subjects",
    "unmeasured_types",
]
