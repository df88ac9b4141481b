"""Real workers, killed and doubled: one invoice for each contract and period, and nothing left undone."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from decimal import Decimal

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from apps.closing.models import CloseRun, RunState
from apps.closing.services import NothingToClose, start_close_run, work_run
from apps.common.errors import BillingError
from apps.contracts.models import Contract
from apps.invoices.models import Invoice, InvoiceLine
from apps.invoices.services.interim import bill_so_far
from apps.rating.values import BillKind
from tests.builders import active_contract, active_contracts, flat_fee, per_unit, published_plan, record_usage
from tests.conftest import Processes, utc, wait_until
from tests.factories import BillableMetricFactory

pytestmark = pytest.mark.django_db(transaction=True)

CONTRACTS = 250


def backends_waiting_for_a_lock() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'invoices_invoiceline'::regclass"
        )
        return int(cursor.fetchone()[0])


def is_finished(run: CloseRun) -> bool:
    return CloseRun.objects.get(pk=run.pk).state == RunState.FINISHED


def assert_closed_once() -> None:
    assert Invoice.objects.count() == CONTRACTS
    assert Invoice.objects.values("contract", "period_start_at").distinct().count() == CONTRACTS
    assert InvoiceLine.objects.count() == CONTRACTS
    assert Contract.objects.filter(closed_through=utc(2023, 12, 1)).count() == CONTRACTS


def test_a_worker_killed_in_the_middle_of_a_close_costs_nothing(processes: Processes) -> None:
    active_contracts(published_plan(flat_fee("49.00")), CONTRACTS)
    first = processes.worker()
    with transaction.atomic():
        # Holding the table makes the worker stop between its drafts and their lines, where the kill hits it.
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE invoices_invoiceline IN SHARE MODE")
        run = start_in_a_thread()
        processes.send("closing.work_run", run_id=run.pk)
        wait_until(lambda: backends_waiting_for_a_lock() > 0, what="a worker in the middle of its chunk")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    wait_until(lambda: backends_waiting_for_a_lock() == 0, what="the end of the killed worker's session")
    assert Invoice.objects.count() == 0
    assert not is_finished(run)

    for _ in range(2):
        processes.worker()
        processes.send("closing.resume_runs")
    wait_until(lambda: is_finished(run), seconds=60, what=f"the resumed run\n{processes.logs()}")

    assert_closed_once()


def start_in_a_thread() -> CloseRun:
    """Start a run on a connection of its own, so that it commits while the caller's transaction stays open."""
    started: list[CloseRun] = []

    def start() -> None:
        started.append(start_close_run(as_of=timezone.now(), through_date=utc(2023, 11, 30).date()))
        connections.close_all()

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    return started[0]


def test_four_workers_at_once_close_each_period_once() -> None:
    active_contracts(published_plan(flat_fee("49.00")), CONTRACTS)
    run = start_close_run(as_of=utc(2023, 12, 2))
    failures: list[BaseException] = []
    start_together = threading.Barrier(4)

    def work() -> None:
        try:
            start_together.wait()
            work_run(run_id=run.pk, now=utc(2023, 12, 2), chunk_size=7)
        except BaseException as failure:
            failures.append(failure)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert failures == []
    assert is_finished(run)
    assert_closed_once()


def test_two_runs_started_at_once_share_the_periods() -> None:
    active_contracts(published_plan(flat_fee("49.00")), CONTRACTS)
    start_together = threading.Barrier(3)
    outcomes: list[str] = []

    def start_and_work() -> None:
        start_together.wait()
        try:
            run = start_close_run(as_of=utc(2023, 12, 2))
            work_run(run_id=run.pk, now=utc(2023, 12, 2), chunk_size=20)
            outcomes.append("ran")
        except Exception as error:
            outcomes.append(type(error).__name__)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start_and_work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(outcomes) <= {"ran", "NothingToClose"}
    assert_closed_once()


# --- Opening bills ----------------------------------------------------------------------------------------------------

IN_ADVANCE = flat_fee("49.00", in_advance=True)


def assert_opened_and_closed_once() -> None:
    """One opening bill of November, and one at its end that bills December in advance, for each contract."""
    for kind in (BillKind.OPENING, BillKind.PERIOD):
        bills = Invoice.objects.filter(kind=kind)
        assert bills.count() == bills.values("contract").distinct().count() == CONTRACTS
    assert InvoiceLine.objects.count() == 2 * CONTRACTS
    assert InvoiceLine.objects.filter(window_start_at=utc(2023, 11, 1)).count() == CONTRACTS
    assert Contract.objects.filter(closed_through=utc(2023, 12, 1)).count() == CONTRACTS


def test_a_worker_killed_in_the_middle_of_the_opening_bills_costs_nothing(processes: Processes) -> None:
    active_contracts(published_plan(IN_ADVANCE), CONTRACTS)
    first = processes.worker()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE invoices_invoiceline IN SHARE MODE")
        run = start_in_a_thread()
        processes.send("closing.work_run", run_id=run.pk)
        wait_until(lambda: backends_waiting_for_a_lock() > 0, what="a worker in the middle of its chunk")
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    wait_until(lambda: backends_waiting_for_a_lock() == 0, what="the end of the killed worker's session")
    assert Invoice.objects.count() == 0

    for _ in range(2):
        processes.worker()
        processes.send("closing.resume_runs")
    wait_until(lambda: is_finished(run), seconds=120, what=f"the resumed run\n{processes.logs()}")

    assert_opened_and_closed_once()


def test_runs_started_at_once_share_the_opening_bills() -> None:
    active_contracts(published_plan(IN_ADVANCE), CONTRACTS)
    start_together = threading.Barrier(3)
    outcomes: list[str] = []

    def start_and_work() -> None:
        start_together.wait()
        try:
            run = start_close_run(as_of=utc(2023, 12, 2))
            work_run(run_id=run.pk, now=utc(2023, 12, 2), chunk_size=20)
            outcomes.append("ran")
        except Exception as error:
            outcomes.append(type(error).__name__)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=start_and_work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in CloseRun.objects.filter(state=RunState.RUNNING):
        # What one run left to another, the sweeper takes up.
        work_run(run_id=run.pk, now=utc(2023, 12, 2))

    assert set(outcomes) <= {"ran", "NothingToClose"}
    assert not CloseRun.objects.filter(state=RunState.RUNNING).exists()
    assert_opened_and_closed_once()


def test_usage_billed_while_a_period_closes_is_billed_once() -> None:
    metric = BillableMetricFactory()
    contract = active_contract(published_plan(per_unit(metric, "1.00")))
    record_usage(contract.customer, metric, (utc(2023, 11, 10), 10))
    start_together = threading.Barrier(4)

    def close() -> None:
        start_together.wait()
        try:
            run = start_close_run(as_of=utc(2023, 12, 2))
            work_run(run_id=run.pk, now=utc(2023, 12, 2))
        finally:
            connections.close_all()

    def bill() -> None:
        start_together.wait()
        try:
            with contextlib.suppress(BillingError):
                bill_so_far(contract_id=contract.pk, as_of=utc(2023, 11, 30))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for work in (close, bill, bill, bill)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with contextlib.suppress(NothingToClose):
        later = start_close_run(as_of=utc(2023, 12, 2))
        work_run(run_id=later.pk, now=utc(2023, 12, 2))
    for run in CloseRun.objects.filter(state=RunState.RUNNING):
        work_run(run_id=run.pk, now=utc(2023, 12, 2))

    assert sum(invoice.total.amount for invoice in Invoice.objects.all()) == Decimal("10.00")
    assert Invoice.objects.filter(kind=BillKind.PERIOD).count() == 1
