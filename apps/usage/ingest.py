"""The endpoints that take usage events, as an ASGI application of their own, for many small requests at once.

What Django and REST framework do for each request costs several times what storing an event does. This does without
them, and shares with their views all that matters: the check of the key, the intakes, and the storing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import close_old_connections
from django.utils import timezone

from apps.access import admission, rate
from apps.access.models import Scope
from apps.access.selectors import LiveKey, remembered_key
from apps.common.errors import BillingError
from apps.usage.group_commit import GroupCommit
from apps.usage.intake import Answer, BodyTooLarge, Intake, limits
from apps.usage.intakes import INTAKES

logger = logging.getLogger(__name__)

Scope_ = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

HEALTHY = Answer(200, ((b"content-type", b"text/plain"), (b"cache-control", b"no-store")), b"ok")
LOOK_UP_THREADS = 2


class NothingHere(BillingError):
    code = "not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is nothing at this address.")


class MethodNotAllowed(BillingError):
    code = "method_not_allowed"
    status = 405
    headers = {"Allow": "POST"}

    def __init__(self, method: str) -> None:
        super().__init__(f"“{method}” is not taken here. Send events with POST.")


class ClientGone(Exception):
    """Nobody waits for an answer any more."""


class IngestApplication:
    """Answers requests on one event loop, which never waits for the database: threads do."""

    def __init__(self) -> None:
        self._storing = GroupCommit()
        self._look_ups = ThreadPoolExecutor(LOOK_UP_THREADS, thread_name_prefix="look-up")

    async def __call__(self, scope: Scope_, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer_request(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            raise ValueError(f"nothing here speaks {scope['type']}")

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._storing.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._storing.stop()
        self._look_ups.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer_request(self, scope: Scope_, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/healthz":
            answer = HEALTHY
        else:
            intake = INTAKES.get(path, Intake)(_headers(scope), scope["query_string"].decode("latin-1"))
            try:
                answer = await self._take(path, scope["method"], intake, receive)
            except ClientGone:
                return
            except Exception as error:
                answer = intake.refusal(error)
        headers = answer.headers
        if answer.body:
            headers = (*headers, (b"content-length", b"%d" % len(answer.body)))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _take(self, path: str, method: str, intake: Intake, receive: Receive) -> Answer:
        if path not in INTAKES:
            raise NothingHere
        if method != "POST":
            raise MethodNotAllowed(method)
        key = await self._admit(intake.headers.get("authorization"))
        body = await _body(intake.headers, receive)
        return await self._storing.store(intake, body, key.id)

    async def _admit(self, authorization: str | None) -> LiveKey:
        secret = admission.secret_in(authorization)
        key = remembered_key(secret)
        if key is None:
            key = await self._in_thread(admission.find_key, secret, timezone.now())
        admission.require_scope(key, Scope.INGEST)
        if rate.waits_for_network(key):
            await self._in_thread(rate.take_request, key)
        else:
            rate.take_request(key)
        return key

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        def run() -> Any:
            close_old_connections()
            try:
                return work(*arguments)
            finally:
                close_old_connections()

        return await asyncio.get_running_loop().run_in_executor(self._look_ups, run)


def _headers(scope: Scope_) -> Mapping[str, str]:
    """Names come in lower case. A header that is sent twice is one with two values, as behind any web server."""
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    if len(headers) < len(pairs):
        joined: dict[bytes, list[bytes]] = {}
        for name, value in pairs:
            joined.setdefault(name, []).append(value)
        headers = {name.decode("latin-1"): b",".join(values).decode("latin-1") for name, values in joined.items()}
    return headers


async def _body(headers: Mapping[str, str], receive: Receive) -> bytes:
    limit = limits().body_bytes
    length = headers.get("content-length")
    if length is not None and length.isdecimal() and (len(length) > 18 or int(length) > limit):
        raise BodyTooLarge(limit)
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > limit:
            raise BodyTooLarge(limit)
        return body
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise BodyTooLarge(limit)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
