"""Reads over usage: what was measured, and by which events."""

from __future__ import annotations

from apps.usage.selectors.events import Measurement, events_of, events_with_id, matching, measurements_of
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
    "GroupUsage",
    "MeasuredUsage",
    "Measurement",
    "UnattributedGroup",
    "UsageWindow",
    "events_of",
    "events_with_id",
    "matching",
    "measure_usage",
    "measurements_of",
    "unattributed_groups",
    "unattributed_subjects",
    "unmeasured_types",
]
