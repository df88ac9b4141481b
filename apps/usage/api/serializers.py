"""The forms of usage answers, for the API's description; the path of events itself runs no serializer."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers


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
    quarantined = serializers.IntegerField(help_text="Too old to be stored as they came; staff decide on them.")
    rejected = serializers.IntegerField(help_text="Faulty events that were left out (handling=lenient).")
    conflicting_events = ConflictingEventSerializer(many=True)
    errors = EventFaultSerializer(many=True)  # type: ignore[assignment]
