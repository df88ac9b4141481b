"""Ingestion over HTTP against raw COPY of the same rows: python -m tests.benchmarks.bench_ingest

Ours is the whole path: a real gunicorn, batches of 1,000 CloudEvents over two connections, key check, validation,
de-duplication for ever, attribution, three metrics, commit. The limits: one COPY stream of as many rows, made ready
beforehand, into the very table of the events (partitioned, with its indexes) and into a plain heap without any index;
and the very statements that our side runs, with all parameters made ready, from the same number of connections. IDs
are random UUIDs, the worst order for an index; ``--ordered`` sends UUIDv7 instead. What was acknowledged is compared
with what is stored. It makes, and removes, a database of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.benchmarks.harness import Score, compare, own_database, report, serve, set_up

set_up()

import psycopg  # noqa: E402
from django.db import transaction  # noqa: E402
from django.utils import timezone  # noqa: E402

from apps.access.models import Scope  # noqa: E402
from apps.access.services import create_api_key  # noqa: E402
from apps.billable_metrics.models import Aggregation  # noqa: E402
from apps.usage import binary  # noqa: E402
from apps.usage.cloudevents import check_events, decode_json  # noqa: E402
from apps.usage.intake import rules_now  # noqa: E402
from apps.usage.models import UsageEventKey  # noqa: E402
from apps.usage.services import record_events  # noqa: E402
from tests.conftest import database_url  # noqa: E402
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory  # noqa: E402

BATCH_SIZE = 1000
CONNECTIONS = 2
CUSTOMERS = 100

COLUMNS = "id, source_id, event_id, type, subject, customer_id, attributed_at, occurred_at, stored_at, data, api_key_id"


@dataclass(frozen=True, slots=True)
class Round:
    """What a round sends: the bodies for our side, and the same rows as one COPY buffer for the limit."""

    bodies: list[bytes]
    rows: bytes


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("--batches", type=int, default=40, help="of 1,000 events, in each round")
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--ordered", action="store_true", help="send time-ordered IDs (UUIDv7)")
    options = arguments.parse_args()
    with own_database("ingest"):
        secret, customer_ids = _set_up()
        rounds = [_round(options.batches, customer_ids, options.ordered) for _ in range(4 * options.rounds + 1)]
        with serve(_gunicorn) as port:
            _send(port, secret, rounds[2 * options.rounds].bodies)  # warms up: connections, partitions, names
            statements = [_statements(one.bodies) for one in rounds[3 * options.rounds + 1 :]]
            same_table = compare(
                ours=lambda number: _send(port, secret, rounds[number].bodies),
                limit=lambda number: _copy("usage_event", rounds[number].rows),
                rounds=options.rounds,
            )
            heap = compare(
                ours=lambda number: _send(port, secret, rounds[options.rounds + number].bodies),
                limit=lambda number: _copy("bare_event", rounds[options.rounds + number].rows),
                rounds=options.rounds,
            )
            direct = compare(
                ours=lambda number: _send(port, secret, rounds[2 * options.rounds + 1 + number].bodies),
                limit=lambda number: _replay(statements[number]),
                rounds=options.rounds,
            )
        _check(sent=(4 * options.rounds + 1) * options.batches * BATCH_SIZE)
    size = options.batches * BATCH_SIZE
    _report("COPY into the same table", same_table, size)
    _report("COPY into a heap without index", heap, size)
    _report("the same statements, run directly", direct, size)


def _report(limit: str, score: Score, size: int) -> None:
    report(
        f"ingest over HTTP, batches of {BATCH_SIZE:,}, {CONNECTIONS} connections, {len(score.ratios)} rounds: "
        f"ours over {limit} {score}; "
        f"ours {size / score.ours_seconds:,.0f} events/s, the limit {size / score.limit_seconds:,.0f} rows/s"
    )


def _set_up() -> tuple[str, list[int]]:
    entity = BillingEntityFactory()
    customers = [CustomerFactory(external_id=f"customer-{n}", billing_entity=entity) for n in range(CUSTOMERS)]
    BillableMetricFactory(value_property="input_tokens")
    BillableMetricFactory(value_property="output_tokens")
    BillableMetricFactory(aggregation=Aggregation.COUNT, value_property="")
    with psycopg.connect(database_url()) as connection:
        connection.execute("CREATE TABLE bare_event (LIKE usage_event)")
    _, secret = create_api_key(name="benchmark", scopes=[Scope.INGEST], created_by=None, now=timezone.now())
    return secret, [customer.pk for customer in customers]


def _round(batches: int, customer_ids: Sequence[int], ordered: bool) -> Round:
    now = timezone.now().isoformat()
    bodies, rows = [], []
    for _ in range(batches):
        events = [_event(now, ordered) for _ in range(BATCH_SIZE)]
        bodies.append(json.dumps(events).encode())
        for event in events:
            number = int(str(event["subject"]).removeprefix("customer-"))
            # Another sequence of primary keys than the product's own, so that both sides fit one table.
            key = random.getrandbits(62) | 1 << 62
            event_id = _event_id(ordered)
            fields = (
                key,
                1,
                event_id,
                event["type"],
                event["subject"],
                customer_ids[number],
                now,
                now,
                now,
                json.dumps(event["data"]),
                1,
            )
            rows.append("\t".join(map(str, fields)))
    return Round(bodies, ("\n".join(rows) + "\n").encode())


def _event(now: str, ordered: bool) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": _event_id(ordered),
        "source": "gateway",
        "type": "llm.completion",
        "subject": f"customer-{random.randrange(CUSTOMERS)}",
        "time": now,
        "data": {
            "model": "large",
            "region": "eu-west",
            "input_tokens": random.randrange(8000),
            "output_tokens": random.randrange(1000),
            "seconds": round(random.random(), 3),
        },
    }


def _event_id(ordered: bool) -> str:
    if not ordered:
        return str(uuid.uuid4())
    milliseconds = time.time_ns() // 1_000_000
    return str(
        uuid.UUID(int=milliseconds << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62))
    )


def _send(port: int, secret: str, bodies: Sequence[bytes]) -> None:
    """Send all batches over a few connections at once; every one must be accepted whole."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda first: _send_some(port, secret, bodies[first::CONNECTIONS]), range(CONNECTIONS)))


def _send_some(port: int, secret: str, bodies: Sequence[bytes]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/cloudevents-batch+json"}
    for body in bodies:
        connection.request("POST", "/api/v1/events", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 204 or answer.headers["Countinghouse-Accepted"] != str(BATCH_SIZE):
            raise RuntimeError(f"a batch was answered {answer.status} with {answer.headers.as_string()}")
    connection.close()


Statement = tuple[Any, Any]


def _statements(bodies: Sequence[bytes]) -> list[list[Statement]]:
    """What our side runs for each batch, with its parameters; noted in transactions that are taken back."""
    execute = psycopg.Cursor.execute
    noted: list[Statement] = []

    def note(cursor: psycopg.Cursor[Any], query: Any, params: Any = None, **options: Any) -> psycopg.Cursor[Any]:
        if params is not None:
            noted.append((query, params))
        return execute(cursor, query, params, **options)

    found = []
    for body in bodies:
        events = check_events(decode_json(body), rules_now()).events
        with mock.patch.object(psycopg.Cursor, "execute", note), transaction.atomic():
            record_events(events=events, api_key_id=1)
            transaction.set_rollback(True)
        found.append(list(noted))
        noted.clear()
    return found


def _replay(batches: Sequence[list[Statement]]) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda first: _replay_some(batches[first::CONNECTIONS]), range(CONNECTIONS)))


def _replay_some(batches: Sequence[list[Statement]]) -> None:
    with psycopg.connect(database_url()) as raw:
        for batch in batches:
            with raw.transaction(), raw.cursor() as cursor:
                binary.register(cursor)
                for query, params in batch:
                    cursor.execute(query, params, prepare=True)


def _copy(table: str, rows: bytes) -> None:
    statement = f"COPY {table} ({COLUMNS}) FROM STDIN"
    with psycopg.connect(database_url()) as connection, connection.cursor().copy(statement) as copy:
        copy.write(rows)


def _gunicorn(port: int) -> list[str]:
    """A gunicorn as the demo runs it."""
    command = [sys.executable, "-m", "gunicorn", "billing_site.wsgi", "--bind", f"127.0.0.1:{port}"]
    command += ["--worker-class", "gthread", "--workers", "2", "--threads", "4"]
    return [*command, "--no-control-socket", "--log-level", "warning"]


def _check(*, sent: int) -> None:
    stored = UsageEventKey.objects.count()
    if stored != sent:
        raise RuntimeError(f"{sent:,} events were acknowledged and {stored:,} are stored")


if __name__ == "__main__":
    main()
