"""Billable metrics as the API shows and takes them: the definition flat beside the name and the unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from apps.billable_metrics.definitions import (
    Aggregation,
    FilterOperator,
    MetricDefinition,
    OutcomePolicy,
    PropertyFilter,
    TimeUnit,
    ValuesAre,
)
from apps.billable_metrics.formulas import LONGEST, LONGEST_NAME
from apps.billable_metrics.models import BillableMetric, MetricVersion
from apps.common.api import PlainDecimalField, StrictSerializer, ZonedDateTimeField

DEFINITION = tuple(MetricVersion.DEFINITION_FIELDS)


class FilterSerializer(serializers.Serializer[Any]):
    """A condition on one property of an event. `gt` and the like compare numbers, the others compare texts."""

    property = serializers.CharField()
    operator = serializers.ChoiceField(FilterOperator.choices)
    values = serializers.ListField(
        child=serializers.CharField(), help_text="One; any number for in and not_in; none for exists and not_exists."
    )


@extend_schema_field(FilterSerializer(many=True))
class FiltersField(serializers.Field[Any, Any, Any, Any]):
    """Filters, each checked at its own place."""

    def to_internal_value(self, data: Any) -> tuple[PropertyFilter, ...]:
        if not isinstance(data, list):
            raise serializers.ValidationError('Filters are a list of {"property", "operator", "values"}.')
        found = []
        for position, stored in enumerate(data):
            one = PropertyFilter.read(stored, field_name=f"filters.{position}")
            one.check(field_name=f"filters.{position}")
            found.append(one)
        return tuple(found)

    def to_representation(self, value: Any) -> Any:
        return value


class PropertyName(serializers.CharField):
    """A name exactly as events carry it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=LONGEST_NAME, trim_whitespace=False, **kwargs)


class DefinitionInput(StrictSerializer):
    """All that decides a quantity. What is left out is as it was, or is not used."""

    event_type = PropertyName(help_text="The type of the events that are measured.")
    aggregation = serializers.ChoiceField(Aggregation.choices)
    value_property = PropertyName(
        required=False, allow_blank=True, help_text="The property that holds the value; a path with dots."
    )
    value_expression = serializers.CharField(
        required=False,
        allow_blank=True,
        max_length=LONGEST,
        help_text="Arithmetic over properties in place of one property, such as `gpus * seconds / 3600`.",
    )
    filters = FiltersField(required=False)
    group_by = serializers.ListField(
        child=PropertyName(), required=False, help_text="Dimensions: properties that prices and reports split by."
    )
    outcome_property = PropertyName(required=False, allow_blank=True)
    outcome_policy = serializers.ChoiceField(OutcomePolicy.choices, required=False)
    outcome_values = serializers.ListField(child=PropertyName(), required=False)
    carries_over = serializers.BooleanField(
        required=False, help_text="What stood at the end of a period stands at the start of the next."
    )
    values_are = serializers.ChoiceField(
        ValuesAre.choices, required=False, help_text="What an event of a time-weighted sum tells."
    )
    time_unit = serializers.ChoiceField(
        TimeUnit.choices, required=False, help_text="What a time-weighted sum is counted in."
    )
    percentile_rank = serializers.DecimalField(
        max_digits=7, decimal_places=4, required=False, allow_null=True, help_text="In percent, such as 95."
    )

    def definition(self, base: MetricDefinition | None = None) -> MetricDefinition | None:
        """What was sent, on top of ``base``; None when nothing of a definition was sent."""
        sent: dict[str, Any] = {name: self.validated_data[name] for name in DEFINITION if name in self.validated_data}
        if not sent:
            return None
        for name in ("group_by", "outcome_values"):
            if name in sent:
                sent[name] = tuple(sent[name])
        for name, kind in _CHOICES.items():
            if name in sent:
                sent[name] = kind(sent[name])
        return MetricDefinition(**sent) if base is None else replace(base, **sent, _formula=[])


_CHOICES: Mapping[str, type[Any]] = {
    "aggregation": Aggregation,
    "outcome_policy": OutcomePolicy,
    "values_are": ValuesAre,
    "time_unit": TimeUnit,
}


class NewMetricInput(DefinitionInput):
    """A new metric. It measures the events that came before it as well."""

    code = serializers.CharField(max_length=64, help_text="How the API and exports name it, such as input_tokens.")
    name = serializers.CharField(max_length=100, help_text="Printed on invoices.")
    description = serializers.CharField(required=False, allow_blank=True)
    unit_singular = serializers.CharField(required=False, max_length=40)
    unit_plural = serializers.CharField(required=False, max_length=40)

    IDENTITY = ("code", "name", "description", "unit_singular", "unit_plural")

    @property
    def identity(self) -> dict[str, Any]:
        return {name: self.validated_data[name] for name in self.IDENTITY if name in self.validated_data}


@extend_schema_serializer(component_name="ChangedMetricInput")
class ChangedMetricInput(NewMetricInput):
    """Changes of a metric. Another definition becomes a new version; what is left out stays."""

    code = None  # type: ignore[assignment]  # the code is how everyone names the metric, and stands
    effective_from = ZonedDateTimeField(
        required=False,
        allow_null=True,
        help_text="From when on the new definition measures: billing periods that begin then or later. null or left "
        "out: since ever, which only a metric that no invoice states may do.",
    )


class MetricVersionSerializer(serializers.ModelSerializer[MetricVersion]):
    """What a metric measures from an instant on."""

    measures = serializers.CharField(source="definition.describe", read_only=True, help_text="In words.")
    filters = FilterSerializer(many=True, read_only=True)
    percentile_rank = PlainDecimalField(allow_null=True)

    class Meta:
        model = MetricVersion
        fields = ["number", "effective_from", "recorded_at", "measures", *DEFINITION]
        read_only_fields = fields
        extra_kwargs = {
            "effective_from": {"help_text": "null: since ever."},
            "recorded_at": {"help_text": "When it was entered."},
        }


class BillableMetricSerializer(serializers.ModelSerializer[BillableMetric]):
    """A metric with the definition that is in force last, and all of its versions."""

    measures = serializers.CharField(source="describe", read_only=True, help_text="In words.")
    event_type = serializers.CharField(source="current_version.event_type")
    aggregation = serializers.ChoiceField(Aggregation.choices, source="current_version.aggregation")
    value_property = serializers.CharField(source="current_version.value_property")
    value_expression = serializers.CharField(source="current_version.value_expression")
    filters = FilterSerializer(many=True, source="current_version.filters")
    group_by = serializers.ListField(child=serializers.CharField(), source="current_version.group_by")
    outcome_property = serializers.CharField(source="current_version.outcome_property")
    outcome_policy = serializers.ChoiceField(OutcomePolicy.choices, source="current_version.outcome_policy")
    outcome_values = serializers.ListField(child=serializers.CharField(), source="current_version.outcome_values")
    carries_over = serializers.BooleanField(source="current_version.carries_over")
    values_are = serializers.ChoiceField(ValuesAre.choices, source="current_version.values_are")
    time_unit = serializers.ChoiceField(TimeUnit.choices, source="current_version.time_unit")
    percentile_rank = PlainDecimalField(source="current_version.percentile_rank", allow_null=True)
    versions = MetricVersionSerializer(many=True)

    class Meta:
        model = BillableMetric
        fields = [
            "code",
            "name",
            "description",
            "unit_singular",
            "unit_plural",
            "created_at",
            "measures",
            *DEFINITION,
            "versions",
        ]
        read_only_fields = fields
