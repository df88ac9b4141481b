"""Defining metrics, and defining them anew."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import transaction

from apps.billable_metrics import catalogue
from apps.billable_metrics.definitions import MetricDefinition
from apps.billable_metrics.models import BillableMetric, MetricVersion
from apps.billable_metrics.selectors import was_billed
from apps.common.errors import InvalidInput
from apps.common.jobs import enqueue_after_commit


class MetricWasBilled(InvalidInput):
    """A metric that stands on an invoice is not measured in another way after the fact."""

    code = "metric_was_billed"


@transaction.atomic
def create_metric(*, definition: MetricDefinition, now: dt.datetime, **identity: Any) -> BillableMetric:
    """Make a metric with its first version, which measures all events there are and will be.

    ``identity`` are the fields of BillableMetric. Raises InvalidInput, and ValidationError for these.
    """
    definition.check()
    metric = BillableMetric(**identity)
    metric.full_clean()
    metric.save()
    _add_version(metric, definition, number=1, effective_from=None, now=now)
    return metric


def describe_metric(*, metric: BillableMetric, **identity: Any) -> BillableMetric:
    """Give a metric other names; its code, by which programs know it, stands. Raises ValidationError."""
    for name, value in identity.items():
        if name == "code":
            raise TypeError("the code of a metric stands")
        setattr(metric, name, value)
    metric.full_clean()
    metric.save()
    return metric


@transaction.atomic
def redefine_metric(
    *, metric: BillableMetric, definition: MetricDefinition, effective_from: dt.datetime | None, now: dt.datetime
) -> MetricVersion:
    """Have a metric measure something else, as a new version.

    ``effective_from`` None means since ever, which only a metric that no invoice states may do; a billed one begins
    its new version at an instant that is not past. Raises MetricWasBilled and InvalidInput. The
    same definition again changes nothing and returns the version that there is.
    """
    definition.check()
    locked = BillableMetric.objects.select_for_update().get(pk=metric.pk)
    versions = list(locked.versions.all())
    current = locked.current_version
    if current.definition == definition:
        return current
    check_redefinition(metric=locked, effective_from=effective_from, now=now)
    number = max(version.number for version in versions) + 1
    return _add_version(locked, definition, number=number, effective_from=effective_from, now=now)


def check_redefinition(*, metric: BillableMetric, effective_from: dt.datetime | None, now: dt.datetime) -> None:
    """Raise MetricWasBilled if another definition may not begin then."""
    if (effective_from is None or effective_from < now) and was_billed(metric):
        raise MetricWasBilled(
            "Invoices state this metric as it is. Say from when on the new definition measures: an instant that is "
            "not past. It takes effect with the first billing period that starts then or later.",
            field="effective_from",
        )


def _add_version(
    metric: BillableMetric,
    definition: MetricDefinition,
    *,
    number: int,
    effective_from: dt.datetime | None,
    now: dt.datetime,
) -> MetricVersion:
    version = MetricVersion.of(definition, metric=metric, number=number, effective_from=effective_from, recorded_at=now)
    version.save(force_insert=True)
    catalogue.forget()
    transaction.on_commit(catalogue.forget)
    # By name: what keeps quantities ready is above this app. A sweeper finds the version in any case.
    enqueue_after_commit("usage.backfill_metrics")
    return version
