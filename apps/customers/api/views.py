"""Reading customers."""

from __future__ import annotations

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView

from apps.access.models import Scope
from apps.common.api import JsonAlways
from apps.customers.api.serializers import CustomerSerializer
from apps.customers.models import Customer

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
class CustomerList(ListAPIView[Customer]):
    """Customers, the newest first. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = CUSTOMERS
    serializer_class = CustomerSerializer
    filterset_class = CustomerFilter


@extend_schema_view(get=extend_schema(operation_id="get_customer", summary="Get a customer", tags=["customers"]))
class CustomerDetail(RetrieveAPIView[Customer]):
    """One customer, by external ID. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = CUSTOMERS
    serializer_class = CustomerSerializer
    lookup_field = "external_id"
