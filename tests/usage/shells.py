"""The two ways in for events, behind one face: the views of REST framework, and the ingest application.

Both run inside the test's process, so that a test may change settings and put stand-ins in place.
"""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Coroutine, Mapping, MutableMapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from django.http import HttpResponse
from django.test import Client

from apps.usage.ingest import IngestApplication

PATIENCE = 30.0  # Seconds.

Result = TypeVar("Result")


class Shell(Protocol):
    """A body in several parts is sent in chunks, without a length."""

    def post(self, address: str, body: bytes | Sequence[bytes], headers: Mapping[str, str]) -> HttpResponse: ...

    def request(self, method: str, address: str, headers: Mapping[str, str]) -> HttpResponse: ...


class DjangoShell:
    """The whole site, as a WSGI server would call it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def post(self, address: str, body: bytes | Sequence[bytes], headers: Mapping[str, str]) -> HttpResponse:
        content_type = headers.get("Content-Type", "")
        extra: dict[str, Any] = {}
        if not isinstance(body, bytes):
            # A server that reads chunks itself says so, and gives no length.
            stream = io.BytesIO(b"".join(body))
            extra = {"CONTENT_LENGTH": "", "wsgi.input": stream, "wsgi.input_terminated": True}
            extra["CONTENT_TYPE"] = content_type  # the client sets it with a body of its own only
            body = b""
        return Client().generic(  # type: ignore[return-value]
            "POST", address, body, content_type=content_type, headers=dict(headers), **extra
        )

    def request(self, method: str, address: str, headers: Mapping[str, str]) -> HttpResponse:
        return Client().generic(method, address, headers=dict(headers))  # type: ignore[return-value]


class AsgiShell:
    """The ingest application on an event loop of its own, started and stopped as uvicorn does."""

    def __init__(self) -> None:
        self.application = IngestApplication()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._life: asyncio.Queue[str] = self.run(_queue())
        self._started, stopped = threading.Event(), self._live()
        self._stopped = asyncio.run_coroutine_threadsafe(stopped, self._loop)
        self._tell("lifespan.startup")
        assert self._started.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._tell("lifespan.shutdown")
        self._stopped.result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def post(self, address: str, body: bytes | Sequence[bytes], headers: Mapping[str, str]) -> HttpResponse:
        return self.run(self.exchange("POST", address, headers, body))

    def request(self, method: str, address: str, headers: Mapping[str, str]) -> HttpResponse:
        return self.run(self.exchange(method, address, headers))

    async def exchange(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes | Sequence[bytes] = b""
    ) -> HttpResponse:
        path, _, query = address.partition("?")
        raw = [(name.lower().encode(), value.strip().encode("latin-1")) for name, value in headers.items()]
        parts = [body] if isinstance(body, bytes) else list(body)
        if isinstance(body, bytes) and "Content-Length" not in headers:
            raw.append((b"content-length", str(len(body)).encode()))
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await self.application(scope, receive, send)
        start, end = sent
        response = HttpResponse(end["body"], status=start["status"])
        del response["Content-Type"]
        for name, value in start["headers"]:
            response[name.decode()] = value.decode()
        return response

    def _tell(self, event: str) -> None:
        self._loop.call_soon_threadsafe(self._life.put_nowait, event)

    async def _live(self) -> None:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": await self._life.get()}

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._started.set()

        await self.application({"type": "lifespan"}, receive, send)


async def _queue() -> asyncio.Queue[str]:
    return asyncio.Queue()
