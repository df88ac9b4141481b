"""Customers: read, made and changed."""

from __future__ import annotations

from django.db import transaction
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.api.permissions import ReadOrManage
from apps.common.api import JsonAlways, problem
from apps.common.making import REFUSED, created, made_once
from apps.customers.api.serializers import CustomerInput, CustomerSerializer
from apps.customers.models import Customer
from apps.customers.services import create_customer, update_customer

CUSTOMERS = Customer.objects.select_related("billing_entity", "parent").prefetch_related("aliases")


class CustomerFilter(filters.FilterSet):  # type: ignore[misc]
    alias = filters.CharFilter(field_name="aliases__alias", help_text="A name that events use for the customer.")
    name = filters.CharFilter(lookup_expr="icontains", help_text="Part of the name.")
    parent = filters.CharFilter(field_name="parent__external_id", help_text="External ID of the parent.")
    billing_entity = filters.CharFilter(field_name="billing_entity__invoice_prefix", help_text="Its invoice prefix.")

    class Meta:
        model = Customer
        fields = ["external_id", "alias", "name", "parent", "billing_entity"]


@extend_schema_view(get=extend_schema(operation_id="list_customers", summary="List customers", tags=["customers"]))
class CustomerList(ReadOrManage, ListAPIView[Customer]):
    """Customers, the newest first. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = CUSTOMERS
    serializer_class = CustomerSerializer
    filterset_class = CustomerFilter

    @extend_schema(
        operation_id="create_customer",
        summary="Make a customer",
        description="Events that name it already are billed from now on. The same request again changes nothing and "
        "answers 200. Needs the `manage` scope.",
        tags=["customers"],
        request=CustomerInput,
        responses=created(CustomerSerializer),
        examples=[
            OpenApiExample(
                "a customer",
                {"external_id": "northwind", "name": "Northwind", "timezone": "Europe/Berlin", "aliases": ["proj-7"]},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        sent = CustomerInput(data=request.data)
        sent.is_valid(raise_exception=True)
        return made_once(
            lambda: _known(sent),
            lambda: create_customer(**sent.validated_data),
            CustomerSerializer,
            taken={"external_id": "This ID or alias is another customer's."},
        )


def _known(sent: CustomerInput) -> Customer | None:
    """The customer that was sent, where there is one that differs in nothing."""
    fields = dict(sent.validated_data)
    aliases = fields.pop("aliases", None)
    customer = CUSTOMERS.filter(external_id=fields["external_id"]).first()
    if customer is None or any(getattr(customer, name) != value for name, value in fields.items()):
        return None
    is_same = aliases is None or {alias.alias for alias in customer.aliases.all()} == set(aliases)
    return customer if is_same else None


@extend_schema_view(get=extend_schema(operation_id="get_customer", summary="Get a customer", tags=["customers"]))
class CustomerDetail(ReadOrManage, RetrieveAPIView[Customer]):
    """One customer, by external ID. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = CUSTOMERS
    serializer_class = CustomerSerializer
    lookup_field = "external_id"

    @extend_schema(
        operation_id="change_customer",
        summary="Change a customer",
        description="What is left out stays; `aliases` replaces all that there are. Needs the `manage` scope.",
        tags=["customers"],
        request=CustomerInput(partial=True),
        responses={200: CustomerSerializer, 404: problem("No such customer."), **REFUSED},
    )
    @transaction.atomic
    def patch(self, request: Request, external_id: str) -> Response:
        customer = get_object_or_404(Customer.objects.select_for_update(), external_id=external_id)
        sent = CustomerInput(customer, data=request.data, partial=True)
        sent.is_valid(raise_exception=True)
        update_customer(customer=customer, **sent.validated_data)
        return Response(CustomerSerializer(CUSTOMERS.get(pk=customer.pk)).data)
