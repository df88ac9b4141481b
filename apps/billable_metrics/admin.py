"""Billable metrics for sales ops: what is counted, in words, and every version of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from unfold.decorators import display

from apps.billable_metrics.definitions import Aggregation, MetricDefinition, OutcomePolicy, TimeUnit, ValuesAre
from apps.billable_metrics.forms import BillableMetricForm, write_list
from apps.billable_metrics.models import BillableMetric, MetricVersion, version_in_force
from apps.billable_metrics.selectors import was_billed
from apps.billable_metrics.services import create_metric, describe_metric, redefine_metric
from apps.common.admin import BillingAdmin, Panel, register_panel
from apps.common.formatting import format_instant
from apps.common.history import HistoryScope
from apps.common.references import count_uses
from apps.pricing.formatting import plain_decimal

IDENTITY = ["name", "code", "description", "unit_singular", "unit_plural"]


@admin.register(BillableMetric)
class BillableMetricAdmin(BillingAdmin[BillableMetric]):
    form = BillableMetricForm
    list_display = ["name", "code", "measures_shown", "units_shown"]
    list_filter = ["versions__aggregation"]
    search_fields = ["name", "code", "versions__event_type"]
    search_help_text = "Name, code or event type"
    ordering = ["name", "id"]
    empty_state = (
        "No billable metrics yet",
        "A metric says what is counted: the number of calls, or the tokens that the events of a type add up to. Start "
        "here, for prices per unit need one.",
        "admin:billable_metrics_billablemetric_add",
        "Add a metric",
    )

    class Media:
        js = ["countinghouse/metric_form.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BillableMetric]:
        metrics: QuerySet[BillableMetric] = super().get_queryset(request)
        return metrics.prefetch_related("versions")

    # --- The form ----------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not self._may_edit(request, obj):
            return [(None, {"fields": [*IDENTITY, "measures_shown"]})]
        measured = [
            "event_type",
            "aggregation",
            "value_property",
            "value_expression",
            "percentile_rank",
            "values_are",
            "time_unit",
            "carries_over",
            "filters",
            "outcome_policy",
            "outcome_property",
            "outcome_values",
            "group_by",
        ]
        if obj is not None and was_billed(obj):
            measured.append("effective_from")
        return [
            (
                None,
                {
                    "fields": ["name", "code", "unit_singular", "unit_plural", "description"],
                    "description": "A metric turns usage events into a quantity that a price can charge. It also "
                    "measures the events that came before it was made.",
                },
            ),
            ("What is measured", {"fields": measured, "description": _which_version(obj) if obj else ""}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if not self._may_edit(request, obj):
            return [*IDENTITY, "measures_shown"]
        # The code is how the API and exports name the metric; another one would be another metric.
        return [] if obj is None else ["code"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not self._may_edit(request, obj):
            return super().get_form(request, obj, change=change, form=_Nothing, **kwargs)
        return super().get_form(request, obj, change=change, **kwargs)

    def _may_edit(self, request: HttpRequest, metric: BillableMetric | None) -> bool:
        return metric is None or bool(self.has_change_permission(request, metric))

    # --- Saving ------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: BillableMetric, form: Any, change: bool) -> None:
        now = timezone.now()
        identity = {name: getattr(obj, name) for name in IDENTITY}
        if not change:
            obj.pk = create_metric(definition=form.definition, now=now, **identity).pk
            return
        del identity["code"]
        describe_metric(metric=obj, **identity)
        effective_from = form.cleaned_data.get("effective_from")
        redefine_metric(metric=obj, definition=form.definition, effective_from=effective_from, now=now)

    def history_scopes(self, obj: BillableMetric) -> list[HistoryScope]:
        return [*super().history_scopes(obj), HistoryScope(MetricVersion, {"metric_id": obj.pk})]

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Measures")
    def measures_shown(self, metric: BillableMetric) -> str:
        return metric.describe()

    @display(description="Unit")
    def units_shown(self, metric: BillableMetric) -> str:
        return metric.unit_plural


class _Nothing(BillableMetricForm):
    """The form of someone who may only look: all is shown, nothing is entered."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.clear()

    def clean(self) -> dict[str, Any]:
        return {}


def _which_version(metric: BillableMetric) -> str:
    """Which version the form shows, where that is not the one which measures today."""
    shown, now = metric.current_version, timezone.now()
    if shown.effective_from is None or shown.effective_from <= now:
        return ""
    in_force = version_in_force(metric.versions.all(), at=now)
    return (
        f"This is version {shown.number}, which measures from {format_instant(shown.effective_from)} on. "
        f"Until then version {in_force.number} does."
    )


# --- Versions --------------------------------------------------------------------------------------------------------

_WORDS: Mapping[str, tuple[str, Any]] = {
    "event_type": ("Event type", None),
    "aggregation": ("Aggregation", Aggregation),
    "value_property": ("Value", None),
    "value_expression": ("Expression", None),
    "filters": ("Filters", None),
    "group_by": ("Dimensions", None),
    "outcome_policy": ("Outcome", OutcomePolicy),
    "outcome_property": ("Outcome property", None),
    "outcome_values": ("Outcomes", None),
    "carries_over": ("Carries over", None),
    "values_are": ("Events tell", ValuesAre),
    "time_unit": ("Counted in", TimeUnit),
    "percentile_rank": ("Percentile", None),
}


def render_versions(request: HttpRequest, metric: BillableMetric) -> str:
    """What the metric measures and measured, newest first, each with its difference to the one before."""
    versions = sorted(metric.versions.all(), key=lambda version: version.number)
    now = timezone.now()
    shown = [
        {
            "version": version,
            "words": version.definition.describe(),
            "state": _state(version, versions, now),
            "changes": list(_changes(before.definition, version.definition)) if before else [],
            "uses": count_uses(version),
        }
        for before, version in zip([None, *versions], versions, strict=False)
    ]
    return render_to_string("admin/billable_metrics/versions.html", {"versions": shown[::-1]}, request=request)


def _state(version: MetricVersion, versions: Sequence[MetricVersion], now: dt.datetime) -> str:
    if version is version_in_force(versions, at=now):
        return "current"
    return "scheduled" if version.effective_from is not None and version.effective_from > now else "earlier"


def _changes(before: MetricDefinition, after: MetricDefinition) -> Iterator[tuple[str, str, str]]:
    for name, (label, choices) in _WORDS.items():
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield label, _in_words(old, choices), _in_words(new, choices)


def _in_words(value: Any, choices: Any) -> str:
    if choices is not None:
        return str(choices(value).label)
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if value is None or value in ((), ""):
        return "–"
    if isinstance(value, tuple):
        texts = [member if isinstance(member, str) else member.describe() for member in value]
        return write_list(texts)
    return value if isinstance(value, str) else plain_decimal(value)


register_panel("billable_metrics.BillableMetric", Panel(title="Versions", render=render_versions, order=10))
