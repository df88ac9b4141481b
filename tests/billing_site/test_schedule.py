"""The beat schedule: every entry wakes a task that exists, and the demo's own close comes of it."""

from __future__ import annotations

import pytest
from django.conf import settings

from apps.closing.models import CloseRun, RunState
from apps.contracts.models import Contract
from apps.invoices.models import Invoice
from billing_site.celery import app
from tests.builders import active_contract, flat_fee, published_plan
from tests.conftest import Processes, utc, wait_until


def test_every_entry_names_a_task_that_is_registered() -> None:
    app.loader.import_default_modules()

    assert {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()} <= set(app.tasks)


@pytest.mark.django_db(transaction=True)
def test_the_scheduled_task_closes_what_is_due_in_a_real_worker(processes: Processes) -> None:
    active_contract(published_plan(flat_fee("49.00")), end=utc(2023, 12, 1).date())
    processes.worker()

    processes.send("closing.start_due_run")
    wait_until(lambda: CloseRun.objects.filter(state=RunState.FINISHED).exists(), what=f"the close\n{processes.logs()}")

    assert Invoice.objects.get().contract == Contract.objects.get()
    assert CloseRun.objects.get().started_by is None
