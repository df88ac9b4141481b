"""Billable metrics for sales ops: what is counted, in words."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display

from apps.billable_metrics.models import Aggregation, BillableMetric
from apps.common.admin import BillingAdmin
from apps.common.references import is_in_use

DEFINITION_FIELDS = ["event_type", "aggregation", "value_property"]


class BillableMetricForm(forms.ModelForm[BillableMetric]):
    event_type = forms.CharField(max_length=200)
    aggregation = forms.ChoiceField(choices=Aggregation.choices, initial=Aggregation.COUNT)
    value_property = forms.CharField(max_length=200, required=False)

    class Meta:
        model = BillableMetric
        fields = ["name", "code", "unit_singular", "unit_plural", "description"]


@admin.register(BillableMetric)
class BillableMetricAdmin(BillingAdmin[BillableMetric]):
    form = BillableMetricForm
    list_display = ["name", "code", "measures_shown", "units_shown"]
    search_fields = ["name", "code"]
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

    @display(description="Measures")
    def measures_shown(self, metric: BillableMetric) -> str:
        return metric.describe()

    @display(description="Unit")
    def units_shown(self, metric: BillableMetric) -> str:
        return metric.unit_plural
