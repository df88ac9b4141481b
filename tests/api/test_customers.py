"""Customers over the API: made, changed and refused."""

from __future__ import annotations

from typing import Any

import pytest

from apps.customers.models import Customer, CustomerAlias
from tests.api.client import ApiCaller
from tests.factories import BillingEntityFactory, CustomerFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def api() -> ApiCaller:
    return ApiCaller()


def test_a_customer_is_made_with_what_is_known_anyway(api: ApiCaller) -> None:
    BillingEntityFactory(invoice_prefix="NIM", timezone="Europe/Berlin")

    made = api.ok("POST", "customers", {"external_id": "acme", "name": "Acme"}, status=201)

    assert (made["billing_entity"], made["timezone"], made["aliases"]) == ("NIM", "Europe/Berlin", [])
    assert api.ok("GET", "customers/acme") == made


def test_a_customer_is_made_with_all_it_has(api: ApiCaller) -> None:
    BillingEntityFactory(invoice_prefix="NIM")
    BillingEntityFactory(invoice_prefix="NIE")
    CustomerFactory(external_id="group")
    sent = {
        "external_id": "acme",
        "name": "Acme",
        "legal_name": "Acme Inc.",
        "aliases": ["project-7", "project-8"],
        "billing_entity": "NIE",
        "parent": "group",
        "timezone": "America/New_York",
        "email": "ap@acme.example",
        "line1": "1 Main St",
        "postal_code": "10001",
        "city": "New York",
        "country": "US",
    }

    made = api.ok("POST", "customers", sent, status=201)

    assert {name: made[name] for name in sent} == sent
    assert api.ok("POST", "customers", sent, status=200) == made


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"external_id": "taken"}, "external_id", "already exists"),
        ({"external_id": "alias-of-taken"}, "external_id", "as an alias"),
        ({"external_id": "a/b"}, "external_id", "no spaces, slashes"),
        ({"timezone": "Berlin"}, "timezone", "not a time zone"),
        ({"country": "XX"}, "country", "not a valid choice"),
        ({"billing_entity": "none"}, "billing_entity", "does not exist"),
        ({"parent": "none"}, "parent", "does not exist"),
        ({"aliases": ["taken"]}, "aliases", "external ID of another customer"),
        ({"aliases": ["alias-of-taken"]}, "aliases", "already exists"),
        ({"aliases": "project-7"}, "aliases", "list"),
        ({"time_zone": "UTC"}, "time_zone", "Known are external_id, name"),
    ],
)
def test_what_cannot_be_taken_is_named_by_its_field(
    api: ApiCaller, changes: dict[str, Any], field: str, sentence: str
) -> None:
    taken = CustomerFactory(external_id="taken", billing_entity__invoice_prefix="NIM")
    CustomerAlias.objects.create(customer=taken, alias="alias-of-taken")

    faults = api.refused("POST", "customers", {"external_id": "acme", "name": "Acme", **changes})

    assert list(faults) == [field]
    assert sentence in faults[field]
    assert Customer.objects.count() == 1


def test_the_first_billing_entity_bills_whom_no_other_is_named_for(api: ApiCaller) -> None:
    customer = {"external_id": "acme", "name": "Acme"}
    assert "no billing entity yet" in api.refused("POST", "customers", customer)["billing_entity"]
    for prefix in ("NIM", "ANN"):
        BillingEntityFactory(invoice_prefix=prefix)
    assert api.ok("POST", "customers", customer, status=201)["billing_entity"] == "NIM"


def test_a_customer_is_changed(api: ApiCaller) -> None:
    customer = CustomerFactory(external_id="acme", name="Acme", city="Paris")
    CustomerAlias.objects.create(customer=customer, alias="old")

    changed = api.ok("PATCH", "customers/acme", {"name": "Acme SA", "aliases": ["new"]})
    assert (changed["name"], changed["aliases"], changed["city"]) == ("Acme SA", ["new"], "Paris")

    assert "timezone" in api.refused("PATCH", "customers/acme", {"name": "X", "timezone": "Berlin"})
    assert "aliases" in api.refused("PATCH", "customers/acme", {"name": "X", "aliases": ["a b"]})
    assert api.ok("GET", "customers/acme") == changed


@pytest.mark.parametrize(
    "body",
    [
        r'{"external_id": "a", "name": "with \u0000"}',
        r'{"external_id": "a", "name": "A", "parent": "\u0000"}',
        r'{"external_id": "a", "name": "half \ud800"}',
        "[" * 5000,
        '{"external_id": "a", "name": 1e999999999}',
    ],
)
def test_json_that_holds_what_cannot_be_stored_is_refused(api: ApiCaller, body: str) -> None:
    assert api.refused("POST", "customers", body)
    assert not Customer.objects.exists()
