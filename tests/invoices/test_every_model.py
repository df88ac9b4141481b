"""One invoice with a line of every charge model: rated, issued, printed, explained and read back as the same."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pypdf import PdfReader

from apps.access.models import Scope
from apps.access.services import create_api_key
from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.invoices.models import Invoice, InvoiceLine
from apps.invoices.paper import PaperLine, paper_of
from apps.invoices.pdf import pdf_support, render_pdf
from apps.invoices.selectors import explain_line
from apps.invoices.services.drafts import write_drafts
from apps.invoices.services.issuing import issue_invoice
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.explain import explain_charge
from apps.products.models import ChargeModelName, FailurePolicy, PricingUnit, QuantityRounding
from apps.products.services import ChargedFor, add_price, create_plan, publish_plan_version
from apps.products.terms import PriceTerms
from apps.rating.services import rate_period
from apps.rating.values import RatedPeriod
from apps.usage.services import EventInput, record_events
from tests.builders import SET_UP_AT, active_contract
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory, ProductFactory

pytestmark = pytest.mark.django_db
DECEMBER_2 = utc(2023, 12, 2)
D = Decimal


def metric(code: str, unit: str, **definition: Any) -> BillableMetric:
    made: BillableMetric = BillableMetricFactory(
        code=code, name=code.capitalize(), event_type=code, unit_singular=unit, unit_plural=f"{unit}s", **definition
    )
    return made


def tiers(*bounds: tuple[str | None, str, str]) -> tuple[Tier, ...]:
    return tuple(Tier(None if up_to is None else D(up_to), D(unit), D(flat)) for up_to, unit, flat in bounds)


CREDIT_PRICED = "Videos"
TERMS: dict[str, tuple[PriceTerms, str, dict[str, Any]]] = {
    "Platform fee": (PriceTerms(ChargeModelName.FLAT, flat_amount=D(99)), "", {}),
    "Calls": (
        PriceTerms(
            ChargeModelName.PER_UNIT,
            unit_amount=D("0.10"),
            per_units=D(1000),
            included_units=D(1000),
            failures=FailurePolicy.FREE_UP_TO,
            free_failures=D(2000),
        ),
        "call",
        {"outcome_property": "status", "outcome_values": ("failed",), "group_by": ("status",)},
    ),
    "Audio": (
        PriceTerms(
            ChargeModelName.PER_UNIT,
            unit_amount=D("0.36"),
            divide_by=D(60),
            quantity_rounding=QuantityRounding.CEIL,
            minimum=D(50),
        ),
        "second",
        {},
    ),
    "Characters": (PriceTerms(ChargeModelName.PACKAGE, unit_amount=D("0.30"), package_size=D(1000)), "character", {}),
    "Storage": (
        PriceTerms(ChargeModelName.GRADUATED, tiers=tiers(("100", "0.10", "0"), (None, "0.05", "2"))),
        "gigabyte",
        {},
    ),
    "Images": (
        PriceTerms(ChargeModelName.VOLUME, tiers=tiers(("100", "0.04", "0"), (None, "0.03", "0"))),
        "image",
        {},
    ),
    "Voices": (
        PriceTerms(ChargeModelName.STAIRSTEP, tiers=tiers(("10", "0", "5"), ("50", "0", "22"))),
        "voice",
        {},
    ),
    "Payouts": (
        PriceTerms(
            ChargeModelName.PERCENTAGE,
            rate_percent=D("2.9"),
            fixed_amount=D("0.30"),
            free_transactions=1,
            transaction_minimum=D("0.50"),
            transaction_maximum=D(10),
        ),
        "dollar",
        {},
    ),
    "Sales": (
        PriceTerms(ChargeModelName.GRADUATED_PERCENTAGE, tiers=tiers(("1000", "3", "0"), (None, "2", "0"))),
        "dollar",
        {},
    ),
    "Tokens": (
        PriceTerms(
            ChargeModelName.MATRIX,
            per_units=D(1_000_000),
            dimensions=("model", "direction"),
            rows=(
                MatrixRow(("gpt-4", "input"), D(10)),
                MatrixRow(("gpt-4", "output"), D(30)),
                MatrixRow((None, None), D(1)),
            ),
            minimum=D(100),
        ),
        "token",
        {"group_by": ("direction", "model", "region")},
    ),
    "Compute": (PriceTerms(ChargeModelName.AMOUNT_IN_EVENT, multiplier=D("1.2")), "dollar", {}),
    "Seats": (PriceTerms(ChargeModelName.SEATS, unit_amount=D(30)), "seat", {"carries_over": True}),
    CREDIT_PRICED: (
        PriceTerms(ChargeModelName.PER_UNIT, unit_amount=D(50), pricing_unit_rate=D("0.01")),
        "minute",
        {},
    ),
}
USED: list[tuple[str, int, str, dict[str, str]]] = [
    ("Calls", 3, "5000", {"status": "ok"}),
    ("Calls", 4, "3000", {"status": "failed"}),
    ("Audio", 5, "5025", {}),
    ("Characters", 5, "12500", {}),
    ("Storage", 5, "150.5", {}),
    ("Images", 6, "250", {}),
    ("Voices", 7, "12", {}),
    ("Payouts", 8, "100", {}),
    ("Payouts", 9, "1", {}),
    ("Payouts", 10, "200", {}),
    ("Payouts", 11, "1000", {}),
    ("Sales", 12, "1500", {}),
    ("Tokens", 13, "2400000", {"model": "gpt-4", "direction": "input", "region": "eu"}),
    ("Tokens", 14, "600000", {"model": "gpt-4", "direction": "input", "region": "us"}),
    ("Tokens", 15, "650000", {"model": "gpt-4", "direction": "output"}),
    ("Tokens", 16, "1000000", {"model": "haiku"}),
    ("Compute", 17, "12.345", {}),
    ("Seats", 1, "3", {}),
    ("Seats", 16, "2", {}),
    ("Videos", 18, "60", {}),
]


@pytest.fixture
def contract() -> Contract:
    """A contract over November that pays every model."""
    plan = create_plan(code="all", name="All", currencies=["USD"], billing_months=1)
    credit = PricingUnit.objects.create(code="credit", singular="credit", plural="credits")
    product = ProductFactory()
    for name, (terms, unit, definition) in TERMS.items():
        counted = metric(name.lower(), unit, value_property="amount", **definition) if unit else None
        unit_of_price = credit if name == CREDIT_PRICED else None
        add_price(
            plan_version=plan,
            charged=ChargedFor(product=product, metric=counted, name=name, pricing_unit=unit_of_price),
            terms=terms,
            now=SET_UP_AT,
        )
    published = publish_plan_version(plan_version_id=plan.pk, now=SET_UP_AT)
    customer = CustomerFactory(external_id="lumen", name="Lumen Robotics", timezone="UTC")
    made = active_contract(published, customer=customer, start=dt.date(2023, 11, 1))
    events = [
        EventInput("test", str(number), name.lower(), "lumen", utc(2023, 11, day), {"amount": D(amount), **properties})
        for number, (name, day, amount, properties) in enumerate(USED)
    ]
    record_events(events=events, api_key_id=None)
    return made


@pytest.fixture
def rated(contract: Contract) -> RatedPeriod:
    period = contract.period_at(utc(2023, 11, 10))
    assert period is not None
    return rate_period(contract=contract, period=period, as_of=DECEMBER_2, stored_before=utc(2100, 1, 1))


@pytest.fixture
def invoice(rated: RatedPeriod) -> Invoice:
    [draft] = write_drafts([rated])
    issue_invoice(invoice_id=draft.pk, issued_at=DECEMBER_2)
    return Invoice.objects.get(pk=draft.pk)


EXPECTED = [
    ("Platform fee", "99.00"),
    # 3,000 failed, 2,000 of them free; 1,000 of the other 6,000 are included.
    ("Calls", "0.50"),
    # 84 started minutes at 0.36 are 30.24, less than the minimum.
    ("Audio", "50.00"),
    ("Characters", "3.90"),
    # 100 at 0.10, then 50.5 at 0.05 and 2.00 flat.
    ("Storage", "14.53"),
    ("Images", "7.50"),
    ("Voices", "22.00"),
    # The first is free. Then 0.50 at least, 2.9% of 200 + 0.30 = 6.10, and 10.00 at most.
    ("Payouts", "16.60"),
    ("Sales", "40.00"),
    ("Tokens: gpt-4, input", "30.00"),
    ("Tokens: gpt-4, output", "19.50"),
    ("Tokens: all other usage", "1.00"),
    ("Tokens: Minimum", "49.50"),
    # 12.345 × 1.2 = 14.814.
    ("Compute", "14.81"),
    # 3 seats for 15 days, then 5 for 15 days, at 30.00 for 30 days.
    ("Seats", "120.00"),
    # 3,000 credits at 0.01.
    ("Videos", "30.00"),
]


def test_every_model_is_rated(rated: RatedPeriod) -> None:
    assert [(line.name, str(line.amount)) for line in rated.lines] == EXPECTED
    assert rated.totals.total == sum(D(amount) for _, amount in EXPECTED)


def test_each_line_counts_its_own_events(rated: RatedPeriod) -> None:
    counts = {line.name: line.event_count for line in rated.lines}

    assert (counts["Calls"], counts["Payouts"], counts["Seats"]) == (2, 4, 2)
    assert [count for name, count in counts.items() if name.startswith("Tokens")] == [2, 1, 1, 0]


def lines_of(invoice: Invoice) -> list[InvoiceLine]:
    return list(invoice.lines.select_related("price_version__price__pricing_unit").order_by("position"))


def test_an_issued_line_explains_itself_as_it_was_rated(rated: RatedPeriod, invoice: Invoice) -> None:
    for line, stored in zip(rated.lines, lines_of(invoice), strict=True):
        told = explain_charge(
            line.rated,
            line.charge,
            unit_singular=stored.unit_singular,
            unit_plural=stored.unit_plural,
            share=line.share,
        )
        assert explain_line(stored) == told, stored.description


PAPER: dict[str, tuple[str, str, list[tuple[str, str, str, str]]]] = {
    "Platform fee": ("", "$99.00", []),
    "Calls": (
        "8,000 calls",
        "$0.10 per 1,000 calls",
        [
            ("Failed", "2,000 calls", "no charge", ""),
            ("Included", "1,000 calls", "no charge", ""),
            ("Charged", "5,000 calls", "× $0.10 per 1,000", "= $0.50"),
        ],
    ),
    "Audio": (
        "5,025 seconds",
        "$0.36 per billing unit",
        [
            ("Billed as", "84 billing units", "", ""),
            ("Charged", "84 billing units", "× $0.36", "= $30.24"),
            ("Minimum", "", "applies", "= $50.00"),
        ],
    ),
    "Characters": (
        "12,500 characters",
        "$0.30 per started 1,000 characters",
        [("Started", "13 packages", "× $0.30", "= $3.90")],
    ),
    "Storage": (
        "150.5 gigabytes",
        "by tier",
        [
            ("Up to 100", "100 gigabytes", "× $0.10", "= $10.00"),
            ("Above 100", "50.5 gigabytes", "× $0.05 + $2.00 fee", "= $4.525"),
        ],
    ),
    "Images": ("250 images", "by tier", [("Above 100", "250 images", "× $0.03", "= $7.50")]),
    "Voices": ("12 voices", "by step", [("Above 10, up to 50", "12 voices", "$22.00", "= $22.00")]),
    "Payouts": (
        "1,301 dollars",
        "by transaction",
        [
            ("Included", "$100.00 in 1 transaction", "no charge", ""),
            ("Charged", "$1,201.00", "× 2.9%", "= $34.829"),
            ("Fee", "3 transactions", "× $0.30", "= $0.90"),
            ("Raised to the least", "", "$0.50 each", "= $0.171"),
            ("Lowered to the most", "", "$10.00 each", "= −$19.30"),
        ],
    ),
    "Sales": (
        "1,500 dollars",
        "by tier",
        [
            ("Up to $1,000.00", "$1,000.00", "× 3%", "= $30.00"),
            ("Above $1,000.00", "$500.00", "× 2%", "= $10.00"),
        ],
    ),
    "Tokens: gpt-4, input": ("3,000,000 tokens", "$10.00 per 1,000,000 tokens", []),
    "Tokens: gpt-4, output": ("650,000 tokens", "$30.00 per 1,000,000 tokens", []),
    "Tokens: all other usage": ("1,000,000 tokens", "$1.00 per 1,000,000 tokens", []),
    "Tokens: Minimum": ("", "", []),
    "Compute": ("12.345 dollars", "× 1.2", []),
    "Seats": (
        "4 seats on average",
        "$30.00 per seat",
        [
            ("15 of 30 days", "3 seats", "× $30.00", "= $45.00"),
            ("15 of 30 days", "5 seats", "× $30.00", "= $75.00"),
        ],
    ),
    "Videos": (
        "60 minutes",
        "50 credits per minute",
        [
            ("Charged", "60 minutes", "× 50 credits", "= 3,000 credits"),
            ("Credits in money", "3,000 credits", "× $0.01", "= $30.00"),
        ],
    ),
}


def printed(line: PaperLine) -> tuple[str, str, list[tuple[str, str, str, str]]]:
    steps = [(step.label, step.quantity, step.price, step.result.replace("\xa0", " ")) for step in line.steps]
    return line.quantity, line.unit_price, steps


def test_the_paper_tells_every_model(invoice: Invoice) -> None:
    [group] = paper_of(invoice).groups

    assert {line.description: printed(line) for line in group.lines} == PAPER


def test_the_paper_says_what_a_bound_does(invoice: Invoice) -> None:
    [group] = paper_of(invoice).groups

    [bound] = [line for line in group.lines if line.description == "Tokens: Minimum"]
    assert bound.notes == ("Lifts the sum of the lines above to the minimum of this price",)


@pytest.mark.skipif(pdf_support() is not None, reason=str(pdf_support()))
def test_the_pdf_holds_every_line(invoice: Invoice) -> None:
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(render_pdf(invoice))).pages)

    assert [name for name, _ in EXPECTED if name not in text.replace("\n", " ")] == []


def test_the_page_of_each_line_shows_its_parts_and_dimensions(client: Client, clerk: User, invoice: Invoice) -> None:
    client.force_login(clerk)
    for line in lines_of(invoice):
        page = client.get(reverse("admin:invoices_line_explain", args=[line.pk])).content.decode()
        for value in line.dimension_values:
            assert (value or "any value") in page
        for step in PAPER[line.description][2]:
            assert step[1].replace("'", "&#x27;") in page


def test_the_api_gives_every_figure_of_a_line(client: Client, invoice: Invoice) -> None:
    _, key = create_api_key(name="reader", scopes=[Scope.READ], created_by=None, now=SET_UP_AT)
    answer = client.get(f"/api/v1/invoices/{invoice.pk}", headers={"Authorization": f"Bearer {key}"}).json()
    lines = {line["description"]: line for line in answer["lines"]}

    assert lines["Calls"]["failures_free"] == "2000"
    assert (lines["Audio"]["converted_quantity"], lines["Audio"]["model_amount"]) == ("84", "30.24")
    assert lines["Tokens: gpt-4, input"]["dimensions"] == {"model": "gpt-4", "direction": "input"}
    assert lines["Tokens: all other usage"]["dimensions"] == {"model": None, "direction": None}
    assert lines["Tokens: Minimum"]["bound"] == "minimum"
    assert lines["Seats"]["components"][1] == {"name": "seats", "quantity": "5", "rate": "15", "amount": "75"}
    assert lines["Videos"]["pricing_unit"] == {
        "singular": "credit",
        "plural": "credits",
        "rate": "0.01",
        "amount": "3000",
    }
    assert lines["Calls"]["pricing_unit"] is None
