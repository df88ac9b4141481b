"""The SDK of CloudEvents: structured and binary mode."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import requests

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, PATIENCE, Server

http = client("cloudevents.http")
conversion = client("cloudevents.conversion")
pytestmark = pytest.mark.slow


def send(server: Server, headers: Mapping[str, str], body: bytes) -> None:
    headers = {**headers, "Authorization": f"Bearer {server.key}"}
    response = requests.post(f"{server.url}/api/v1/events", headers=headers, data=body, timeout=PATIENCE)
    assert response.status_code == 204, response.text


@pytest.mark.parametrize("mode", ["to_structured", "to_binary"])
def test_both_modes_are_taken_and_a_repeat_counts_once(server: Server, mode: str) -> None:
    attributes = {"type": EVENT_TYPE, "source": "gateway", "subject": "acme", "id": f"ähnlich/{mode}"}
    event = http.CloudEvent(attributes, {"input_tokens": 50})
    for _ in range(2):
        send(server, *getattr(conversion, mode)(event))

    assert server.usage() == (50, 1)


def test_one_event_in_both_modes_is_one_event(server: Server) -> None:
    attributes = {"type": EVENT_TYPE, "source": "gateway", "subject": "acme", "id": "one"}
    event = http.CloudEvent(attributes, {"input_tokens": 50})
    send(server, *conversion.to_structured(event))
    send(server, *conversion.to_binary(event))

    assert server.usage() == (50, 1)
