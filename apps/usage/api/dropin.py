"""Endpoints in the form of other products, so that the clients people have work with another base URL.

They share everything with the endpoint for CloudEvents but the form of what is sent and answered.
"""

from __future__ import annotations

import datetime as dt
import functools
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.selectors import LiveKey
from apps.common.api import problem
from apps.common.errors import InvalidInput
from apps.usage import cloudevents, dropin, services
from apps.usage.api.views import (
    PLAIN,
    RecordEvents,
    UnsupportedContent,
    _body,
    _counted,
    _raw_body,
    _rules,
)
from apps.usage.dropin import LAGO, METRONOME, ORB, STRIPE, STRIPE_FORM, Form
from apps.usage.events import EventInput
from apps.usage.services import RecordedBatch

FORM = "application/x-www-form-urlencoded"
ORB_MOST_IN_DEBUG = 500

_ORB_ERRORS = "https://docs.withorb.com/reference/error-responses"
# Orb's client raises its exceptions by these.
_ORB_ERROR_TYPES = {
    400: f"{_ORB_ERRORS}#400-request-validation-errors",
    401: f"{_ORB_ERRORS}#401-authentication-error",
    413: f"{_ORB_ERRORS}#413-request-too-large",
    429: f"{_ORB_ERRORS}#429-too-many-requests",
    500: f"{_ORB_ERRORS}#500-internal-server-error",
}
_begins_as_lago_event = re.compile(rb'\s*\{\s*"event"\s*:').match

_FAULTS = problem("Events with faults, under their own names; nothing was stored.")
_ERRORS = {400: _FAULTS, 401: problem("No key, or a wrong one."), 403: problem("The key has no ingest scope.")}
_STRIPE_ERROR = OpenApiResponse(OpenApiTypes.OBJECT, description="What is wrong, as Stripe's clients read it.")


def _record(
    request: Request, sent: Sequence[Any], form: Form, now: dt.datetime
) -> tuple[list[EventInput], RecordedBatch]:
    """Check and store all that was sent, or nothing. Raises InvalidBatch and BatchTooLarge."""
    events = _checked(sent, form, now)
    return events, _store(request, events)


def _store(request: Request, events: Sequence[EventInput]) -> RecordedBatch:
    return services.record_events(events=events, api_key_id=cast(LiveKey, request.auth).id)


def _checked(sent: Sequence[Any], form: Form, now: dt.datetime, *, most: int | None = None) -> list[EventInput]:
    limit = most or settings.EVENTS_MAX_BATCH
    if len(sent) > limit:
        raise cloudevents.BatchTooLarge(len(sent), limit)
    checked = dropin.check_sent(sent, form, _rules(now, requires_specversion=False))
    checked.require_all()
    return checked.events


def _json_body(request: Request) -> Any:
    _require_type(request, PLAIN)
    return cloudevents.decode_json(_body(request))


def _require_type(request: Request, content_type: str) -> None:
    if _media_type(request) != content_type:
        raise UnsupportedContent(f"Send the body as {content_type}.")


def _media_type(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()


def _event_list(body: Any) -> list[Any]:
    events = body.get("events") if isinstance(body, dict) else None
    if not isinstance(events, list):
        raise InvalidInput('Send {"events": […]}.', field="events")
    return events


# --- Lago ------------------------------------------------------------------------------------------------------------


class RecordEventsOrLago(RecordEvents):
    """The endpoint for CloudEvents, which takes Lago's ``{"event": …}`` too: both clients use this address."""

    @functools.wraps(RecordEvents.post)  # It stays described in the API's document.
    def post(self, request: Request) -> Response:  # type: ignore[override]  # mypy sees the wrapper, not the method
        now = timezone.now()
        sent = _lago_event(request)
        if sent is None:
            return super().post(request)
        [event], recorded = _record(request, sent, LAGO, now)
        return _counted(recorded, Response({"event": dropin.lago_event(sent[0], event, now=now)}))


def _lago_event(request: Request) -> list[Any] | None:
    """The one event of a body like ``{"event": …}``, or None for any other body, which may be read once more then."""
    if _media_type(request) != PLAIN or "ce-id" in request.headers:
        return None
    # A chunked body is read from the stream and kept nowhere.
    stream = io.BytesIO(_raw_body(request, settings.EVENTS_MAX_BODY_BYTES))
    request.META["wsgi.input"] = stream
    body = _body(request)
    stream.seek(0)
    if not _begins_as_lago_event(body):
        return None
    decoded = cloudevents.decode_json(body)
    return None if "specversion" in decoded else [decoded["event"]]


class LagoBatch(RecordEvents):
    @extend_schema(
        operation_id="record_lago_events",
        summary="Send events in Lago's form",
        tags=["drop-in routes"],
        description=(
            'For Lago\'s clients. One event goes to `/api/v1/events` as `{"event": …}`. `transaction_id` is the ID, '
            "`code` the event type, `external_subscription_id` or else `external_customer_id` the subject."
        ),
        request={PLAIN: OpenApiTypes.OBJECT},
        responses={200: OpenApiTypes.OBJECT, **_ERRORS},
        parameters=[],
        examples=[
            OpenApiExample(
                "a batch",
                {
                    "events": [
                        {
                            "transaction_id": "request-1",
                            "external_subscription_id": "acme",
                            "code": "llm.completion",
                            "timestamp": 1793525400,
                            "properties": {"input_tokens": 1200},
                        }
                    ]
                },
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        now = timezone.now()
        sent = _event_list(_json_body(request))
        events, recorded = _record(request, sent, LAGO, now)
        answer = [dropin.lago_event(one, event, now=now) for one, event in zip(sent, events, strict=True)]
        return _counted(recorded, Response({"events": answer}))


# --- Orb and Metronome -----------------------------------------------------------------------------------------------


class Ingest(RecordEvents):
    """Orb sends an object and Metronome an array, both to this address."""

    is_orb = True
    sent: Sequence[Any] = ()

    @extend_schema(
        operation_id="ingest",
        summary="Send events in the form of Orb or Metronome",
        tags=["drop-in routes"],
        description=(
            'For the clients of Orb, which send `{"events": […]}`, and of Metronome, which send an array. '
            "`idempotency_key` or `transaction_id` is the ID, `event_name` or `event_type` the event type, "
            "`external_customer_id` or `customer_id` the subject. A time without a zone is UTC."
        ),
        request={PLAIN: {"oneOf": [{"type": "object"}, {"type": "array", "items": {"type": "object"}}]}},
        parameters=[
            OpenApiParameter(
                "debug",
                OpenApiTypes.BOOL,
                description="For Orb: list the keys of new and of repeated events. Slow; for up to 500 events.",
            )
        ],
        responses={200: OpenApiTypes.OBJECT, **_ERRORS},
        examples=[
            OpenApiExample(
                "Orb",
                {
                    "events": [
                        {
                            "idempotency_key": "request-1",
                            "external_customer_id": "acme",
                            "event_name": "llm.completion",
                            "timestamp": "2026-01-31T12:00:00",
                            "properties": {"input_tokens": 1200},
                        }
                    ]
                },
                request_only=True,
            ),
            OpenApiExample(
                "Metronome",
                [
                    {
                        "transaction_id": "request-1",
                        "customer_id": "acme",
                        "event_type": "llm.completion",
                        "timestamp": "2026-01-31T12:00:00Z",
                        "properties": {"input_tokens": 1200},
                    }
                ],
                request_only=True,
            ),
        ],
    )
    def post(self, request: Request) -> Response:
        now = timezone.now()
        body = _json_body(request)
        self.is_orb = not isinstance(body, list)
        self.sent = _event_list(body) if self.is_orb else body
        if not self.is_orb:
            _, recorded = _record(request, self.sent, METRONOME, now)
            return _counted(recorded, Response({}))
        if request.query_params.get("backfill_id"):
            raise InvalidInput("Backfills are not taken. Send the events without one.", field="backfill_id")
        if request.query_params.get("debug", "").lower() == "true":
            return self._record_in_debug(request, now)
        _, recorded = _record(request, self.sent, ORB, now)
        return _counted(recorded, Response({"validation_failed": []}))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Refusals from before the body is read are for one of the two as well.
        self.is_orb = "metronome" not in request.headers.get("User-Agent", "").lower()
        super().initial(request, *args, **kwargs)

    def _record_in_debug(self, request: Request, now: dt.datetime) -> Response:
        """Store each event by itself: only so is it known of each whether it was new."""
        events = _checked(self.sent, ORB, now, most=ORB_MOST_IN_DEBUG)
        recorded = [_store(request, [event]) for event in events]
        keys: dict[bool, list[str]] = {True: [], False: []}
        for event, outcome in zip(events, recorded, strict=True):
            keys[outcome.accepted == 1].append(event.event_id)
        total = RecordedBatch(
            accepted=sum(outcome.accepted for outcome in recorded),
            duplicates=sum(outcome.duplicates for outcome in recorded),
            unattributed=sum(outcome.unattributed for outcome in recorded),
            conflicts=tuple(conflict for outcome in recorded for conflict in outcome.conflicts),
        )
        debug = {"ingested": keys[True], "duplicate": keys[False]}
        return _counted(total, Response({"validation_failed": [], "debug": debug}))

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if self.is_orb and isinstance(response.data, dict):
            faults: list[Mapping[str, Any]] = [
                fault for fault in response.data.get("errors", []) if fault["index"] is not None
            ]
            failed = dropin.orb_failures(self.sent, faults)
            texts = [text for failure in failed for text in failure["validation_errors"]]
            response.data["type"] = _ORB_ERROR_TYPES.get(response.status_code, response.data["type"])
            response.data["validation_failed"] = failed
            response.data["validation_errors"] = texts or [response.data["detail"]]
        return response


# --- Stripe ----------------------------------------------------------------------------------------------------------


class _MeterEvents(RecordEvents):
    """One meter event of Stripe, and errors in the envelope that its clients open."""

    def _record_one(
        self, request: Request, sent: Any, form: Form, now: dt.datetime
    ) -> tuple[EventInput, RecordedBatch]:
        identified = dropin.identified(sent, idempotency_key=request.headers.get("Idempotency-Key"))
        [event], recorded = _record(request, [identified], form, now)
        return event, recorded

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(response.data, dict):
            response.data = {"error": _stripe_error(response.status_code, response.data)}
            response.content_type = PLAIN
        return response


def _stripe_error(status: int, told: Mapping[str, Any]) -> dict[str, Any]:
    faults = told.get("errors", [])
    return {
        "type": "api_error" if status >= 500 else "invalid_request_error",
        "code": told["code"],
        "message": " ".join(fault["detail"] for fault in faults) or told["detail"],
        "param": faults[0]["field"] if faults else None,
        "errors": faults,
    }


_METER_EVENT = {
    "event_name": "llm.completion",
    "identifier": "request-1",
    "timestamp": "2026-01-31T12:00:00Z",
    "payload": {"stripe_customer_id": "acme", "value": "1200"},
}
_STRIPE_HELP = (
    "For Stripe's clients. `identifier` is the ID, `event_name` the event type, `payload.stripe_customer_id` the "
    "subject. Without an identifier the header `Idempotency-Key` makes a retry known; without either it is not."
)
_STRIPE_PARAMETERS = [OpenApiParameter("Idempotency-Key", OpenApiTypes.STR, OpenApiParameter.HEADER)]
_STRIPE_ANSWERS = {200: OpenApiTypes.OBJECT, 400: _STRIPE_ERROR, 401: _STRIPE_ERROR, 403: _STRIPE_ERROR}


class StripeMeterEvents(_MeterEvents):
    @extend_schema(
        operation_id="record_stripe_meter_event",
        summary="Send a meter event in Stripe's form",
        tags=["drop-in routes"],
        description=_STRIPE_HELP,
        request={FORM: OpenApiTypes.OBJECT},
        parameters=_STRIPE_PARAMETERS,
        responses=_STRIPE_ANSWERS,
    )
    def post(self, request: Request) -> Response:
        now = timezone.now()
        _require_type(request, FORM)
        sent = dropin.meter_event_of_form(_body(request))
        event, recorded = self._record_one(request, sent, STRIPE_FORM, now)
        return _counted(recorded, Response(dropin.meter_event(event, now=now)))


class StripeMeterEventsV2(_MeterEvents):
    @extend_schema(
        operation_id="record_stripe_meter_event_v2",
        summary="Send a meter event in the form of Stripe's version 2",
        tags=["drop-in routes"],
        description=_STRIPE_HELP,
        request={PLAIN: OpenApiTypes.OBJECT},
        parameters=_STRIPE_PARAMETERS,
        responses=_STRIPE_ANSWERS,
        examples=[OpenApiExample("a meter event", _METER_EVENT, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        now = timezone.now()
        event, recorded = self._record_one(request, _json_body(request), STRIPE, now)
        return _counted(recorded, Response(dropin.meter_event_v2(event, now=now)))
