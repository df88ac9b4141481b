"""The pages of close runs: start one, watch it, read why something failed, retry."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from apps.closing.models import CloseRun
from apps.closing.services import start_close_run, work_run
from apps.contracts.models import ContractPhase
from tests.builders import active_contract, active_contracts, flat_fee, published_plan
from tests.conftest import utc

pytestmark = pytest.mark.django_db

DECEMBER_2 = utc(2023, 12, 2)
LIST = "admin:closing_closerun_changelist"
START = "admin:closing_closerun_start_run"


@pytest.fixture
def finance(clerk: User, client: Client) -> Client:
    client.force_login(clerk)
    return client


def test_an_empty_list_says_what_a_close_run_is(finance: Client) -> None:
    page = finance.get(reverse(LIST)).content.decode()

    assert "No close runs yet" in page


def test_a_run_is_started_by_hand(finance: Client, clerk: User) -> None:
    active_contract(published_plan(flat_fee("49.00")))

    answer = finance.post(
        reverse(START), {"_form_submitted": "on", "through_date": "2023-11-30", "wait_for_grace": "on"}
    )

    run = CloseRun.objects.get()
    assert answer["Location"] == reverse("admin:closing_closerun_change", args=[run.pk])
    assert (run.started_by, run.through_date, run.items.count()) == (clerk, dt.date(2023, 11, 30), 1)


def test_when_nothing_is_due_the_refusal_is_shown_and_no_run_is_made(finance: Client) -> None:
    page = finance.post(reverse(START), {"_form_submitted": "on"}, follow=True).content.decode()

    assert "No billing period is due" in page
    assert CloseRun.objects.count() == 0


def test_a_day_that_is_none_is_refused_beside_its_field(finance: Client) -> None:
    active_contract(published_plan(flat_fee("49.00")))

    page = finance.post(reverse(START), {"_form_submitted": "on", "through_date": "soon"}).content.decode()

    assert "Enter a valid date" in page
    assert CloseRun.objects.count() == 0


def test_the_progress_of_a_run_is_read_by_its_page(finance: Client) -> None:
    active_contracts(published_plan(flat_fee("49.00")), 3)
    run = start_close_run(as_of=DECEMBER_2)
    address = reverse("admin:closing_closerun_progress", args=[run.pk])

    waiting = finance.get(address).json()
    page = finance.get(reverse("admin:closing_closerun_change", args=[run.pk])).content.decode()
    work_run(run_id=run.pk, now=DECEMBER_2)
    finished = finance.get(address).json()

    assert (waiting["finished"], "0 of 3" in waiting["html"]) == (False, True)
    assert f'data-progress-url="{address}"' in page
    assert (finished["finished"], "3 of 3" in finished["html"]) == (True, True)


def test_a_failure_is_shown_with_its_reason_and_retried(finance: Client) -> None:
    active_contract(published_plan(flat_fee("49.00")))
    ContractPhase.objects.update(end_date=dt.date(2023, 11, 20))
    run = start_close_run(as_of=DECEMBER_2)
    work_run(run_id=run.pk, now=DECEMBER_2)
    page = finance.get(reverse("admin:closing_closerun_change", args=[run.pk])).content.decode()
    ContractPhase.objects.update(end_date=None)

    answer = finance.post(reverse("admin:closing_closerun_retry_failed", args=[run.pk]), {"_form_submitted": "on"})

    assert "has no plan for all of 1 Nov 2023 to 30 Nov 2023" in page
    retry = CloseRun.objects.exclude(pk=run.pk).get()
    assert answer["Location"] == reverse("admin:closing_closerun_change", args=[retry.pk])
    assert retry.retry_of == run
    page = finance.get(reverse("admin:closing_closerun_change", args=[run.pk])).content.decode()
    assert "Retry what failed" not in page
    assert f'These were retried by <a class="ch-link" href="{answer["Location"]}">' in page


def test_a_run_without_failures_offers_no_retry(finance: Client) -> None:
    active_contract(published_plan(flat_fee("49.00")))
    run = start_close_run(as_of=DECEMBER_2)
    work_run(run_id=run.pk, now=DECEMBER_2)

    page = finance.get(reverse("admin:closing_closerun_change", args=[run.pk])).content.decode()

    assert "Retry what failed" not in page
    assert "$49.00" in page


def test_who_may_only_look_starts_nothing(client: Client) -> None:
    active_contract(published_plan(flat_fee("49.00")))
    reader = User.objects.create_user("reader", password="a long passphrase", is_staff=True)
    reader.user_permissions.set(Permission.objects.filter(codename="view_closerun"))
    client.force_login(reader)

    assert client.get(reverse(LIST)).status_code == 200
    assert client.post(reverse(START), {"_form_submitted": "on"}).status_code == 403
    assert CloseRun.objects.count() == 0
