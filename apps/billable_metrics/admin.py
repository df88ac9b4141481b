"""Billable metrics for sales ops: what is counted, in words."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.decorators import display

from apps.billable_metrics.models import Aggregation, BillableMetric
from apps.common.admin import BillingAdmin, is_in_use

DEFINITION_FIELDS = ["event_type", "aggregation", "value_property"]


class BillableMetricForm(forms.ModelForm[BillableMetric]):
    class Meta:
        model = BillableMetric
        fields = [
            "name",
            "code",
            "event_type",
            "aggregation",
            "value_property",
            "unit_singular",
            "unit_plural",
            "description",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Read by the page's script. Who only looks at a metric has no inputs here.
        if "aggregation" in self.fields and "value_property" in self.fields:
            self.fields["aggregation"].widget.attrs["data-ch-controls"] = "aggregation"
            self.fields["value_property"].widget.attrs["data-ch-shown-for-aggregation"] = Aggregation.SUM.value
            # Not sent while it is hidden, for a count.
            self.fields["value_property"].required = False


@admin.register(BillableMetric)
class BillableMetricAdmin(BillingAdmin[BillableMetric]):
    form = BillableMetricForm
    list_display = ["name", "code", "measures_shown", "units_shown"]
    list_filter = [("aggregation", ChoicesDropdownFilter), "event_type"]
    search_fields = ["name", "code", "event_type"]
    search_help_text = "Name, code or event type"
    fieldsets = [
        (
            None,
            {
                "fields": ["name", "code", "description"],
                "description": "A metric turns usage events into a quantity that a price can charge. It also measures "
                "the events that came before it was made.",
            },
        ),
        (
            "What is measured",
            {
                "fields": DEFINITION_FIELDS,
                "description": "Fixed once a price uses the metric. To count differently, make another metric.",
            },
        ),
        ("What one unit is called", {"fields": ["unit_singular", "unit_plural"]}),
    ]
    empty_state = (
        "No billable metrics yet",
        "A metric says what is counted: the number of calls, or the tokens that the events of a type add up to. Start "
        "here, for prices per unit need one.",
        "admin:billable_metrics_billablemetric_add",
        "Add a metric",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        if obj is None:
            return []
        # The code is how the API and exports name the metric; another one would be another metric. So would another
        # definition, once a price counts by it: what was billed would be measured anew.
        return ["code", *DEFINITION_FIELDS] if is_in_use(obj) else ["code"]

    @display(description="Measures", ordering="event_type")
    def measures_shown(self, metric: BillableMetric) -> str:
        return metric.describe()

    @display(description="Unit")
    def units_shown(self, metric: BillableMetric) -> str:
        return metric.unit_plural
