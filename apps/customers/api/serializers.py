"""Customers as the API shows them."""

from __future__ import annotations

from rest_framework import serializers

from apps.customers.models import Customer


class CustomerSerializer(serializers.ModelSerializer[Customer]):
    billing_entity = serializers.SlugRelatedField("invoice_prefix", read_only=True)
    parent = serializers.SlugRelatedField("external_id", read_only=True)
    aliases = serializers.SlugRelatedField("alias", many=True, read_only=True)
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
