"""Reading the catalogue: products, and plans with their prices."""

from __future__ import annotations

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView

from apps.access.models import Scope
from apps.common.api import JsonAlways
from apps.products.api.serializers import PlanSerializer, ProductSerializer
from apps.products.models import Plan, PlanStatus, Product

PLANS = Plan.objects.prefetch_related(
    "versions__prices__product", "versions__prices__metric", "versions__prices__versions__tiers"
)


class ProductFilter(filters.FilterSet):  # type: ignore[misc]
    class Meta:
        model = Product
        fields = ["code"]


class PlanFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(
        field_name="versions__status", choices=PlanStatus.choices, distinct=True, help_text="Of any of its versions."
    )

    class Meta:
        model = Plan
        fields = ["code", "status"]


@extend_schema_view(get=extend_schema(operation_id="list_products", summary="List products", tags=["catalogue"]))
class ProductList(ListAPIView[Product]):
    """Products, the newest first. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    filterset_class = ProductFilter


@extend_schema_view(get=extend_schema(operation_id="get_product", summary="Get a product", tags=["catalogue"]))
class ProductDetail(RetrieveAPIView[Product]):
    """One product, by code. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    lookup_field = "code"


@extend_schema_view(get=extend_schema(operation_id="list_plans", summary="List plans", tags=["catalogue"]))
class PlanList(ListAPIView[Plan]):
    """Plans with all their versions and prices, the newest first. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = PLANS
    serializer_class = PlanSerializer
    filterset_class = PlanFilter


@extend_schema_view(get=extend_schema(operation_id="get_plan", summary="Get a plan", tags=["catalogue"]))
class PlanDetail(RetrieveAPIView[Plan]):
    """One plan with all its versions and prices, by code. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = PLANS
    serializer_class = PlanSerializer
    lookup_field = "code"
