"""Endpoints in the form of other products, so that the clients people have work with another base URL.

They share everything with the endpoint for CloudEvents but the form of what is sent and answered, which is told in
``apps.usage.dropin``. Lago's ``{"event": …}`` comes to the endpoint for CloudEvents itself.
"""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.request import Request

from apps.common.api import problem
from apps.usage import intakes
from apps.usage.api.views import EventsView
from apps.usage.intake import FORM, PLAIN

_FAULTS = problem("Events with faults, under their own names; nothing was stored.")
_ERRORS = {
    400: _FAULTS,
    401: problem("No key, or a wrong one."),
    403: problem("The key has no ingest scope."),
    413: problem("Too many bytes or events."),
    415: problem("A content type or encoding that is not taken."),
    429: problem("More requests than the key may send; `Retry-After` says when to go on."),
    503: problem("Nothing can be stored right now; `Retry-After` says when to send it again."),
}
_STRIPE_ERROR = OpenApiResponse(OpenApiTypes.OBJECT, description="What is wrong, as Stripe's clients read it.")


# --- Lago ------------------------------------------------------------------------------------------------------------


class LagoBatch(EventsView):
    intake_class = intakes.LagoBatch

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
    def post(self, request: Request) -> HttpResponse:
        return self.record(request)


# --- Orb and Metronome -----------------------------------------------------------------------------------------------


class Ingest(EventsView):
    """Orb sends an object and Metronome an array, both to this address."""

    intake_class = intakes.OrbOrMetronome

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
    def post(self, request: Request) -> HttpResponse:
        return self.record(request)


# --- Stripe ----------------------------------------------------------------------------------------------------------


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
_STRIPE_ANSWERS = {200: OpenApiTypes.OBJECT, **dict.fromkeys([400, 401, 403, 413, 415, 429, 503], _STRIPE_ERROR)}


class StripeMeterEvents(EventsView):
    intake_class = intakes.StripeMeterEvent

    @extend_schema(
        operation_id="record_stripe_meter_event",
        summary="Send a meter event in Stripe's form",
        tags=["drop-in routes"],
        description=_STRIPE_HELP,
        request={FORM: OpenApiTypes.OBJECT},
        parameters=_STRIPE_PARAMETERS,
        responses=_STRIPE_ANSWERS,
    )
    def post(self, request: Request) -> HttpResponse:
        return self.record(request)


class StripeMeterEventsV2(EventsView):
    intake_class = intakes.StripeMeterEventV2

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
    def post(self, request: Request) -> HttpResponse:
        return self.record(request)
