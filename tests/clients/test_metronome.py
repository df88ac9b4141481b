"""Metronome's client, plain and asynchronous."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, Server

metronome = client("metronome")
pytestmark = pytest.mark.slow


def completion(server: Server, transaction_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "customer_id": "acme",
        "event_type": EVENT_TYPE,
        "timestamp": server.started_at.isoformat(),
        "properties": {"input_tokens": "50"},
        **changes,
    }


def test_events_are_taken_and_a_repeat_counts_once(server: Server) -> None:
    usage = metronome.Metronome(bearer_token=server.key, base_url=server.url, max_retries=0).v1.usage
    for _ in range(2):
        usage.ingest(usage=[completion(server, "one"), completion(server, "two")])

    assert server.usage() == (100, 2)


def test_the_asynchronous_client_is_served_too(server: Server) -> None:
    async def send() -> None:
        async with metronome.AsyncMetronome(
            bearer_token=server.key, base_url=server.url, max_retries=0
        ) as asynchronous:
            await asynchronous.v1.usage.ingest(usage=[completion(server, "one")])

    asyncio.run(send())
    assert server.usage() == (50, 1)


def test_a_conflict_is_no_error_and_the_first_stays(server: Server) -> None:
    usage = metronome.Metronome(bearer_token=server.key, base_url=server.url, max_retries=0).v1.usage
    usage.ingest(usage=[completion(server, "one")])
    usage.ingest(usage=[completion(server, "one", properties={"input_tokens": "7"})])

    assert server.usage() == (50, 1)


def test_refusals_reach_the_caller_with_their_fields(server: Server) -> None:
    stranger = metronome.Metronome(bearer_token="ch_wrong", base_url=server.url, max_retries=0)
    with pytest.raises(metronome.AuthenticationError) as unknown:
        stranger.v1.usage.ingest(usage=[completion(server, "one")])
    assert unknown.value.body["code"] == "invalid_api_key"

    usage = metronome.Metronome(bearer_token=server.key, base_url=server.url, max_retries=0).v1.usage
    with pytest.raises(metronome.BadRequestError) as refused:
        usage.ingest(usage=[completion(server, "one"), completion(server, "bad", event_type="")])
    assert [(fault["index"], fault["field"]) for fault in refused.value.body["errors"]] == [(1, "event_type")]
    assert server.usage() == (0, 0)
