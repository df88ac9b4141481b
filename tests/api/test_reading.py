"""Reading over the API: scopes, filters, pages, and measured usage."""

from __future__ import annotations

import datetime as dt
from base64 import b64encode
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.access.models import Scope
from apps.access.selectors import forget_keys
from apps.access.services import create_api_key
from apps.customers.models import CustomerAlias
from apps.products.models import PriceTier
from tests.factories import (
    ContractFactory,
    CustomerFactory,
    PlanVersionFactory,
    PriceVersionFactory,
    ProductFactory,
)

pytestmark = pytest.mark.django_db
LISTS = ["customers", "billable-metrics", "products", "pricing-units", "plans", "prices", "contracts"]
LISTS_OF_A_CONTRACT = [address for address in LISTS if address != "pricing-units"]


class Reader:
    """A client with a key."""

    def __init__(self, *scopes: str) -> None:
        forget_keys()
        _, secret = create_api_key(name="reader", scopes=scopes, created_by=None, now=timezone.now())
        self.headers = {"Authorization": f"Bearer {secret}"}

    def get(self, address: str, **query: Any) -> HttpResponse:
        response: HttpResponse = Client().get(  # type: ignore[assignment]
            address if address.startswith("http") else f"/api/v1/{address}", query, headers=self.headers
        )
        return response

    def json(self, address: str, **query: Any) -> Any:
        response = self.get(address, **query)
        assert response.status_code == 200, response.content
        return response.json()  # type: ignore[attr-defined]

    def problem(self, address: str, **query: Any) -> Any:
        response = self.get(address, **query)
        assert response["Content-Type"] == "application/problem+json"
        return response.json()  # type: ignore[attr-defined]


@pytest.fixture
def reader(db: None) -> Reader:
    return Reader(Scope.READ)


@pytest.mark.parametrize("address", [*LISTS, "customers/acme", "customers/acme/usage", "plans/x", "contracts/1"])
def test_reading_needs_a_key_with_the_read_scope(address: str) -> None:
    assert Client().get(f"/api/v1/{address}").status_code == 401
    assert Reader(Scope.INGEST, Scope.MANAGE).problem(address)["code"] == "missing_scope"


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("customers", 403, "missing_scope"),
        ("billable-metrics", 403, "missing_scope"),
        ("products", 403, "missing_scope"),
        ("pricing-units", 403, "missing_scope"),
        ("plans", 403, "missing_scope"),
        ("plans/x/versions", 403, "missing_scope"),
        ("plans/x/versions/1/publish", 403, "missing_scope"),
        ("plans/x/versions/1/archive", 403, "missing_scope"),
        ("plans/x/versions/1/prices", 403, "missing_scope"),
        ("prices/1/versions", 403, "missing_scope"),
        ("prices", 405, "method_not_allowed"),
        ("contracts", 405, "method_not_allowed"),
    ],
)
def test_a_key_that_reads_writes_nothing(reader: Reader, address: str, status: int, code: str) -> None:
    response = Client().post(f"/api/v1/{address}", headers=reader.headers)
    assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "address",
    [
        "customers/none",
        "billable-metrics/none",
        "products/none",
        "pricing-units/none",
        "plans/none",
        "plans/none/versions/1",
        "prices/0",
        "prices/99999999999999999999",
        "contracts/0",
    ],
)
def test_what_does_not_exist_is_a_problem(reader: Reader, address: str) -> None:
    assert reader.problem(address)["status"] == 404


def test_a_customer_is_shown_with_its_names(reader: Reader) -> None:
    customer = CustomerFactory(external_id="acme", name="Acme", parent=CustomerFactory(external_id="group"))
    CustomerAlias.objects.create(customer=customer, alias="project-7")

    shown = reader.json("customers/acme")

    assert (shown["name"], shown["aliases"], shown["parent"], shown["country"]) == (
        "Acme",
        ["project-7"],
        "group",
        "FR",
    )
    assert [c["external_id"] for c in reader.json("customers", alias="project-7")["results"]] == ["acme"]
    assert [c["external_id"] for c in reader.json("customers", parent="group")["results"]] == ["acme"]
    assert [c["external_id"] for c in reader.json("customers", name="acm")["results"]] == ["acme"]


def test_lists_come_newest_first_in_pages_that_lead_on(reader: Reader) -> None:
    for number in range(5):
        ProductFactory(code=f"p{number}")

    first = reader.json("products", limit=2)
    CustomerFactory()
    ProductFactory(code="new")
    second = reader.json(first["next"])

    assert [product["code"] for product in first["results"]] == ["p4", "p3"]
    assert [product["code"] for product in second["results"]] == ["p2", "p1"]


@pytest.mark.parametrize("address", LISTS_OF_A_CONTRACT)
def test_lists_take_the_same_queries_for_many_rows(
    reader: Reader, address: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(5):
        contract = ContractFactory()
        PriceVersionFactory(
            price__plan_version=PlanVersionFactory(plan=contract.phases.get().plan_version.plan, number=2)
        )
    reader.json("products")
    with django_assert_max_num_queries(10):
        assert reader.json(address)["results"]


def test_a_plan_is_shown_with_its_prices(reader: Reader) -> None:
    terms = PriceVersionFactory(price__plan_version__plan__code="pro", price__metric__code="tokens")
    PriceTier.objects.create(price_version=terms, up_to=Decimal(10), unit_amount=Decimal("0.000000000001"))

    [version] = reader.json("plans/pro")["versions"]

    [price] = version["prices"]
    assert (version["number"], version["status"], price["metric"]) == (1, "draft", "tokens")
    [amounts] = price["versions"]
    assert amounts["tiers"][0]["unit_amount"] == "0.000000000001"
    assert reader.json("plans", status="published")["results"] == []


def test_a_contract_is_shown_with_inclusive_last_days(reader: Reader) -> None:
    contract = ContractFactory(customer__external_id="acme", end_date=dt.date(2024, 11, 1))
    ContractFactory()

    [shown] = reader.json("contracts", customer="acme")["results"]

    assert shown == reader.json(f"contracts/{contract.pk}")
    assert (shown["first_date"], shown["last_date"]) == ("2023-11-01", "2024-10-31")
    assert shown["phases"][0]["last_date"] == "2024-10-31"


def test_an_unknown_choice_is_named(reader: Reader) -> None:
    fault = reader.problem("contracts", status="nonsense")
    assert (fault["status"], fault["code"]) == (400, "invalid_input")
    assert [error["field"] for error in fault["errors"]] == ["status"]


def test_the_description_of_the_api_is_complete(db: None) -> None:
    described = Client().get("/api/schema/", {"format": "json"}).json()
    assert described["paths"]["/api/v1/events"]["post"]["security"] == [{"apiKey": []}]
    answers = described["paths"]["/api/v1/events"]["post"]["responses"]
    assert {"200", "204", "400", "401", "403", "413", "415"} <= answers.keys()
    assert set(described["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]) == {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/json",
    }


@pytest.mark.parametrize("address", ["customers/%00", "customers/%00/usage?metric=tokens", "contracts?customer=%00"])
def test_a_nul_in_an_address_is_a_clear_refusal(reader: Reader, address: str) -> None:
    problem = reader.problem(address)

    assert (problem["status"], problem["code"]) == (400, "invalid_address")


@pytest.mark.parametrize("position", ["\0", "-1", "abc", "9" * 5000])
def test_a_cursor_that_is_not_ours_is_not_found(reader: Reader, position: str) -> None:
    cursor = b64encode(urlencode({"p": position}).encode()).decode()

    problem = reader.problem("contracts", cursor=cursor)

    assert (problem["status"], problem["code"]) == (404, "not_found")
