"""Customers and billing entities in the admin."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.customers.models import BillingEntity, Customer, CustomerAlias
from tests.factories import BillingEntityFactory, ContractFactory, CustomerFactory
from tests.pages import empty_inline, errors_of, page_text, post, url_of, viewer

pytestmark = pytest.mark.django_db


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def customer_fields(entity: BillingEntity, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Lumen Robotics",
        "external_id": "lumen",
        "billing_entity": entity.pk,
        "timezone": "Europe/Berlin",
        "country": "DE",
        **empty_inline("aliases"),
        **changes,
    }


def test_every_page_of_a_customer_answers(page: Client) -> None:
    customer = CustomerFactory()
    for address in (
        url_of("customers_customer"),
        url_of("customers_customer", "add"),
        url_of("customers_customer", "change", customer.pk),
        url_of("customers_customer", "history", customer.pk),
        url_of("customers_customer", "delete", customer.pk),
        url_of("customers_billingentity"),
        url_of("customers_billingentity", "add"),
        url_of("customers_billingentity", "change", customer.billing_entity.pk),
        url_of("customers_billingentity", "history", customer.billing_entity.pk),
    ):
        page_text(page, address)


def test_an_empty_list_says_what_a_customer_is_and_offers_the_first(page: Client) -> None:
    text = page_text(page, url_of("customers_customer"))
    assert "No customers yet" in text
    assert url_of("customers_customer", "add") in text


def test_a_search_without_a_result_does_not_claim_that_there_are_none(page: Client) -> None:
    CustomerFactory(name="Lumen Robotics")
    text = page_text(page, url_of("customers_customer") + "?q=nobody")
    assert "Nothing matches" in text
    assert "No customers yet" not in text


def test_a_customer_is_added_with_its_aliases(page: Client) -> None:
    entity = BillingEntityFactory()
    response = post(
        page,
        url_of("customers_customer", "add"),
        customer_fields(
            entity, **{"aliases-TOTAL_FORMS": "1", "aliases-INITIAL_FORMS": "0", "aliases-0-alias": "workspace-7"}
        ),
    )
    assert response.status_code == 302
    customer = Customer.objects.get()
    assert (customer.name, customer.timezone, customer.country.code) == ("Lumen Robotics", "Europe/Berlin", "DE")
    assert customer.aliases.get().alias == "workspace-7"


@pytest.mark.parametrize(
    ("changes", "field", "fault"),
    [
        ({"name": ""}, "name", "required"),
        ({"external_id": "has spaces"}, "external_id", "no spaces"),
        ({"timezone": "Berlin"}, "timezone", "valid choice"),
        ({"external_id": "taken-as-alias"}, "external_id", "as an alias"),
    ],
)
def test_a_fault_is_named_at_its_field_and_nothing_is_stored(
    page: Client, changes: dict[str, Any], field: str, fault: str
) -> None:
    entity = BillingEntityFactory()
    CustomerAlias.objects.create(customer=CustomerFactory(billing_entity=entity), alias="taken-as-alias")
    response = post(page, url_of("customers_customer", "add"), customer_fields(entity, **changes))
    assert fault in errors_of(response)[field][0]
    assert Customer.objects.count() == 1


def test_the_only_billing_entity_and_its_zone_are_preset(page: Client) -> None:
    entity = BillingEntityFactory(timezone="Europe/Berlin")
    form = page.get(url_of("customers_customer", "add")).context["adminform"].form
    assert (form.initial["billing_entity"], form.initial["timezone"]) == (entity.pk, "Europe/Berlin")


def test_a_customer_shows_its_contracts_with_inclusive_days(page: Client) -> None:
    contract = ContractFactory(name="Enterprise", end_date=dt.date(2024, 11, 1))
    text = page_text(page, url_of("customers_customer", "change", contract.customer.pk))
    assert "1 Nov 2023 – 31 Oct 2024" in text
    assert f"{url_of('contracts_contract', 'add')}?customer={contract.customer.pk}" in text


def test_a_customer_with_a_contract_cannot_be_deleted(page: Client) -> None:
    contract = ContractFactory()
    response = page.post(url_of("customers_customer", "delete", contract.customer.pk), {"post": "yes"})
    assert response.status_code == 403
    assert Customer.objects.filter(pk=contract.customer.pk).exists()


def test_an_unused_customer_can_be_deleted(page: Client) -> None:
    customer = CustomerFactory()
    page.post(url_of("customers_customer", "delete", customer.pk), {"post": "yes"})
    assert not Customer.objects.filter(pk=customer.pk).exists()


def test_the_list_costs_the_same_however_long_it_is(
    page: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in (3, 12):
        CustomerFactory.create_batch(number)
        # Session, user; two badges; count, rows. The third badge asks the database past Django.
        with django_assert_num_queries(5):
            page_text(page, url_of("customers_customer"))


def test_a_reader_sees_a_customer_and_cannot_change_it(client: Client) -> None:
    customer = CustomerFactory(name="Lumen Robotics")
    client.force_login(viewer("customers.customer", "customers.customeralias"))
    address = url_of("customers_customer", "change", customer.pk)
    assert "Lumen Robotics" in page_text(client, address)
    assert post(client, address, customer_fields(customer.billing_entity, name="Other")).status_code == 403
    assert client.get(url_of("customers_customer", "add")).status_code == 403
    customer.refresh_from_db()
    assert customer.name == "Lumen Robotics"


def test_an_invoice_prefix_of_two_entities_is_refused(page: Client) -> None:
    BillingEntityFactory(invoice_prefix="ACME")
    response = post(
        page,
        url_of("customers_billingentity", "add"),
        {
            "name": "Second",
            "legal_name": "Second GmbH",
            "timezone": "UTC",
            "default_currency": "EUR",
            "invoice_prefix": "acme",
            "payment_terms_days": "30",
            "grace_period_hours": "24",
        },
    )
    assert "already exists" in errors_of(response)["invoice_prefix"][0]
    assert BillingEntity.objects.count() == 1
