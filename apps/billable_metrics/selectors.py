"""Reads over billable metrics."""

from __future__ import annotations

from collections.abc import Mapping

from apps.billable_metrics import catalogue


def summed_properties_by_event_type() -> Mapping[str, frozenset[str]]:
    """For every measured event type, the properties that must be numbers, since a metric computes with them."""
    return catalogue.current().numeric_properties
