"""Contracts as the API shows them. Last days are inclusive, as people read them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.contracts.models import Contract, ContractPhase

Slug = serializers.SlugRelatedField[Any]


class ContractPhaseSerializer(serializers.ModelSerializer[ContractPhase]):
    plan = serializers.CharField(source="plan_version.plan.code", read_only=True)
    plan_version = serializers.IntegerField(source="plan_version.number", read_only=True)
    first_date = serializers.DateField(source="start_date", read_only=True)
    last_date = serializers.SerializerMethodField()

    class Meta:
        model = ContractPhase
        fields = ["plan", "plan_version", "first_date", "last_date", "grandfathered_at", "grandfather_reason"]
        read_only_fields = fields

    @extend_schema_field(serializers.DateField(allow_null=True))
    def get_last_date(self, phase: ContractPhase) -> dt.date | None:
        return phase.end_date - dt.timedelta(days=1) if phase.end_date else None


class ContractSerializer(serializers.ModelSerializer[Contract]):
    customer: Slug = serializers.SlugRelatedField("external_id", read_only=True)
    first_date = serializers.DateField(source="start_date", read_only=True)
    last_date = serializers.DateField(read_only=True, allow_null=True)
    phases = ContractPhaseSerializer(many=True, read_only=True)

    class Meta:
        model = Contract
        fields = [
            "id",
            "customer",
            "name",
            "status",
            "currency",
            "timezone",
            "first_date",
            "last_date",
            "billing_anchor_day",
            "billing_months",
            "purchase_order",
            "closed_through",
            "phases",
        ]
        read_only_fields = fields
