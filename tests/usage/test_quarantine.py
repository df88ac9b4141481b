"""Events held for staff to decide."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.usage.models import QuarantinedEvent, UsageEvent
from apps.usage.partitions import PartitionRefused
from apps.usage.services import discard_events, quarantine_events, record_events, release_events
from apps.usage.services.quarantine import NothingWaits
from tests.usage.events import NOON, event

pytestmark = pytest.mark.django_db
LONG_AGO = dt.datetime(2012, 5, 1, tzinfo=dt.UTC)
LIST = "admin:usage_quarantinedevent_changelist"


def hold(*names: str, at: dt.datetime = LONG_AGO, received_at: dt.datetime = NOON) -> int:
    events = [event(name, at=at) for name in names]
    return quarantine_events(events=events, reason="Too old", api_key_id=None, received_at=received_at)


def ids() -> list[int]:
    return list(QuarantinedEvent.objects.values_list("pk", flat=True))


def test_an_event_is_held_once_and_counted_when_it_comes_again() -> None:
    assert hold("a", "b", "a") == 2
    assert hold("a", received_at=NOON + dt.timedelta(hours=1)) == 0
    held = QuarantinedEvent.objects.get(event_id="a")
    assert (held.times_received, held.received_at, held.last_received_at) == (3, NOON, NOON + dt.timedelta(hours=1))
    assert not UsageEvent.objects.exists()


def test_a_released_event_is_stored_however_old(acme_metric: BillableMetric, clerk: User) -> None:
    hold("a", "b")
    record_events(events=[event("b", at=LONG_AGO)], api_key_id=None)

    done = release_events(ids=ids(), reason="The device was offline", actor=clerk, now=NOON)

    assert (done.stored, done.duplicates, done.conflicts) == (1, 1, 0)
    found = UsageEvent.objects.get(event_id="a")
    assert (found.occurred_at, found.data, found.customer is not None) == (LONG_AGO, {"input_tokens": 100}, True)
    held = QuarantinedEvent.objects.get(event_id="a")
    assert (held.state, held.decided_by, held.decision_reason, held.decided_at) == (
        "released",
        clerk,
        "The device was offline",
        NOON,
    )


def test_a_discarded_event_is_not_stored_and_stays_on_the_list(clerk: User) -> None:
    hold("a")
    assert discard_events(ids=ids(), reason="A test", actor=clerk, now=NOON) == 1
    assert QuarantinedEvent.objects.get().state == "discarded"
    with pytest.raises(NothingWaits):
        release_events(ids=ids(), reason="x", actor=clerk, now=NOON)
    assert not UsageEvent.objects.exists()


def test_a_decision_needs_a_reason_and_a_time_that_can_be_right() -> None:
    hold("a")
    hold("b", at=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(InvalidInput, match="“b” is from before 2000"):
        release_events(ids=ids(), reason="x", actor=None, now=NOON)
    with pytest.raises(InvalidInput, match="Say why"):
        discard_events(ids=ids(), reason=" ", actor=None, now=NOON)
    assert QuarantinedEvent.objects.waiting().count() == 2
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(("action", "state"), [("release", "released"), ("discard", "discarded")])
def test_staff_decide_on_the_list(client: Client, clerk: User, action: str, state: str) -> None:
    client.force_login(clerk)
    hold("a", "b")
    asked = client.post(reverse(LIST), {"action": action, "_selected_action": ids()})
    assert "2 waiting events?" in asked.content.decode()
    assert QuarantinedEvent.objects.waiting().count() == 2
    done = client.post(reverse(LIST), {"action": action, "_selected_action": ids(), "reason": "Because"}, follow=True)
    assert f"2 events are {'stored' if action == 'release' else state}." in done.content.decode()
    assert set(QuarantinedEvent.objects.values_list("state", flat=True)) == {state}
    page = client.get(reverse("admin:usage_quarantinedevent_change", args=[ids()[0]])).content.decode()
    assert "clerk: Because" in page
    assert f">{state.capitalize()}</span>" in page


def test_an_empty_quarantine_says_what_it_is_for(client: Client, clerk: User) -> None:
    client.force_login(clerk)
    assert "Nothing is in quarantine" in client.get(reverse(LIST)).content.decode()


def test_a_month_that_has_left_the_log_takes_no_single_event() -> None:
    hold("a")
    record_events(events=[event("b", at=LONG_AGO)], api_key_id=None)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE usage_event DETACH PARTITION usage_event_2012_05")
        cursor.execute("ALTER TABLE usage_event_2012_05 RENAME TO usage_event_archive_2012_05")
    with pytest.raises(PartitionRefused, match="The events of 2012-05 have left the log"):
        release_events(ids=ids(), reason="x", actor=None, now=NOON)
    assert QuarantinedEvent.objects.waiting().count() == 1
