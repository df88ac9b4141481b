"""Orb's client, plain and asynchronous."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, Server

orb = client("orb")
pytestmark = pytest.mark.slow


def completion(server: Server, key: str, **changes: Any) -> dict[str, Any]:
    return {
        "event_name": EVENT_TYPE,
        "idempotency_key": key,
        "external_customer_id": "acme",
        "timestamp": server.started_at.replace(tzinfo=None),  # Orb's times are UTC and name no zone.
        "properties": {"input_tokens": 50},
        **changes,
    }


def test_events_are_taken_and_a_repeat_counts_once(server: Server) -> None:
    events = orb.Orb(api_key=server.key, base_url=f"{server.url}/v1", max_retries=0).events
    for _ in range(2):
        answered = events.ingest(events=[completion(server, "one"), completion(server, "two")])
        assert answered.validation_failed == []

    assert server.usage() == (100, 2)


def test_the_asynchronous_client_is_served_too(server: Server) -> None:
    async def send() -> None:
        async with orb.AsyncOrb(api_key=server.key, base_url=f"{server.url}/v1", max_retries=0) as asynchronous:
            await asynchronous.events.ingest(events=[completion(server, "one")])

    asyncio.run(send())
    assert server.usage() == (50, 1)


def test_a_conflict_is_no_error_and_the_first_stays(server: Server) -> None:
    events = orb.Orb(api_key=server.key, base_url=f"{server.url}/v1", max_retries=0).events
    events.ingest(events=[completion(server, "one")])
    events.ingest(events=[completion(server, "one", properties={"input_tokens": 7})])

    assert server.usage() == (50, 1)


def test_refusals_are_orbs_own_exceptions(server: Server) -> None:
    stranger = orb.Orb(api_key="ch_wrong", base_url=f"{server.url}/v1", max_retries=0)
    with pytest.raises(orb.AuthenticationError) as unknown:
        stranger.events.ingest(events=[completion(server, "one")])
    assert type(unknown.value).__name__ == "OrbAuthenticationError"

    events = orb.Orb(api_key=server.key, base_url=f"{server.url}/v1", max_retries=0).events
    with pytest.raises(orb.BadRequestError) as refused:
        events.ingest(events=[completion(server, "one"), completion(server, "bad", event_name="")])
    assert type(refused.value).__name__ == "RequestValidationError"
    assert refused.value.validation_errors == ["event_name: An event needs a non-empty “event_name”."]
    assert refused.value.body["validation_failed"][0]["idempotency_key"] == "bad"
    assert server.usage() == (0, 0)
