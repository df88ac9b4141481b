"""Real servers on the test's database, with a customer, metrics and keys, as a client would find it."""

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
from billing_site.processes import ingest_command
from tests.conftest import Processes, wait_until
from tests.factories import BillableMetricFactory, CustomerFactory

EVENT_TYPE = "llm.completion"
PATIENCE = 10.0  # Seconds.


@dataclass(frozen=True)
class Server:
    """Where clients send (``url``), where the rest of the API is, and how to see what came of it."""

    url: str
    site: str
    key: str
    reading_key: str
    started_at: dt.datetime

    def usage(self, metric: str = "input_tokens", customer: str = "acme") -> tuple[int, int]:
        """The measured whole quantity and the number of events of a customer, as the API tells them."""
        asked: dict[str, Any] = {
            "metric": metric,
            # The examples of the documentation have times of their own.
            "start": (self.started_at - dt.timedelta(days=1800)).isoformat(),
            "end": (self.started_at + dt.timedelta(days=1)).isoformat(),
        }
        response = requests.get(
            f"{self.site}/api/v1/customers/{customer}/usage",
            params=asked,
            headers={"Authorization": f"Bearer {self.reading_key}"},
            timeout=PATIENCE,
        )
        assert response.status_code == 200, response.text
        told = response.json()
        return int(told["quantity"]), told["event_count"]


@pytest.fixture(params=["site", "ingest"])
def server(request: pytest.FixtureRequest, transactional_db: None, processes: Processes) -> Iterator[Server]:
    """The site takes events itself; the ingest server does beside it."""
    CustomerFactory(external_id="acme", name="Acme")
    for value_property in ("input_tokens", "total_tokens"):
        BillableMetricFactory(code=value_property, event_type=EVENT_TYPE, value_property=value_property)
    BillableMetricFactory(code="completions", event_type=EVENT_TYPE, aggregation="count", value_property="")
    now = timezone.now()
    _, key = create_api_key(name="client", scopes=[Scope.INGEST], created_by=None, now=now)
    _, reading_key = create_api_key(name="reader", scopes=[Scope.READ], created_by=None, now=now)
    site_port, ingest_port = _free_port(), _free_port()
    web = ["gunicorn", "billing_site.wsgi", "--bind", f"127.0.0.1:{site_port}", "--worker-class", "gthread"]
    _start(processes, [*web, "--threads", "4", "--no-control-socket"], site_port)
    if request.param == "ingest":
        _start(processes, ingest_command("127.0.0.1", ingest_port), ingest_port)
    site = f"http://127.0.0.1:{site_port}"
    url = site if request.param == "site" else f"http://127.0.0.1:{ingest_port}"
    yield Server(url, site, key, reading_key, now)
    assert "Traceback" not in processes.logs(), processes.logs()


def _start(processes: Processes, command: list[str], port: int) -> None:
    process = processes.start(*command)

    def answers() -> bool:
        assert process.poll() is None, processes.logs()
        try:
            return requests.get(f"http://127.0.0.1:{port}/healthz", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    wait_until(answers, what=command[0])


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
