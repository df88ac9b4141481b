"""Billable metrics: read, made, and defined anew."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.api.permissions import ReadOrManage
from apps.billable_metrics.api.serializers import BillableMetricSerializer, ChangedMetricInput, NewMetricInput
from apps.billable_metrics.definitions import MetricDefinition
from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import create_metric, describe_metric, redefine_metric
from apps.common.api import JsonAlways, problem
from apps.common.making import REFUSED, created, made_once

METRICS = BillableMetric.objects.prefetch_related("versions")
TAGS = ["metrics"]
EXAMPLE = {
    "code": "input_tokens",
    "name": "Input tokens",
    "unit_singular": "token",
    "unit_plural": "tokens",
    "event_type": "llm.completion",
    "aggregation": "sum",
    "value_property": "input_tokens",
    "filters": [{"property": "model", "operator": "in", "values": ["large", "small"]}],
    "group_by": ["model"],
    "outcome_property": "status",
    "outcome_policy": "exclude",
    "outcome_values": ["failed"],
}


class BillableMetricFilter(filters.FilterSet):  # type: ignore[misc]
    event_type = filters.CharFilter(method="of_type", help_text="Metrics with a version that measures this type.")

    class Meta:
        model = BillableMetric
        fields = ["code", "event_type"]

    def of_type(self, queryset: Any, name: str, value: str) -> Any:
        return queryset.filter(versions__event_type=value).distinct()


@extend_schema_view(get=extend_schema(operation_id="list_billable_metrics", summary="List billable metrics", tags=TAGS))
class BillableMetricList(ReadOrManage, ListAPIView[BillableMetric]):
    """Billable metrics, the newest first. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = METRICS
    serializer_class = BillableMetricSerializer
    filterset_class = BillableMetricFilter

    @extend_schema(
        operation_id="create_billable_metric",
        summary="Make a billable metric",
        description="It measures the events that came before it as well. The same request again changes nothing and "
        "answers 200. Needs the `manage` scope.",
        tags=TAGS,
        request=NewMetricInput,
        responses=created(BillableMetricSerializer),
        examples=[OpenApiExample("a sum with a filter", EXAMPLE, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        sent = NewMetricInput(data=request.data)
        sent.is_valid(raise_exception=True)
        definition = sent.definition()
        if definition is None:
            raise TypeError("a new metric has a definition")
        return made_once(
            lambda: _known(sent, definition),
            lambda: create_metric(definition=definition, now=timezone.now(), **sent.identity),
            BillableMetricSerializer,
            taken={"code": "There is a metric with this code."},
        )


def _known(sent: NewMetricInput, definition: MetricDefinition) -> BillableMetric | None:
    """The metric that was sent, where there is one that differs in nothing."""
    metric = METRICS.filter(code=sent.identity["code"]).first()
    if metric is None or metric.current_version.definition != definition:
        return None
    is_same = all(getattr(metric, name) == value for name, value in sent.identity.items())
    return metric if is_same else None


@extend_schema_view(get=extend_schema(operation_id="get_billable_metric", summary="Get a billable metric", tags=TAGS))
class BillableMetricDetail(ReadOrManage, RetrieveAPIView[BillableMetric]):
    """One billable metric, by code. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = METRICS
    serializer_class = BillableMetricSerializer
    lookup_field = "code"

    @extend_schema(
        operation_id="change_billable_metric",
        summary="Change a billable metric",
        description="What is left out stays. Another definition becomes a new version: since ever, or, for a metric "
        "that an invoice states, from an instant on that is not past (`effective_from`). Needs the `manage` scope.",
        tags=TAGS,
        request=ChangedMetricInput,
        responses={200: BillableMetricSerializer, 404: problem("No such metric."), **REFUSED},
        examples=[
            OpenApiExample(
                "from next month on",
                {"aggregation": "max", "effective_from": "2026-12-01T00:00:00Z"},
                request_only=True,
            )
        ],
    )
    @transaction.atomic
    def patch(self, request: Request, code: str) -> Response:
        metric = get_object_or_404(METRICS.select_for_update(of=["self"]), code=code)
        sent = ChangedMetricInput(data=request.data, partial=True)
        sent.is_valid(raise_exception=True)
        definition = sent.definition(metric.current_version.definition)
        effective_from = sent.validated_data.get("effective_from")
        if definition is None and effective_from is not None:
            raise serializers.ValidationError({"effective_from": "Send the definition that begins then as well."})
        if sent.identity:
            describe_metric(metric=metric, **sent.identity)
        if definition is not None:
            redefine_metric(metric=metric, definition=definition, effective_from=effective_from, now=timezone.now())
        return Response(BillableMetricSerializer(METRICS.get(pk=metric.pk)).data)
