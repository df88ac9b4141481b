"""Finding events by time and by what they say, and correcting them on their pages."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.billable_metrics.models import BillableMetric
from apps.common.database import TookTooLong, time_limit
from apps.customers.models import Customer, CustomerAlias
from apps.usage.admin import events as pages
from apps.usage.models import UsageCorrection, UsageEvent
from apps.usage.selectors import place_of
from apps.usage.services import attribute_events, record_events, void_events
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.pages import confirm, viewer
from tests.usage.events import NOON, event
from tests.usage.test_corrections import stored

pytestmark = pytest.mark.django_db
EVENTS = "admin:usage_usageevent_changelist"
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def found(page: Client, **query: str) -> list[str]:
    response = page.get(reverse(EVENTS), query)
    assert response.status_code == 200
    return [shown.event_id for shown in response.context["events"]]


def text_of(page: Client, event_id: str) -> str:
    response = page.get(reverse("admin:usage_usageevent_change", args=[stored(event_id).pk]))
    return " ".join(response.content.decode().split())


# --- Finding ---------------------------------------------------------------------------------------------------------


def test_without_a_range_the_last_day_with_events_is_shown_and_named(page: Client) -> None:
    record_events(
        events=[event("old", at=NOON - 30 * HOUR), event("b", at=NOON), event("a", at=NOON + HOUR)], api_key_id=None
    )
    response = page.get(reverse(EVENTS))
    assert [shown.event_id for shown in response.context["events"]] == ["a", "b"]
    assert "Last 24 hours with events: 16 Nov 2023, 00:00 UTC to 17 Nov 2023, 00:00 UTC" in response.content.decode()


def test_events_of_today_are_the_last_24_hours(page: Client) -> None:
    now = timezone.now()
    record_events(events=[event("now", at=now), event("before", at=now - 25 * HOUR)], api_key_id=None)
    assert found(page) == ["now"]
    assert found(page, range="hour") == ["now"]
    assert found(page, range="week") == ["now", "before"]


def test_a_customer_s_last_day_is_its_own(page: Client) -> None:
    CustomerFactory(external_id="acme")
    record_events(events=[event("hers", at=NOON - 90 * 24 * HOUR), event("newer", subject="nobody")], api_key_id=None)
    assert found(page, customer="acme") == ["hers"]
    assert found(page, subject="nobody") == ["newer"]
    assert found(page, q="nobody") == ["newer"]


def test_an_id_is_found_whatever_its_time_with_what_replaced_it(page: Client) -> None:
    record_events(events=[event("old", at=NOON - 900 * 24 * HOUR), event("new")], api_key_id=None)
    assert found(page, q="old") == ["old"]
    confirm(page, reverse("admin:usage_usageevent_replace", args=[stored("old").pk]), **replacement(subject="globex"))
    assert found(page, q="old") == ["old", "old"]
    assert found(page, q="old", voided="no") == ["old"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"source": "other"}, ["b"]),
        ({"data_property": "model", "value": "large"}, ["a"]),
        ({"data_property": "model", "operator": "not_exists"}, ["b"]),
        ({"data_property": "input_tokens", "operator": "gte", "value": "100"}, ["c", "a"]),
        ({"data_property": "model", "operator": "in", "value": "large, small"}, ["c", "a"]),
        ({"voided": "no"}, ["c", "b", "a"]),
        ({"start": "2023-11-16T12:30", "end": "2023-11-16T13:30"}, ["b"]),
    ],
)
def test_events_are_found_by_what_they_say(page: Client, query: dict[str, str], expected: list[str]) -> None:
    record_events(
        events=[
            event("a", data={"model": "large", "input_tokens": 100}),
            event("b", at=NOON + HOUR, source="other", data={"input_tokens": 99}),
            event("c", at=NOON + 2 * HOUR, data={"model": "small", "input_tokens": 500}),
        ],
        api_key_id=None,
    )
    assert found(page, **query) == expected


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"customer": "ghost"}, "No customer has this ID, alias or name."),
        ({"value": "x"}, "Name the property that has this value."),
        ({"data_property": "n", "operator": "gt", "value": "many"}, "number"),
        ({"start": "2023-01-02T00:00", "end": "2023-01-01T00:00"}, "The end lies behind the start."),
        ({"start": "2020-01-01T00:00", "end": "2023-01-01T00:00"}, "At most 366 days"),
    ],
)
def test_a_search_that_cannot_be_run_says_why(page: Client, query: dict[str, str], said: str) -> None:
    response = page.get(reverse(EVENTS), query)
    assert said in response.content.decode()
    assert "events" not in response.context


def test_pages_follow_one_another_without_a_gap_also_at_equal_times(
    page: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ROWS_PER_PAGE", 7)
    record_events(events=[event(f"{n}", at=NOON + dt.timedelta(minutes=n // 5)) for n in range(23)], api_key_id=None)
    seen: list[str] = []
    url: str | None = reverse(EVENTS)
    while url:
        response = page.get(url)
        seen += [shown.event_id for shown in response.context["events"]]
        url = response.context["next_page_url"]
    assert sorted(seen) == sorted(f"{n}" for n in range(23))
    assert seen == [shown.event_id for shown in UsageEvent.objects.order_by("-occurred_at", "-pk")]


def test_a_search_that_takes_too_long_is_stopped_with_a_sentence(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*_: Any, **__: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(pages, "newest_events", slow)
    monkeypatch.setattr(pages, "SECONDS_FOR_ROWS", 1)
    assert "Choose a shorter time range" in page.get(reverse(EVENTS)).content.decode()


def test_the_time_limit_ends_with_its_block() -> None:
    with pytest.raises(TookTooLong), time_limit(1), connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(3)")
    with time_limit(1):
        pass
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_an_empty_log_says_how_events_come(page: Client) -> None:
    assert "No usage events yet" in page.get(reverse(EVENTS)).content.decode()
    assert "No event fits" in page.get(reverse(EVENTS), {"type": "x"}).content.decode()


# --- The way of one event --------------------------------------------------------------------------------------------


def test_the_page_tells_who_named_the_customer_and_since_when(page: Client) -> None:
    record_events(events=[event("a"), event("b", subject="ws-1")], api_key_id=None)
    acme = CustomerFactory(external_id="acme", name="Acme")
    CustomerAlias.objects.create(customer=acme, alias="ws-1")
    attribute_events()
    assert "“acme” is its external ID. Known since" in text_of(page, "a")
    assert "“ws-1” is an alias of it. Known since" in text_of(page, "b")
    CustomerAlias.objects.all().delete()
    assert "is a name that it had at that time" in text_of(page, "b")


def test_the_page_counts_conflicts(page: Client) -> None:
    record_events(events=[event("a")], api_key_id=None)
    assert "It never came with other content" in text_of(page, "a")
    for tokens in (1, 2, 2):
        record_events(events=[event("a", data={"input_tokens": tokens})], api_key_id=None)
    text = text_of(page, "a")
    assert "It came 3 times with other content" in text
    assert "2 conflicts" in text


def test_the_page_says_why_a_metric_does_not_count_it(page: Client) -> None:
    BillableMetricFactory(name="Input tokens")
    record_events(events=[event("a", data={"tokens": 1})], api_key_id=None)
    assert "nothing<br>No number in input_tokens, which is missing." in text_of(page, "a")


# --- Correcting ------------------------------------------------------------------------------------------------------


def replacement(**changes: str) -> dict[str, str]:
    return {
        "type": "llm.completion",
        "subject": "acme",
        "time": "2023-11-16 12:00:00",
        "data": '{"input_tokens": 100}',
        "reason": "Wrong",
        **changes,
    }


def test_an_event_is_voided_on_its_page_and_says_so(page: Client, acme_metric: BillableMetric) -> None:
    record_events(events=[event("a")], api_key_id=None)
    confirm(page, reverse("admin:usage_usageevent_void", args=[stored("a").pk]), reason="Sent twice")
    text = text_of(page, "a")
    assert "by clerk: “Sent twice”" in text
    assert "Nothing counts in its place." in text
    assert reverse("admin:usage_usageevent_void", args=[stored("a").pk]) not in text
    listed = page.get(reverse("admin:usage_usagecorrection_changelist")).content.decode()
    assert "Sent twice" in listed


def test_an_event_is_replaced_on_its_page_with_links_both_ways(page: Client, acme_metric: BillableMetric) -> None:
    record_events(events=[event("a")], api_key_id=None)
    first = stored("a")
    confirm(page, reverse("admin:usage_usageevent_replace", args=[first.pk]), **replacement(data='{"input_tokens": 7}'))
    new = stored("a")
    assert new.data == {"input_tokens": 7}
    assert reverse("admin:usage_usageevent_change", args=[first.pk]) in text_of(page, "a")
    old_page = page.get(reverse("admin:usage_usageevent_change", args=[first.pk])).content.decode()
    assert reverse("admin:usage_usageevent_change", args=[new.pk]) in old_page
    correction = UsageCorrection.objects.get()
    shown = page.get(reverse("admin:usage_usagecorrection_change", args=[correction.pk])).content.decode()
    assert "Its replacement" in shown


def test_the_dialog_shows_what_is_refused(page: Client, acme_metric: BillableMetric) -> None:
    record_events(events=[event("a")], api_key_id=None)
    url = reverse("admin:usage_usageevent_replace", args=[stored("a").pk])
    assert "just what the event says" in confirm(page, url, **replacement()).content.decode()
    assert "not valid JSON" in confirm(page, url, **replacement(data="{")).content.decode()
    assert "“100.00”" not in confirm(page, url, **replacement(data='{"input_tokens": "x"}')).content.decode()
    assert stored("a").voided_at is None


def test_all_that_a_search_finds_is_corrected_once_it_is_confirmed(page: Client, acme_metric: BillableMetric) -> None:
    record_events(events=[event(f"{n}", at=NOON + n * HOUR) for n in range(8)], api_key_id=None)
    url = page.get(reverse(EVENTS), {"type": "llm.completion", "start": "2023-11-16T14:00"}).context["correct_url"]

    asked = page.get(url)

    assert asked.context["count"] == 6
    assert "event time from 16 Nov 2023, 14:00:00 up to 17 Nov 2023, 14:00:00 UTC; type llm.completion" in (
        asked.content.decode()
    )
    unsure = page.post(url, {"expected": "5", "kind": "void", "reason": "x"})
    assert "You were shown 5 events, and there are 6 by now." in unsure.content.decode()
    done = page.post(url, {"expected": "6", "kind": "void", "reason": "Load test"}, follow=True)
    assert "6 events are corrected." in done.content.decode()
    assert UsageEvent.objects.filter(voided_at=None).count() == 2


def test_who_only_looks_corrects_nothing(client: Client, acme_metric: BillableMetric) -> None:
    record_events(events=[event("a")], api_key_id=None)
    client.force_login(viewer("usage.usageevent"))
    assert "Correct all of these" not in client.get(reverse(EVENTS)).content.decode()
    assert client.get(reverse("admin:usage_usageevent_correct")).status_code == 403
    assert confirm(client, reverse("admin:usage_usageevent_void", args=[stored("a").pk]), reason="x").status_code == 403
    assert stored("a").voided_at is None


def test_a_voided_event_of_a_customer_is_marked_on_the_list(page: Client) -> None:
    customer: Customer = CustomerFactory(external_id="acme")
    record_events(events=[event("a")], api_key_id=None)
    void_events(events=[place_of(stored("a"))], reason="x", actor=None)
    assert "Voided" in page.get(reverse(EVENTS), {"customer": customer.external_id}).content.decode()
    assert found(page, voided="yes") == ["a"]
    assert found(page, voided="no") == []


def test_an_event_says_in_one_word_where_it_stands(page: Client) -> None:
    CustomerFactory(external_id="acme")
    record_events(events=[event("a"), event("b", subject="nobody")], api_key_id=None)
    assert "No metric measures it" in text_of(page, "a")
    BillableMetricFactory()
    assert ">Counts</span>" in text_of(page, "a")
    assert ">Unattributed</span>" in text_of(page, "b")


def test_the_page_of_an_event_names_it_as_it_was_sent(page: Client) -> None:
    record_events(events=[event("request-a", at=NOON + dt.timedelta(seconds=7))], api_key_id=None)
    text = text_of(page, "request-a")
    assert "Request-a" not in text
    assert "16 Nov 2023, 12:00:07 UTC" in text
