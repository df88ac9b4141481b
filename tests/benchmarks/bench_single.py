"""Single events over HTTP against pgbench doing bare inserts: python -m tests.benchmarks.bench_single

Ours is the ingest server as it runs in production, with one event in each request over 64 connections: key check,
validation, de-duplication for ever, attribution, three metrics, answered after the commit. The limit is pgbench with 64
clients, each inserting one row after the other into a table with a unique key and nothing else. wrk makes the load;
both sides run for some seconds in each round. What was acknowledged is compared with what is stored. It makes, and
removes, a database of its own.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.benchmarks.harness import own_database, report, serve, set_up

set_up()

import psycopg  # noqa: E402
from django.utils import timezone  # noqa: E402

from apps.access.models import Scope  # noqa: E402
from apps.access.services import create_api_key  # noqa: E402
from apps.billable_metrics.models import Aggregation  # noqa: E402
from billing_site.processes import ingest_command  # noqa: E402
from tests.conftest import database_url  # noqa: E402
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory  # noqa: E402

CONNECTIONS = 64
CUSTOMERS = 100

# A body of the usual size, with an ID that no other request has.
_LOAD = """
local thread_number = 0
function setup(thread) thread:set("number", thread_number); thread_number = thread_number + 1 end
function init(args)
  math.randomseed(os.time() + number * 7919 + {seed})
  counter = 0
  prefix = string.format("%08x-%04x-4%03x-8%03x-", math.random(0, 0x7fffffff), math.random(0, 0xffff),
                         math.random(0, 0xfff), number * 16 + {seed} % 16)
end
wrk.method = "POST"
wrk.path = "/api/v1/events"
wrk.headers["Authorization"] = "Bearer {secret}"
wrk.headers["Content-Type"] = "application/cloudevents+json"
function request()
  counter = counter + 1
  local body = string.format('{{"specversion":"1.0","id":"%s%012x","source":"gateway","type":"llm.completion",'
    .. '"subject":"customer-%d","data":{{"model":"large","region":"eu-west","input_tokens":%d,"output_tokens":%d,'
    .. '"seconds":0.125}}}}', prefix, counter, math.random(0, {customers} - 1), math.random(0, 8000),
    math.random(0, 1000))
  return wrk.format(nil, nil, nil, body)
end
"""
_BARE_TABLE = """
    CREATE TABLE bare_single (
        id uuid PRIMARY KEY, type text, subject text, occurred_at timestamptz, data jsonb
    )
"""
_BARE_INSERT = """
    INSERT INTO bare_single VALUES (gen_random_uuid(), 'llm.completion', 'customer-7', now(),
      '{"model": "large", "region": "eu-west", "input_tokens": 4711, "output_tokens": 815, "seconds": 0.125}')
    ON CONFLICT DO NOTHING;
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("--seconds", type=int, default=5, help="of each side in each round")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--connections", type=int, default=CONNECTIONS)
    arguments.add_argument("--protocol", default="simple", help="of pgbench: simple, extended or prepared")
    options = arguments.parse_args()
    for program in ("wrk", "pgbench"):
        if shutil.which(program) is None:
            raise SystemExit(f"This benchmark needs {program}: install the package that has it.")
    with own_database("single"), tempfile.TemporaryDirectory() as folder:
        secret = _set_up()
        timed: list[tuple[float, float]] = []
        with serve(lambda port: [sys.executable, "-m", *ingest_command("127.0.0.1", port)]) as port:
            _load(Path(folder), port, secret, options.connections, 1, seed=0)
            for number in range(options.rounds):
                before = _stored()
                ours = _load(Path(folder), port, secret, options.connections, options.seconds, seed=number + 1)
                timed.append((ours, _pgbench(Path(folder), options.protocol, options.connections, options.seconds)))
                acknowledged = _stored() - before
                if abs(acknowledged - ours * options.seconds) > ours:
                    raise RuntimeError(f"{acknowledged:,} events are stored, about {ours * options.seconds:,.0f} sent")
    ratios = sorted(ours / limit for ours, limit in timed)
    report(
        f"single events, {options.connections} connections, {options.rounds} rounds: "
        f"ours over pgbench ({options.protocol} protocol) "
        f"{statistics.median(ratios):.2f} (min {ratios[0]:.2f}, max {ratios[-1]:.2f}); "
        f"ours {statistics.median(ours for ours, _ in timed):,.0f}/s, "
        f"pgbench {statistics.median(limit for _, limit in timed):,.0f}/s"
    )


def _set_up() -> str:
    entity = BillingEntityFactory()
    for number in range(CUSTOMERS):
        CustomerFactory(external_id=f"customer-{number}", billing_entity=entity)
    BillableMetricFactory(value_property="input_tokens")
    BillableMetricFactory(value_property="output_tokens")
    BillableMetricFactory(aggregation=Aggregation.COUNT, value_property="")
    with psycopg.connect(database_url()) as raw:
        raw.execute(_BARE_TABLE)
    _, secret = create_api_key(name="benchmark", scopes=[Scope.INGEST], created_by=None, now=timezone.now())
    return secret


def _load(folder: Path, port: int, secret: str, connections: int, seconds: int, *, seed: int) -> float:
    script = folder / "load.lua"
    script.write_text(_LOAD.format(secret=secret, customers=CUSTOMERS, seed=seed + int(time.time()) % 10_000 * 16))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{port}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise RuntimeError(f"requests failed:\n{printed}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", printed)
    if found is None:
        raise RuntimeError(f"wrk printed no figure:\n{printed}")
    return float(found[1])


def _pgbench(folder: Path, protocol: str, connections: int, seconds: int) -> float:
    script = folder / "insert.sql"
    script.write_text(" ".join(_BARE_INSERT.split()))
    address = urlsplit(database_url())
    query = parse_qs(address.query)
    host = query["host"][0] if "host" in query else address.hostname or "127.0.0.1"
    port = query["port"][0] if "port" in query else str(address.port or 5432)
    command = ["pgbench", "-n", "-M", protocol, "-f", str(script), "-c", str(connections), "-j", "1"]
    command += ["-T", str(seconds), "-h", host, "-p", port, "-U", address.username or "postgres"]
    printed = subprocess.run([*command, address.path[1:]], capture_output=True, text=True, check=True).stdout
    found = re.search(r"tps = ([0-9.]+)", printed)
    if found is None:
        raise RuntimeError(f"pgbench printed no figure:\n{printed}")
    return float(found[1])


def _stored() -> int:
    with psycopg.connect(database_url()) as raw:
        row = raw.execute("SELECT count(*) FROM usage_event_key").fetchone()
        return int(row[0]) if row else 0


if __name__ == "__main__":
    main()
