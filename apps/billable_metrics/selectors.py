"""Reads over billable metrics."""

from __future__ import annotations

from collections.abc import Mapping

from apps.billable_metrics import catalogue
from apps.billable_metrics.models import BillableMetric
from apps.common.references import is_in_use


def summed_properties_by_event_type() -> Mapping[str, frozenset[str]]:
    """For every measured event type, the properties that must be numbers, since a metric computes with them."""
    return catalogue.current().numeric_properties


def was_billed(metric: BillableMetric) -> bool:
    """Whether a document of a higher app, such as an invoice, states any version of the metric."""
    return any(is_in_use(version) for version in metric.versions.all())
