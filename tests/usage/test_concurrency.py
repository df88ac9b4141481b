"""Real connections at once: nothing lost, nothing doubled, no deadlock, and exact cutoffs."""

from __future__ import annotations

import datetime as dt
import itertools
import random
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import TypeVar

import psycopg
import pytest
from django.db import DataError, connection, transaction

from apps.billable_metrics.models import BillableMetric
from apps.common.database import raw_cursor
from apps.customers.models import Customer
from apps.usage import partitions
from apps.usage.models import UsageConflict, UsageEvent
from apps.usage.selectors import UsageWindow, measure_usage
from apps.usage.services import (
    RecordedBatch,
    UsageIsArriving,
    attribute_events,
    backfill_metrics,
    compare_usage,
    ensure_partitions,
    fold_usage,
    record_events,
    settle_cutoff,
)
from tests.conftest import database_url, wait_until
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.conftest import Send, cloud_event
from tests.usage.events import NOON, event

pytestmark = pytest.mark.django_db(transaction=True)

Result = TypeVar("Result")
DAY = dt.timedelta(days=1)
WRITERS = 4


def in_thread(pool: ThreadPoolExecutor, work: Callable[[], Result]) -> Future[Result]:
    """Run on a connection of its own, and close that."""

    def run() -> Result:
        try:
            return work()
        finally:
            connection.close()

    return pool.submit(run)


@pytest.fixture
def acme(db: None) -> Customer:
    customer: Customer = CustomerFactory(external_id="acme")
    return customer


def waiting_backends() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        [count] = cursor.fetchone()
        return int(count)


def test_an_event_is_committed_before_it_is_answered(send: Send) -> None:
    assert send([cloud_event("durable")]).status_code == 204

    with psycopg.connect(database_url()) as other:
        assert other.execute("SELECT event_id FROM usage_event").fetchall() == [("durable",)]


def test_concurrent_retries_in_any_order_and_with_other_times_count_once() -> None:
    """Writers start each round at once with the same new IDs, so that unsorted rows would deadlock."""
    CustomerFactory(external_id="acme")
    ids = [[str(uuid.uuid4()) if n % 2 else f"{turn}-{n}" for n in range(1000)] for turn in range(5)]
    together = threading.Barrier(WRITERS, timeout=60)

    def retry(seed: int) -> list[RecordedBatch]:
        rng = random.Random(seed)
        answers = []
        for turn in ids:
            batch = [event(event_id, at=NOON + dt.timedelta(days=rng.randrange(60))) for event_id in turn]
            rng.shuffle(batch)
            together.wait()
            answers.append(record_events(events=batch, api_key_id=None))
        return answers

    with ThreadPoolExecutor(WRITERS) as pool:
        running = [in_thread(pool, lambda seed=seed: retry(seed)) for seed in range(WRITERS)]  # type: ignore[misc]
        answers = [answer for future in running for answer in future.result(timeout=60)]

    assert sum(answer.accepted for answer in answers) == 5000
    assert sum(answer.duplicates for answer in answers) == 5000 * (WRITERS - 1)
    assert not any(answer.conflicts for answer in answers)
    assert UsageEvent.objects.count() == 5000


def test_of_concurrent_conflicting_events_one_stays_and_the_others_are_recorded() -> None:
    def claim(number: int) -> RecordedBatch:
        batch = [event(str(n), data={"input_tokens": number}) for n in range(50)]
        random.Random(number).shuffle(batch)
        return record_events(events=batch, api_key_id=None)

    with ThreadPoolExecutor(4) as pool:
        running = [in_thread(pool, lambda number=number: claim(number)) for number in range(4)]  # type: ignore[misc]
        answers = [future.result(timeout=60) for future in running]

    assert sum(answer.accepted for answer in answers) == 50
    assert sum(len(answer.conflicts) for answer in answers) == 150
    assert UsageConflict.objects.count() == 150
    assert UsageEvent.objects.count() == 50


def test_a_cutoff_waits_for_what_is_being_stored_and_includes_it() -> None:
    customer, metric = CustomerFactory(external_id="acme"), BillableMetricFactory()
    stored, release = threading.Event(), threading.Event()
    record_events(events=[event("first", at=NOON - dt.timedelta(hours=1))], api_key_id=None)  # makes the names known

    def store_slowly() -> None:
        with transaction.atomic():
            record_events(events=[event("slow")], api_key_id=None)
            stored.set()
            assert release.wait(30)

    window = UsageWindow(customer.pk, metric.current_version, NOON, NOON + dt.timedelta(hours=1))
    with ThreadPoolExecutor(3) as pool:
        slow = in_thread(pool, store_slowly)
        assert stored.wait(30)
        settling = in_thread(pool, settle_cutoff)
        wait_until(lambda: waiting_backends() == 1, what="the cutoff waiting for the slow batch")
        # A batch that comes while the cutoff waits is stamped after it.
        late = in_thread(pool, lambda: record_events(events=[event("late")], api_key_id=None))
        wait_until(lambda: waiting_backends() == 2, what="the late batch waiting behind the cutoff")
        assert not settling.done()
        release.set()
        slow.result(timeout=30)
        cutoff = settling.result(timeout=30)
        late.result(timeout=30)

    stamps = dict(UsageEvent.objects.values_list("event_id", "stored_at"))
    assert stamps["slow"] < cutoff <= stamps["late"]
    assert [usage.event_count for usage in measure_usage([window], stored_before=cutoff)] == [1]


def test_what_was_measured_before_a_cutoff_never_changes_while_events_stream_in() -> None:
    customer, metric = CustomerFactory(external_id="acme"), BillableMetricFactory()
    window = UsageWindow(customer.pk, metric.current_version, NOON, NOON + dt.timedelta(hours=1))
    stop = threading.Event()

    def stream(writer: int) -> None:
        number = 0
        while not stop.is_set():
            record_events(events=[event(f"{writer}-{number}-{n}") for n in range(5)], api_key_id=None)
            number += 1

    with ThreadPoolExecutor(3) as pool:
        writers = [in_thread(pool, lambda writer=writer: stream(writer)) for writer in range(3)]  # type: ignore[misc]
        try:
            measured = []
            for _ in range(15):
                cutoff = settle_cutoff()
                measured.append((cutoff, measure_usage([window], stored_before=cutoff)))
        finally:
            stop.set()
        for writer in writers:
            writer.result(timeout=30)

    assert [measure_usage([window], stored_before=cutoff) for cutoff, _ in measured] == [usage for _, usage in measured]
    assert measured[0][1] != measured[-1][1]


def test_a_cutoff_gives_up_on_a_batch_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.services.recording.SETTLE_PATIENCE", "200ms")
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT usage_stamp()")
        with pytest.raises(UsageIsArriving):
            settle_cutoff()
    assert settle_cutoff() is not None


def test_errors_of_the_raw_cursor_are_django_s() -> None:
    with pytest.raises(DataError, match="division by zero"), transaction.atomic(), raw_cursor() as cursor:
        cursor.execute("SELECT 1 / 0")


def test_a_cutoff_inside_a_transaction_is_refused() -> None:
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        settle_cutoff()


def test_workers_attribute_each_event_once() -> None:
    record_events(events=[event(str(n)) for n in range(500)], api_key_id=None)
    CustomerFactory(external_id="acme")

    with ThreadPoolExecutor(3) as pool:
        running = [in_thread(pool, attribute_events) for _ in range(3)]
        total = sum(future.result(timeout=60) for future in running)

    assert total + attribute_events() == 500
    assert not UsageEvent.objects.unattributed().exists()


def test_processes_make_the_same_partitions_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "_known", set())
    with ThreadPoolExecutor(4) as pool:
        running = [
            in_thread(pool, lambda: ensure_partitions(dt.date(2015, 1, 1), dt.date(2015, 12, 31))) for _ in range(4)
        ]
        for future in running:
            future.result(timeout=60)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'usage_event_2015_%' AND relkind = 'r'")
        assert cursor.fetchone() == (12,)


def test_making_a_partition_blocks_neither_readers_nor_writers() -> None:
    record_events(events=[event("before")], api_key_id=None)
    with transaction.atomic():
        ensure_partitions(dt.date(2014, 1, 1), dt.date(2014, 1, 31))
        with psycopg.connect(database_url()) as other:
            other.execute("SET lock_timeout = '2s'")
            assert other.execute("SELECT count(*) FROM usage_event").fetchone() == (1,)
            other.execute("UPDATE usage_event SET data = '{}'")
        transaction.set_rollback(True)


def test_a_read_is_exact_while_events_arrive_and_are_folded(acme: Customer) -> None:
    """Each batch is one transaction of ten events of one unit, so that a reader may only ever see whole batches."""
    metrics = [
        BillableMetricFactory(value_property="input_tokens"),
        BillableMetricFactory(aggregation="count", value_property=""),
        BillableMetricFactory(aggregation="unique_count", value_property="user"),
    ]
    backfill_metrics()
    windows = [UsageWindow(acme.pk, metric.current_version, NOON - DAY, NOON + DAY) for metric in metrics]
    stop = threading.Event()
    seen: list[list[Decimal]] = []

    def ingest(writer: int) -> None:
        for number in range(15):
            batch = [
                event(f"{writer}-{number}-{one}", data={"input_tokens": 1, "user": f"{writer}-{number}-{one}"})
                for one in range(10)
            ]
            record_events(events=batch, api_key_id=None)

    def fold() -> None:
        while not stop.is_set():
            fold_usage(at_once=3)

    def read() -> None:
        while not stop.is_set():
            seen.append([usage.quantity for usage in measure_usage(windows, stored_before=None)])

    with ThreadPoolExecutor(5) as pool:
        background = [in_thread(pool, one) for one in (fold, read)]
        writers = [in_thread(pool, partial(ingest, number)) for number in range(3)]
        for writer in writers:
            writer.result(60)
        stop.set()
        for one in background:
            one.result(60)

    assert seen
    for tokens, calls, users in seen:
        assert tokens % 10 == 0
        assert calls % 10 == 0
        assert users % 10 == 0
    assert all(earlier[0] <= later[0] for earlier, later in itertools.pairwise(seen))
    assert [usage.quantity for usage in measure_usage(windows, stored_before=None)] == [450, 450, 450]
    fold_usage()
    assert [usage.quantity for usage in measure_usage(windows, stored_before=None)] == [450, 450, 450]
    assert compare_usage() == []


def test_a_metric_that_is_made_while_events_arrive_counts_each_once(acme: Customer) -> None:
    made: list[BillableMetric] = []

    def ingest(writer: int) -> None:
        for number in range(25):
            record_events(events=[event(f"{writer}-{number}-{one}") for one in range(4)], api_key_id=None)

    def define() -> None:
        time.sleep(0.05)
        made.append(BillableMetricFactory(aggregation="count", value_property=""))
        backfill_metrics()

    with ThreadPoolExecutor(4) as pool:
        running = [in_thread(pool, partial(ingest, number)) for number in range(3)]
        running.append(in_thread(pool, define))
        for one in running:
            one.result(60)

    fold_usage()
    window = UsageWindow(acme.pk, made[0].current_version, NOON - DAY, NOON + DAY)
    [usage] = measure_usage([window], stored_before=None)
    assert usage.quantity == 300
    assert compare_usage() == []
