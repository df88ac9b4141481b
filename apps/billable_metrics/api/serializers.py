"""Billable metrics as the API shows them."""

from __future__ import annotations

from rest_framework import serializers

from apps.billable_metrics.models import BillableMetric


class BillableMetricSerializer(serializers.ModelSerializer[BillableMetric]):
    class Meta:
        model = BillableMetric
        fields = [
            "code",
            "name",
            "description",
            "unit_singular",
            "unit_plural",
            "created_at",
        ]
        read_only_fields = fields
