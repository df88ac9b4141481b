"""The audit log and the history pages in the admin."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.access.models import ApiKey
from apps.customers.models import Customer
from tests.builders import active_contract, flat_fee, published_plan
from tests.factories import CustomerFactory
from tests.pages import confirm, page_text, post, url_of, viewer

pytestmark = pytest.mark.django_db
LOG = "audit_auditlog"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def test_an_empty_log_says_what_it_keeps(page: Client) -> None:
    assert "Nothing has changed yet" in page_text(page, url_of(LOG))


def test_a_change_made_in_the_admin_names_its_maker(page: Client, clerk: User) -> None:
    post(page, url_of("access_apikey", "add"), {"name": "gateway", "scopes": "ingest"})
    text = page_text(page, url_of(LOG))
    assert "clerk" in text
    assert "API key created" in text
    # What is secret is no part of the trail.
    assert ApiKey.objects.get().digest not in text


def test_the_log_is_filtered_and_an_unknown_filter_shows_everything(page: Client, clerk: User) -> None:
    customer = CustomerFactory(name="Lumen")
    assert "Lumen" in page_text(page, url_of(LOG) + "?what=customers.Customer&who=system")
    assert "No change fits" in page_text(page, url_of(LOG) + f"?who={clerk.pk}")
    assert "No change fits" in page_text(page, url_of(LOG) + "?day=2020-01-01")
    assert "Lumen" in page_text(page, url_of(LOG) + "?what=nonsense")
    assert url_of("customers_customer", "change", customer.pk) in page_text(page, url_of(LOG))


def test_older_changes_are_on_further_pages(page: Client) -> None:
    for customer in CustomerFactory.create_batch(30):
        Customer.objects.filter(pk=customer.pk).update(name="Renamed")
    first = page.get(url_of(LOG))
    second = page.get(url_of(LOG) + first.context["next_page_url"])
    assert len(first.context["changes"]) == 50
    assert second.context["next_page_url"] is None
    assert len(second.context["changes"]) == 40


def test_the_history_of_a_contract_shows_its_phases_too(page: Client) -> None:
    contract = active_contract(published_plan(flat_fee("500")))
    confirm(page, url_of("contracts_contract", "end", contract.pk), last_date="2024-06-30")
    text = page_text(page, url_of("contracts_contract", "history", contract.pk))
    assert "Contract phase changed" in text
    assert "30 Jun 2024" in text
    assert "clerk" in text


def test_the_history_of_a_plan_shows_its_prices(page: Client) -> None:
    version = published_plan(flat_fee("500", "Platform fee"))
    text = page_text(page, url_of("products_plan", "history", version.plan_id))
    assert "Plan version changed" in text
    assert "Platform fee" in text
    assert "500" in text


def test_the_log_needs_its_own_permission(client: Client) -> None:
    client.force_login(viewer("customers.customer"))
    assert client.get(url_of(LOG)).status_code == 403


def test_an_auditor_reads_the_log_without_links_to_pages_that_are_closed_to_him(client: Client) -> None:
    customer = CustomerFactory(name="Lumen")
    client.force_login(viewer("audit.auditlog"))
    text = page_text(client, url_of(LOG))
    assert "Lumen" in text
    assert url_of("customers_customer", "change", customer.pk) not in text
    assert client.get(url_of("customers_customer", "history", customer.pk)).status_code == 403


def test_nobody_writes_the_log_in_the_admin(page: Client) -> None:
    assert page.get(url_of(LOG, "add")).status_code == 403
