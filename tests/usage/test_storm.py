"""Everything is killed in the middle of a storm of retries: every accepted event is stored once and counted once.

The product runs on a PostgreSQL of its own here, so that the database can be killed as well.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from billing_site import embedded_postgres
from tests.conftest import ROOT, Processes
from tests.usage.test_ingest_server import free_port, start

pytestmark = pytest.mark.slow

CLIENTS = 8
BATCHES_EACH = 30
BATCH = 40
PATIENCE = 120.0  # Seconds.
PAUSE = 0.1  # So that the storm outlasts all that is killed in it.

SET_UP = """
from django.utils import timezone
from apps.access.services import create_api_key
from apps.billable_metrics.definitions import Aggregation, MetricDefinition
from apps.billable_metrics.services import create_metric
from apps.customers.models import BillingEntity, Customer
from apps.usage.services import backfill_metrics
entity = BillingEntity.objects.create(name="Ours", legal_name="Ours", invoice_prefix="OURS")
Customer.objects.create(external_id="acme", name="Acme", billing_entity=entity)
for code, aggregation, name in (
    ("calls", Aggregation.COUNT, ""), ("tokens", Aggregation.SUM, "input_tokens"),
    ("largest", Aggregation.MAX, "input_tokens"), ("users", Aggregation.UNIQUE_COUNT, "user"),
):
    create_metric(definition=MetricDefinition("llm.completion", aggregation, value_property=name),
                  now=timezone.now(), code=code, name=code)
backfill_metrics()
print(create_api_key(name="storm", scopes=["ingest"], created_by=None, now=timezone.now())[1])
"""
FOLD_FOR_EVER = """
import time
from django import db
from apps.usage.services import fold_usage
while True:
    try:
        fold_usage(at_once=7)
    except db.Error:
        db.connection.close()
        time.sleep(0.1)
"""
TELL = """
import json
from apps.billable_metrics.models import BillableMetric
from apps.customers.models import Customer
from apps.usage.models import UsageConflict, UsageEvent, UsageEventKey
from apps.usage.selectors import UsageWindow, measure_usage
from apps.usage.services import compare_usage, fold_usage
import datetime as dt
from django.utils import timezone
now, acme = timezone.now(), Customer.objects.get()
day = dt.timedelta(days=2)
def measured():
    windows = [UsageWindow(acme.pk, metric.current_version, now - day, now + day)
               for metric in BillableMetric.objects.order_by("code")]
    return [str(usage.quantity) for usage in measure_usage(windows, stored_before=None)]
before = measured()
fold_usage()
print(json.dumps({"events": UsageEvent.objects.count(), "keys": UsageEventKey.objects.count(),
                  "conflicts": UsageConflict.objects.count(), "before": before, "after": measured(),
                  "differences": len(compare_usage())}))
"""


@pytest.fixture
def product(tmp_path: Path) -> Any:
    """Processes of a product with its own embedded database."""
    running = Processes(tmp_path)
    embedded_postgres.ensure_running(tmp_path / "pg")
    yield running
    running.stop()
    embedded_postgres.stop(tmp_path / "pg")


def run(product: Processes, *command: str) -> str:
    environment = {**os.environ, **own(product)}
    done = subprocess.run(
        [sys.executable, "manage.py", *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def own(product: Processes) -> dict[str, str]:
    return {
        "COUNTINGHOUSE_VAR": str(product.var_dir),
        "DJANGO_SETTINGS_MODULE": "billing_site.settings",
        "DATABASE_URL": "",
        "LOG_LEVEL": "WARNING",
    }


class Clients:
    """Clients that send batches until they are acknowledged, with another time and in another order at each attempt."""

    def __init__(self, port: int, secret: str) -> None:
        self.port = port
        self.secret = secret
        self.accepted = 0
        self.lock = threading.Lock()
        self.deadline = time.monotonic() + PATIENCE

    def run(self, batches: list[list[list[dict[str, Any]]]]) -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            for outcome in [pool.submit(self._send_all, own, number) for number, own in enumerate(batches)]:
                outcome.result(PATIENCE)

    def _send_all(self, batches: list[list[dict[str, Any]]], seed: int) -> None:
        chance = random.Random(seed)
        for batch in batches:
            while not self._is_acknowledged(batch, chance):
                assert time.monotonic() < self.deadline, "the product did not come back"
                time.sleep(0.05)
            time.sleep(PAUSE)

    def _is_acknowledged(self, batch: list[dict[str, Any]], chance: random.Random) -> bool:
        stamped = [{**event, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())} for event in batch]
        chance.shuffle(stamped)
        headers = {"Authorization": f"Bearer {self.secret}", "Content-Type": "application/cloudevents-batch+json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/api/v1/events", json.dumps(stamped), headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        if response.status >= 500:
            return False
        assert response.status == 204, response.status
        with self.lock:
            self.accepted += int(response.headers["Countinghouse-Accepted"])
        return True


def test_web_worker_folder_and_database_are_killed_in_a_storm_of_retries(product: Processes) -> None:
    run(product, "migrate", "--verbosity", "0")
    secret = run(product, "shell", "-v", "0", "-c", SET_UP).splitlines()[-1]
    port = free_port()
    server = start_server(product, port)
    folder = start_folder(product)
    batches = [
        [
            [
                {
                    "specversion": "1.0",
                    "id": str(uuid.uuid4()),
                    "source": "storm",
                    "type": "llm.completion",
                    "subject": "acme",
                    "data": {"input_tokens": number, "user": f"user-{number % 7}"},
                }
                for number in range(BATCH)
            ]
            for _ in range(BATCHES_EACH)
        ]
        for _ in range(CLIENTS)
    ]
    # Every second client sends what the one before it sends, at the same time.
    batches[1::2] = batches[::2]
    clients = Clients(port, secret)
    storm = threading.Thread(target=clients.run, args=[batches])
    storm.start()

    time.sleep(0.3)
    kill(server)
    server = start_server(product, port)
    kill(folder)
    folder = start_folder(product)
    assert storm.is_alive()
    kill_database(product)
    assert storm.is_alive()
    storm.join(PATIENCE)
    assert not storm.is_alive()
    # Once more: all of it is known.
    clients.run([own[:5] for own in batches])
    kill(folder)

    sent = CLIENTS // 2 * BATCHES_EACH * BATCH
    told = json.loads(run(product, "shell", "-v", "0", "-c", TELL).splitlines()[-1])
    expected = [str(sent), str(BATCH - 1), str(sent // BATCH * sum(range(BATCH))), "7"]
    assert clients.accepted <= sent  # An answer may be lost with its server, an event not.
    assert (told["events"], told["keys"], told["conflicts"], told["differences"]) == (sent, sent, 0, 0)
    assert [number.partition(".")[0] for number in told["before"]] == expected
    assert told["after"] == told["before"]


def start_server(product: Processes, port: int) -> subprocess.Popen[str]:
    return start(product, port, **own(product))


def start_folder(product: Processes) -> subprocess.Popen[str]:
    return product.start("django", "shell", "-v", "0", "-c", FOLD_FOR_EVER, **own(product))


def kill(process: subprocess.Popen[str]) -> None:
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_database(product: Processes) -> None:
    """Kill the server as a power cut would, and start it again."""
    data_dir = product.var_dir / "pg"
    pid = int((data_dir / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in [pid, *map(int, children)]:
        os.kill(one, signal.SIGKILL)
    time.sleep(0.5)
    embedded_postgres.ensure_running(data_dir)
