"""The form of a metric: its name and unit, and all that decides what it measures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.billable_metrics.definitions import (
    CAN_CARRY_OVER,
    NUMERIC_COMPARISONS,
    PRESENCE,
    SEVERAL_VALUES,
    Aggregation,
    FilterOperator,
    MetricDefinition,
    OutcomePolicy,
    PropertyFilter,
    TimeUnit,
    ValuesAre,
)
from apps.billable_metrics.formulas import LONGEST, LONGEST_NAME
from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import check_redefinition
from apps.common.admin import add_refusal
from apps.common.errors import InvalidInput
from apps.common.forms import AmountField

DEFINITION = tuple(field.name for field in fields(MetricDefinition) if field.name[0] != "_")
_SHOWN_FOR = "data-ch-shown-for-aggregation"
_VALUED = [kind for kind in Aggregation if kind != Aggregation.COUNT]
_SHOWN: Mapping[str, Iterable[Aggregation]] = {
    "value_property": _VALUED,
    "value_expression": [kind for kind in _VALUED if kind != Aggregation.UNIQUE_COUNT],
    "percentile_rank": [Aggregation.PERCENTILE],
    "values_are": [Aggregation.TIME_WEIGHTED_SUM],
    "time_unit": [Aggregation.TIME_WEIGHTED_SUM],
    "carries_over": sorted(CAN_CARRY_OVER),
}


def read_list(text: str) -> tuple[str, ...]:
    """Texts with commas between them; one that holds a comma itself stands in double quotes."""
    rows = csv.reader(io.StringIO(text.replace("\n", ",")), skipinitialspace=True, strict=True)
    try:
        return tuple(member.strip() for row in rows for member in row if member.strip())
    except csv.Error as error:
        raise ValidationError('A double quote is not closed. Write “a, b”, or "a, b" for one text.') from error


def write_list(texts: Sequence[str]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow(texts)
    return ", ".join(texts) if read_list(", ".join(texts)) == tuple(texts) else written.getvalue()


class TextListField(forms.CharField):
    """Several texts in one line."""

    def to_python(self, value: Any) -> Any:
        return read_list(super().to_python(value) or "")

    def prepare_value(self, value: Any) -> Any:
        return write_list(value) if isinstance(value, list | tuple) else value

    def validate(self, value: Any) -> None:
        """Left to the definition."""

    def run_validators(self, value: Any) -> None:
        """Left to the definition."""


class FiltersWidget(forms.Widget):
    """Rows of property, operator and values, with one to add more. A row without a property is none."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[dict[str, str]]:
        rows = zip(*(data.getlist(f"{name}-{part}") for part in ("property", "operator", "values")), strict=False)
        return [
            {"property": property_name, "operator": operator, "values": values}
            for property_name, operator, values in rows
            if property_name.strip() or values.strip()
        ]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> Any:
        rows = [_row(one) for one in value or ()]
        context = {
            "name": name,
            "rows": rows,
            "operators": FilterOperator.choices,
            "without_value": " ".join(sorted(PRESENCE)),
            "with_several": " ".join(sorted(SEVERAL_VALUES)),
            "with_number": " ".join(sorted(NUMERIC_COMPARISONS)),
        }
        return render_to_string("admin/billable_metrics/filters_widget.html", context)


def _row(one: Any) -> dict[str, str]:
    if not isinstance(one, PropertyFilter):
        return {**one}
    several = one.operator in SEVERAL_VALUES
    values = write_list(one.values) if several else "".join(one.values)
    return {"property": one.name, "operator": one.operator.value, "values": values}


class FiltersField(forms.Field):
    widget = FiltersWidget

    def to_python(self, value: Any) -> tuple[PropertyFilter, ...]:
        return tuple(self._filter(number, row) for number, row in enumerate(value or (), 1))

    def _filter(self, number: int, row: Mapping[str, str]) -> PropertyFilter:
        operator, text = row["operator"], row["values"]
        values: Sequence[str] = read_list(text) if operator in SEVERAL_VALUES else [text] if text else []
        if operator in NUMERIC_COMPARISONS:
            values = [value.strip() for value in values]
        if operator in PRESENCE:
            values = []
        try:
            condition = PropertyFilter.read(
                {"property": row["property"].strip(), "operator": operator, "values": list(values)}
            )
            condition.check()
        except InvalidInput as refusal:
            raise ValidationError(f"Filter {number}: {refusal.detail}") from refusal
        return condition

    def validate(self, value: Any) -> None:
        """Left to the definition."""

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return tuple(initial or ()) != self.to_python(data)
        except ValidationError:
            return True


class DefinitionForm(forms.Form):
    """All fields of a MetricDefinition. The page shows those that the aggregation has, and sends no others."""

    event_type = forms.CharField(
        max_length=LONGEST_NAME,
        strip=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": "llm.completion"}),
        help_text="The type that events carry. Types that were seen are suggested.",
    )
    aggregation = forms.ChoiceField(
        choices=Aggregation.choices,
        initial=Aggregation.COUNT,
        widget=UnfoldAdminSelectWidget(attrs={"data-ch-controls": "aggregation"}),
        help_text="How the events of a billing period become one quantity.",
    )
    value_property = forms.CharField(
        label="Value",
        required=False,
        max_length=LONGEST_NAME,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": "input_tokens"}),
        help_text="The property of an event that holds its value. Write dots to reach inside: usage.input_tokens.",
    )
    value_expression = forms.CharField(
        label="or expression",
        required=False,
        max_length=LONGEST,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "off", "placeholder": "gpus * seconds / 3600", "class": "ch-code"}
        ),
        help_text="In place of one property: + - * / ( ) min max ceil floor round over properties and numbers.",
    )
    percentile_rank = AmountField(
        label="Percentile",
        required=False,
        help_text="In percent, such as 95: the smallest value that so many of the values do not exceed.",
    )
    values_are = forms.ChoiceField(
        label="Events tell",
        required=False,
        choices=ValuesAre.choices,
        widget=UnfoldAdminSelectWidget,
    )
    time_unit = forms.ChoiceField(
        label="Counted in",
        required=False,
        choices=TimeUnit.choices,
        initial=TimeUnit.HOUR,
        widget=UnfoldAdminSelectWidget,
        help_text="10 GB that stand for 24 hours are 240 per hour, 10 per day, or 10 on average over that day.",
    )
    carries_over = forms.BooleanField(
        label="Carries over",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="A level, such as seats or stored bytes: what stood at the end of a period stands at the start of "
        "the next.",
    )
    filters = FiltersField(
        required=False,
        help_text="Only events that meet all of these count. “Is one of” takes several values with commas between.",
    )
    outcome_policy = forms.ChoiceField(
        label="Outcome",
        required=False,
        choices=OutcomePolicy.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="Failed calls may be left out here. Where every event counts, name those that failed, and let each "
        "price say whether they are free.",
    )
    outcome_property = forms.CharField(
        required=False,
        max_length=LONGEST_NAME,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "status", "autocomplete": "off"}),
        help_text="The property that holds an event's outcome. Leave it empty if outcomes make no difference.",
    )
    outcome_values = TextListField(
        label="Outcomes",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "failed, timeout", "autocomplete": "off"}),
        help_text="The values of that property, with commas between.",
    )
    group_by = TextListField(
        label="Dimensions",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": "model, region"}),
        help_text="Properties by which prices and reports can split the quantity, with commas between.",
    )

    # The definition that holds now, on the page of a metric that exists.
    current: MetricDefinition | None = None
    definition: MetricDefinition | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, kinds in _SHOWN.items():
            if name in self.fields:
                self.fields[name].widget.attrs[_SHOWN_FOR] = " ".join(kind.value for kind in kinds)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if any(name in self.errors for name in DEFINITION):
            return cleaned
        definition = self._read(cleaned)
        try:
            definition.check()
        except InvalidInput as refusal:
            add_refusal(self, refusal)
        else:
            self.definition = definition
        return cleaned

    def _read(self, cleaned: Mapping[str, Any]) -> MetricDefinition:
        """What was entered. A choice that was hidden is as it was, or as it is by default."""
        base = self.current
        return MetricDefinition(
            event_type=cleaned["event_type"],
            aggregation=Aggregation(cleaned["aggregation"]),
            value_property=cleaned["value_property"],
            value_expression=cleaned["value_expression"],
            filters=cleaned["filters"],
            group_by=cleaned["group_by"],
            outcome_property=cleaned["outcome_property"],
            outcome_policy=OutcomePolicy(cleaned["outcome_policy"] or OutcomePolicy.ALL),
            outcome_values=cleaned["outcome_values"],
            carries_over=cleaned["carries_over"],
            values_are=ValuesAre(cleaned["values_are"] or (base.values_are if base else ValuesAre.CHANGES)),
            time_unit=TimeUnit(cleaned["time_unit"] or (base.time_unit if base else TimeUnit.HOUR)),
            percentile_rank=cleaned["percentile_rank"],
        )


class BillableMetricForm(DefinitionForm, forms.ModelForm[BillableMetric]):
    """A metric and its definition. One that an invoice states is defined anew from an instant on."""

    effective_from = forms.SplitDateTimeField(
        label="Effective from",
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="In UTC, and not past. Invoices state this metric, so another definition measures only billing "
        "periods that begin then or later. Leave it empty if you change names only.",
    )

    class Meta:
        model = BillableMetric
        fields = ["name", "code", "unit_singular", "unit_plural", "description"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.current = self.instance.current_version.definition
            for name in DEFINITION:
                self.initial.setdefault(name, getattr(self.current, name))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        effective_from = cleaned.get("effective_from")
        if self.definition is None or self.current is None or "effective_from" in self.errors:
            return cleaned
        if self.definition == self.current:
            if effective_from is not None:
                self.add_error("effective_from", "The definition is as it was, so nothing would begin then.")
            return cleaned
        try:
            check_redefinition(metric=self.instance, effective_from=effective_from, now=timezone.now())
        except InvalidInput as refusal:
            add_refusal(self, refusal)
        return cleaned
