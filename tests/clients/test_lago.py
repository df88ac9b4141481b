"""Lago's client: one event, which it reads back, and a batch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, Server

lago = client("lago_python_client")
models = client("lago_python_client.models")
exceptions = client("lago_python_client.exceptions")
pytestmark = pytest.mark.slow


def completion(server: Server, transaction_id: str, **changes: Any) -> Any:
    values = {
        "transaction_id": transaction_id,
        "external_subscription_id": "acme",
        "code": EVENT_TYPE,
        "timestamp": int(server.started_at.timestamp()),
        "properties": {"input_tokens": 50, "model": "large"},
        **changes,
    }
    return models.Event(**values)


def test_one_event_and_a_batch_are_taken_and_repeats_count_once(server: Server) -> None:
    events = lago.Client(api_key=server.key, api_url=server.url).events
    in_parts = completion(server, "three", timestamp=f"{server.started_at.timestamp():.6f}")
    for _ in range(2):
        answered = events.create(completion(server, "one"))
        events.batch_create(models.BatchEvent(events=[completion(server, "two"), in_parts]))

    assert (answered.transaction_id, answered.external_subscription_id, answered.code) == ("one", "acme", EVENT_TYPE)
    assert answered.properties == {"input_tokens": 50, "model": "large"}
    assert server.usage() == (150, 3)


def test_a_conflict_is_no_error_and_the_first_stays(server: Server) -> None:
    events = lago.Client(api_key=server.key, api_url=server.url).events
    events.create(completion(server, "one"))
    events.create(completion(server, "one", properties={"input_tokens": 7}))

    assert server.usage() == (50, 1)


def test_refusals_reach_the_caller_with_their_fields(server: Server) -> None:
    with pytest.raises(exceptions.LagoApiError) as refused:
        lago.Client(api_key="ch_wrong", api_url=server.url).events.create(completion(server, "one"))
    assert refused.value.status_code == 401

    many = completion(server, "one", properties={"input_tokens": "many"})
    with pytest.raises(exceptions.LagoApiError) as refused:
        lago.Client(api_key=server.key, api_url=server.url).events.create(many)
    assert [fault["field"] for fault in refused.value.response["errors"]] == ["properties.input_tokens"]
    assert server.usage() == (0, 0)
