"""Reading, folding and growth of usage: python -m tests.benchmarks.bench_usage [read|fold|growth] [--size N]

*read*: the usage of one customer who holds ``--size`` events, by measure_usage, against the bare SQL sum over the same
events; then against its own cost at a hundredth of the size. Both sides must give the same number. *fold*: folding
delta rows into buckets, against one COPY stream of as many rows of the same columns. *growth*: record_events in
batches of 1,000 with ``--size`` events stored, against the same with 10,000 stored, in turn. It makes, and removes, a
database of its own for each.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

from tests.benchmarks.harness import Score, compare, own_database, report, set_up

set_up()

import psycopg  # noqa: E402
from django.db import connection  # noqa: E402

from apps.billable_metrics.models import BillableMetric  # noqa: E402
from apps.customers.models import Customer  # noqa: E402
from apps.usage.events import EventInput  # noqa: E402
from apps.usage.selectors import UsageWindow, measure_usage  # noqa: E402
from apps.usage.services import (  # noqa: E402
    backfill_metrics,
    ensure_partitions,
    fold_usage,
    record_events,
)
from tests.conftest import database_url  # noqa: E402
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory  # noqa: E402

MONTH_START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
MONTH_END = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
CUSTOMERS = 100
BATCH_SIZE = 1000
WARM_UPS = 10

# As record_events would have stored them: one customer, spread over one month, in the order of time.
_FILL = """
    INSERT INTO usage_event (id, source_id, event_id, type, subject, customer_id, attributed_at, occurred_at, stored_at,
                             data, api_key_id)
    SELECT number, 1, number::text, 'llm.completion', 'customer', %(customer)s + number %% %(customers)s,
           %(start)s::timestamptz + share * %(length)s::interval, %(start)s::timestamptz + share * %(length)s::interval,
           %(start)s::timestamptz + share * %(length)s::interval,
           jsonb_build_object('model', 'large', 'region', 'eu-west', 'input_tokens', number %% 8000,
                              'output_tokens', number %% 1000, 'seconds', 0.125),
           1
    FROM (SELECT number, number::float8 / %(size)s AS share FROM generate_series(1, %(size)s - 1) number) numbered
"""
_FILL_KEYS = """
    INSERT INTO usage_event_key (key, source_id, kind, event_pk, payload_hash, occurred_at)
    SELECT key, 1, 0, number, key, %(start)s
    FROM (SELECT number, gen_random_uuid() AS key FROM generate_series(1, %(size)s) number) numbered ORDER BY key
"""
_RAW_SUM = """
    SELECT sum((data ->> 'input_tokens')::numeric), count(*) FROM usage_event
    WHERE customer_id = %s AND type = 'llm.completion' AND occurred_at >= %s AND occurred_at < %s
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("which", nargs="*", default=["read", "fold", "growth"])
    arguments.add_argument("--size", type=int, default=10**7, help="events that are stored (default: %(default)s)")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    benchmarks: dict[str, Callable[[int, int], None]] = {"read": read, "fold": fold}
    for name in options.which:
        if name == "side":
            with own_database(f"usage_side_{options.size}"):
                _be_a_side(options.size)
        elif name == "growth":
            growth(options.size, options.rounds)
        else:
            with own_database(f"usage_{name}"):
                benchmarks[name](options.size, options.rounds)


# --- Reading ---------------------------------------------------------------------------------------------------------


def read(size: int, rounds: int) -> None:
    ensure_partitions(MONTH_START.date(), MONTH_START.date())
    metric: BillableMetric = BillableMetricFactory(value_property="input_tokens")
    large, small = CustomerFactory(external_id="large"), CustomerFactory(external_id="small")
    _fill(large, size)
    _fill(small, size // 100)
    started = time.perf_counter()
    backfill_metrics()
    seconds = time.perf_counter() - started
    report(f"backfill of a metric over {size * 1.01:,.0f} events: {size * 1.01 / seconds:,.0f} events/s")
    _vacuum()
    windows = [UsageWindow(customer.pk, metric.current_version, MONTH_START, MONTH_END) for customer in (large, small)]
    _check_same(windows[0])
    against_raw = compare(
        ours=lambda _: _measure(windows[0], times=100), limit=lambda _: _raw_sum(windows[0], times=1), rounds=rounds
    )
    growth_of_read = compare(
        ours=lambda _: _measure(windows[0], times=200), limit=lambda _: _measure(windows[1], times=200), rounds=rounds
    )
    ratios = sorted(ratio * 100 for ratio in against_raw.ratios)
    report(
        f"usage of one customer with {size:,} events: {statistics.median(ratios):,.0f} times as fast as the raw sum "
        f"(min {ratios[0]:,.0f}, max {ratios[-1]:,.0f}); ours {against_raw.ours_seconds * 10:.2f} ms, "
        f"raw {against_raw.limit_seconds * 1000:,.0f} ms"
    )
    costs = sorted(1 / ratio for ratio in growth_of_read.ratios)
    report(
        f"its cost over the cost at {size // 100:,} events: {statistics.median(costs):.2f} "
        f"(min {costs[0]:.2f}, max {costs[-1]:.2f})"
    )


def _fill(customer: Customer, size: int, customers: int = 1) -> None:
    with psycopg.connect(database_url()) as raw:
        raw.execute(
            _FILL,
            {
                "customer": customer.pk,
                "customers": customers,
                "start": MONTH_START,
                "length": MONTH_END - MONTH_START,
                "size": size,
            },
        )


def _vacuum() -> None:
    with psycopg.connect(database_url(), autocommit=True) as raw:
        raw.execute("VACUUM ANALYZE")


def _measure(window: UsageWindow, *, times: int) -> None:
    for _ in range(times):
        measure_usage([window], stored_before=None)


def _raw_sum(window: UsageWindow, *, times: int) -> None:
    with connection.cursor() as cursor:
        for _ in range(times):
            cursor.execute(_RAW_SUM, [window.customer_id, window.start_at, window.end_at])
            cursor.fetchone()


def _check_same(window: UsageWindow) -> None:
    [usage] = measure_usage([window], stored_before=None)
    with connection.cursor() as cursor:
        cursor.execute(_RAW_SUM, [window.customer_id, window.start_at, window.end_at])
        quantity, count = cursor.fetchone()
    if (usage.quantity, usage.event_count) != (quantity, count):
        raise RuntimeError(f"the cache says {usage}, the events say {quantity} of {count}")


# --- Folding ---------------------------------------------------------------------------------------------------------

_COLUMNS = "stamp, customer_id, metric_version_id, hour, event_count, dims, total"
_COPY_DELTAS = f"COPY {{}} ({_COLUMNS}) FROM STDIN"


def fold(size: int, rounds: int) -> None:
    count = min(size, 200_000)
    with psycopg.connect(database_url()) as raw:
        raw.execute("CREATE TABLE bare_delta (LIKE usage_delta)")
    prepared = [_delta_rows(count) for _ in range(rounds + 1)]
    _copy("usage_delta", prepared[-1])
    fold_usage()  # warms up, and makes the buckets that the others meet

    def folded(number: int) -> float:
        _copy("usage_delta", prepared[number])
        started = time.perf_counter()
        if fold_usage() != count:
            raise RuntimeError("not all deltas were folded")
        return time.perf_counter() - started

    def copied(number: int) -> float:
        started = time.perf_counter()
        _copy("bare_delta", prepared[number])
        return time.perf_counter() - started

    timed = [(folded(number), copied(number)) for number in range(rounds)]
    score = Score(
        tuple(limit / ours for ours, limit in timed),
        statistics.median(ours for ours, _ in timed),
        statistics.median(limit for _, limit in timed),
    )
    report(
        f"folding of {count:,} deltas over one COPY stream of them: {score}; "
        f"ours {count / score.ours_seconds:,.0f} rows/s, COPY {count / score.limit_seconds:,.0f} rows/s"
    )


def _delta_rows(count: int) -> bytes:
    """Deltas as busy seconds leave them: a hundred customers, three metrics, ten models, mostly of this hour."""
    rows = []
    for _ in range(count):
        hour = MONTH_START + dt.timedelta(hours=48 if random.random() < 0.95 else random.randrange(48))
        rows.append(
            f"{MONTH_END.isoformat()}\t{random.randrange(CUSTOMERS)}\t{random.randrange(3)}\t{hour.isoformat()}\t"
            f"{random.randrange(9)}\t{{model-{random.randrange(10)}}}\t{random.randrange(10**6)}\n"
        )
    return "".join(rows).encode()


def _copy(table: str, rows: bytes) -> None:
    with psycopg.connect(database_url()) as raw, raw.cursor().copy(_COPY_DELTAS.format(table)) as copy:
        copy.write(rows)


# --- Growth ----------------------------------------------------------------------------------------------------------


def growth(size: int, rounds: int) -> None:
    """Each size has a database and a process of its own, and the two store batches in turn."""
    sides = [_Side(10_000), _Side(size)]
    timed = [[side.events_per_second() for side in sides] for _ in range(rounds)]
    for side in sides:
        side.end()
    ratios = sorted(late / early for early, late in timed)
    early, late = (statistics.median(one) for one in zip(*timed, strict=True))
    report(
        f"ingest at {size:,} stored events over that at 10,000: {statistics.median(ratios):.2f} "
        f"(min {ratios[0]:.2f}, max {ratios[-1]:.2f}); {late:,.0f} and {early:,.0f} events/s"
    )


class _Side:
    """A process that fills a database of its own, and then stores some batches whenever it is told to."""

    def __init__(self, stored: int) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.bench_usage", "side", "--size", str(stored)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._told()

    def events_per_second(self) -> float:
        print(file=self._process.stdin, flush=True)
        return float(self._told())

    def end(self) -> None:
        self._process.communicate()

    def _told(self) -> str:
        if self._process.stdout is None or not (line := self._process.stdout.readline()):
            raise RuntimeError("the process of one side ended")
        return line


def _be_a_side(stored: int) -> None:
    entity = BillingEntityFactory()
    customers = [CustomerFactory(external_id=f"customer-{n}", billing_entity=entity) for n in range(CUSTOMERS)]
    for name in ("input_tokens", "output_tokens"):
        BillableMetricFactory(value_property=name)
    ensure_partitions(MONTH_START.date(), MONTH_END.date())
    _fill(customers[0], stored, CUSTOMERS)
    with psycopg.connect(database_url()) as raw:
        raw.execute(_FILL_KEYS, {"size": stored, "start": MONTH_START})
    _vacuum()
    with psycopg.connect(database_url(), autocommit=True) as raw:
        raw.execute("CHECKPOINT")
    for _ in range(WARM_UPS):
        _store_some()
    report("ready")
    for _ in sys.stdin:
        report(str(_store_some()))


def _store_some() -> float:
    batches = [[_event() for _ in range(BATCH_SIZE)] for _ in range(20)]
    started = time.perf_counter()
    for batch in batches:
        record_events(events=batch, api_key_id=None)
    return 20 * BATCH_SIZE / (time.perf_counter() - started)


def _event() -> EventInput:
    return EventInput(
        source="gateway",
        event_id=str(uuid.uuid4()),
        type="llm.completion",
        subject=f"customer-{random.randrange(CUSTOMERS)}",
        occurred_at=MONTH_END - dt.timedelta(hours=random.random() * 24),
        data={
            "model": "large",
            "region": "eu-west",
            "input_tokens": random.randrange(8000),
            "output_tokens": random.randrange(1000),
            "seconds": 1,
        },
    )


if __name__ == "__main__":
    main()
