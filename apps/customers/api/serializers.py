"""Customers as the API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.customers.models import Customer

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
