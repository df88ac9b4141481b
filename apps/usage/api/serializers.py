"""The forms of usage answers, for the API's description; the path of events itself runs no serializer."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rest_framework import serializers

from apps.billable_metrics.models import BillableMetric


class ZonedDateTimeField(serializers.DateTimeField):
    """An instant that names its zone; without one nobody knows which hour is meant."""

    default_error_messages = {"naive": "Add the zone, such as Z or +01:00 (in a URL, write + as %2B)."}

    def enforce_timezone(self, value: dt.datetime) -> dt.datetime:
        if value.tzinfo is None:
            self.fail("naive")
        return value


class ConflictingEventSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="Place in the batch that was sent.")
    source = serializers.CharField()  # type: ignore[assignment]
    id = serializers.CharField()


class EventFaultSerializer(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    field = serializers.CharField(allow_null=True)
    code = serializers.CharField()
    detail = serializers.CharField()


class RecordedSerializer(serializers.Serializer[Any]):
    """What became of a batch."""

    accepted = serializers.IntegerField()
    duplicates = serializers.IntegerField()
    conflicts = serializers.IntegerField()
    unattributed = serializers.IntegerField(help_text="Accepted, but with no known customer or no metric yet.")
    rejected = serializers.IntegerField(help_text="Faulty events that were left out (handling=lenient).")
    conflicting_events = ConflictingEventSerializer(many=True)
    errors = EventFaultSerializer(many=True)  # type: ignore[assignment]


class UsageQuerySerializer(serializers.Serializer[Any]):
    """Which usage to measure. Both instants carry a zone."""

    metric = serializers.SlugRelatedField(
        "code", queryset=BillableMetric.objects.all(), help_text="Code of a billable metric."
    )
    start = ZonedDateTimeField()
    end = ZonedDateTimeField(help_text="The first instant outside.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["end"] <= attrs["start"]:
            raise serializers.ValidationError({"end": "The end lies after the start."})
        return attrs


class MeasuredUsageSerializer(serializers.Serializer[Any]):
    """The usage of one metric over a half-open stretch of event time."""

    customer = serializers.CharField(help_text="External ID.")
    metric = serializers.CharField(help_text="Code.")
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="The first instant outside.")
    quantity = serializers.DecimalField(max_digits=40, decimal_places=12, normalize_output=True)
    unit = serializers.CharField()
    event_count = serializers.IntegerField()
