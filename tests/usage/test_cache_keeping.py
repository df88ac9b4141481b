"""The usage cache may be dropped, killed in the making, or wrong: what is read stays exact, and it is built anew."""

from __future__ import annotations

import datetime as dt
import os
import signal
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import redefine_metric
from apps.customers.models import Customer
from apps.usage.models import CacheState, UsageCache
from apps.usage.selectors import UsageWindow, measure_usage
from apps.usage.services import (
    backfill_metrics,
    compare_usage,
    fold_usage,
    mend_cache,
    record_events,
    request_rebuild,
)
from tests.conftest import Processes, wait_until
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import NOON, event

MONTHS = [NOON.replace(month=month) for month in range(6, 12)]
START, END = NOON.replace(month=1), NOON.replace(month=12)

SLOW_BACKFILL = """
import time
from apps.usage.services import backfill_metrics, cache
real = cache.rebuild
def slow(*arguments, **options):
    real(*arguments, **options)
    time.sleep(0.4)
cache.rebuild = slow
backfill_metrics()
"""


@pytest.fixture
def acme(db: None) -> Customer:
    customer: Customer = CustomerFactory(external_id="acme")
    return customer


def store_events() -> None:
    record_events(
        events=[event(str(n), at=at, data={"input_tokens": n}) for n, at in enumerate(MONTHS)], api_key_id=None
    )


def total(customer: Customer, metric: BillableMetric) -> Decimal:
    [usage] = measure_usage([UsageWindow(customer.pk, metric.current_version, START, END)], stored_before=None)
    return usage.quantity


def tamper() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE usage_bucket SET total = total + 1 WHERE grain = 1")


def test_a_new_metric_measures_what_came_before_it(acme: Customer) -> None:
    store_events()
    metric = BillableMetricFactory()
    assert total(acme, metric) == 15
    assert backfill_metrics() == 1
    assert total(acme, metric) == 15
    cache = UsageCache.objects.get()
    assert (cache.state, cache.partitions_done) == (CacheState.READY, cache.partitions_total)
    assert backfill_metrics() == 0


def test_the_cache_is_what_is_read_once_it_is_built(acme: Customer) -> None:
    """Else nothing here would test it."""
    store_events()
    metric = BillableMetricFactory()
    backfill_metrics()
    tamper()
    assert total(acme, metric) == 15 + len(MONTHS)


def test_a_wrong_bucket_is_found_named_and_mended(acme: Customer, capsys: pytest.CaptureFixture[str]) -> None:
    store_events()
    metric = BillableMetricFactory(code="tokens")
    backfill_metrics()
    tamper()

    with pytest.raises(CommandError, match="differs from the events in 6 places"):
        call_command("compare_usage")
    assert "tokens v1, acme, day 2023-06-16 00:00" in capsys.readouterr().out

    assert len(mend_cache()) == 6
    assert total(acme, metric) == 15
    call_command("compare_usage")


def test_a_cache_that_is_distrusted_is_not_read_until_it_is_whole(acme: Customer) -> None:
    store_events()
    metric = BillableMetricFactory(code="tokens")
    backfill_metrics()
    tamper()

    request_rebuild()

    assert total(acme, metric) == 15
    call_command("rebuild_usage", "--metric", "tokens")
    assert total(acme, metric) == 15
    assert compare_usage() == []
    with pytest.raises(CommandError, match="no metric with the code none"):
        call_command("rebuild_usage", "--metric", "none")


def test_an_unbilled_metric_is_defined_anew_since_ever_and_what_was_cached_is_not_mixed_up(acme: Customer) -> None:
    store_events()
    metric = BillableMetricFactory()
    backfill_metrics()
    definition = metric.current_version.definition
    fresh = type(definition)(definition.event_type, definition.aggregation, value_expression="input_tokens * 2")

    version = redefine_metric(metric=metric, definition=fresh, effective_from=None, now=timezone.now())

    assert version.number == 2
    again = BillableMetric.objects.get()
    assert total(acme, again) == 30
    backfill_metrics()
    fold_usage()
    assert total(acme, again) == 30
    assert redefine_metric(metric=again, definition=fresh, effective_from=None, now=timezone.now()) == version


def test_what_is_left_of_a_deleted_metric_goes(acme: Customer) -> None:
    store_events()
    metric = BillableMetricFactory()
    backfill_metrics()
    request_rebuild()
    metric.delete()
    backfill_metrics()
    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM usage_bucket), (SELECT count(*) FROM usage_cache)")
        assert cursor.fetchone() == (0, 0)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_backfill_that_is_killed_goes_on_where_it_was(processes: Processes) -> None:
    acme: Customer = CustomerFactory(external_id="acme")
    store_events()
    metric = BillableMetricFactory()
    builder = processes.start("django", "shell", "-v", "0", "-c", SLOW_BACKFILL)
    wait_until(lambda: UsageCache.objects.filter(partitions_done__gte=2).exists(), what="the second month")
    os.killpg(builder.pid, signal.SIGKILL)
    builder.wait()
    left = UsageCache.objects.get()
    assert left.state == CacheState.BUILDING
    assert 2 <= left.partitions_done < len(MONTHS)
    assert total(acme, metric) == 15
    assert backfill_metrics() == 0  # Its claim still stands.

    UsageCache.objects.update(claimed_until=timezone.now() - dt.timedelta(seconds=1))
    assert backfill_metrics() == 1

    done = UsageCache.objects.get()
    assert (done.state, done.partitions_done) == (CacheState.READY, done.partitions_total)
    assert total(acme, metric) == 15
    assert compare_usage() == []
