"""Reading billable metrics."""

from __future__ import annotations

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView

from apps.access.models import Scope
from apps.billable_metrics.api.serializers import BillableMetricSerializer
from apps.billable_metrics.models import BillableMetric
from apps.common.api import JsonAlways


class BillableMetricFilter(filters.FilterSet):  # type: ignore[misc]
    class Meta:
        model = BillableMetric
        fields = ["code"]


@extend_schema_view(
    get=extend_schema(operation_id="list_billable_metrics", summary="List billable metrics", tags=["metrics"])
)
class BillableMetricList(ListAPIView[BillableMetric]):
    """Billable metrics, the newest first. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = BillableMetric.objects.all()
    serializer_class = BillableMetricSerializer
    filterset_class = BillableMetricFilter


@extend_schema_view(
    get=extend_schema(operation_id="get_billable_metric", summary="Get a billable metric", tags=["metrics"])
)
class BillableMetricDetail(RetrieveAPIView[BillableMetric]):
    """One billable metric, by code. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = BillableMetric.objects.all()
    serializer_class = BillableMetricSerializer
    lookup_field = "code"
