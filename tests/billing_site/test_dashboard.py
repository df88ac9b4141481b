"""The first page and the sidebar."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from djmoney.money import Money
from pytest_django import DjangoAssertNumQueries

from apps.customers.models import BillingEntity
from billing_site import dashboard, navigation
from tests.conftest import utc
from tests.factories import (
    BillingEntityFactory,
    ContractFactory,
    CustomerFactory,
    InvoiceFactory,
    InvoiceLineFactory,
    issue,
)
from tests.pages import page_text, url_of, viewer

pytestmark = pytest.mark.django_db
HOME = "/admin/"
NOON = utc(2024, 1, 15, 12)


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def test_an_empty_installation_is_shown_the_way_to_its_first_invoice(page: Client) -> None:
    text = page_text(page, HOME)
    for words in ("Getting started", "0 of 8 done", "Nothing billed yet", "No issued invoices yet", "None yet"):
        assert words in text
    assert url_of("billable_metrics_billablemetric", "add") in text


def test_a_step_is_ticked_once_it_is_done(page: Client) -> None:
    CustomerFactory()
    done = {step.name for step in dashboard.getting_started() if step.is_done}
    assert done == {"Say who bills", "Add a customer"}
    assert "2 of 8 done" in page_text(page, HOME)


def test_drafts_are_counted_and_added_up_by_currency() -> None:
    for amount, currency in (("10.00", "USD"), ("2.50", "USD"), ("7.00", "EUR")):
        contract = ContractFactory(currency=currency)
        InvoiceLineFactory(invoice=InvoiceFactory(contract=contract), amount=Money(amount, currency))
    figure = dashboard.drafts_to_review()
    assert (figure.value, figure.notes) == ("3", ("€7.00", "$12.50"))


def test_billed_amounts_stand_in_the_month_of_their_invoice_date() -> None:
    for day, amount in ((utc(2024, 1, 2), "100.00"), (utc(2023, 12, 31), "50.00"), (utc(2023, 7, 31), "999.00")):
        line = InvoiceLineFactory(amount=Money(amount, "USD"))
        issue(line.invoice, at=day)
    InvoiceLineFactory(amount=Money("5000.00", "USD"))  # A draft is not billed.
    [(currency, bars)] = dashboard.billed_by_month(NOON)
    assert currency == "USD"
    assert [(bar.label, bar.amount, bar.percent) for bar in bars] == [
        ("Aug 2023", "$0.00", 0),
        ("Sep 2023", "$0.00", 0),
        ("Oct 2023", "$0.00", 0),
        ("Nov 2023", "$0.00", 0),
        ("Dec 2023", "$50.00", 50),
        ("Jan 2024", "$100.00", 100),
    ]
    assert bars[-1].is_current


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (dt.timedelta(seconds=5), "just now"),
        (dt.timedelta(minutes=1), "1 minute ago"),
        (dt.timedelta(hours=26), "1 day ago"),
        (dt.timedelta(days=3), "3 days ago"),
        (dt.timedelta(seconds=-5), "just now"),
    ],
)
def test_the_age_of_the_last_event_is_in_words(age: dt.timedelta, words: str) -> None:
    assert dashboard._ago(age) == words


def test_the_page_costs_the_same_however_much_there_is(
    page: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(4):
        issue(InvoiceLineFactory().invoice)
        InvoiceLineFactory()
    with django_assert_max_num_queries(22):
        page_text(page, HOME)


def test_the_sidebar_holds_only_what_its_reader_may_open(client: Client) -> None:
    client.force_login(viewer("customers.customer"))
    text = page_text(client, HOME)
    assert reverse("admin:customers_customer_changelist") in text
    for address in (url_of("invoices_invoice"), url_of("products_plan"), url_of("audit_auditlog"), url_of("auth_user")):
        assert address not in text


def test_a_reader_without_rights_is_told_so(client: Client) -> None:
    client.force_login(viewer())
    text = page_text(client, HOME)
    assert "Ask an administrator" in text
    assert "Drafts to review" not in text


def test_every_page_of_the_sidebar_answers(page: Client) -> None:
    """None is left out for want of its address, and none fails on an empty database."""
    for _, pages in navigation.GROUPS:
        for entry in pages:
            assert page.get(reverse(entry.url_name)).status_code == 200, entry.title


def test_the_badge_counts_drafts_up_to_its_limit(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    InvoiceFactory.create_batch(3)
    assert navigation.drafts_to_review() == 3
    monkeypatch.setattr(navigation, "BADGE_LIMIT", 2)
    item = navigation._item(navigation.GROUPS[1][1][0], page.get(HOME).wsgi_request)
    assert item is not None
    assert item["badge"] == "2+"


def test_a_page_loads_nothing_from_elsewhere(page: Client) -> None:
    BillingEntityFactory()
    assert BillingEntity.objects.exists()
    for address in (HOME, url_of("customers_customer", "add"), url_of("audit_auditlog")):
        text = page_text(page, address)
        assert "https://" not in text.replace("https://unfoldadmin.com", "")
        # The content security policy forbids scripts inside a page.
        assert not [part for part in text.split("<script")[1:] if "src=" not in part.split(">")[0]]
