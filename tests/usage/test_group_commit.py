"""Group commit: together into the database, apart in what each request is told."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponse
from pytest_django import Settings

from apps.access.models import ApiKey
from apps.usage import group_commit, intakes, services
from apps.usage.events import EventInput
from apps.usage.good_events import good_events
from apps.usage.models import UsageEvent
from apps.usage.services import EventBatch, RecordedBatch
from tests.conftest import wait_until
from tests.usage.conftest import COMMITS, cloud_event, counts
from tests.usage.shells import PATIENCE, AsgiShell, DjangoShell

pytestmark = COMMITS

STRUCTURED = "application/cloudevents+json"
EVENTS = "/api/v1/events"


@dataclass
class Gate:
    """Holds up the writing of each group, and remembers the groups."""

    record: Callable[[Sequence[EventBatch]], list[RecordedBatch]]
    groups: list[list[str]] = field(default_factory=list)
    opened: threading.Event = field(default_factory=threading.Event)

    def __call__(self, batches: Sequence[EventBatch]) -> list[RecordedBatch]:
        self.groups.append([event.event_id for batch in batches for event in batch.events])
        assert self.opened.wait(PATIENCE)
        return self.record(batches)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(services.record_batches)
    monkeypatch.setattr(services, "record_batches", gate)
    return gate


@pytest.fixture(autouse=True)
def _one_writer(settings: Settings) -> None:
    """So that what waits behind a group is the next one, whole."""
    settings.INGEST_WRITERS = 1


@pytest.fixture
def shell(db: None) -> Iterator[AsgiShell]:
    with AsgiShell() as shell:
        yield shell


@pytest.fixture
def headers(ingest_key: tuple[ApiKey, str]) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {ingest_key[1]}", "Content-Type": STRUCTURED}


class Client:
    """Sends without waiting for the answers."""

    def __init__(self, shell: AsgiShell, headers: Mapping[str, str]) -> None:
        self.shell, self.headers = shell, headers
        self.sent: list[Any] = []

    def send(self, *event_ids: str) -> None:
        """Put one request for each ID into the queue, in this order."""
        for event_id in event_ids:
            self.send_body(json.dumps(cloud_event(event_id)).encode())

    def send_body(self, body: bytes, content_type: str = STRUCTURED) -> None:
        request = self.shell.exchange("POST", EVENTS, {**self.headers, "Content-Type": content_type}, body)
        self.sent.append(asyncio.run_coroutine_threadsafe(request, self.shell._loop))

    def statuses(self) -> list[int]:
        return [response.status_code for response in self.responses()]

    def responses(self) -> list[HttpResponse]:
        return [future.result(PATIENCE) for future in self.sent]


@pytest.fixture
def client(shell: AsgiShell, headers: Mapping[str, str]) -> Client:
    # So that the key is remembered, and nothing is asked in a thread any more.
    assert shell.post(EVENTS, json.dumps(cloud_event("warm up")).encode(), headers).status_code == 204
    return Client(shell, headers)


def stored_ids() -> set[str]:
    return set(UsageEvent.objects.exclude(event_id="warm up").values_list("event_id", flat=True))


def test_what_waits_while_a_group_is_written_is_the_next_group(client: Client, gate: Gate) -> None:
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    ids = [str(number) for number in range(20)]
    client.send(*ids)
    assert not any(future.done() for future in client.sent)
    gate.opened.set()

    assert client.statuses() == [204] * 21
    assert gate.groups == [["first"], ids]
    assert stored_ids() == {"first", *ids}


def test_a_group_is_closed_once_it_is_large(client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "MOST_EVENTS", 3)
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    client.send(*"abcde")
    gate.opened.set()

    assert client.statuses() == [204] * 6
    assert gate.groups == [["first"], ["a", "b", "c"], ["d", "e"]]


def test_of_equal_events_in_one_group_the_first_is_accepted(client: Client, gate: Gate) -> None:
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    client.send("same", "same")
    client.send_body(json.dumps(cloud_event("same", subject="other")).encode())
    gate.opened.set()

    assert [counts(response)[:3] for response in client.responses()[1:]] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]


def test_a_request_that_is_refused_does_not_touch_its_neighbours(client: Client, gate: Gate) -> None:
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    client.send("good")
    client.send_body(b"{")
    client.send_body(json.dumps(cloud_event(subject=None)).encode())
    client.send("fine")
    gate.opened.set()

    assert client.statuses() == [204, 204, 400, 400, 204]
    assert stored_ids() == {"first", "good", "fine"}


def test_what_the_database_refuses_fails_alone(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Should anything hostile ever get past the check: here the check is made to let a NUL through."""
    check = good_events

    def let_through(*arguments: Any, **options: Any) -> list[EventInput] | None:
        events = check(*arguments, **options)
        if events and events[0].event_id == "poison":
            return [EventInput("gateway", "poison", "llm.completion", "acme", events[0].occurred_at, {"a": "\0"})]
        return events

    monkeypatch.setattr(intakes, "good_events", let_through)
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    client.send("before", "poison", "after")
    gate.opened.set()

    assert client.statuses() == [204, 204, 500, 204]
    assert json.loads(client.responses()[2].content)["code"] == "internal_error"
    assert stored_ids() == {"first", "before", "after"}
    assert "a group of 3 requests failed" in caplog.text


def test_a_connection_that_was_lost_is_opened_anew(client: Client) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone()[0] >= 1

    client.send("after")

    assert client.statuses() == [204]
    assert stored_ids() == {"after"}


def test_while_the_database_is_away_everyone_is_asked_to_come_again(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[int] = []

    def fail(batches: Sequence[EventBatch]) -> list[RecordedBatch]:
        attempts.append(len(batches))
        connection.close()
        raise OperationalError("could not connect to server")

    gate.record = fail
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    client.send("one", "two")
    gate.opened.set()

    for response in client.responses():
        assert (response.status_code, response["Retry-After"]) == (503, "1")
        assert json.loads(response.content)["code"] == "storage_unavailable"
    assert attempts == [1, 1, 2, 2]  # Each group once more on a new connection, and not one by one.


@pytest.mark.parametrize("shell_class", [DjangoShell, AsgiShell])
def test_a_passing_failure_is_worth_a_retry_in_both_shells(
    shell_class: type[DjangoShell | AsgiShell], headers: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(batches: Sequence[EventBatch]) -> list[RecordedBatch]:
        raise OperationalError("the secret address refused the connection")

    monkeypatch.setattr(services, "record_batches", fail)
    with shell_class() as shell:
        response = shell.post(EVENTS, json.dumps(cloud_event()).encode(), headers)

    assert (response.status_code, response["Retry-After"]) == (503, "1")
    assert b"secret" not in response.content


def test_more_than_may_wait_is_asked_to_come_again(headers: Mapping[str, str], gate: Gate, settings: Settings) -> None:
    settings.INGEST_MAX_WAITING = 2
    gate.opened.set()
    with AsgiShell() as shell:
        assert shell.post(EVENTS, json.dumps(cloud_event("warm up")).encode(), headers).status_code == 204
        gate.opened.clear()
        client = Client(shell, headers)
        client.send("one", "two", "three")
        refused = client.sent[2].result(PATIENCE)
        gate.opened.set()

        assert client.statuses() == [204, 204, 503]
    assert (json.loads(refused.content)["code"], refused["Retry-After"]) == ("too_much_waits", "1")
    assert stored_ids() == {"one", "two"}


def test_bodies_may_not_fill_the_memory_either(headers: Mapping[str, str], gate: Gate, settings: Settings) -> None:
    settings.INGEST_MAX_WAITING_BYTES = len(json.dumps(cloud_event("one"))) + 10
    gate.opened.set()
    with AsgiShell() as shell:
        assert shell.post(EVENTS, json.dumps(cloud_event("warm up")).encode(), headers).status_code == 204
        gate.opened.clear()
        client = Client(shell, headers)
        client.send("one", "two")
        assert client.sent[1].result(PATIENCE).status_code == 503
        gate.opened.set()
        assert client.statuses() == [204, 503]


def test_stopping_answers_what_was_taken(headers: Mapping[str, str], gate: Gate) -> None:
    gate.opened.set()
    with AsgiShell() as shell:
        assert shell.post(EVENTS, json.dumps(cloud_event("warm up")).encode(), headers).status_code == 204
        gate.opened.clear()
        client = Client(shell, headers)
        client.send("one")
        wait_until(lambda: len(gate.groups) == 2)
        client.send("two", "three")
        wait_until(lambda: shell.application._storing._requests == 3)
        threading.Timer(0.2, gate.opened.set).start()
    # Leaving the block has stopped the application.
    assert [future.done() for future in client.sent] == [True] * 3
    assert client.statuses() == [204] * 3
    assert stored_ids() == {"one", "two", "three"}


def test_a_server_that_is_being_stopped_takes_nothing_more(client: Client, shell: AsgiShell) -> None:
    shell.run(shell.application._storing.stop())
    client.send("late")
    [response] = client.responses()
    assert (response.status_code, json.loads(response.content)["code"]) == (503, "shutting_down")


def test_a_client_that_goes_before_its_body_has_come_stores_nothing(
    shell: AsgiShell, headers: Mapping[str, str]
) -> None:
    async def go_away() -> list[object]:
        messages: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        ]
        sent: list[object] = []

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0)

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": "POST", "path": EVENTS, "query_string": b"", "headers": raw}
        await shell.application(scope, receive, send)
        return sent

    assert shell.run(go_away()) == []
    assert not UsageEvent.objects.exists()


def test_a_client_that_goes_while_its_event_is_stored_harms_nobody(client: Client, gate: Gate) -> None:
    client.send("first")
    wait_until(lambda: len(gate.groups) == 1)
    client.send("gone", "stays")
    client.sent.pop(1).cancel()
    gate.opened.set()

    assert client.statuses() == [204, 204]
    assert stored_ids() >= {"first", "stays"}


def test_a_header_that_comes_twice_has_two_values(shell: AsgiShell, headers: Mapping[str, str]) -> None:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    twice = [*raw, (b"content-encoding", b"gzip"), (b"content-encoding", b"gzip")]

    async def send_twice() -> int:
        statuses: list[int] = []

        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": b"{}"}

        async def send(message: MutableMapping[str, Any]) -> None:
            statuses.append(message.get("status", 0))

        scope = {"type": "http", "method": "POST", "path": EVENTS, "query_string": b"", "headers": twice}
        await shell.application(scope, receive, send)
        return statuses[0]

    assert shell.run(send_twice()) == 415


def test_health_asks_nobody(shell: AsgiShell) -> None:
    response = shell.request("GET", "/healthz", {})
    assert (response.status_code, response.content) == (200, b"ok")


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_events_are_posted(shell: AsgiShell, method: str) -> None:
    response = shell.request(method, EVENTS, {})
    assert (response.status_code, response["Allow"]) == (405, "POST")


def test_other_addresses_are_not_served_here(shell: AsgiShell) -> None:
    assert shell.request("POST", "/admin/", {}).status_code == 404
