"""A real web server on the test's database, with a customer, metrics and keys, as a client would find it."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from django.utils import timezone

from apps.access.models import Scope
from apps.access.services import create_api_key
from tests.conftest import Processes, wait_until
from tests.factories import BillableMetricFactory, CustomerFactory

EVENT_TYPE = "llm.completion"
PATIENCE = 10.0  # Seconds.


@dataclass(frozen=True)
class Server:
    """Where clients send, and how to see what came of it."""

    url: str
    key: str
    reading_key: str
    started_at: dt.datetime

    def usage(self, metric: str = "input_tokens", customer: str = "acme") -> tuple[int, int]:
        """The measured whole quantity and the number of events of a customer, as the API tells them."""
        asked: dict[str, Any] = {
            "metric": metric,
            "start": (self.started_at - dt.timedelta(days=1)).isoformat(),
            "end": (self.started_at + dt.timedelta(days=1)).isoformat(),
        }
        response = requests.get(
            f"{self.url}/api/v1/customers/{customer}/usage",
            params=asked,
            headers={"Authorization": f"Bearer {self.reading_key}"},
            timeout=PATIENCE,
        )
        assert response.status_code == 200, response.text
        told = response.json()
        return int(told["quantity"]), told["event_count"]


@pytest.fixture
def server(transactional_db: None, processes: Processes) -> Iterator[Server]:
    CustomerFactory(external_id="acme", name="Acme")
    for value_property in ("input_tokens", "total_tokens"):
        BillableMetricFactory(code=value_property, event_type=EVENT_TYPE, value_property=value_property)
    BillableMetricFactory(code="completions", event_type=EVENT_TYPE, aggregation="count", value_property="")
    now = timezone.now()
    _, key = create_api_key(name="client", scopes=[Scope.INGEST], created_by=None, now=now)
    _, reading_key = create_api_key(name="reader", scopes=[Scope.READ], created_by=None, now=now)
    address = f"127.0.0.1:{_free_port()}"
    web = ["gunicorn", "billing_site.wsgi", "--bind", address, "--worker-class", "gthread", "--threads", "4"]
    gunicorn = processes.start(*web, "--no-control-socket")
    server = Server(f"http://{address}", key, reading_key, now)

    def answers() -> bool:
        assert gunicorn.poll() is None, processes.logs()
        try:
            return requests.get(f"{server.url}/healthz", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    wait_until(answers, what="the web server")
    yield server
    assert "Traceback" not in processes.logs(), processes.logs()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
