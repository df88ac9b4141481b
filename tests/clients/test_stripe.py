"""Stripe's client: meter events in both versions of its API."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, Server

stripe = client("stripe")
pytestmark = pytest.mark.slow


def stripe_client(server: Server, key: str | None = None) -> Any:
    return stripe.StripeClient(key or server.key, base_addresses={"api": server.url}, max_network_retries=0)


def completion(**changes: Any) -> dict[str, Any]:
    payload = {"stripe_customer_id": "acme", "input_tokens": "50"}
    return {"event_name": EVENT_TYPE, "payload": payload, **changes}


def test_version_1_is_taken_and_a_repeat_counts_once(server: Server) -> None:
    meter_events = stripe_client(server).v1.billing.meter_events
    timestamp = int(server.started_at.timestamp())
    for _ in range(2):
        answered = meter_events.create(completion(identifier="one", timestamp=timestamp))

    assert (answered.object, answered.identifier, answered.timestamp) == ("billing.meter_event", "one", timestamp)
    assert answered.payload["stripe_customer_id"] == "acme"
    assert server.usage() == (50, 1)


def test_version_2_is_taken_and_a_repeat_counts_once(server: Server) -> None:
    meter_events = stripe_client(server).v2.billing.meter_events
    for _ in range(2):
        answered = meter_events.create(completion(identifier="one", timestamp=server.started_at.isoformat()))

    assert (answered.object, answered.identifier) == ("v2.billing.meter_event", "one")
    assert server.usage() == (50, 1)


def test_a_retry_without_identifier_is_known_by_its_idempotency_key(server: Server) -> None:
    meter_events = stripe_client(server).v1.billing.meter_events
    for key in ("one", "one", "two"):
        meter_events.create(completion(), {"idempotency_key": key})

    assert server.usage() == (100, 2)


def test_the_module_itself_is_served_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe, "api_base", server.url)
    monkeypatch.setattr(stripe, "api_key", server.key)
    stripe.billing.MeterEvent.create(**completion(identifier="one"))

    assert server.usage() == (50, 1)


def test_a_conflict_is_no_error_and_the_first_stays(server: Server) -> None:
    meter_events = stripe_client(server).v1.billing.meter_events
    meter_events.create(completion(identifier="one"))
    meter_events.create(completion(identifier="one", payload={"stripe_customer_id": "acme", "input_tokens": "7"}))

    assert server.usage() == (50, 1)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_refusals_are_stripes_own_exceptions(server: Server, version: str) -> None:
    with pytest.raises(stripe.AuthenticationError):
        getattr(stripe_client(server, "ch_wrong"), version).billing.meter_events.create(completion())

    nobody = completion(payload={"input_tokens": "50"})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        getattr(stripe_client(server), version).billing.meter_events.create(nobody)
    named = {"v1": "payload[stripe_customer_id]", "v2": "payload.stripe_customer_id"}
    assert (refused.value.code, refused.value.param) == ("invalid_batch", named[version])
    assert server.usage() == (0, 0)
