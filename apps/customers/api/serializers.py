"""Customers as the API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.common.api import NamedField, StrictSerializer
from apps.customers.models import BillingEntity, Customer

Slug = serializers.SlugRelatedField[Any]


class CustomerSerializer(serializers.ModelSerializer[Customer]):
    billing_entity: Slug = serializers.SlugRelatedField("invoice_prefix", read_only=True)
    parent = serializers.SlugRelatedField("external_id", read_only=True)  # type: ignore[assignment, var-annotated]
    aliases = serializers.SlugRelatedField("alias", many=True, read_only=True)  # type: ignore[var-annotated]
    country = serializers.CharField(read_only=True)

    class Meta:
        model = Customer
        fields = [
            "external_id",
            "name",
            "legal_name",
            "aliases",
            "billing_entity",
            "parent",
            "timezone",
            "email",
            "line1",
            "line2",
            "postal_code",
            "city",
            "region",
            "country",
            "tax_id",
            "created_at",
        ]
        read_only_fields = fields


class CustomerInput(StrictSerializer, serializers.ModelSerializer[Customer]):
    """A customer as it is sent. The service has the last word on what may be stored."""

    billing_entity = NamedField(
        "invoice_prefix",
        queryset=BillingEntity.objects.all(),
        required=False,
        help_text="Invoice prefix of the company of yours that bills; the first that was made if it is left out.",
    )
    parent = NamedField(  # type: ignore[assignment]
        "external_id", queryset=Customer.objects.all(), required=False, allow_null=True, help_text="External ID."
    )
    aliases = serializers.ListField(
        child=serializers.CharField(max_length=128),
        required=False,
        help_text="Other names that events use as their subject. A list replaces the one before.",
    )
    country = serializers.CharField(required=False, allow_blank=True, max_length=2, help_text="ISO 3166, such as DE.")

    class Meta:
        model = Customer
        fields = [name for name in CustomerSerializer.Meta.fields if name != "created_at"]
        extra_kwargs = {
            # The service checks this, after it has looked whether the very same customer is there already.
            "external_id": {"validators": []},
            "timezone": {"help_text": "IANA name; that of the billing entity if it is left out."},
        }
