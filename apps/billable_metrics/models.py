"""What is counted: metrics, and the versions of what they measure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from apps.billable_metrics.definitions import (
    Aggregation,
    MetricDefinition,
    OutcomePolicy,
    TimeUnit,
    ValuesAre,
    read_filters,
)
from apps.common.fields import CodeField
from apps.common.history import tracked

__all__ = ["Aggregation", "BillableMetric", "MetricVersion"]


@tracked()
class BillableMetric(models.Model):
    """A quantity measured from events, such as “input tokens”: its name and its unit.

    What it measures is in its versions. Metrics are applied when usage is read, so a new one measures past events too.
    """

    code = CodeField(unique=True, help_text="Used in the API and in exports, such as input_tokens.")
    name = models.CharField(max_length=100, help_text="Printed on invoices, such as “Input tokens”.")
    description = models.TextField(blank=True)
    unit_singular = models.CharField(max_length=40, default="unit", help_text="Plain word for one unit, such as token.")
    unit_plural = models.CharField(max_length=40, default="units", help_text="For several, such as tokens.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def current_version(self) -> MetricVersion:
        """The version that is in force last, as known by now; the one that forms and lists show."""
        return latest_version(self.versions.all())

    def describe(self) -> str:
        """The metric in words, for staff: what is measured and how."""
        return self.current_version.definition.describe()


@tracked()
class MetricVersion(models.Model):
    """What a metric measures from an instant on. A version never changes; another definition is another version.

    ``effective_from`` None: since ever. A usage window is measured by the version in force when it begins, so a
    change takes effect with the first period that starts afterwards. ``recorded_at`` is when it was entered; of two
    that begin at the same instant the later recorded one holds.
    """

    metric = models.ForeignKey(BillableMetric, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(default=1)
    effective_from = models.DateTimeField(null=True, blank=True)
    recorded_at = models.DateTimeField()
    event_type = models.CharField(max_length=200)
    aggregation = models.CharField(max_length=20, choices=Aggregation.choices)
    value_property = models.CharField(max_length=200, blank=True)
    value_expression = models.CharField(max_length=500, blank=True)
    filters = models.JSONField(default=list, blank=True)
    group_by = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    outcome_property = models.CharField(max_length=200, blank=True)
    outcome_policy = models.CharField(max_length=10, choices=OutcomePolicy.choices, default=OutcomePolicy.ALL)
    outcome_values = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    carries_over = models.BooleanField(default=False)
    values_are = models.CharField(max_length=10, choices=ValuesAre.choices, default=ValuesAre.CHANGES)
    time_unit = models.CharField(max_length=10, choices=TimeUnit.choices, default=TimeUnit.HOUR)
    percentile_rank = models.DecimalField(max_digits=7, decimal_places=4, null=True, blank=True)

    DEFINITION_FIELDS = (
        "event_type",
        "aggregation",
        "value_property",
        "value_expression",
        "filters",
        "group_by",
        "outcome_property",
        "outcome_policy",
        "outcome_values",
        "carries_over",
        "values_are",
        "time_unit",
        "percentile_rank",
    )

    class Meta:
        ordering = ["metric_id", "number"]
        indexes = [models.Index(fields=["event_type"])]
        constraints = [
            models.UniqueConstraint(name="metric_version_number_is_unique", fields=["metric", "number"]),
            models.CheckConstraint(
                name="metric_value_goes_with_aggregation",
                condition=Q(aggregation="count", value_property="", value_expression="")
                | (~Q(aggregation="count") & (~Q(value_property="") ^ ~Q(value_expression=""))),
            ),
            models.CheckConstraint(
                name="metric_rank_goes_with_percentile",
                condition=Q(aggregation="percentile", percentile_rank__gt=0, percentile_rank__lte=100)
                | (~Q(aggregation="percentile") & Q(percentile_rank=None)),
            ),
        ]
        triggers = [pgtrigger.Protect(name="metric_version_stands", operation=pgtrigger.Update)]

    def __str__(self) -> str:
        return f"{self.metric.name} v{self.number}"

    @classmethod
    def of(cls, definition: MetricDefinition, **row: Any) -> MetricVersion:
        """A version of this definition, not stored yet; ``row`` are its other fields."""
        values = {name: getattr(definition, name) for name in cls.DEFINITION_FIELDS}
        values["filters"] = [condition.as_json() for condition in definition.filters]
        values["group_by"] = list(definition.group_by)
        values["outcome_values"] = list(definition.outcome_values)
        return cls(**values, **row)

    @property
    def definition(self) -> MetricDefinition:
        known: MetricDefinition | None = self.__dict__.get("_definition")
        if known is None:
            known = self.__dict__["_definition"] = MetricDefinition(
                event_type=self.event_type,
                aggregation=Aggregation(self.aggregation),
                value_property=self.value_property,
                value_expression=self.value_expression,
                filters=read_filters(self.filters),
                group_by=tuple(self.group_by),
                outcome_property=self.outcome_property,
                outcome_policy=OutcomePolicy(self.outcome_policy),
                outcome_values=tuple(self.outcome_values),
                carries_over=self.carries_over,
                values_are=ValuesAre(self.values_are),
                time_unit=TimeUnit(self.time_unit),
                percentile_rank=None if self.percentile_rank is None else Decimal(self.percentile_rank),
            )
        return known


_EVER = dt.datetime.min.replace(tzinfo=dt.UTC)


def _order(version: MetricVersion) -> tuple[dt.datetime, dt.datetime, int]:
    return version.effective_from or _EVER, version.recorded_at, version.number


def latest_version(versions: Iterable[MetricVersion]) -> MetricVersion:
    """The version that is in force last. Raises ValueError when there is none, which no service leaves behind."""
    return max(versions, key=_order)


def version_in_force(
    versions: Iterable[MetricVersion], *, at: dt.datetime, known_at: dt.datetime | None = None
) -> MetricVersion:
    """The version that measures a window which begins at an instant, as known at another (None: by now).

    The first version measures what came before it as well.
    """
    recorded = sorted(versions, key=lambda version: version.number)
    known = [version for version in recorded if known_at is None or version.recorded_at <= known_at] or recorded[:1]
    in_force = [version for version in known if version.effective_from is None or version.effective_from <= at]
    return max(in_force or known[:1], key=_order)
