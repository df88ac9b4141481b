"""Reading usage: what a metric measured for a customer, as a whole, by hour, day or month, and by properties."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.models import Scope
from apps.billable_metrics.definitions import MOST_DIMENSIONS
from apps.billable_metrics.formulas import is_property_name
from apps.billable_metrics.models import BillableMetric, version_in_force
from apps.common.api import JsonAlways, PlainDecimalField, StrictSerializer, ZonedDateTimeField, problem
from apps.customers.models import Customer
from apps.pricing.periods import add_months, local_date, start_of_day
from apps.usage.selectors import MeasuredUsage, UsageWindow, measure_usage

MOST_WINDOWS = 1_000
ONE_HOUR, ONE_DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


class PropertyNames(serializers.CharField):
    """Names of properties, with commas between them."""

    def to_internal_value(self, data: Any) -> Any:
        names = tuple(super().to_internal_value(data).split(","))
        if not all(map(is_property_name, names)) or len(set(names)) < len(names):
            raise serializers.ValidationError(
                "Name each property once, with commas between them, such as model,region."
            )
        if len(names) > MOST_DIMENSIONS:
            raise serializers.ValidationError(f"Name at most {MOST_DIMENSIONS} properties.")
        return names


class UsageQuerySerializer(StrictSerializer):
    """Which usage to measure. Both instants carry a zone."""

    metric = serializers.SlugRelatedField(
        "code",
        queryset=BillableMetric.objects.prefetch_related("versions"),
        help_text="Code of a billable metric.",
        error_messages={"null": "Name the metric by its code."},
    )
    start = ZonedDateTimeField()
    end = ZonedDateTimeField(help_text="The first instant outside.")
    window = serializers.ChoiceField(
        ["hour", "day", "month"],
        required=False,
        help_text="Measure each hour (of UTC), or each day or month of the customer's time zone, as well. The first "
        f"and the last are cut at `start` and `end`. At most {MOST_WINDOWS:,} windows.",
    )
    group_by = PropertyNames(
        required=False,
        help_text="Split by these properties of the events, with commas between them. The metric's own dimensions "
        "are ready at once; for others the events are read.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["end"] <= attrs["start"]:
            raise serializers.ValidationError({"end": "The end lies after the start."})
        return attrs


class GroupUsageSerializer(serializers.Serializer[Any]):
    dimensions = serializers.DictField(
        child=serializers.CharField(allow_null=True), help_text="null where an event has no such property."
    )
    quantity = PlainDecimalField()
    event_count = serializers.IntegerField()


class WindowUsageSerializer(serializers.Serializer[Any]):
    start = serializers.DateTimeField()
    end = serializers.DateTimeField(help_text="The first instant outside.")
    quantity = PlainDecimalField()
    event_count = serializers.IntegerField(help_text="How many events the quantity was formed of.")
    metric_version = serializers.IntegerField(help_text="The version of the metric that measured it.")
    groups = GroupUsageSerializer(many=True, help_text="Parts by `group_by`, in order. Only sums and counts add up.")


class AskedUsageSerializer(serializers.Serializer[Any]):
    customer = serializers.CharField(help_text="External ID.")
    metric = serializers.CharField(help_text="Code.")
    unit = serializers.CharField()
    timezone = serializers.CharField(help_text="Whose days and months the windows are.")


class MeasuredUsageSerializer(AskedUsageSerializer, WindowUsageSerializer):
    """The usage of one metric over a half-open stretch of event time: as a whole, and by window if asked."""

    windows = WindowUsageSerializer(
        many=True, help_text="In order, without gaps; empty unless `window` was given. Only sums and counts add up."
    )


EXAMPLE = {
    "customer": "northwind",
    "metric": "input_tokens",
    "unit": "tokens",
    "timezone": "Europe/Berlin",
    "start": "2026-10-31T23:00:00Z",
    "end": "2026-11-02T23:00:00Z",
    "quantity": "1915000",
    "event_count": 1204,
    "metric_version": 1,
    "groups": [],
    "windows": [
        {
            "start": "2026-10-31T23:00:00Z",
            "end": "2026-11-01T23:00:00Z",
            "quantity": "905000",
            "event_count": 600,
            "metric_version": 1,
            "groups": [],
        },
        {
            "start": "2026-11-01T23:00:00Z",
            "end": "2026-11-02T23:00:00Z",
            "quantity": "1010000",
            "event_count": 604,
            "metric_version": 1,
            "groups": [],
        },
    ],
}


class CustomerUsage(APIView):
    """Measures what an invoice would charge for, at any moment."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="get_customer_usage",
        summary="Measure a customer's usage",
        tags=["usage"],
        description="The quantity of one metric over events in `[start, end)`, by event time: as a whole, and with "
        "`window` also by hour, day or month. With `group_by` each is split by properties of the events. A level that "
        "is weighted by time counts until now where `end` is still to come. Needs the `read` scope.",
        parameters=[UsageQuerySerializer],
        responses={
            200: OpenApiResponse(MeasuredUsageSerializer, "Measured.", [OpenApiExample("by day", EXAMPLE)]),
            400: problem("A parameter is wrong, unknown or given twice; or too many windows."),
            404: problem("No such customer."),
        },
    )
    def get(self, request: Request, external_id: str) -> Response:
        customer = get_object_or_404(Customer, external_id=external_id)
        query = UsageQuerySerializer(data=_given_once(request))
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        metric, group_by = asked["metric"], asked.get("group_by", ())
        stretches = [
            (asked["start"], asked["end"]),
            *_cut(asked["start"], asked["end"], asked.get("window"), customer.timezone),
        ]
        versions = metric.versions.all()
        windows = [
            UsageWindow(customer.pk, version_in_force(versions, at=start), start, end) for start, end in stretches
        ]
        usages = measure_usage(windows, stored_before=None, as_of=timezone.now(), group_by=group_by)
        whole, *parts = [_answer(window, usage, group_by) for window, usage in zip(windows, usages, strict=True)]
        answer = {
            "customer": customer.external_id,
            "metric": metric.code,
            "unit": metric.unit_plural,
            "timezone": customer.timezone,
            **whole,
            "windows": parts,
        }
        return Response(MeasuredUsageSerializer(answer).data)


def _answer(window: UsageWindow, usage: MeasuredUsage, group_by: Sequence[str]) -> dict[str, Any]:
    return {
        "start": window.start_at,
        "end": window.end_at,
        "quantity": usage.quantity,
        "event_count": usage.event_count,
        "metric_version": window.version.number,
        "groups": [
            {
                "dimensions": dict(zip(group_by, group.dimensions, strict=True)),
                "quantity": group.quantity,
                "event_count": group.event_count,
            }
            for group in usage.groups
        ],
    }


def _given_once(request: Request) -> dict[str, Any]:
    """The query's parameters, each of them given once: of two values one would be passed over."""
    twice = [name for name, values in request.query_params.lists() if len(values) > 1]
    if twice:
        raise serializers.ValidationError(dict.fromkeys(twice, "Give this once."))
    return dict(request.query_params.items())


# --- Windows ---------------------------------------------------------------------------------------------------------


def _cut(start: dt.datetime, end: dt.datetime, window: str | None, zone: str) -> list[tuple[dt.datetime, dt.datetime]]:
    """The stretch in hours, days or months; none of them when ``window`` is None."""
    if window is None:
        return []
    bounds = itertools.takewhile(lambda instant: instant < end, _BOUNDS[window](start, zone))
    inner = list(itertools.islice((instant for instant in bounds if instant > start), MOST_WINDOWS))
    if len(inner) >= MOST_WINDOWS:
        raise serializers.ValidationError(
            {"window": f"This is more than {MOST_WINDOWS:,} {window}s. Ask for less time, or for longer windows."}
        )
    # A day that a zone left out begins when the next one does, and is no window.
    cuts = [start, *dict.fromkeys(inner), end]
    return list(itertools.pairwise(cuts))


def _hours(start: dt.datetime, zone: str) -> Iterator[dt.datetime]:
    hour = start.replace(minute=0, second=0, microsecond=0)
    return (hour + number * ONE_HOUR for number in itertools.count())


def _days(start: dt.datetime, zone: str) -> Iterator[dt.datetime]:
    day = local_date(start, zone)
    return (start_of_day(day + number * ONE_DAY, zone) for number in itertools.count())


def _months(start: dt.datetime, zone: str) -> Iterator[dt.datetime]:
    first = local_date(start, zone).replace(day=1)
    return (start_of_day(add_months(first, number), zone) for number in itertools.count())


_BOUNDS: dict[str, Callable[[dt.datetime, str], Iterator[dt.datetime]]] = {
    "hour": _hours,
    "day": _days,
    "month": _months,
}
