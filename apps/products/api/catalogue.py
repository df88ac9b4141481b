"""Products and pricing units: read, made and changed."""

from __future__ import annotations

from typing import Any

from django.db import models, transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.api.permissions import ReadOrManage
from apps.common.api import JsonAlways, problem
from apps.common.making import REFUSED, Made, created, made_once
from apps.products.api.serializers import (
    ChangedPricingUnitInput,
    ChangedProductInput,
    PricingUnitInput,
    PricingUnitSerializer,
    ProductInput,
    ProductSerializer,
)
from apps.products.models import PricingUnit, Product
from apps.products.services import save_entry

TAGS = ["catalogue"]
AGAIN = "The same request again changes nothing and answers 200. Needs the `manage` scope."


def entry_as_sent(rows: models.QuerySet[Made], sent: dict[str, Any]) -> Made | None:
    """The entry with the code that was sent, where there is one that differs in nothing."""
    entry = rows.filter(code=sent["code"]).first()
    is_same = entry is not None and all(getattr(entry, name) == value for name, value in sent.items())
    return entry if is_same else None


def add_entry(entry: Any, names: dict[str, str]) -> Any:
    save_entry(entry, names)
    return entry


@extend_schema_view(get=extend_schema(operation_id="list_products", summary="List products", tags=TAGS))
class ProductList(ReadOrManage, ListAPIView[Product]):
    """Products, the newest first. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    filterset_fields = ["code"]

    @extend_schema(
        operation_id="create_product",
        summary="Make a product",
        description=f"Invoices group their lines by product. {AGAIN}",
        tags=TAGS,
        request=ProductInput,
        responses=created(ProductSerializer),
        examples=[OpenApiExample("a product", {"code": "chat", "name": "Chat API"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        sent = ProductInput(data=request.data)
        sent.is_valid(raise_exception=True)
        return made_once(
            lambda: entry_as_sent(Product.objects.all(), sent.validated_data),
            lambda: add_entry(Product(), sent.validated_data),
            ProductSerializer,
        )


@extend_schema_view(get=extend_schema(operation_id="get_product", summary="Get a product", tags=TAGS))
class ProductDetail(ReadOrManage, RetrieveAPIView[Product]):
    """One product, by code. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = Product.objects.all()
    serializer_class = ProductSerializer
    lookup_field = "code"

    @extend_schema(
        operation_id="change_product",
        summary="Change a product",
        description="What is left out stays. Needs the `manage` scope.",
        tags=TAGS,
        request=ChangedProductInput(partial=True),
        responses={200: ProductSerializer, 404: problem("No such product."), **REFUSED},
        examples=[OpenApiExample("another name", {"name": "Chat and tools"}, request_only=True)],
    )
    @transaction.atomic
    def patch(self, request: Request, code: str) -> Response:
        product = get_object_or_404(Product.objects.select_for_update(), code=code)
        sent = ChangedProductInput(data=request.data, partial=True)
        sent.is_valid(raise_exception=True)
        return Response(ProductSerializer(add_entry(product, sent.validated_data)).data)


@extend_schema_view(get=extend_schema(operation_id="list_pricing_units", summary="List pricing units", tags=TAGS))
class PricingUnitList(ReadOrManage, ListAPIView[PricingUnit]):
    """What prices are in when they are not in money, such as credits; the newest first. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = PricingUnit.objects.all()
    serializer_class = PricingUnitSerializer
    filterset_fields = ["code"]

    @extend_schema(
        operation_id="create_pricing_unit",
        summary="Make a pricing unit",
        description=f"What one is worth in money is said by each price version. {AGAIN}",
        tags=TAGS,
        request=PricingUnitInput,
        responses=created(PricingUnitSerializer),
        examples=[
            OpenApiExample("credits", {"code": "credit", "singular": "credit", "plural": "credits"}, request_only=True)
        ],
    )
    def post(self, request: Request) -> Response:
        sent = PricingUnitInput(data=request.data)
        sent.is_valid(raise_exception=True)
        return made_once(
            lambda: entry_as_sent(PricingUnit.objects.all(), sent.validated_data),
            lambda: add_entry(PricingUnit(), sent.validated_data),
            PricingUnitSerializer,
        )


@extend_schema_view(get=extend_schema(operation_id="get_pricing_unit", summary="Get a pricing unit", tags=TAGS))
class PricingUnitDetail(ReadOrManage, RetrieveAPIView[PricingUnit]):
    """One pricing unit, by code. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = PricingUnit.objects.all()
    serializer_class = PricingUnitSerializer
    lookup_field = "code"

    @extend_schema(
        operation_id="change_pricing_unit",
        summary="Change the names of a pricing unit",
        description="What is left out stays. Needs the `manage` scope.",
        tags=TAGS,
        request=ChangedPricingUnitInput(partial=True),
        responses={200: PricingUnitSerializer, 404: problem("No such pricing unit."), **REFUSED},
    )
    @transaction.atomic
    def patch(self, request: Request, code: str) -> Response:
        unit = get_object_or_404(PricingUnit.objects.select_for_update(), code=code)
        sent = ChangedPricingUnitInput(data=request.data, partial=True)
        sent.is_valid(raise_exception=True)
        return Response(PricingUnitSerializer(add_entry(unit, sent.validated_data)).data)
