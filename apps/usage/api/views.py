"""The endpoint that takes usage events."""

from __future__ import annotations

import datetime as dt
import zlib
from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.models import Scope
from apps.access.selectors import LiveKey
from apps.billable_metrics.selectors import summed_properties_by_event_type
from apps.common.api import JsonAlways, problem
from apps.common.errors import BillingError
from apps.usage import cloudevents, services
from apps.usage.api.serializers import RecordedSerializer
from apps.usage.cloudevents import CheckedEvents, NotJson, Rules
from apps.usage.services import RecordedBatch

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
PLAIN = "application/json"
GZIP_WINDOW = 16 + zlib.MAX_WBITS

EXAMPLE_EVENT = {
    "specversion": "1.0",
    "id": "0198c2f0-5b1e-7cc0-8f6e-2f3b0f3e9a11",
    "source": "gateway-eu-1",
    "type": "llm.completion",
    "subject": "acme",
    "time": "2026-01-31T12:00:00Z",
    "data": {"model": "large", "input_tokens": 1200, "output_tokens": 87},
}
EXAMPLE_ANSWER = {
    "accepted": 1,
    "duplicates": 1,
    "conflicts": 1,
    "unattributed": 0,
    "rejected": 0,
    "conflicting_events": [{"index": 2, "source": "gateway-eu-1", "id": "request-7"}],
    "errors": [],
}


class UnsupportedContent(BillingError):
    code = "unsupported_media_type"
    status = 415


class BodyTooLarge(BillingError):
    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit:,} bytes. Send it in smaller parts.")


def _count_header(name: str) -> OpenApiParameter:
    return OpenApiParameter(f"Countinghouse-{name}", OpenApiTypes.INT, OpenApiParameter.HEADER, response=[200, 204])


class RecordEvents(APIView):
    """Takes CloudEvents, one or many, and answers once they are committed."""

    required_scope = Scope.INGEST
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="record_events",
        summary="Send usage events",
        tags=["usage"],
        description=(
            "CloudEvents 1.0: one event (`application/cloudevents+json`), a batch of up to 10,000 "
            "(`application/cloudevents-batch+json`), an object or array as plain `application/json` "
            "(`specversion` may be left out), or binary mode with `ce-` headers. `Content-Encoding: gzip` is "
            "taken.\n\nThe answer comes after the commit. A repeat of the same `source` and `id` with the same "
            "type, subject and data is a duplicate and no error, whatever its time; with other content it is a "
            "conflict, and the first stays. A faulty event refuses the whole batch with 400 and every fault "
            "listed, unless `Prefer: handling=lenient` asks to store the good ones.\n\n`time` defaults to now. "
            "Needs the `ingest` scope."
        ),
        request={
            STRUCTURED: OpenApiTypes.OBJECT,
            BATCHED: {"type": "array", "items": {"type": "object"}},
            PLAIN: {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]},
        },
        parameters=[
            OpenApiParameter(
                "Prefer",
                OpenApiTypes.STR,
                OpenApiParameter.HEADER,
                description="`return=representation` for counts as JSON; `handling=lenient` to store the good events.",
            ),
            *map(_count_header, ["Accepted", "Duplicates", "Conflicts", "Unattributed"]),
        ],
        responses={
            204: OpenApiResponse(description="Stored; the counts are in the headers."),
            200: OpenApiResponse(
                RecordedSerializer, "Stored; with counts.", [OpenApiExample("counts", EXAMPLE_ANSWER)]
            ),
            400: problem("Not JSON, or events with faults; nothing was stored."),
            401: problem("No key, or a wrong one."),
            403: problem("The key has no ingest scope."),
            413: problem("Too many bytes or events."),
            415: problem("A content type or encoding that is not taken."),
        },
        examples=[
            OpenApiExample("one event", EXAMPLE_EVENT, request_only=True, media_type=STRUCTURED),
            OpenApiExample("a batch", [EXAMPLE_EVENT], request_only=True, media_type=BATCHED),
            OpenApiExample("plain JSON", [EXAMPLE_EVENT], request_only=True, media_type=PLAIN),
        ],
    )
    def post(self, request: Request) -> Response:
        now = timezone.now()
        preferences = _preferences(request)
        is_lenient = preferences.get("handling") == "lenient"
        sent, requires_specversion = _sent_events(request)
        if len(sent) > settings.EVENTS_MAX_BATCH:
            raise cloudevents.BatchTooLarge(len(sent), settings.EVENTS_MAX_BATCH)
        checked = cloudevents.check_events(sent, _rules(now, requires_specversion))
        if not is_lenient:
            checked.require_all()
        key = cast(LiveKey, request.auth)
        recorded = services.record_events(events=checked.events, api_key_id=key.id)
        if is_lenient or preferences.get("return") == "representation":
            return _counted(recorded, Response(_representation(checked, recorded)))
        return _counted(recorded, Response(status=status.HTTP_204_NO_CONTENT))


def _rules(now: dt.datetime, requires_specversion: bool) -> Rules:
    return Rules(
        now=now,
        earliest=now - dt.timedelta(days=settings.EVENTS_MAX_AGE_DAYS),
        latest=now + dt.timedelta(hours=settings.EVENTS_MAX_AHEAD_HOURS),
        summed=summed_properties_by_event_type(),
        requires_specversion=requires_specversion,
    )


def _sent_events(request: Request) -> tuple[list[Any], bool]:
    """The events in the body, unchecked, and whether their form demands ``specversion``."""
    content_type = (request.content_type or "").partition(";")[0].strip().lower()
    body = _body(request)
    is_json = content_type == PLAIN or content_type.endswith("+json")
    if content_type not in (STRUCTURED, BATCHED) and "ce-id" in request.headers:
        if content_type and not is_json:
            raise UnsupportedContent("The data of an event is JSON. Send Content-Type: application/json, or none.")
        return [cloudevents.binary_event(request.headers, body)], True
    if content_type not in (STRUCTURED, BATCHED, PLAIN):
        raise UnsupportedContent(f"Send the events as {STRUCTURED}, {BATCHED} or {PLAIN}.")
    decoded = cloudevents.decode_json(body)
    if content_type == BATCHED and not isinstance(decoded, list):
        raise NotJson("A batch is a JSON array of events.")
    if content_type == STRUCTURED and not isinstance(decoded, dict):
        raise NotJson(f"One event is a JSON object; send several as {BATCHED}.")
    return decoded if isinstance(decoded, list) else [decoded], content_type != PLAIN


def _body(request: Request) -> bytes:
    """The body, unpacked. Never takes up more memory than the limit allows, whatever was sent."""
    limit: int = settings.EVENTS_MAX_BODY_BYTES
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise UnsupportedContent("The body may be packed with gzip only.")
    body: bytes = _raw_body(request, limit)
    return _unpacked(body, limit) if encoding == "gzip" else body


def _raw_body(request: Request, limit: int) -> bytes:
    meta: Mapping[str, Any] = request.META
    if not meta.get("CONTENT_LENGTH") and meta.get("wsgi.input_terminated"):
        # A chunked body has no length beforehand; Django would take it for empty.
        body: bytes = meta["wsgi.input"].read(limit + 1)
    elif int(meta.get("CONTENT_LENGTH") or 0) > limit:
        raise BodyTooLarge(limit)
    else:
        body = request.body
    if len(body) > limit:
        raise BodyTooLarge(limit)
    return body


def _unpacked(packed: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=GZIP_WINDOW)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise NotJson("The body is not valid gzip.") from error
    if len(body) > limit:
        raise BodyTooLarge(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise NotJson("The body is not one whole gzip stream.")
    return body


def _preferences(request: Request) -> dict[str, str]:
    """The request's ``Prefer`` header (RFC 7240); what we do not know is ignored, as it should be."""
    pairs = (part.partition(";")[0].partition("=") for part in request.headers.get("Prefer", "").split(","))
    return {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}


def _counted(recorded: RecordedBatch, response: Response) -> Response:
    response["Countinghouse-Accepted"] = str(recorded.accepted)
    response["Countinghouse-Duplicates"] = str(recorded.duplicates)
    response["Countinghouse-Conflicts"] = str(len(recorded.conflicts))
    response["Countinghouse-Unattributed"] = str(recorded.unattributed)
    return response


def _representation(checked: CheckedEvents, recorded: RecordedBatch) -> dict[str, Any]:
    return {
        "accepted": recorded.accepted,
        "duplicates": recorded.duplicates,
        "conflicts": len(recorded.conflicts),
        "unattributed": recorded.unattributed,
        "rejected": len({fault.index for fault in checked.faults}),
        "conflicting_events": [
            # Events that were left out do not count in the batch that was stored, but they do for the caller.
            {"index": checked.indexes[conflict.index], "source": conflict.source, "id": conflict.event_id}
            for conflict in recorded.conflicts
        ],
        "errors": [fault.as_dict() for fault in checked.faults],
    }
