"""The explorer, the unattributed list and the conflicts, as staff see them."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.customers.models import Customer
from apps.usage.models import UsageConflict, UsageEvent
from apps.usage.services import attribute_events, attribute_subject, record_events, settle_cutoff
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.pages import viewer
from tests.usage.events import NOON, event

pytestmark = pytest.mark.django_db
EVENTS = "admin:usage_usageevent_changelist"
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture
def acme(db: None) -> Customer:
    customer: Customer = CustomerFactory(external_id="acme", name="Acme")
    return customer


def shown(page: Client, **query: str) -> list[str]:
    response = page.get(reverse(EVENTS), query)
    assert response.status_code == 200
    return sorted(found.event_id for found in response.context["events"])


def test_the_list_is_found_by_whole_id_and_by_subject(page: Client, acme: Customer) -> None:
    record_events(
        events=[event("request-1"), event("request-2"), event("request-3", subject="nobody")], api_key_id=None
    )
    assert shown(page) == ["request-1", "request-2", "request-3"]
    assert shown(page, q="request-1") == ["request-1"]
    assert shown(page, q="request") == []
    assert shown(page, q="acme") == ["request-1", "request-2"]
    assert shown(page, q="nobody") == ["request-3"]


def test_the_list_is_filtered(page: Client, acme: Customer) -> None:
    record_events(events=[event("a"), event("b", type="image"), event("c", subject="nobody")], api_key_id=None)
    assert shown(page, type="image") == ["b"]
    assert shown(page, attributed="no") == ["c"]
    assert shown(page, attributed="yes") == ["a", "b"]
    assert shown(page, customer="acme") == shown(page, customer=acme.name.lower()) == ["a", "b"]


def test_a_link_from_an_invoice_line_shows_exactly_its_events_and_says_so(page: Client, acme: Customer) -> None:
    metric = BillableMetricFactory(code="tokens")
    good = [event("in"), event("last", at=NOON + HOUR - dt.timedelta(microseconds=1))]
    others = [
        event("outside", at=NOON + HOUR),
        event("no number", data={}),
        event("other type", type="image"),
        event("other subject", subject="nobody"),
    ]
    record_events(events=good + others, api_key_id=None)
    cutoff = settle_cutoff()
    record_events(events=[event("late")], api_key_id=None)
    query = {
        "customer": str(acme.pk),
        "metric_version": str(metric.current_version.pk),
        "window_start": NOON.isoformat(),
        "window_end": (NOON + HOUR).isoformat(),
        "stored_before": cutoff.isoformat(),
    }

    response = page.get(f"{reverse(EVENTS)}?{urlencode(query)}")

    assert sorted(found.event_id for found in response.context["events"]) == ["in", "last"]
    text = " ".join(response.content.decode().split())
    assert "2 events" in text
    assert "200 tokens" in text
    assert shown(page, **query, q="last") == ["last"]
    assert "late" in shown(page, **{**query, "stored_before": ""})


@pytest.mark.parametrize(
    "changes",
    [
        {"customer": "x"},
        {"customer": "0"},
        {"metric_version": "none"},
        {"window_start": "soon"},
        {"window_end": "2023-11-16T12:00"},
    ],
)
def test_a_broken_link_says_so_and_shows_the_whole_list(page: Client, acme: Customer, changes: dict[str, str]) -> None:
    metric = BillableMetricFactory(code="tokens")
    query = {
        "customer": str(acme.pk),
        "metric_version": str(metric.current_version.pk),
        "window_start": NOON.isoformat(),
        "window_end": NOON.isoformat(),
        **changes,
    }
    response = page.get(reverse(EVENTS), query, follow=True)
    assert response.redirect_chain == [(reverse(EVENTS), 302)]
    assert "names no whole window" in response.content.decode()


def test_the_list_takes_the_same_queries_for_many_events(
    page: Client, acme: Customer, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    record_events(events=[event(str(n)) for n in range(60)], api_key_id=None)
    with django_assert_max_num_queries(22):
        response = page.get(reverse(EVENTS))
    assert len(response.context["events"]) == 50


def test_the_event_page_tells_what_it_counts_for(page: Client, acme: Customer) -> None:
    BillableMetricFactory(name="Input tokens")
    BillableMetricFactory(name="Seconds", value_property="seconds")
    data = {"input_tokens": 1234, "note": "<b>", "cost": Decimal("0.12345678901234567890123")}
    record_events(events=[event(data=data)], api_key_id=None)
    found = UsageEvent.objects.get()

    text = page.get(reverse("admin:usage_usageevent_change", args=[found.pk])).content.decode()

    assert "1,234 tokens" in " ".join(text.split())
    assert "nothing" in text
    assert "&lt;b&gt;" in text
    assert "0.12345678901234567890123" in text


def test_the_page_of_an_unmatched_event_says_why_it_is_not_billed(page: Client) -> None:
    record_events(events=[event(subject="nobody", type="strange")], api_key_id=None)
    text = page.get(reverse("admin:usage_usageevent_change", args=[UsageEvent.objects.get().pk])).content.decode()
    assert "It counts as soon as it is" in text
    assert "No metric measures the type" in text


def test_every_page_that_an_event_links_to_opens(page: Client, acme: Customer) -> None:
    record_events(events=[event()], api_key_id=None)
    record_events(events=[event(data={})], api_key_id=None)
    pks = {"usageevent": UsageEvent.objects.get().pk, "usageconflict": UsageConflict.objects.get().pk}
    for model, pk in pks.items():
        for view in ("change", "history"):
            assert page.get(reverse(f"admin:usage_{model}_{view}", args=[pk])).status_code == 200, (model, view)


def test_events_cannot_be_changed_or_deleted_in_the_admin(page: Client) -> None:
    record_events(events=[event()], api_key_id=None)
    pk = UsageEvent.objects.get().pk
    assert page.post(reverse("admin:usage_usageevent_change", args=[pk]), {"subject": "x"}).status_code == 403
    assert page.post(reverse("admin:usage_usageevent_delete", args=[pk]), {"post": "yes"}).status_code == 403
    assert UsageEvent.objects.get().subject == "acme"


def test_unattributed_usage_is_grouped_and_can_be_matched(page: Client) -> None:
    BillableMetricFactory()
    record_events(
        events=[event("a"), event("b", at=NOON + HOUR), event("c", subject="globex", type="image")], api_key_id=None
    )
    address = reverse("admin:usage_unattributed_changelist")

    response = page.get(address)

    assert [(g.subject, g.type, g.event_count, g.first_at, g.last_at) for g in response.context["groups"]] == [
        ("acme", "llm.completion", 2, NOON, NOON + HOUR),
        ("globex", "image", 1, NOON, NOON),
    ]
    assert [kind.name for kind in response.context["types"]] == ["image"]

    CustomerFactory(external_id="acme")
    assert "2 events now have a customer" in page.post(address, follow=True).content.decode()
    assert [group.subject for group in page.get(address).context["groups"]] == ["globex"]


def test_who_only_looks_at_usage_does_not_match_it(client: Client) -> None:
    record_events(events=[event()], api_key_id=None)
    CustomerFactory(external_id="acme")
    client.force_login(viewer("usage.usageevent"))
    address = reverse("admin:usage_unattributed_changelist")

    assert "Match again now" not in client.get(address).content.decode()
    assert client.post(address).status_code == 403
    assert UsageEvent.objects.unattributed().count() == 1


def test_unattributed_usage_is_turned_page_by_page(page: Client) -> None:
    record_events(events=[event(f"{n}", subject=f"subject {n:03} &") for n in range(51)], api_key_id=None)
    first = page.get(reverse("admin:usage_unattributed_changelist"))
    assert len(first.context["groups"]) == 50
    second = page.get(reverse("admin:usage_unattributed_changelist"), {"after": first.context["next_after"]})
    assert [group.subject for group in second.context["groups"]] == ["subject 050 &"]


def test_conflicts_show_what_was_refused_beside_what_was_kept(page: Client, acme_metric: BillableMetric) -> None:
    record_events(events=[event()], api_key_id=None)
    record_events(events=[event(data={"input_tokens": 98765})], api_key_id=None)
    conflict = UsageConflict.objects.get()

    assert page.get(reverse("admin:usage_usageconflict_changelist"), {"q": "one"}).status_code == 200
    text = page.get(reverse("admin:usage_usageconflict_change", args=[conflict.pk])).content.decode()

    assert "98765" in text
    assert "100" in text
    listed = page.get(reverse("admin:usage_usageconflict_changelist"), {"first_event_id": str(conflict.first_event_id)})
    assert listed.context["cl"].result_count == 1


@pytest.mark.parametrize(
    "name", [EVENTS, "admin:usage_unattributed_changelist", "admin:usage_usageconflict_changelist"]
)
def test_a_user_without_the_permission_sees_nothing(client: Client, name: str) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.get(reverse(name)).status_code == 403


# --- Matching, and setting aside -------------------------------------------------------------------------------------

UNATTRIBUTED = "admin:usage_unattributed_changelist"


def test_a_subject_is_given_to_a_customer_in_one_action_with_all_of_its_events(
    page: Client, acme_metric: BillableMetric
) -> None:
    record_events(events=[event(f"{n}", subject="ws-1") for n in range(3)], api_key_id=None)
    address = reverse(UNATTRIBUTED)
    shown_page = page.get(address, {"subject": "ws-1"})
    assert "300 tokens" in " ".join(shown_page.content.decode().split())

    done = page.post(address, {"action": "attribute", "name": "ws-1", "customer": "Acme"}, follow=True)

    assert "3 events of “ws-1” now belong to Acme." in done.content.decode()
    assert Customer.objects.get().aliases.get().alias == "ws-1"
    assert not UsageEvent.objects.unattributed().exists()
    refused = page.post(address, {"action": "attribute", "name": "x", "customer": "ghost"}, follow=True)
    assert "No customer has this ID, alias or name." in refused.content.decode()


def test_what_is_too_much_to_attribute_at_once_is_left_to_the_job(
    acme_metric: BillableMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.services.attribution.ATTRIBUTE_AT_ONCE", 2)
    monkeypatch.setattr("apps.usage.services.attribution.ATTRIBUTE_WHILE_WAITING", 4)
    record_events(events=[event(f"{n}", subject="ws-1") for n in range(5)], api_key_id=None)
    assert attribute_subject(subject="ws-1", customer=Customer.objects.get(), actor=None) == (4, False)
    assert attribute_events() == 1


def test_the_alias_of_another_customer_is_refused(acme: Customer) -> None:
    other = CustomerFactory(name="Globex")
    other.aliases.create(alias="ws-1")
    with pytest.raises(InvalidInput, match="“ws-1” is an alias of Globex"):
        attribute_subject(subject="ws-1", customer=acme, actor=None)


def test_subjects_and_types_are_set_aside_with_a_reason_and_put_back(page: Client) -> None:
    record_events(events=[event(subject="tester", type="ping")], api_key_id=None)
    address = reverse(UNATTRIBUTED)
    for kind, name in (("subject", "tester"), ("type", "ping")):
        assert page.get(address, {kind: name}).status_code == 200
        page.post(address, {"action": "ignore", "kind": kind, "name": name, "reason": " "})
        page.post(address, {"action": "ignore", "kind": kind, "name": name, "reason": "Our own tests"})
    emptied = page.get(address)
    assert emptied.context["groups"] == []
    assert emptied.context["types"] == []
    assert "Our own tests" in emptied.content.decode()
    assert {row.name for row in emptied.context["ignored"]} == {"tester", "ping"}
    for kind, name in (("subject", "tester"), ("type", "ping")):
        page.post(address, {"action": "heed", "kind": kind, "name": name})
    assert [group.subject for group in page.get(address).context["groups"]] == ["tester"]
    assert [kind.name for kind in page.get(address).context["types"]] == ["ping"]


def test_what_is_set_aside_is_still_attributed_should_it_become_a_customer(page: Client) -> None:
    record_events(events=[event()], api_key_id=None)
    page.post(reverse(UNATTRIBUTED), {"action": "ignore", "kind": "subject", "name": "acme", "reason": "x"})
    CustomerFactory(external_id="acme")
    assert attribute_events() == 1


def test_counts_of_unattributed_usage_are_bounded(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.selectors.unattributed.COUNTED_UP_TO", 3)
    record_events(events=[event(f"{n}", at=NOON + n * HOUR) for n in range(8)], api_key_id=None)
    response = page.get(reverse(UNATTRIBUTED))
    [group] = response.context["groups"]
    assert (group.event_count, group.first_at, group.last_at) == (4, NOON, NOON + 7 * HOUR)
    assert response.content.decode().count("10,000+") == 2


def test_a_type_shows_its_newest_data_and_the_way_to_a_metric(page: Client) -> None:
    record_events(events=[event("a", type="tts", data={"seconds": 3, "voice": "<alto>"})], api_key_id=None)
    text = page.get(reverse(UNATTRIBUTED)).content.decode()
    assert "seconds: 3" in text
    assert "&lt;alto&gt;" in text
    assert "event_type=tts" in text
    assert "&quot;seconds&quot;: 3" in page.get(reverse(UNATTRIBUTED), {"type": "tts"}).content.decode()
