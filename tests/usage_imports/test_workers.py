"""Uploaded files and real workers: killed, doubled, and every row counted once."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from django.db import connections
from django.utils import timezone

from apps.usage.models import UsageEvent
from apps.usage_imports import services
from apps.usage_imports.models import ImportState, OnError, UsageImport
from apps.usage_imports.services import start_import, work_import
from tests.conftest import Processes, wait_until
from tests.usage_imports.files import counts, csv_file, row, uploaded

pytestmark = pytest.mark.django_db(transaction=True)
ROWS = 40_000


def started(rows: int) -> UsageImport:
    job = uploaded(csv_file(*(row(f"request-{number}") for number in range(rows))))
    start_import(import_id=job.pk, is_dry_run=False, on_error=OnError.STOP, now=timezone.now())
    return job


def test_an_import_whose_worker_is_killed_is_swept_up_by_another(processes: Processes) -> None:
    job = started(ROWS)
    first = processes.worker()
    processes.send("usage_imports.work_import", import_id=job.pk)
    wait_until(
        lambda: UsageImport.objects.filter(rows_read__gt=0).exists(), seconds=60, what=f"a batch\n{processes.logs()}"
    )
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    killed = UsageImport.objects.get()
    assert (killed.state, killed.rows_read < ROWS) == (ImportState.RUNNING, True)

    processes.worker()
    processes.send("usage_imports.resume_imports")
    wait_until(
        lambda: UsageImport.objects.get().state == ImportState.FINISHED,
        seconds=90,
        what=f"the resumed import\n{processes.logs()}",
    )

    assert counts(UsageImport.objects.get()) == (ROWS, ROWS, 0, 0, 0)
    assert UsageEvent.objects.count() == ROWS


def test_workers_at_once_settle_each_row_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ROWS_AT_ONCE", 50)
    job = started(2_000)
    failures: list[BaseException] = []
    start_together = threading.Barrier(4)

    def work() -> None:
        try:
            start_together.wait()
            for _ in range(20):
                work_import(import_id=job.pk, now=timezone.now())
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
    job.refresh_from_db()
    assert counts(job) == (2_000, 2_000, 0, 0, 0)
    assert job.state == ImportState.FINISHED
