"""The events endpoint: what it takes, what it refuses, and what it answers, through the site and the ingest server."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.http import HttpResponse
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from apps.access.models import ApiKey, Scope
from apps.access.services import create_api_key, limit_api_key, revoke_api_key
from apps.billable_metrics.models import BillableMetric
from apps.usage.models import QuarantinedEvent, UsageConflict, UsageEvent
from tests.usage.conftest import BATCHED, Post, Send, cloud_event, counts
from tests.usage.shells import Shell

pytestmark = pytest.mark.django_db

STRUCTURED = "application/cloudevents+json"
PLAIN = "application/json"


def problem(response: HttpResponse) -> dict[str, Any]:
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert body["status"] == response.status_code
    assert {"type", "title", "detail"} <= body.keys()
    return body


def faults(response: HttpResponse) -> list[tuple[int, str, str]]:
    assert response.status_code == 400
    return [(fault["index"], fault["field"], fault["code"]) for fault in problem(response)["errors"]]


def test_a_batch_is_stored_and_counted_in_the_headers(send: Send, acme_metric: BillableMetric) -> None:
    response = send([cloud_event("one"), cloud_event("two")])

    assert response.status_code == 204
    assert response.content == b""
    assert counts(response) == (2, 0, 0, 0)
    assert UsageEvent.objects.filter(customer__external_id="acme").count() == 2


def test_an_event_keeps_all_that_was_sent(
    send: Send, acme_metric: BillableMetric, ingest_key: tuple[ApiKey, str]
) -> None:
    occurred_at = timezone.now() - dt.timedelta(days=3)

    send([cloud_event("one", time=occurred_at.isoformat(), data={"model": "large", "seconds": 1.5, "tags": ["a"]})])

    event = UsageEvent.objects.get()
    assert (event.source.name, event.event_id, event.type, event.subject) == (
        "gateway",
        "one",
        "llm.completion",
        "acme",
    )
    assert event.occurred_at == occurred_at
    assert event.data == {"model": "large", "seconds": Decimal("1.5"), "tags": ["a"]}
    assert event.api_key == ingest_key[0]
    assert event.stored_at == event.attributed_at


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (cloud_event(), STRUCTURED),
        (cloud_event(), STRUCTURED + "; charset=utf-8"),
        ([cloud_event()], BATCHED),
        (cloud_event(), PLAIN),
        ([cloud_event()], PLAIN),
        (cloud_event(specversion=None), PLAIN),
        ([cloud_event(time=None)], BATCHED),
        ([cloud_event(data=None)], BATCHED),
    ],
)
def test_every_json_form_is_taken(send: Send, body: object, content_type: str) -> None:
    assert send(body, content_type).status_code == 204
    assert UsageEvent.objects.count() == 1


@pytest.mark.parametrize("content_type", ["", PLAIN])
def test_binary_mode_is_taken(send: Send, acme_metric: BillableMetric, content_type: str) -> None:
    response = send(
        b'{"input_tokens": 7}',
        content_type,
        **{
            "ce-specversion": "1.0",
            "ce-id": "caf%C3%A9",
            "ce-source": "gateway",
            "ce-type": "llm.completion",
            "ce-subject": "acme",
        },
    )

    assert counts(response) == (1, 0, 0, 0)
    event = UsageEvent.objects.get()
    assert (event.event_id, event.data) == ("café", {"input_tokens": 7})


def test_a_gzip_body_is_taken(send: Send) -> None:
    packed = gzip.compress(json.dumps([cloud_event()]).encode())

    assert send(packed, **{"Content-Encoding": "gzip"}).status_code == 204
    assert UsageEvent.objects.count() == 1


def test_a_chunked_body_is_taken_and_bounded(post: Post, settings: Settings) -> None:
    settings.EVENTS_MAX_BODY_BYTES = 1000
    body = json.dumps([cloud_event()]).encode()

    assert post("/api/v1/events", [body[:100], body[100:]], BATCHED).status_code == 204
    assert UsageEvent.objects.count() == 1
    assert post("/api/v1/events", [b" " * 600, b" " * 401], BATCHED).status_code == 413


def test_an_empty_batch_is_no_error(send: Send) -> None:
    assert counts(send([])) == (0, 0, 0, 0)


def test_a_missing_time_is_now(send: Send) -> None:
    before = timezone.now()
    send([cloud_event(time=None)])
    assert before <= UsageEvent.objects.get().occurred_at <= timezone.now()


def test_nanoseconds_are_cut_and_zones_are_kept_apart(send: Send) -> None:
    day = timezone.now().date() - dt.timedelta(days=1)
    send([cloud_event(time=f"{day}T12:00:00.123456789+02:00")])
    assert UsageEvent.objects.get().occurred_at == dt.datetime(
        day.year, day.month, day.day, 10, 0, 0, 123456, tzinfo=dt.UTC
    )


def test_decimals_are_stored_exactly(send: Send) -> None:
    send(json.dumps([cloud_event(data={"cost": "PLACE"})]).replace('"PLACE"', "0.1234567890123456789").encode())
    assert UsageEvent.objects.get().data == {"cost": Decimal("0.1234567890123456789")}


def test_a_repeat_is_a_duplicate_also_with_another_time_and_another_way_to_write_a_number(send: Send) -> None:
    send([cloud_event(data={"a": 1, "b": 2.50})])
    later = (timezone.now() - dt.timedelta(days=40)).isoformat()

    response = send(
        json.dumps([cloud_event(time=later, data={"b": "PLACE", "a": 1.0})]).replace('"PLACE"', "25e-1").encode()
    )

    assert counts(response) == (0, 1, 0, 0)
    assert UsageEvent.objects.count() == 1
    assert not UsageConflict.objects.exists()


def test_another_payload_is_a_conflict_and_the_first_stays(send: Send, ingest_key: tuple[ApiKey, str]) -> None:
    send([cloud_event(data={"input_tokens": 100})])

    response = send([cloud_event("two"), cloud_event(data={"input_tokens": 999})], Prefer="return=representation")

    assert response.status_code == 200
    answer = json.loads(response.content)
    assert (answer["accepted"], answer["duplicates"], answer["conflicts"]) == (1, 0, 1)
    assert answer["conflicting_events"] == [{"index": 1, "source": "gateway", "id": "one"}]
    first = UsageEvent.objects.get(event_id="one")
    assert first.data == {"input_tokens": 100}
    conflict = UsageConflict.objects.get()
    assert (conflict.first_event_id, conflict.data, conflict.api_key) == (
        first.pk,
        {"input_tokens": 999},
        ingest_key[0],
    )


def test_the_same_conflict_again_is_counted_not_multiplied(send: Send) -> None:
    send([cloud_event()])
    for _ in range(2):
        assert counts(send([cloud_event(data={"input_tokens": 9}), cloud_event(data={"input_tokens": 9})]))[2] == 2
    assert UsageConflict.objects.get().times_received == 4


def test_repeats_within_a_batch_are_told_apart(send: Send) -> None:
    batch = [cloud_event("a"), cloud_event("a"), cloud_event("a", subject="other"), cloud_event("b")]

    response = send(batch)

    assert counts(response)[:3] == (2, 1, 1)
    assert UsageEvent.objects.get(event_id="a").subject == "acme"


def test_a_repeat_within_a_batch_is_compared_with_what_is_stored(send: Send) -> None:
    stored, other = cloud_event("a"), cloud_event("a", subject="other")
    send([stored])

    # The first of the two conflicts with the stored event; the second is a true repeat of it.
    assert counts(send([other, stored]))[:3] == (0, 1, 1)


def test_the_same_id_from_another_source_is_another_event(send: Send) -> None:
    assert counts(send([cloud_event(), cloud_event(source="batch-jobs")]))[0] == 2


def test_upper_case_uuids_are_ids_of_their_own(send: Send) -> None:
    event_id = str(uuid.uuid4())
    assert counts(send([cloud_event(event_id), cloud_event(event_id.upper() + "A")]))[0] == 2


@pytest.mark.parametrize("changes", [{"subject": "nobody"}, {"type": "never.measured"}])
def test_unattributed_events_are_kept_and_counted(
    send: Send, acme_metric: BillableMetric, changes: dict[str, str]
) -> None:
    assert counts(send([cloud_event(), cloud_event("two", **changes)])) == (2, 0, 0, 1)


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"specversion": None}, "specversion", "required"),
        ({"specversion": "0.3"}, "specversion", "unsupported"),
        ({"id": None}, "id", "required"),
        ({"id": ""}, "id", "required"),
        ({"id": 7}, "id", "not_a_text"),
        ({"id": "x" * 257}, "id", "too_long"),
        ({"id": "a\0b"}, "id", "invalid_characters"),
        ({"source": None}, "source", "required"),
        ({"source": "a\nb"}, "source", "invalid_characters"),
        ({"type": None}, "type", "required"),
        ({"type": ["llm.completion"]}, "type", "not_a_text"),
        ({"subject": None}, "subject", "required"),
        ({"subject": "x" * 257}, "subject", "too_long"),
        ({"time": "2023-11-16"}, "time", "invalid_time"),
        ({"time": "2023-11-16T10:00:00"}, "time", "invalid_time"),
        ({"time": 1700000000}, "time", "invalid_time"),
        ({"time": "2023-02-30T10:00:00Z"}, "time", "invalid_time"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "time", "invalid_time"),
        ({"time": "1999-01-01T00:00:00Z"}, "time", "too_old"),
        ({"time": "2999-01-01T00:00:00Z"}, "time", "in_the_future"),
        ({"data": [1]}, "data", "not_an_object"),
        ({"data": "text"}, "data", "not_an_object"),
        ({"data": None, "data_base64": "AAAA"}, "data_base64", "unsupported"),
        ({"data": {"note": "a\0b"}}, "data.note", "invalid_characters"),
        ({"data": {"deep": {"note": "a\0b"}}}, "data.deep.note", "invalid_characters"),
        ({"data": {"a\0": 1}}, "data.a\N{REPLACEMENT CHARACTER}", "invalid_characters"),
        ({"data": {"x" * 201: 1}}, "data." + "x" * 80, "too_long"),
        ({"data": {str(n): n for n in range(257)}}, "data", "too_many_properties"),
        ({"data": {"text": "x" * 65_533}}, "data", "too_large"),
        ({"data": {"a": [[[[[[[[[1]]]]]]]]]}}, "data.a.0.0.0.0.0.0.0", "too_deep"),
        ({"data": {"size": 10**64}}, "data.size", "number_out_of_range"),
        ({"data": {"input_tokens": "many"}}, "data.input_tokens", "not_a_number"),
        ({"data": {"input_tokens": True}}, "data.input_tokens", "not_a_number"),
        ({"data": {"input_tokens": [1]}}, "data.input_tokens", "not_a_number"),
        ({"data": {"input_tokens": "1e3"}}, "data.input_tokens", "not_a_number"),
        ({"data": {"input_tokens": 10**18}}, "data.input_tokens", "number_out_of_range"),
    ],
)
def test_a_faulty_event_refuses_the_batch_and_names_the_field(
    send: Send, acme_metric: BillableMetric, changes: dict[str, Any], field: str, code: str
) -> None:
    response = send([cloud_event("good"), cloud_event("bad", **changes)])

    assert faults(response) == [(1, field, code)]
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e-400", "1e5000000", "0." + "1" * 65])
def test_numbers_that_would_unfold_are_refused(send: Send, acme_metric: BillableMetric, number: str) -> None:
    body = json.dumps([cloud_event(data={"size": "PLACE"})]).replace('"PLACE"', number)
    assert faults(send(body.encode())) == [(0, "data.size", "number_out_of_range")]


@pytest.mark.parametrize("number", ["0.0000000000000000000000000000001", "1e18"])
def test_a_sum_takes_no_number_it_could_not_hold(send: Send, acme_metric: BillableMetric, number: str) -> None:
    body = json.dumps([cloud_event(data={"input_tokens": "PLACE"})]).replace('"PLACE"', number)
    assert faults(send(body.encode())) == [(0, "data.input_tokens", "number_out_of_range")]


@pytest.mark.parametrize("value", [0, -5, 999_999_999_999_999_999, "12", "12.50", "-3", 1.25, None])
def test_a_sum_takes_numbers_and_plain_texts_of_numbers(send: Send, acme_metric: BillableMetric, value: object) -> None:
    assert send([cloud_event(data={"input_tokens": value})]).status_code == 204


def test_every_fault_of_every_event_is_listed(send: Send) -> None:
    response = send([cloud_event(id=None, time="soon"), cloud_event(), "text", cloud_event(type="")])

    assert faults(response) == [
        (0, "id", "required"),
        (0, "time", "invalid_time"),
        (2, None, "not_an_object"),
        (3, "type", "required"),
    ]
    assert not UsageEvent.objects.exists()


def test_lenient_handling_stores_the_good_and_lists_the_bad(send: Send) -> None:
    send([cloud_event("known")])
    batch = [cloud_event(id=None), cloud_event("good"), cloud_event("known", data={"input_tokens": 1})]

    response = send(batch, Prefer="handling=lenient, return=minimal")

    assert response.status_code == 200
    answer = json.loads(response.content)
    assert (answer["accepted"], answer["conflicts"], answer["rejected"]) == (1, 1, 1)
    assert answer["conflicting_events"] == [{"index": 2, "source": "gateway", "id": "known"}]
    assert [(fault["index"], fault["field"]) for fault in answer["errors"]] == [(0, "id")]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b" ", BATCHED),
        (b"[{", BATCHED),
        (b"\xff\xfe", BATCHED),
        (b'["\\ud800"]', BATCHED),
        (b"[NaN]", BATCHED),
        (b"[" * 100_000, BATCHED),
        (b"{}", BATCHED),
        (b"[]", STRUCTURED),
    ],
)
def test_what_is_not_the_promised_json_is_refused(send: Send, body: bytes, content_type: str) -> None:
    response = send(body, content_type)
    assert response.status_code == 400
    assert problem(response)["code"] == "invalid_json"


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_other_media_types_are_refused(send: Send, content_type: str) -> None:
    response = send([cloud_event()], content_type)
    assert response.status_code == 415
    assert problem(response)["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"[]", "br", 415),
        (b"[]", "gzip", 400),
        (gzip.compress(b"[]")[:-4], "gzip", 400),
        (gzip.compress(b"[]") + b"more", "gzip", 400),
    ],
    ids=["unknown packing", "not packed", "cut off", "something behind"],
)
def test_a_broken_packing_is_refused(send: Send, body: bytes, encoding: str, status: int) -> None:
    response = send(body, **{"Content-Encoding": encoding})
    assert response.status_code == status
    assert problem(response)["status"] == status


def test_a_body_that_unpacks_beyond_the_limit_is_refused(send: Send, settings: Settings) -> None:
    settings.EVENTS_MAX_BODY_BYTES = 10_000
    response = send(gzip.compress(b" " * 1_000_000), **{"Content-Encoding": "gzip"})
    assert response.status_code == 413
    assert problem(response)["code"] == "body_too_large"


def test_a_body_beyond_the_limit_is_refused(send: Send, settings: Settings) -> None:
    settings.EVENTS_MAX_BODY_BYTES = 100
    response = send([cloud_event()])
    assert response.status_code == 413
    assert problem(response)["code"] == "body_too_large"


def test_a_batch_beyond_the_limit_is_refused(send: Send, settings: Settings) -> None:
    settings.EVENTS_MAX_BATCH = 2
    assert send([cloud_event(str(n)) for n in range(2)]).status_code == 204
    response = send([cloud_event(str(n)) for n in range(3)])
    assert response.status_code == 413
    assert problem(response)["code"] == "batch_too_large"
    assert UsageEvent.objects.count() == 2


def test_a_request_without_a_key_is_refused_with_a_challenge(send: Send) -> None:
    response = send([cloud_event()], key=None)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert problem(response)["code"] == "not_authenticated"


@pytest.mark.parametrize("key", ["ch_wrong", "ü", " "])
def test_a_wrong_key_is_refused(send: Send, key: str) -> None:
    response = send([cloud_event()], key=key)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert problem(response)["code"] == "invalid_api_key"


def test_another_scheme_is_refused(send: Send, ingest_key: tuple[ApiKey, str]) -> None:
    response = send([cloud_event()], key=None, Authorization=f"Token {ingest_key[1]}")
    assert response.status_code == 401
    assert problem(response)["code"] == "invalid_api_key"


def test_a_key_without_the_scope_is_refused(send: Send) -> None:
    _, secret = create_api_key(name="reader", scopes=[Scope.READ], created_by=None, now=timezone.now())
    response = send([cloud_event()], key=secret)
    assert response.status_code == 403
    assert problem(response)["code"] == "missing_scope"
    assert not UsageEvent.objects.exists()


def test_a_revoked_key_is_refused_at_once_in_this_process(
    send: Send, ingest_key: tuple[ApiKey, str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    assert send([cloud_event("one")]).status_code == 204

    with django_capture_on_commit_callbacks(execute=True):
        revoke_api_key(key=ingest_key[0], now=timezone.now())

    assert send([cloud_event("two")]).status_code == 401
    assert UsageEvent.objects.count() == 1


def test_a_key_that_another_process_revoked_is_refused_after_half_a_minute(
    send: Send, ingest_key: tuple[ApiKey, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr("apps.access.selectors.time.monotonic", lambda: clock[0])
    assert send([cloud_event("one")]).status_code == 204

    ApiKey.objects.filter(pk=ingest_key[0].pk).update(revoked_at=timezone.now())

    clock[0] += 29
    assert send([cloud_event("two")]).status_code == 204
    clock[0] += 2
    response = send([cloud_event("three")])
    assert (response.status_code, problem(response)["code"]) == (401, "invalid_api_key")
    assert UsageEvent.objects.count() == 2


def test_a_request_notes_the_use_of_its_key(send: Send, ingest_key: tuple[ApiKey, str]) -> None:
    send([])
    ingest_key[0].refresh_from_db()
    assert ingest_key[0].last_used_at is not None


def test_a_key_that_asks_too_often_is_told_when_to_come_again(
    send: Send, ingest_key: tuple[ApiKey, str], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        limit_api_key(key=ingest_key[0], requests_per_minute=2)

    assert [send([cloud_event(str(n))]).status_code for n in range(2)] == [204, 204]
    refused = send([cloud_event("more")])

    assert (refused.status_code, problem(refused)["code"]) == (429, "rate_limited")
    assert 29 <= int(refused["Retry-After"]) <= 30
    assert UsageEvent.objects.count() == 2


def test_whatever_the_client_accepts_it_gets_json(send: Send) -> None:
    response = send([cloud_event()], Accept="text/html", Prefer="return=representation")
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"


def test_an_unknown_address_is_a_problem_too(shell: Shell) -> None:
    response = shell.request("GET", "/api/v1/nothing-here", {})
    assert response.status_code == 404
    assert problem(response)["code"] == "not_found"


def test_a_mistake_of_ours_tells_nothing_and_is_logged(
    send: Send, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the secret reason")

    monkeypatch.setattr("apps.usage.services.record_batches", fail)

    response = send([cloud_event()])

    assert response.status_code == 500
    assert problem(response)["code"] == "internal_error"
    assert b"secret reason" not in response.content
    assert "the secret reason" in caplog.text


@pytest.mark.parametrize("prefer", ["handling=lenient", "return=representation"])
def test_events_that_are_too_old_may_be_held_for_staff(send: Send, settings: Settings, prefer: str) -> None:
    settings.EVENTS_TOO_OLD, settings.EVENTS_MAX_AGE_DAYS = "quarantine", 30
    old = cloud_event("old", time="2019-01-31T12:00:00Z")

    answer = json.loads(
        send([old, cloud_event("young"), cloud_event("young", data={"input_tokens": 2})], prefer=prefer).content
    )

    assert (answer["accepted"], answer["conflicts"], answer["quarantined"], answer["rejected"]) == (1, 1, 1, 0)
    assert [conflict["index"] for conflict in answer["conflicting_events"]] == [2]
    assert list(UsageEvent.objects.values_list("event_id", flat=True)) == ["young"]
    assert list(QuarantinedEvent.objects.values_list("event_id", "times_received")) == [("old", 1)]
    again = send([old])
    assert (again.status_code, again["Countinghouse-Accepted"], again["Countinghouse-Quarantined"]) == (204, "0", "1")
