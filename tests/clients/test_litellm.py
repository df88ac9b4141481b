"""LiteLLM's callbacks: it reports each completion, and the model's answer is made up here."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import EVENT_TYPE, PATIENCE, Server
from tests.conftest import wait_until

# Else it fetches a list of prices from the internet when it is imported.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
litellm = client("litellm")
callbacks = client("litellm.integrations.openmeter")
pytestmark = pytest.mark.slow


def complete(server: Server, callback: str, **options: Any) -> Any:
    """Let LiteLLM complete a chat, and wait for its report, which it sends in the background."""

    async def run() -> Any:
        answered = await litellm.acompletion(
            model="gpt-4o", messages=[{"role": "user", "content": "Hello"}], mock_response="Good day", **options
        )
        await asyncio.to_thread(wait_until, is_reported, seconds=PATIENCE, what="the report")
        return answered

    def is_reported() -> bool:
        return server.usage("total_tokens")[1] > 0

    litellm.callbacks = [callback]
    try:
        return asyncio.run(run())
    finally:
        litellm.logging_callback_manager._reset_all_callbacks()


def test_the_openmeter_callback_is_taken_and_a_repeat_counts_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENMETER_API_ENDPOINT", server.url)
    monkeypatch.setenv("OPENMETER_API_KEY", server.key)
    monkeypatch.setenv("OPENMETER_EVENT_TYPE", EVENT_TYPE)

    answered = complete(server, "openmeter", user="acme")

    assert server.usage("total_tokens") == (answered.usage.total_tokens, 1)

    # The same completion once more, with the time of the repeat, as after an answer that was lost.
    reported = {"model": answered.model, "response_cost": None, "user": "acme"}
    now = dt.datetime.now(dt.UTC)
    for _ in range(2):
        asyncio.run(callbacks.OpenMeterLogger().async_log_success_event(reported, answered, now, now))
    assert server.usage("total_tokens") == (answered.usage.total_tokens, 1)


def test_the_lago_callback_is_taken(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes a new ID for each report, so a repeat of it cannot be told from another completion."""
    monkeypatch.setenv("LAGO_API_BASE", server.url)
    monkeypatch.setenv("LAGO_API_KEY", server.key)
    monkeypatch.setenv("LAGO_API_EVENT_CODE", EVENT_TYPE)

    # The proxy hands on the request that it got, with the user that it names.
    answered = complete(server, "lago", proxy_server_request={"body": {"user": "acme"}})

    assert server.usage("total_tokens") == (answered.usage.total_tokens, 1)
