"""The endpoint that takes usage events, as the API describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.models import Scope
from apps.access.selectors import LiveKey
from apps.common.api import JsonAlways, problem
from apps.usage import intakes
from apps.usage.api.serializers import RecordedSerializer
from apps.usage.intake import BATCHED, PLAIN, STRUCTURED, BodyTooLarge, Intake, rules_now, store
from apps.usage.services import EventBatch

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
    "quarantined": 0,
    "rejected": 0,
    "conflicting_events": [{"index": 2, "source": "gateway-eu-1", "id": "request-7"}],
    "errors": [],
}


def _count_header(name: str) -> OpenApiParameter:
    return OpenApiParameter(f"Countinghouse-{name}", OpenApiTypes.INT, OpenApiParameter.HEADER, response=[200, 204])


class EventsView(APIView):
    """The HTTP side of an intake: brings it the request, has its events stored, and sends what it answers."""

    required_scope = Scope.INGEST
    content_negotiation_class = JsonAlways
    intake_class: type[Intake]
    intake: Intake

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Before anything is refused: an intake words refusals for its clients.
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.intake = self.intake_class(headers, request.META.get("QUERY_STRING", ""))
        super().initial(request, *args, **kwargs)

    def record(self, request: Request) -> HttpResponse:
        batches = self.intake.read(_raw_body(request, settings.EVENTS_MAX_BODY_BYTES), rules_now())
        key_id = cast(LiveKey, request.auth).id
        recorded = store([EventBatch(events, key_id) for events in batches])
        answer = self.intake.answer(recorded)
        response = HttpResponse(answer.body, status=answer.status)
        del response["Content-Type"]
        for name, value in answer.headers:
            response[name.decode().title()] = value.decode()
        return response

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(response.data, dict):
            response.data, response.content_type = self.intake.envelope(response.status_code, response.data)
        return response


class RecordEvents(EventsView):
    """Takes CloudEvents, one or many, and answers once they are committed."""

    intake_class = intakes.CloudEvents

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
            *map(_count_header, ["Accepted", "Duplicates", "Conflicts", "Unattributed", "Quarantined"]),
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
            429: problem("More requests than the key may send; `Retry-After` says when to go on."),
            503: problem("Nothing can be stored right now; `Retry-After` says when to send it again."),
        },
        examples=[
            OpenApiExample("one event", EXAMPLE_EVENT, request_only=True, media_type=STRUCTURED),
            OpenApiExample("a batch", [EXAMPLE_EVENT], request_only=True, media_type=BATCHED),
            OpenApiExample("plain JSON", [EXAMPLE_EVENT], request_only=True, media_type=PLAIN),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        return self.record(request)


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
