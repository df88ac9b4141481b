"""A definition tried on recent events: the figure, what counts, and why the rest does not."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from apps.billable_metrics.definitions import (
    Aggregation,
    FilterOperator,
    MetricDefinition,
    PropertyFilter,
)
from apps.customers.models import Customer
from apps.usage import metric_preview
from apps.usage.metric_preview import TooSlow, preview_metric
from apps.usage.models import UsageCache
from apps.usage.selectors import UsageWindow, measure_usage
from apps.usage.services import backfill_metrics, record_events
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.pages import page_text, url_of
from tests.usage.events import event

pytestmark = pytest.mark.django_db
ADDRESS = "/admin/metric-preview/"
WEEK = dt.timedelta(days=7)
LARGE = PropertyFilter("model", FilterOperator.EQ, ("large",))
TOKENS = MetricDefinition(
    "llm.completion", Aggregation.SUM, value_property="tokens", filters=(LARGE,), group_by=("region",)
)


@pytest.fixture
def now() -> dt.datetime:
    return timezone.now()


@pytest.fixture
def acme(now: dt.datetime) -> Customer:
    """Four events of acme within the last hours, one of another customer, one of nobody, and an old one."""
    acme: Customer = CustomerFactory(external_id="acme", name="Acme")
    CustomerFactory(external_id="globex", name="Globex")
    data: list[tuple[str, str, dict[str, Any]]] = [
        ("one", "acme", {"model": "large", "tokens": 1, "region": "eu"}),
        ("two", "acme", {"model": "large", "tokens": "2"}),
        ("three", "acme", {"model": "small", "tokens": 4}),
        ("four", "acme", {"model": "large", "tokens": "many"}),
        ("five", "globex", {"model": "large", "tokens": 8, "region": "eu"}),
        ("six", "nobody", {"model": "large", "tokens": 16}),
    ]
    hour = dt.timedelta(hours=1)
    events = [
        event(event_id, subject=subject, data=payload, at=now - number * hour)
        for number, (event_id, subject, payload) in enumerate(data, 1)
    ]
    events.append(event("old", data={"model": "large", "tokens": 32}, at=now - 8 * WEEK / 7))
    record_events(events=events, api_key_id=None)
    return acme


def test_one_customer_is_measured_and_every_event_sorted(acme: Customer, now: dt.datetime) -> None:
    preview = preview_metric(TOKENS, customer=acme, since=WEEK, now=now)

    [measured] = preview.measured
    assert (int(measured.usage.quantity), measured.usage.event_count) == (3, 2)
    assert [(group.dimensions, str(group.quantity.normalize())) for group in measured.usage.groups] == [
        (("eu",), "1"),
        ((None,), "2"),
    ]
    assert [(found.event.event_id, found.value) for found in preview.counted] == [("one", 1), ("two", 2)]
    assert [(found.event.event_id, found.reasons) for found in preview.left_out] == [
        ("three", ("Not met: model is large. Here it is “small”.",)),
        ("four", ("No number in tokens, which is “many”.",)),
    ]
    assert not preview.is_cut


def test_all_customers_are_measured_each_by_itself(acme: Customer, now: dt.datetime) -> None:
    preview = preview_metric(TOKENS, customer=None, since=WEEK, now=now)

    assert {entry.customer.name: int(entry.usage.quantity) for entry in preview.measured} == {"Acme": 3, "Globex": 8}
    assert (preview.event_count, preview.unattributed, preview.customer_count) == (6, 1, 2)


def test_only_the_newest_events_are_tried(acme: Customer, now: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metric_preview, "MOST_EVENTS", 3)
    preview = preview_metric(TOKENS, customer=acme, since=WEEK, now=now)

    assert preview.is_cut
    assert preview.start_at == now - dt.timedelta(hours=3)
    assert (preview.event_count, int(preview.measured[0].usage.quantity)) == (3, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"aggregation": Aggregation.COUNT, "value_property": ""},
        {"aggregation": Aggregation.MAX, "carries_over": True},
        {"aggregation": Aggregation.UNIQUE_COUNT},
        {"aggregation": Aggregation.PERCENTILE, "percentile_rank": 50},
        {"aggregation": Aggregation.TIME_WEIGHTED_SUM, "carries_over": True},
        {"value_property": "", "value_expression": "tokens * 2"},
    ],
)
def test_a_saved_metric_measures_what_its_preview_said(
    acme: Customer, now: dt.datetime, changes: dict[str, Any]
) -> None:
    fields = {"event_type": "llm.completion", "aggregation": Aggregation.SUM, "value_property": "tokens", **changes}
    preview = preview_metric(MetricDefinition(**fields), customer=acme, since=WEEK, now=now)
    metric = BillableMetricFactory(**fields)
    backfill_metrics()

    [usage] = measure_usage(
        [UsageWindow(acme.pk, metric.current_version, preview.start_at, preview.end_at)],
        stored_before=None,
        as_of=now,
    )

    assert preview.measured[0].usage.quantity == usage.quantity


def test_the_sql_can_be_run_as_it_is_shown(acme: Customer, now: dt.datetime) -> None:
    preview = preview_metric(TOKENS, customer=acme, since=WEEK, now=now)
    with connection.cursor() as cursor:
        cursor.execute(preview.sql)
        assert sorted(cursor.fetchall()) == [(1, ["eu"]), (2, [None])]


def test_what_takes_too_long_is_stopped(acme: Customer, now: dt.datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*args: Any, **kwargs: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(metric_preview, "TIMEOUT_MILLISECONDS", 20)
    monkeypatch.setattr(metric_preview, "measure_usage", slow)
    with pytest.raises(TooSlow):
        preview_metric(TOKENS, customer=acme, since=WEEK, now=now)
    assert Customer.objects.count() == 2


# --- The page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def tried(page: Client, **changes: Any) -> str:
    fields = {
        "event_type": "llm.completion",
        "aggregation": "sum",
        "value_property": "tokens",
        "unit_plural": "tokens",
        "preview_since": "week",
        **changes,
    }
    response = page.post(ADDRESS, fields)
    assert response.status_code == 200
    return response.content.decode()


def test_the_frame_offers_customers_and_types(page: Client, acme: Customer) -> None:
    shown = page_text(page, ADDRESS)
    assert '<option value="acme">Acme</option>' in shown
    assert '<option value="llm.completion">' in shown


@pytest.mark.parametrize("named", ["acme", "Acme", "acm"])
def test_the_figure_of_a_customer_is_shown(page: Client, acme: Customer, named: str) -> None:
    shown = tried(page, preview_customer=named)
    assert '<span class="ch-number">7</span> tokens' in shown
    assert "from 3 events" in shown
    assert "No number in tokens, which is “many”." in shown


def test_reasons_are_told_once_with_their_number(page: Client, acme: Customer) -> None:
    rows = filters("model", "eq", "large") | {"preview_customer": "", "value_property": "none"}
    shown = tried(page, **rows)
    assert shown.count("Not met: model is large. Here it is “small”.") == 1
    assert '<td class="ch-right">5</td>' in shown  # All others of the six have no number only.


def filters(*row: str) -> dict[str, str]:
    return dict(zip(("filters-property", "filters-operator", "filters-values"), row, strict=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"event_type": ""}, "Begin with the event type"),
        ({"value_property": ""}, "Name the property that holds the value"),
        ({"value_property": "", "value_expression": "a +"}, "“a +” is no expression"),
        ({"event_type": "never.seen"}, "No events of this type yet"),
        ({"preview_customer": "globex", "preview_since": "hour"}, "No events in the last hour"),
        ({"preview_customer": "initech"}, "No single customer is “initech”"),
        ({"value_property": "none"}, "Nothing matches"),
        ({}, '<span class="ch-number">15</span> tokens'),
        ({"aggregation": "max"}, "Each is measured by itself"),
        ({}, "1 of these events names no known customer"),
    ],
)
def test_every_state_is_said(page: Client, acme: Customer, changes: dict[str, str], words: str) -> None:
    assert words in tried(page, **changes)


def test_only_who_may_define_metrics_may_try_them(client: Client) -> None:
    user = User.objects.create_user("ana", password="a long passphrase", is_staff=True)
    client.force_login(user)
    assert client.get(ADDRESS).status_code == 403
    assert client.post(ADDRESS, {}).status_code == 403


def test_events_are_listed_for_those_who_may_see_them(client: Client, acme: Customer) -> None:
    user = User.objects.create_user("ana", password="a long passphrase", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="change_billablemetric"))
    client.force_login(user)
    shown = tried(client, preview_customer="acme")
    assert '<span class="ch-number">7</span>' in shown
    assert "many" not in shown


def test_the_page_of_a_metric_tells_how_far_its_cache_is(page: Client) -> None:
    metric = BillableMetricFactory()
    address = url_of("billable_metrics_billablemetric", "change", metric.pk)
    assert "Waiting to begin" in page_text(page, address)
    UsageCache.objects.create(
        metric_version_id=metric.current_version.pk,
        state="building",
        partitions_done=3,
        partitions_total=12,
        requested_at=timezone.now(),
    )
    assert "3 of 12 months of events" in page_text(page, address)
    UsageCache.objects.update(state="ready")
    assert "Hour and day buckets" in page_text(page, address)
