"""Reading invoices over the API."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from djmoney.money import Money

from apps.access.services import create_api_key
from apps.invoices.models import DocumentState, Invoice, InvoiceDocument
from apps.invoices.pdf import pdf_support
from apps.invoices.services.documents import request_document
from tests.factories import ISSUED_AT, START_OF_2023, ContractFactory, InvoiceFactory, InvoiceLineFactory, issue

pytestmark = pytest.mark.django_db
needs_pango = pytest.mark.skipif(pdf_support() is not None, reason=str(pdf_support()))


def client_with(*scopes: str) -> Client:
    _, secret = create_api_key(name="Finance export", scopes=scopes, created_by=None, now=START_OF_2023)
    return Client(headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def api() -> Client:
    return client_with("read")


def get(api: Client, path: str, status: int = 200) -> Any:
    response = api.get(f"/api/v1{path}")
    assert response.status_code == status, response.content
    return response.json()


@pytest.fixture
def november() -> Invoice:
    """An issued invoice for November 2023, in Berlin, over 4,321.09 USD."""
    contract = ContractFactory(
        customer__external_id="northwind",
        customer__name="Northwind",
        customer__timezone="Europe/Berlin",
        customer__billing_entity__legal_name="Meterstone AI GmbH",
        purchase_order="PO 7",
    )
    invoice = InvoiceFactory(
        contract=contract,
        period_start_at=dt.datetime(2023, 10, 31, 23, tzinfo=dt.UTC),
        period_end_at=dt.datetime(2023, 11, 30, 23, tzinfo=dt.UTC),
    )
    InvoiceLineFactory(
        invoice=invoice,
        event_count=19366,
        quantity=Decimal("1440363666.6"),
        included_units=Decimal(333),
        unit_amount=Decimal(3),
        tiers=[
            {
                "lower": "0",
                "upper": None,
                "quantity": "1440363333.6",
                "unit_amount": "3",
                "per_units": "1000000",
                "flat_amount": "0",
                "amount": "4321.0900008",
            }
        ],
        exact_amount=Decimal("4321.0900008"),
        amount=Money("4321.09", "USD"),
    )
    return issue(invoice, number="MS-2023-00042")


def test_one_invoice_with_everything_that_explains_it(api: Client, november: Invoice) -> None:
    line = november.lines.get()

    assert get(api, f"/invoices/{november.pk}") == {
        "id": november.pk,
        "number": "MS-2023-00042",
        "kind": "period",
        "status": "issued",
        "customer": "northwind",
        "contract": november.contract_id,
        "period": {
            "start_at": "2023-10-31T23:00:00Z",
            "end_at": "2023-11-30T23:00:00Z",
            "timezone": "Europe/Berlin",
            "first_date": "2023-11-01",
            "last_date": "2023-11-30",
        },
        "currency": "USD",
        "subtotal": "4321.09",
        "total": "4321.09",
        "invoice_date": "2023-12-02",
        "due_date": "2024-01-01",
        "issued_at": "2023-12-02T09:30:00Z",
        "paid_at": None,
        "voided_at": None,
        "stored_before": "2023-12-02T00:00:00Z",
        "rated_at": "2023-12-02T00:00:00Z",
        "purchase_order": "PO 7",
        "payment_terms_days": 30,
        "payment_instructions": "IBAN DE75 5121 0800 1245 1261 99",
        "footer": "",
        "seller": {
            "name": "Meterstone AI GmbH",
            "line1": "Torstraße 1",
            "line2": "",
            "postal_code": "10119",
            "city": "Berlin",
            "region": "",
            "country": "DE",
            "tax_id": "DE123456788",
            "email": "billing@seller.example",
        },
        "buyer": {
            "name": "Northwind",
            "line1": "12 rue de la Paix",
            "line2": "",
            "postal_code": "75002",
            "city": "Paris",
            "region": "",
            "country": "FR",
            "tax_id": "FR19787878784",
            "email": "",
        },
        "lines": [
            {
                "position": 1,
                "product": "Chat API",
                "description": "Input tokens",
                "charge_model": "per_unit",
                "metric": "input_tokens",
                "price_version": line.price_version_id,
                "window": {
                    "start_at": "2023-10-31T23:00:00Z",
                    "end_at": "2023-11-30T23:00:00Z",
                    "timezone": "Europe/Berlin",
                    "first_date": "2023-11-01",
                    "last_date": "2023-11-30",
                },
                "stored_before": "2023-12-02T00:00:00Z",
                "share_days": 30,
                "share_of_days": 30,
                "event_count": 19366,
                "quantity": "1440363666.6",
                "included_units": "333",
                "billable_quantity": "1440363333.6",
                "unit_singular": "token",
                "unit_plural": "tokens",
                "unit_amount": "3",
                "per_units": "1000000",
                "tiers": [
                    {
                        "lower": "0",
                        "upper": None,
                        "quantity": "1440363333.6",
                        "unit_amount": "3",
                        "per_units": "1000000",
                        "flat_amount": "0",
                        "amount": "4321.0900008",
                        "in_packages": False,
                    }
                ],
                "components": [],
                "failures_free": "0",
                "converted_quantity": None,
                "model_amount": None,
                "pricing_unit": None,
                "dimensions": {},
                "bound": "",
                "exact_amount": "4321.0900008",
                "billed_before": "0",
                "is_reversal": False,
                "amount": "4321.09",
            }
        ],
        "document": None,
    }


def test_a_draft_has_no_number_and_shows_the_parties_of_today(api: Client) -> None:
    draft = InvoiceFactory(contract__customer__name="Northwind")

    shown = get(api, f"/invoices/{draft.pk}")

    assert (shown["status"], shown["number"], shown["invoice_date"]) == ("draft", None, None)
    assert shown["buyer"]["name"] == "Northwind"


@pytest.mark.parametrize(("currency", "amount", "text"), [("JPY", "1500", "1500"), ("KWD", "12.5", "12.500")])
def test_amounts_have_the_decimals_of_their_currency(api: Client, currency: str, amount: str, text: str) -> None:
    invoice = InvoiceFactory(contract__currency=currency)
    line = InvoiceLineFactory(invoice=invoice, amount=Money(amount, currency))

    shown = get(api, f"/invoices/{line.invoice_id}")

    assert (shown["currency"], shown["total"], shown["lines"][0]["amount"]) == (currency, text, text)


def test_the_list_is_newest_first_in_pages(api: Client) -> None:
    contract = ContractFactory(customer__external_id="northwind")
    for month in (1, 2, 3):
        InvoiceFactory(
            contract=contract,
            period_start_at=dt.datetime(2024, month, 1, tzinfo=dt.UTC),
            period_end_at=dt.datetime(2024, month + 1, 1, tzinfo=dt.UTC),
        )

    first = get(api, "/invoices?limit=2")
    second = api.get(first["next"]).json()

    days = [invoice["period"]["first_date"] for page in (first, second) for invoice in page["results"]]
    assert days == ["2024-03-01", "2024-02-01", "2024-01-01"]
    assert second["next"] is None
    assert "lines" not in first["results"][0]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", [None, "MS-2023-00042"]),
        ("?status=draft", [None]),
        ("?status=draft&status=issued", [None, "MS-2023-00042"]),
        ("?status=void", []),
        ("?customer=northwind", ["MS-2023-00042"]),
        ("?customer=north", []),
        ("?number=MS-2023-00042", ["MS-2023-00042"]),
        # Half an hour of October by UTC is November in Berlin: days count in the invoice's own zone.
        ("?period_from=2023-11-30", ["MS-2023-00042"]),
        ("?period_from=2023-12-01", []),
        ("?period_to=2023-11-01", [None, "MS-2023-00042"]),
        ("?period_to=2023-10-31", [None]),
        ("?period_from=2023-10-01&period_to=2023-10-31", [None]),
    ],
)
def test_the_list_can_be_narrowed(api: Client, november: Invoice, query: str, numbers: list[str | None]) -> None:
    InvoiceFactory(
        contract__customer__external_id="southwind",
        period_start_at=dt.datetime(2023, 10, 1, tzinfo=dt.UTC),
        period_end_at=dt.datetime(2023, 11, 1, tzinfo=dt.UTC),
    )

    assert [invoice["number"] for invoice in get(api, f"/invoices{query}")["results"]] == numbers


def test_the_list_of_one_contract(api: Client, november: Invoice) -> None:
    InvoiceFactory()

    results = get(api, f"/invoices?contract={november.contract_id}")["results"]

    assert [invoice["id"] for invoice in results] == [november.pk]


@pytest.mark.parametrize(
    ("query", "field"), [("status=open", "status"), ("contract=x", "contract"), ("period_from=soon", "period_from")]
)
def test_a_filter_that_makes_no_sense_is_refused_by_name(api: Client, query: str, field: str) -> None:
    problem = get(api, f"/invoices?{query}", 400)

    assert (problem["code"], [fault["field"] for fault in problem["errors"]]) == ("invalid_input", [field])


def test_reading_takes_few_queries(api: Client, november: Invoice, django_assert_num_queries: Any) -> None:
    for _ in range(3):
        InvoiceLineFactory(invoice=InvoiceLineFactory().invoice)
    get(api, "/invoices")  # the key is looked up once and remembered

    with django_assert_num_queries(1):
        get(api, "/invoices")
    with django_assert_num_queries(3):  # invoice, lines, document
        get(api, f"/invoices/{november.pk}")


@needs_pango
def test_the_pdf_of_a_draft_is_printed_as_it_stands(api: Client) -> None:
    draft = InvoiceLineFactory().invoice

    response = api.get(f"/api/v1/invoices/{draft.pk}/pdf", headers={"Accept": "application/pdf"})

    assert (response.status_code, response["Content-Type"]) == (200, "application/pdf")
    assert response["Content-Disposition"] == f'attachment; filename="draft-{draft.pk}.pdf"'
    assert response.content.startswith(b"%PDF-1.7")


def test_the_pdf_of_an_issued_invoice_is_the_stored_one(api: Client, november: Invoice) -> None:
    document = request_document(invoice=november, now=ISSUED_AT)
    InvoiceDocument.objects.filter(pk=document.pk).update(
        state=DocumentState.READY, content=b"%PDF stored", sha256="f" * 64, rendered_at=ISSUED_AT
    )

    response = api.get(f"/api/v1/invoices/{november.pk}/pdf", headers={"Accept": "application/pdf"})

    assert (response.status_code, response["Content-Type"], response.content) == (
        200,
        "application/pdf",
        b"%PDF stored",
    )
    assert response["Content-Disposition"] == 'attachment; filename="MS-2023-00042.pdf"'
    assert get(api, f"/invoices/{november.pk}")["document"] == {
        "state": "ready",
        "sha256": "f" * 64,
        "rendered_at": "2023-12-02T09:30:00Z",
        "error": "",
    }


def test_a_pdf_that_is_being_made_says_when_to_ask_again(api: Client, november: Invoice) -> None:
    request_document(invoice=november, now=ISSUED_AT)

    response = api.get(f"/api/v1/invoices/{november.pk}/pdf", headers={"Accept": "application/pdf"})

    assert (response.status_code, response["Content-Type"], response["Retry-After"]) == (
        409,
        "application/problem+json",
        "10",
    )
    assert response.json() == {
        "type": "urn:countinghouse:problem:document_pending",
        "title": "Conflict",
        "status": 409,
        "code": "document_pending",
        "detail": "The PDF of MS-2023-00042 is being made. Try again in a moment.",
    }


def test_a_pdf_that_failed_says_why(api: Client, november: Invoice) -> None:
    request_document(invoice=november, now=ISSUED_AT)
    InvoiceDocument.objects.update(state=DocumentState.FAILED, error="No installed font has it.")

    response = api.get(f"/api/v1/invoices/{november.pk}/pdf")

    assert (response.status_code, response.json()["code"]) == (409, "document_failed")
    assert "No installed font has it." in response.json()["detail"]
    assert "Retry-After" not in response


@pytest.mark.parametrize("path", ["/invoices", "/invoices/{id}", "/invoices/{id}/pdf"])
def test_reading_needs_a_key_with_the_read_scope(november: Invoice, path: str) -> None:
    path = path.format(id=november.pk)

    assert get(Client(), path, 401)["code"] == "not_authenticated"
    assert get(client_with("ingest", "manage"), path, 403)["code"] == "missing_scope"


@pytest.mark.parametrize("path", ["/invoices/999999999", "/invoices/999999999/pdf"])
def test_an_unknown_invoice_is_not_found(api: Client, path: str) -> None:
    assert get(api, path, 404)["code"] == "not_found"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_invoices_are_read_only(api: Client, november: Invoice, method: str) -> None:
    response = getattr(api, method)(f"/api/v1/invoices/{november.pk}")

    assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")
