"""Reading contracts."""

from __future__ import annotations

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView

from apps.access.models import Scope
from apps.common.api import JsonAlways
from apps.contracts.api.serializers import ContractSerializer
from apps.contracts.models import Contract

CONTRACTS = Contract.objects.select_related("customer").prefetch_related("phases__plan_version__plan")


class ContractFilter(filters.FilterSet):  # type: ignore[misc]
    customer = filters.CharFilter(field_name="customer__external_id", help_text="External ID of the customer.")
    plan = filters.CharFilter(
        field_name="phases__plan_version__plan__code", distinct=True, help_text="Code of a plan of any phase."
    )

    class Meta:
        model = Contract
        fields = ["customer", "status", "currency", "plan"]


@extend_schema_view(get=extend_schema(operation_id="list_contracts", summary="List contracts", tags=["contracts"]))
class ContractList(ListAPIView[Contract]):
    """Contracts, the newest first. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = CONTRACTS
    serializer_class = ContractSerializer
    filterset_class = ContractFilter


@extend_schema_view(get=extend_schema(operation_id="get_contract", summary="Get a contract", tags=["contracts"]))
class ContractDetail(RetrieveAPIView[Contract]):
    """One contract, by ID. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = CONTRACTS
    serializer_class = ContractSerializer
