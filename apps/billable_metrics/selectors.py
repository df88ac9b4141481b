"""Reads over billable metrics."""

from __future__ import annotations

from collections import defaultdict

from apps.billable_metrics.models import Aggregation, BillableMetric


def summed_properties_by_event_type() -> dict[str, frozenset[str]]:
    """For every measured event type, the properties that must be numbers because a metric adds them up."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for event_type, aggregation, value_property in BillableMetric.objects.values_list(
        "event_type", "aggregation", "value_property"
    ):
        found[event_type].update([value_property] if aggregation == Aggregation.SUM else [])
    return {event_type: frozenset(properties) for event_type, properties in found.items()}
