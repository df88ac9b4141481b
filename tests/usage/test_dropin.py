"""The drop-in routes: bodies as the clients of Lago, Orb, Metronome and Stripe send them, recorded from those."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpResponse
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django import Settings

from apps.access.models import ApiKey, Scope
from apps.access.services import create_api_key
from apps.billable_metrics.models import BillableMetric
from apps.usage.dropin import LAGO, STRIPE, STRIPE_FORM
from apps.usage.models import UsageConflict, UsageEvent
from apps.usage.selectors import UsageWindow, measure_usage
from tests.usage.conftest import Post, cloud_event, counts

pytestmark = pytest.mark.django_db

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
NOON = dt.datetime(2025, 11, 1, 12, 0, tzinfo=dt.UTC)
NOON_IN_SECONDS = 1761998400

LAGO_ONE = (
    b'{"event":{"transaction_id":"lago-1","external_subscription_id":"acme","code":"llm.completion",'
    b'"timestamp":"1761998400","precise_total_amount_cents":null,"properties":{"input_tokens":100,"model":"large"}}}'
)
LITELLM_LAGO = (
    b'{"event": {"transaction_id": "8e7d4b1c-5f2a-4a3f-9d20-6a5f2a8f6b11", "external_subscription_id": "acme", '
    b'"code": "llm.completion", "properties": {"model": "large", "response_cost": 1.35e-05, "input_tokens": 100}}}'
)
LAGO_BATCH = (
    b'{"events":[{"transaction_id":"lago-1","external_subscription_id":"acme","code":"llm.completion",'
    b'"timestamp":1761998400,"precise_total_amount_cents":null,"properties":{"input_tokens":60}},'
    b'{"transaction_id":"lago-2","external_subscription_id":"acme","code":"llm.completion",'
    b'"timestamp":"1761998400.25","precise_total_amount_cents":null,"properties":{"input_tokens":"40"}}]}'
)
ORB = (
    b'{"events":[{"event_name":"llm.completion","idempotency_key":"orb-1","properties":{"input_tokens":100},'
    b'"timestamp":"2025-11-01T12:00:00","external_customer_id":"acme"}]}'
)
METRONOME = (
    b'[{"customer_id":"acme","event_type":"llm.completion","timestamp":"2025-11-01T12:00:00+00:00",'
    b'"transaction_id":"metronome-1","properties":{"input_tokens":"100"}}]'
)
STRIPE_V1 = (
    b"event_name=llm.completion&payload[stripe_customer_id]=acme&payload[input_tokens]=100"
    b"&identifier=stripe-1&timestamp=1761998400"
)
STRIPE_V2 = (
    b'{"event_name":"llm.completion","payload":{"stripe_customer_id":"acme","input_tokens":"100"},'
    b'"identifier":"stripe-1","timestamp":"2025-11-01T12:00:00.000Z"}'
)

EVENTS, BATCH, INGEST = "/api/v1/events", "/api/v1/events/batch", "/v1/ingest"
METERS, METERS_V2 = "/v1/billing/meter_events", "/v2/billing/meter_events"
# Each sends 100 input tokens of acme.
SENT = [
    pytest.param(EVENTS, LAGO_ONE, JSON, "lago", id="lago"),
    pytest.param(EVENTS, LITELLM_LAGO, JSON, "lago", id="litellm-lago"),
    pytest.param(BATCH, LAGO_BATCH, JSON, "lago", id="lago-batch"),
    pytest.param(INGEST, ORB, JSON, "orb", id="orb"),
    pytest.param(INGEST, METRONOME, JSON, "metronome", id="metronome"),
    pytest.param(METERS, STRIPE_V1, FORM, "stripe", id="stripe"),
    pytest.param(METERS_V2, STRIPE_V2, JSON, "stripe", id="stripe-v2"),
]


def answer(response: HttpResponse, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return json.loads(response.content)


def tokens_of_acme(metric: BillableMetric) -> Decimal:
    customer_id = UsageEvent.objects.exclude(customer=None).values_list("customer_id", flat=True).first()
    assert customer_id is not None
    now = timezone.now()
    [usage] = measure_usage(
        [UsageWindow(customer_id, metric.current_version, NOON - dt.timedelta(days=1), now + dt.timedelta(days=1))],
        stored_before=None,
    )
    return usage.quantity


# --- What every client may rely on -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_what_each_client_sends_is_measured_and_a_repeat_counts_once(
    post: Post, acme_metric: BillableMetric, address: str, body: bytes, content_type: str, source: str
) -> None:
    first, repeat = post(address, body, content_type), post(address, body, content_type)

    stored = counts(first)[0]
    assert (first.status_code, counts(first)) == (200, (stored, 0, 0, 0))
    assert (repeat.status_code, counts(repeat)) == (200, (0, stored, 0, 0))
    assert UsageEvent.objects.filter(source__name=source).count() == stored
    assert tokens_of_acme(acme_metric) == 100


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_a_conflict_is_answered_like_any_other_and_the_first_stays(
    post: Post, acme_metric: BillableMetric, address: str, body: bytes, content_type: str, source: str
) -> None:
    post(address, body, content_type)

    response = post(address, body.replace(b"acme", b"else"), content_type)

    assert response.status_code == 200
    assert counts(response)[2] == UsageConflict.objects.count() > 0
    assert tokens_of_acme(acme_metric) == 100


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_packed_bodies_are_taken(post: Post, address: str, body: bytes, content_type: str, source: str) -> None:
    assert post(address, gzip.compress(body), content_type, **{"Content-Encoding": "gzip"}).status_code == 200
    assert UsageEvent.objects.exists()


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_a_key_with_the_scope_is_needed(post: Post, address: str, body: bytes, content_type: str, source: str) -> None:
    _, reader = create_api_key(name="reader", scopes=[Scope.READ], created_by=None, now=timezone.now())

    assert post(address, body, content_type, key=None).status_code == 401
    assert post(address, body, content_type, key="ch_wrong").status_code == 401
    assert post(address, body, content_type, key=reader).status_code == 403
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_a_key_may_send_so_many_requests(
    post: Post, settings: Settings, address: str, body: bytes, content_type: str, source: str
) -> None:
    settings.API_REQUESTS_PER_MINUTE = 1
    assert post(address, body, content_type).status_code == 200

    response = post(address, body, content_type)

    assert (response.status_code, response["Retry-After"]) == (429, "60")
    assert b"rate_limited" in response.content


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_an_unknown_packing_is_refused(post: Post, address: str, body: bytes, content_type: str, source: str) -> None:
    assert post(address, body, content_type, **{"Content-Encoding": "br"}).status_code == 415


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_the_limits_of_events_hold(
    post: Post, settings: Settings, address: str, body: bytes, content_type: str, source: str
) -> None:
    settings.EVENTS_MAX_BODY_BYTES = len(body) - 1
    assert post(address, body, content_type).status_code == 413

    settings.EVENTS_MAX_BODY_BYTES, settings.EVENTS_MAX_BATCH = 10_000, 0
    assert b"batch_too_large" in post(address, body, content_type).content
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(("address", "body", "content_type", "source"), SENT)
def test_other_media_types_are_refused(post: Post, address: str, body: bytes, content_type: str, source: str) -> None:
    assert post(address, body, "text/plain").status_code == 415


@pytest.mark.parametrize("address", ["/v1/customers", "/v2/core/events", "/v1/ingest/"])
def test_another_address_of_such_a_client_is_a_problem(post: Post, address: str) -> None:
    response = post(address, b"{}")
    assert response["Content-Type"] == "application/problem+json"
    assert answer(response, 404)["code"] == "not_found"


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        ("1761998400", NOON),
        (NOON_IN_SECONDS, NOON),
        ("1761998400.123456789", NOON + dt.timedelta(microseconds=123_456)),
        (1761998400.5, NOON + dt.timedelta(milliseconds=500)),
        ("2025-11-01T12:00:00Z", NOON),
        ("2025-11-01T12:00:00", NOON),
        ("2025-11-01 12:00:00.250", NOON + dt.timedelta(milliseconds=250)),
        ("2025-11-01T13:00:00+01:00", NOON),
    ],
)
def test_times_are_taken_as_text_and_as_seconds(post: Post, sent: object, stored: dt.datetime) -> None:
    event = json.loads(LAGO_ONE)
    event["event"]["timestamp"] = sent

    assert post(EVENTS, json.dumps(event).encode()).status_code == 200
    assert UsageEvent.objects.get().occurred_at == stored


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ('"soon"', "invalid_time"),
        ("true", "invalid_time"),
        ("[]", "invalid_time"),
        ("1761998400000", "invalid_time"),  # milliseconds
        ('"1761998400000"', "invalid_time"),
        ("1e5000000", "invalid_time"),
        ("0e5000000", "too_old"),
        ("1e-5000000", "too_old"),
        ("-1", "too_old"),
        ("4102444800", "in_the_future"),
    ],
)
def test_a_time_that_cannot_be_is_named(post: Post, sent: str, code: str) -> None:
    response = post(EVENTS, LAGO_ONE.replace(b'"1761998400"', sent.encode()))

    [fault] = answer(response, 400)["errors"]
    assert (fault["field"], fault["code"]) == ("timestamp", code)
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    ("form", "field", "name"),
    [
        (LAGO, "subject", "external_subscription_id"),
        (LAGO, "data.input_tokens", "properties.input_tokens"),
        (STRIPE, "subject", "payload.stripe_customer_id"),
        (STRIPE_FORM, "subject", "payload[stripe_customer_id]"),
        (STRIPE_FORM, "data.input_tokens", "payload[input_tokens]"),
        (STRIPE_FORM, "data", "payload"),
    ],
)
def test_fields_are_named_as_the_client_names_them(form: Any, field: str, name: str) -> None:
    assert form.name_of(field) == name


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals().map(str) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = ["transaction_id", "idempotency_key", "identifier", "code", "event_name", "event_type", "timestamp"]
NAMES += ["external_subscription_id", "external_customer_id", "customer_id", "properties", "payload"]
likely = anything | st.sampled_from(["acme", "llm.completion", {"input_tokens": "7", "stripe_customer_id": "acme"}])
events = st.dictionaries(st.sampled_from(NAMES), likely, max_size=len(NAMES)) | anything


@examples(max_examples=100)
@given(event=events, wrapping=st.sampled_from(["event", "events", "list", "none"]))
def test_nothing_that_is_sent_makes_us_stumble(
    post: Post, acme_metric: BillableMetric, event: Any, wrapping: str
) -> None:
    sent = {"event": {"event": event}, "events": {"events": [event]}, "list": [event], "none": event}[wrapping]
    for address in (EVENTS, BATCH, INGEST, f"{INGEST}?debug=true", METERS_V2):
        assert post(address, json.dumps(sent).encode()).status_code in (200, 204, 400)


# --- Lago ------------------------------------------------------------------------------------------------------------


def test_lago_reads_its_event_back(post: Post) -> None:
    event = answer(post(EVENTS, LAGO_ONE))["event"]

    created_at = event.pop("created_at")
    assert dt.datetime.fromisoformat(created_at) <= timezone.now()
    assert event == {
        "lago_id": None,
        "transaction_id": "lago-1",
        "lago_customer_id": None,
        "lago_subscription_id": None,
        "external_subscription_id": "acme",
        "code": "llm.completion",
        "timestamp": "2025-11-01T12:00:00.000Z",
        "precise_total_amount_cents": None,
        "properties": {"input_tokens": 100, "model": "large"},
    }


def test_lago_reads_its_batch_back(post: Post) -> None:
    events = answer(post(BATCH, LAGO_BATCH))["events"]
    assert [(event["transaction_id"], event["timestamp"]) for event in events] == [
        ("lago-1", "2025-11-01T12:00:00.000Z"),
        ("lago-2", "2025-11-01T12:00:00.250Z"),
    ]


def test_lago_may_name_a_customer_in_place_of_a_subscription(post: Post, acme_metric: BillableMetric) -> None:
    body = LAGO_ONE.replace(b'"external_subscription_id":"acme"', b'"external_customer_id":"acme"')
    assert counts(post(EVENTS, body)) == (1, 0, 0, 0)


def test_every_fault_of_a_lago_batch_is_listed_with_lagos_names(post: Post, acme_metric: BillableMetric) -> None:
    good = {
        "transaction_id": "1",
        "external_subscription_id": "acme",
        "code": "llm.completion",
        "properties": {"input_tokens": 1},
    }
    events = [
        good,
        {**good, "transaction_id": None, "code": 7, "external_subscription_id": ""},
        "text",
        {**good, "properties": [1]},
        {**good, "properties": {"input_tokens": "many"}},
        {**good, "transaction_id": "x" * 257},
    ]

    problem = answer(post(BATCH, json.dumps({"events": events}).encode()), 400)

    assert problem["code"] == "invalid_batch"
    assert [(fault["index"], fault["field"], fault["code"]) for fault in problem["errors"]] == [
        (1, "transaction_id", "required"),
        (1, "code", "not_a_text"),
        (1, "external_subscription_id", "required"),
        (2, None, "not_an_object"),
        (3, "properties", "not_an_object"),
        (4, "properties.input_tokens", "not_a_number"),
        (5, "transaction_id", "too_long"),
    ]
    details = [fault["detail"] for fault in problem["errors"]]
    assert details[0] == "An event needs a non-empty “transaction_id”."
    assert details[4] == "“properties” is a JSON object."
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("event", ["null", "[]", '"text"'])
def test_an_event_of_lago_that_is_none_is_refused(post: Post, event: str) -> None:
    problem = answer(post(EVENTS, f'{{"event": {event}}}'.encode()), 400)
    assert [fault["code"] for fault in problem["errors"]] == ["not_an_object"]


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"events": {}}', b'{"events": null}', b"7"])
def test_a_lago_batch_is_a_list_of_events(post: Post, body: bytes) -> None:
    problem = answer(post(BATCH, body), 400)
    assert [fault["field"] for fault in problem["errors"]] == ["events"]


def test_a_chunked_body_is_read_once_for_both_forms(post: Post) -> None:
    assert counts(post(EVENTS, [LAGO_ONE[:20], LAGO_ONE[20:]]))[0] == 1
    assert post(EVENTS, [json.dumps([cloud_event("two")]).encode(), b""]).status_code == 204
    assert set(UsageEvent.objects.values_list("source__name", "event_id")) == {("lago", "lago-1"), ("gateway", "two")}


def test_a_cloud_event_with_an_attribute_named_event_is_no_event_of_lago(post: Post) -> None:
    body = json.dumps({"event": "x", **cloud_event()}).encode()
    assert post(EVENTS, body).status_code == 204
    assert UsageEvent.objects.get().source.name == "gateway"


# --- Orb and Metronome -----------------------------------------------------------------------------------------------


def test_orb_is_told_that_nothing_failed(post: Post) -> None:
    assert answer(post(INGEST, ORB)) == {"validation_failed": []}


def test_metronome_reads_an_empty_object(post: Post) -> None:
    assert answer(post(INGEST, METRONOME)) == {}


def test_orb_may_ask_which_events_were_new(post: Post) -> None:
    [event] = json.loads(ORB)["events"]
    post(INGEST, ORB)
    events = [event, {**event, "idempotency_key": "orb-2"}, {**event, "properties": {}}]

    response = post(f"{INGEST}?debug=true", json.dumps({"events": events}).encode())

    assert answer(response) == {
        "validation_failed": [],
        "debug": {"ingested": ["orb-2"], "duplicate": ["orb-1", "orb-1"]},
    }
    assert counts(response)[:3] == (1, 1, 1)


def test_orb_may_ask_for_few_events_at_once_which_were_new(post: Post) -> None:
    body = json.dumps({"events": json.loads(ORB)["events"] * 501}).encode()
    assert answer(post(f"{INGEST}?debug=true", body), 413)["code"] == "batch_too_large"
    assert post(INGEST, body).status_code == 200


def test_a_backfill_of_orb_is_refused_rather_than_added_up(post: Post) -> None:
    problem = answer(post(f"{INGEST}?backfill_id=b1", ORB), 400)
    assert [fault["field"] for fault in problem["errors"]] == ["backfill_id"]
    assert not UsageEvent.objects.exists()


def test_orb_is_told_what_failed_under_each_key(post: Post) -> None:
    [event] = json.loads(ORB)["events"]
    events = [event, {**event, "idempotency_key": "bad", "event_name": "", "timestamp": "soon"}, {}, 7]

    problem = answer(post(INGEST, json.dumps({"events": events}).encode()), 400)

    assert problem["type"] == "https://docs.withorb.com/reference/error-responses#400-request-validation-errors"
    assert problem["code"] == "invalid_batch"
    assert problem["validation_failed"] == [
        {
            "idempotency_key": "bad",
            "validation_errors": [
                "event_name: An event needs a non-empty “event_name”.",
                "timestamp: Send the time as RFC 3339, such as 2026-01-31T12:00:00Z, or in seconds since 1970.",
            ],
        },
        {
            "idempotency_key": "",
            "validation_errors": [
                "idempotency_key: An event needs a non-empty “idempotency_key”.",
                "event_name: An event needs a non-empty “event_name”.",
                "external_customer_id: An event needs a non-empty “external_customer_id”.",
            ],
        },
        {"idempotency_key": "", "validation_errors": ["An event is a JSON object."]},
    ]
    assert len(problem["validation_errors"]) == 6
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    ("body", "key", "status", "kind"),
    [
        (b"{", None, 401, "401-authentication-error"),
        (b"{", "", 400, "400-request-validation-errors"),
        (b"{}", "", 400, "400-request-validation-errors"),
    ],
)
def test_other_refusals_bear_the_types_of_orb(
    post: Post, ingest_key: tuple[ApiKey, str], body: bytes, key: str | None, status: int, kind: str
) -> None:
    problem = answer(post(INGEST, body, key=ingest_key[1] if key == "" else key), status)
    assert problem["type"].endswith(f"#{kind}")
    assert problem["validation_failed"] == []
    assert len(problem["validation_errors"]) == 1


def test_metronome_is_told_in_our_own_form(post: Post) -> None:
    [event] = json.loads(METRONOME)
    faulty = post(INGEST, json.dumps([event, {**event, "customer_id": None, "event_type": "a\0"}]).encode())
    unknown = post(INGEST, METRONOME, key="ch_wrong", **{"User-Agent": "Metronome/Python 4.12.0"})

    assert [(fault["index"], fault["field"], fault["code"]) for fault in answer(faulty, 400)["errors"]] == [
        (1, "event_type", "invalid_characters"),
        (1, "customer_id", "required"),
    ]
    assert answer(unknown, 401)["type"] == "urn:countinghouse:problem:invalid_api_key"


# --- Stripe ----------------------------------------------------------------------------------------------------------


def test_stripe_reads_its_meter_event_back(post: Post) -> None:
    event = answer(post(METERS, STRIPE_V1, FORM))

    assert abs(event.pop("created") - timezone.now().timestamp()) < 60
    assert event == {
        "object": "billing.meter_event",
        "event_name": "llm.completion",
        "identifier": "stripe-1",
        "livemode": True,
        "payload": {"stripe_customer_id": "acme", "input_tokens": "100"},
        "timestamp": NOON_IN_SECONDS,
    }


def test_stripe_version_2_reads_times_as_text(post: Post) -> None:
    event = answer(post(METERS_V2, STRIPE_V2))

    assert dt.datetime.fromisoformat(event["created"]) <= timezone.now()
    assert (event["object"], event["timestamp"]) == ("v2.billing.meter_event", "2025-11-01T12:00:00.000Z")


def test_both_versions_of_stripe_send_the_same_event(post: Post) -> None:
    assert counts(post(METERS, STRIPE_V1, FORM))[0] == 1
    assert counts(post(METERS_V2, STRIPE_V2))[:3] == (0, 1, 0)


@pytest.mark.parametrize(("address", "content_type"), [(METERS, FORM), (METERS_V2, JSON)])
def test_an_idempotency_key_stands_in_for_a_missing_identifier(post: Post, address: str, content_type: str) -> None:
    body = STRIPE_V1.replace(b"&identifier=stripe-1", b"")
    if content_type == JSON:
        body = STRIPE_V2.replace(b'"identifier":"stripe-1",', b"")

    def identifier(**headers: str) -> str:
        return str(answer(post(address, body, content_type, **headers))["identifier"])

    retried = [identifier(**{"Idempotency-Key": "retry-1"}) for _ in range(2)]
    others = [identifier(**{"Idempotency-Key": "retry-2"}), identifier(), identifier()]

    assert retried[0] == retried[1]
    assert len({retried[0], *others}) == UsageEvent.objects.count() == 4


def test_stripe_opens_errors_in_its_own_envelope(post: Post, acme_metric: BillableMetric) -> None:
    body = b"event_name=&payload[input_tokens]=many&identifier=bad"

    response = post(METERS, body, FORM)

    assert response["Content-Type"] == "application/json"
    error = answer(response, 400)["error"]
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_batch", "event_name")
    assert [fault["field"] for fault in error["errors"]] == ["event_name", "payload[stripe_customer_id]"]
    assert error["message"].startswith("An event needs a non-empty “event_name”.")
    assert not UsageEvent.objects.exists()


def test_stripe_is_told_of_a_property_that_is_no_number(post: Post, acme_metric: BillableMetric) -> None:
    error = answer(post(METERS, STRIPE_V1.replace(b"=100", b"=many"), FORM), 400)["error"]
    assert (error["param"], error["errors"][0]["code"]) == ("payload[input_tokens]", "not_a_number")


def test_stripe_is_told_of_a_wrong_key(post: Post) -> None:
    response = post(METERS, STRIPE_V1, FORM, key="ch_wrong")
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert answer(response, 401)["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    "body", [b"event_name=%ff", b"\xff", b"&".join([b"a=1"] * 1001)], ids=["bad escape", "not UTF-8", "too many"]
)
def test_what_is_no_form_is_refused(post: Post, body: bytes) -> None:
    assert answer(post(METERS, body, FORM), 400)["error"]["code"] == "invalid_form"


@pytest.mark.parametrize("body", [b"[]", b"7", b'{"payload": 7}', b"{"])
def test_what_is_no_meter_event_is_refused(post: Post, body: bytes) -> None:
    assert answer(post(METERS_V2, body), 400)["error"]["type"] == "invalid_request_error"
    assert not UsageEvent.objects.exists()


def test_a_mistake_of_ours_is_an_api_error_to_stripe(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("apps.usage.services.record_batches", fail)

    error = answer(post(METERS, STRIPE_V1, FORM), 500)["error"]
    assert (error["type"], error["code"]) == ("api_error", "internal_error")
    assert "secret" not in error["message"]
