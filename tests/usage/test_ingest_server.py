"""The ingest server as a process of its own, killed in the middle of a storm: what was acknowledged is stored, once."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.utils import timezone

from apps.access.models import ApiKey
from apps.billable_metrics.models import BillableMetric
from apps.customers.models import Customer
from apps.usage.models import UsageConflict, UsageEvent
from apps.usage.selectors import UsageWindow, measure_usage
from billing_site.processes import ingest_command
from tests.conftest import Processes, wait_until
from tests.usage.conftest import cloud_event

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

CLIENTS = 64
EVENTS_EACH = 30
PATIENCE = 60.0  # Seconds.


class Storm:
    """Clients that send each event until it is acknowledged."""

    def __init__(self, port: int, secret: str) -> None:
        self.port = port
        self.headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/cloudevents+json"}
        self.deadline = time.monotonic() + PATIENCE
        self.acknowledged: Counter[str] = Counter()
        self.lock = threading.Lock()

    def run(self, events: list[list[bytes]]) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            for outcome in [pool.submit(self._send_all, own) for own in events]:
                outcome.result(PATIENCE)

    def _send_all(self, bodies: list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        for body in bodies:
            while not self._is_acknowledged(connection, body):
                assert time.monotonic() < self.deadline, "the server did not come back"
                connection.close()
                time.sleep(0.05)
        connection.close()

    def _is_acknowledged(self, connection: http.client.HTTPConnection, body: bytes) -> bool:
        try:
            connection.request("POST", "/api/v1/events", body, self.headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return False
        if response.status == 503:
            return False
        assert response.status == 204, response.status
        with self.lock:
            for name in ("Accepted", "Duplicates", "Conflicts"):
                self.acknowledged[name] += int(response.headers[f"Countinghouse-{name}"])
        return True


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(processes: Processes, port: int, **environment: str) -> subprocess.Popen[str]:
    server = processes.start(*ingest_command("127.0.0.1", port), **environment)

    def listens() -> bool:
        assert server.poll() is None, processes.logs()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    wait_until(listens, what="the ingest server")
    return server


def new_events() -> list[list[bytes]]:
    return [
        [json.dumps(cloud_event(str(uuid.uuid4()), data={"input_tokens": 7})).encode() for _ in range(EVENTS_EACH)]
        for _ in range(CLIENTS)
    ]


def tokens(metric: BillableMetric) -> int:
    now = timezone.now()
    window = UsageWindow(
        Customer.objects.get().pk, metric.current_version, now - dt.timedelta(days=1), now + dt.timedelta(days=1)
    )
    [usage] = measure_usage([window], stored_before=None)
    return int(usage.quantity)


def test_what_is_acknowledged_survives_a_kill_and_counts_once(
    processes: Processes, acme_metric: BillableMetric, ingest_key: tuple[ApiKey, str]
) -> None:
    port = free_port()
    server = start(processes, port)
    storm = Storm(port, ingest_key[1])
    events = new_events()
    total = CLIENTS * EVENTS_EACH

    with ThreadPoolExecutor(1) as pool:
        raging = pool.submit(storm.run, events)
        for share in (0.2, 0.5):
            wait_until(lambda share=share: storm.acknowledged.total() > share * total)  # type: ignore[misc]
            server.send_signal(signal.SIGKILL)
            server.wait()
            server = start(processes, port)
        raging.result(PATIENCE)

    assert storm.acknowledged.total() == total
    assert UsageEvent.objects.count() == UsageEvent.objects.values("event_id").distinct().count() == total
    assert tokens(acme_metric) == 7 * total

    again = Storm(port, ingest_key[1])
    again.run(events)

    assert again.acknowledged == {"Accepted": 0, "Duplicates": total, "Conflicts": 0}
    assert UsageEvent.objects.count() == total
    assert not UsageConflict.objects.exists()
    assert tokens(acme_metric) == 7 * total


def test_a_server_that_is_asked_to_stop_answers_what_it_has_taken(
    processes: Processes, acme_metric: BillableMetric, ingest_key: tuple[ApiKey, str]
) -> None:
    port = free_port()
    server = start(processes, port)
    storm = Storm(port, ingest_key[1])

    with ThreadPoolExecutor(1) as pool:
        raging = pool.submit(storm.run, new_events())
        wait_until(lambda: storm.acknowledged.total() > 200)
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE) in (0, -signal.SIGTERM)
        start(processes, port)
        raging.result(PATIENCE)

    # Each event was acknowledged once, and none had to be sent again after it was stored.
    assert storm.acknowledged == {"Accepted": CLIENTS * EVENTS_EACH, "Duplicates": 0, "Conflicts": 0}
    assert "Traceback" not in processes.logs()
