"""Reads over usage: what was measured, and by which events."""

from __future__ import annotations

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
from apps.usage.selectors.quantities import measure_usage
from apps.usage.selectors.unattributed import (
    UnattributedGroup,
    unattributed_groups,
    unattributed_subjects,
    unmeasured_types,
)
from apps.usage.selectors.windows import QUANTITY_DECIMALS, GroupUsage, MeasuredUsage, UsageWindow

__all__ = [
    "QUANTITY_DECIMALS",
    "EventPlace",
    "EventQuery",
    "GroupUsage",
    "MeasuredUsage",
    "UnattributedGroup",
    "UsageWindow",
    "chain_of",
    "events_of",
    "live_places",
    "matching",
    "measure_usage",
    "place_of",
    "places_of",
    "unattributed_groups",
    "unattributed_subjects",
    "unmeasured_types",
]
