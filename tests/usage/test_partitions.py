"""Growth: months are taken out of the log and put back, readers and writers go on, and keys stay for ever."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection, transaction
from pytest_django import Settings

from apps.customers.models import Customer
from apps.usage import partitions
from apps.usage.exporting import read_table
from apps.usage.models import UsageEvent
from apps.usage.partitions import (
    PartitionRefused,
    PartitionState,
    attach_partition,
    detach_old_partitions,
    detach_partition,
    drop_partition,
    ensure_months,
    least_keep_months,
)
from apps.usage.selectors import UsageWindow, measure_usage
from apps.usage.services import backfill_metrics, compare_usage, record_events, restore_month
from tests.conftest import database_url, utc
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import event

pytestmark = pytest.mark.django_db(transaction=True)
MONTH = (2012, 5)
TODAY = dt.date(2026, 11, 25)
THEN = utc(2012, 5, 20)


@pytest.fixture(autouse=True)
def tidy() -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS usage_event_archive_2012_05, usage_event_2012_05 CASCADE")
    partitions.forget_known()


@pytest.fixture
def old_events() -> None:
    CustomerFactory(external_id="acme")
    record_events(events=[event("old", at=THEN), event("new")], api_key_id=None)


def state_of(month: tuple[int, int] = MONTH) -> list[PartitionState]:
    return [partition.state for partition in partitions.partitions() if partition.month == month]


def ids() -> list[str]:
    return sorted(UsageEvent.objects.values_list("event_id", flat=True))


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("partitions", *arguments, stdout=out)
    return out.getvalue()


def test_a_detached_month_leaves_the_log_and_its_events_stay_duplicates(old_events: None) -> None:
    table = detach_partition(MONTH, today=TODAY)

    assert (table, ids(), state_of()) == ("usage_event_archive_2012_05", ["new"], [PartitionState.ARCHIVED])
    again = record_events(events=[event("old", at=THEN)], api_key_id=None)
    assert (again.accepted, again.duplicates) == (0, 1)
    with transaction.atomic():
        assert [one.id for one in read_table(table)] == ["old"]


def test_a_month_is_put_back_as_it_was(old_events: None) -> None:
    detach_partition(MONTH, today=TODAY)

    attach_partition(MONTH)

    assert (ids(), state_of()) == (["new", "old"], [PartitionState.LIVE])
    record_events(events=[event("another", at=THEN)], api_key_id=None)
    assert ids() == ["another", "new", "old"]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'c' AND conrelid = 'usage_event_2012_05'::regclass"
        )
        assert cursor.fetchone() == (2,)  # those of the log
    assert detach_partition(MONTH, today=TODAY) == "usage_event_archive_2012_05"


def test_a_metric_that_was_made_meanwhile_counts_a_month_that_is_put_back(old_events: None) -> None:
    detach_partition(MONTH, today=TODAY)
    metric = BillableMetricFactory(aggregation="count", value_property="")
    backfill_metrics()
    window = UsageWindow(Customer.objects.get().pk, metric.current_version, THEN, THEN + dt.timedelta(days=3))
    assert measure_usage([window], stored_before=None)[0].quantity == 0

    restore_month(MONTH)

    assert measure_usage([window], stored_before=None)[0].quantity == 1
    assert compare_usage() == []


def test_a_detach_that_was_interrupted_is_ended_by_the_next_one(old_events: None) -> None:
    with psycopg.connect(database_url()) as reader, psycopg.connect(database_url(), autocommit=True) as other:
        reader.execute("SELECT count(*) FROM usage_event")
        other.execute("SET statement_timeout = '500ms'")
        # The reader's transaction sees the partition, so that the detach waits for it and is cancelled.
        with pytest.raises(psycopg.errors.QueryCanceled):
            other.execute("ALTER TABLE usage_event DETACH PARTITION usage_event_2012_05 CONCURRENTLY")
    assert state_of() == [PartitionState.DETACHING]

    detach_partition(MONTH, today=TODAY)

    assert (state_of(), ids()) == ([PartitionState.ARCHIVED], ["new"])


def test_a_month_whose_events_wait_for_a_customer_is_left_unless_one_insists(old_events: None) -> None:
    record_events(events=[event("waiting", at=THEN, subject="nobody")], api_key_id=None)

    with pytest.raises(PartitionRefused, match="1 events without a customer"):
        detach_partition(MONTH, today=TODAY)
    assert state_of() == [PartitionState.LIVE]

    detach_partition(MONTH, today=TODAY, leave_unattributed=True)
    assert state_of() == [PartitionState.ARCHIVED]


def test_a_month_whose_events_may_still_arrive_is_refused() -> None:
    ensure_months([(2023, 11)])

    with pytest.raises(PartitionRefused, match="may still arrive"):
        detach_partition((2023, 11), today=TODAY)


def test_a_detach_gives_up_rather_than_have_everybody_wait_behind_a_long_reader(
    old_events: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "PATIENCE", "200ms")
    with psycopg.connect(database_url()) as reader:
        reader.execute("SELECT count(*) FROM usage_event")
        with pytest.raises(PartitionRefused, match="is being read right now"):
            detach_partition(MONTH, today=TODAY)

    assert (state_of(), ids()) == ([PartitionState.LIVE], ["new", "old"])


def test_a_detach_inside_a_transaction_is_a_mistake() -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        detach_partition(MONTH, today=TODAY)


@pytest.mark.parametrize(
    ("days", "months"), [(0, 0), (1, 1), (28, 1), (29, 2), (59, 2), (365, 12), (366, 13), (1826, 60), (1830, 61)]
)
def test_whole_months_cover_the_age_that_events_may_have(days: int, months: int) -> None:
    assert least_keep_months(days) == months


def test_a_retention_shorter_than_events_may_be_old_is_refused(settings: Settings) -> None:
    settings.EVENTS_KEEP_MONTHS = 60

    with pytest.raises(ImproperlyConfigured, match="Keep at least 61 months"):
        detach_old_partitions(today=TODAY)
    with pytest.raises(SystemCheckError, match="EVENTS_KEEP_MONTHS is 60"):
        call_command("check")


def test_the_daily_job_detaches_what_is_older_than_the_retention_and_says_what_it_left(
    settings: Settings, old_events: None
) -> None:
    settings.EVENTS_KEEP_MONTHS = 174  # The first month that is kept: May 2012.
    assert detach_old_partitions(today=TODAY) == ([], [])
    settings.EVENTS_KEEP_MONTHS = 173
    record_events(events=[event("waiting", at=THEN, subject="nobody")], api_key_id=None)
    detached, [refusal] = detach_old_partitions(today=TODAY)
    assert (detached, "without a customer" in str(refusal)) == ([], True)
    UsageEvent.objects.filter(event_id="waiting").delete()

    assert detach_old_partitions(today=TODAY) == ([MONTH], [])
    assert detach_old_partitions(today=TODAY) == ([], [])


def test_without_a_retention_nothing_is_detached(old_events: None) -> None:
    assert detach_old_partitions(today=TODAY) == ([], [])


def test_an_archived_month_does_not_keep_a_new_partition_from_being_made(old_events: None) -> None:
    detach_partition(MONTH, today=TODAY)
    record_events(events=[event("later", at=THEN)], api_key_id=None)

    assert sorted(state_of()) == [PartitionState.ARCHIVED, PartitionState.LIVE]
    with pytest.raises(PartitionRefused, match="made since"):
        attach_partition(MONTH)
    with pytest.raises(PartitionRefused, match="Drop or attach"):
        detach_partition(MONTH, today=TODAY)


def test_the_command_lists_detaches_attaches_and_drops(old_events: None) -> None:
    assert "2012-05  live" in run("list")
    run("detach", "2012-05")
    assert "2012-05  archived" in run("list")
    run("attach", "2012-05")
    run("detach", "2012-05")
    with pytest.raises(CommandError, match="insist with --yes"):
        run("drop", "2012-05")
    assert "still counts as a duplicate" in run("drop", "2012-05", "--yes")
    assert "2012-05" not in run("list")
    with pytest.raises(CommandError, match="no partition of 2012-05 in the archive"):
        run("attach", "2012-05")


@pytest.mark.parametrize("arguments", [["detach"], ["list", "2012-05"], ["detach", "2012-05", "2012-06"]])
def test_the_command_wants_the_month_that_its_action_needs(arguments: list[str]) -> None:
    with pytest.raises(CommandError, match="takes"):
        run(*arguments)


def test_a_dropped_month_is_gone_for_good(old_events: None) -> None:
    detach_partition(MONTH, today=TODAY)
    drop_partition(MONTH)

    assert state_of() == []
    assert record_events(events=[event("old", at=THEN)], api_key_id=None).duplicates == 1
