"""Events and measured usage as files, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.http import StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.views import APIView

from apps.access.models import Scope
from apps.common.api import JsonAlways, ZonedDateTimeField, problem
from apps.usage.export_filters import EventFilter, WindowSize, usage_windows
from apps.usage.exporting import CONTENT_TYPES, ExportFormat, export_events, export_usage

FILES = {(200, content_type): OpenApiTypes.STR for content_type in ("text/csv", "application/x-ndjson")}


class _FormatSerializer(serializers.Serializer[Any]):
    format = serializers.ChoiceField(choices=list(ExportFormat), default=ExportFormat.CSV)


class EventExportQuerySerializer(_FormatSerializer):
    """Which events to export. Both instants carry a zone."""

    start = ZonedDateTimeField(default=None, help_text="First event time.")
    end = ZonedDateTimeField(default=None, help_text="The first instant outside.")
    customer = serializers.CharField(default="", help_text="External ID.")
    type = serializers.CharField(default="")
    source = serializers.CharField(default="")  # type: ignore[assignment]
    subject = serializers.CharField(default="")
    data = serializers.ChoiceField(  # type: ignore[assignment]
        choices=["columns", "json"], default="columns", help_text="A column for each property, or one of JSON."
    )


class UsageExportQuerySerializer(_FormatSerializer):
    """Which usage to measure. Both instants carry a zone."""

    start = ZonedDateTimeField()
    end = ZonedDateTimeField(help_text="The first instant outside.")
    window = serializers.ChoiceField(choices=list(WindowSize), default=WindowSize.DAY, help_text="In UTC.")
    customer = serializers.CharField(default="", help_text="External ID; all customers without.")
    metric = serializers.CharField(default="", help_text="Code; all metrics without.")


class ExportEvents(APIView):
    """The events themselves, as they were sent."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="export_events",
        summary="Export usage events",
        tags=["usage"],
        description=(
            "Events in the order in which they were stored, streamed: CSV or NDJSON, flat, times in UTC, numbers with "
            "every digit and without exponent. An import brings every value back. Texts that a "
            "spreadsheet would take for a formula have an apostrophe in front in CSV. Needs the `read` scope."
        ),
        parameters=[EventExportQuerySerializer],
        responses={**FILES, 400: problem("A parameter is wrong.")},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        asked = _asked(EventExportQuerySerializer, request)
        wanted = EventFilter(
            start_at=asked["start"],
            end_at=asked["end"],
            customer=asked["customer"],
            type=asked["type"],
            source=asked["source"],
            subject=asked["subject"],
        )
        file_format = ExportFormat(asked["format"])
        pieces = export_events(wanted.events(), file_format, flat_data=asked["data"] == "columns")
        return file_response(pieces, file_format, name="usage-events")


class ExportUsage(APIView):
    """What the events add up to, as invoices measure it."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="export_usage",
        summary="Export measured usage",
        tags=["usage"],
        description=(
            "A row for each customer, metric and window that has usage, streamed as CSV or NDJSON. Needs the `read` "
            "scope."
        ),
        parameters=[UsageExportQuerySerializer],
        responses={**FILES, 400: problem("A parameter is wrong.")},
    )
    def get(self, request: Request) -> StreamingHttpResponse:
        asked = _asked(UsageExportQuerySerializer, request)
        windows = usage_windows(
            start_at=asked["start"],
            end_at=asked["end"],
            size=WindowSize(asked["window"]),
            customer=asked["customer"],
            metric=asked["metric"],
        )
        file_format = ExportFormat(asked["format"])
        return file_response(export_usage(windows, file_format), file_format, name="usage")


def file_response(pieces: Iterator[str], file_format: ExportFormat, *, name: str) -> StreamingHttpResponse:
    """A file to download that is made while it is sent."""
    return StreamingHttpResponse(
        pieces,
        content_type=CONTENT_TYPES[file_format],
        headers={"Content-Disposition": f'attachment; filename="{name}.{file_format}"'},
    )


def _asked(serializer: type[_FormatSerializer], request: Request) -> dict[str, Any]:
    query = serializer(data=request.query_params)
    query.is_valid(raise_exception=True)
    asked: dict[str, Any] = query.validated_data
    return asked
