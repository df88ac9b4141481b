"""Products, plans and prices as the API shows them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from apps.products.models import Plan, PlanVersion, Price, PriceTier, PriceVersion, Product

Slug = serializers.SlugRelatedField[Any]


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["code", "name", "description"]
        read_only_fields = fields


class PriceTierSerializer(serializers.ModelSerializer[PriceTier]):
    class Meta:
        model = PriceTier
        fields = ["up_to", "unit_amount", "flat_amount"]
        read_only_fields = fields


class PriceVersionSerializer(serializers.ModelSerializer[PriceVersion]):
    tiers = PriceTierSerializer(many=True, read_only=True)

    class Meta:
        model = PriceVersion
        fields = [
            "currency",
            "charge_model",
            "effective_from",
            "recorded_at",
            "flat_amount",
            "unit_amount",
            "per_units",
            "included_units",
            "tiers",
        ]
        read_only_fields = fields


class PriceSerializer(serializers.ModelSerializer[Price]):
    product: Slug = serializers.SlugRelatedField("code", read_only=True)
    metric: Slug = serializers.SlugRelatedField("code", read_only=True)
    versions = PriceVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Price
        fields = ["name", "product", "metric", "versions"]
        read_only_fields = fields


class PlanVersionSerializer(serializers.ModelSerializer[PlanVersion]):
    prices = PriceSerializer(many=True, read_only=True)

    class Meta:
        model = PlanVersion
        fields = ["number", "status", "currencies", "billing_months", "published_at", "prices"]
        read_only_fields = fields


class PlanSerializer(serializers.ModelSerializer[Plan]):
    versions = PlanVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Plan
        fields = ["code", "name", "description", "versions"]
        read_only_fields = fields
