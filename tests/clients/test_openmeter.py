"""OpenMeter's client: CloudEvents in three forms, and nothing but 204 will do."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, Server

openmeter = client("openmeter")
models = client("openmeter.models")
exceptions = client("corehttp.exceptions")
pytestmark = pytest.mark.slow


def completion(server: Server, event_id: str) -> Any:
    return models.Event(
        id=event_id,
        source="gateway",
        specversion="1.0",
        type=EVENT_TYPE,
        subject="acme",
        time=server.started_at,
        data={"input_tokens": 50},
    )


def test_one_event_a_batch_and_plain_json_are_taken_and_repeats_count_once(server: Server) -> None:
    meter = openmeter.Client(endpoint=server.url, token=server.key)
    for _ in range(2):
        meter.events.ingest_event(completion(server, "one"))
        meter.events.ingest_events([completion(server, "two"), completion(server, "three")])
        meter.events.ingest_events_json(completion(server, "four"))
        meter.events.ingest_events_json([completion(server, "five"), completion(server, "six")])

    assert server.usage() == (300, 6)


def test_a_wrong_key_is_refused_as_such(server: Server) -> None:
    with pytest.raises(exceptions.ClientAuthenticationError):
        openmeter.Client(endpoint=server.url, token="ch_wrong").events.ingest_event(completion(server, "one"))
    assert server.usage() == (0, 0)
