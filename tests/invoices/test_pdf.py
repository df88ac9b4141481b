"""The paper: what it says, that it says it the same way twice, and how it breaks over pages."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from djmoney.money import Money
from pypdf import PdfReader

from apps.invoices import pdf
from apps.invoices.models import Invoice, InvoiceLine
from apps.invoices.paper import PaperLine, PaperStep, paper_of
from apps.invoices.pdf import PdfUnavailable, invoice_html, pdf_support, render_pdf
from tests.factories import (
    BillingEntityFactory,
    ContractFactory,
    CustomerFactory,
    InvoiceFactory,
    InvoiceLineFactory,
    PriceVersionFactory,
    issue,
)

pytestmark = pytest.mark.django_db
needs_pango = pytest.mark.skipif(pdf_support() is not None, reason=str(pdf_support()))

FEE = {
    "charge_model": "flat",
    "metric_code": "",
    "unit_singular": "",
    "unit_plural": "",
    "quantity": 0,
    "unit_amount": None,
}
THIRD_OF_1000 = "333.3333333333333333333333333333"
MID_NOVEMBER = dt.datetime(2023, 11, 16, tzinfo=dt.UTC)


def tier(
    lower: str, upper: str | None, quantity: str, unit_amount: str, amount: str, flat: str = "0"
) -> dict[str, Any]:
    return {
        "lower": lower,
        "upper": upper,
        "quantity": quantity,
        "unit_amount": unit_amount,
        "per_units": "1000000",
        "flat_amount": flat,
        "amount": amount,
    }


@pytest.fixture
def november() -> Invoice:
    """An issued invoice with a fee, an allowance, tiers, half a month and an unused charge."""
    seller = BillingEntityFactory(name="Meterstone", legal_name="Meterstone AI GmbH", invoice_footer="HRB 12345")
    contract = ContractFactory(
        customer__name="Northwind Robotics SAS", customer__billing_entity=seller, purchase_order="PO 4500012345"
    )
    invoice = InvoiceFactory(contract=contract)
    price_version = PriceVersionFactory()

    def line(amount: str, **values: Any) -> None:
        InvoiceLineFactory(invoice=invoice, price_version=price_version, amount=Money(amount, "USD"), **values)

    line("499.00", product_name="Platform", description="Platform fee", **FEE)
    line(
        "1235.20",
        quantity=Decimal(412733051),
        included_units=Decimal(1000000),
        unit_amount=Decimal(3),
        tiers=[tier("0", None, "411733051", "3", "1235.199153")],
        exact_amount=Decimal("1235.199153"),
    )
    line(
        "280.75",
        description="Cached tokens",
        charge_model="graduated",
        quantity=Decimal(1204991004),
        unit_amount=None,
        tiers=[
            tier("0", "1000000000", "1000000000", "0.25", "255", flat="5"),
            tier("1000000000", None, "204991004", "0.15", "30.7486506"),
        ],
        exact_amount=Decimal("285.7486506"),
    )
    line(
        "124.80",
        description="Half a month",
        quantity=3120,
        unit_amount=Decimal("0.04"),
        per_units=1,
        unit_singular="image",
        unit_plural="images",
        window_start_at=MID_NOVEMBER,
        share_days=15,
    )
    line("0", description="Embedding tokens", quantity=0, unit_amount=Decimal("0.02"))
    return issue(invoice, number="MS-2023-00042")


EVERY_FIGURE = [
    "Meterstone AI GmbH", "Torstraße 1", "10119 Berlin", "Germany", "Tax ID DE123456788",
    "Northwind Robotics SAS", "12 rue de la Paix", "75002 Paris", "France", "Tax ID FR19787878784",
    "MS-2023-00042", "2 Dec 2023", "1 Jan 2024", "1 – 30 Nov 2023", "Days in UTC", "PO 4500012345",
    "Platform fee", "$499.00",
    "412,733,051 tokens", "$3.00 per 1,000,000 tokens", "$1,235.20",
    "1,000,000 tokens", "no charge", "411,733,051 tokens", "× $3.00 per 1,000,000", "$1,235.199153",
    "1,204,991,004 tokens", "by tier", "$280.75",
    "Up to 1,000,000,000", "1,000,000,000 tokens", "× $0.25 per 1,000,000 + $5.00 fee", "$255.00",
    "Above 1,000,000,000", "204,991,004 tokens", "× $0.15 per 1,000,000", "$30.7486506",
    "16 – 30 Nov 2023, 15 of 30 days", "3,120 images", "$0.04 per image", "$124.80",
    "0 tokens", "$0.02 per 1,000,000 tokens", "$0.00",
    "Amount due (USD)", "$2,139.75", "Payable within 30 days, by 1 Jan 2024.", "IBAN DE75 5121 0800 1245 1261 99",
    "received before 2 Dec 2023, 00:00 UTC", "HRB 12345",
]  # fmt: skip


def test_the_page_shows_every_figure_of_the_invoice(november: Invoice) -> None:
    html = invoice_html(november)

    assert [figure for figure in EVERY_FIGURE if figure not in html] == []


@needs_pango
def test_the_pdf_holds_every_figure_as_text(november: Invoice) -> None:
    [text] = _pages(november)

    words = text.replace("\N{NO-BREAK SPACE}", " ")
    assert [figure for figure in EVERY_FIGURE if figure not in words] == []


def test_an_issued_invoice_prints_its_copies_and_reads_no_price(november: Invoice) -> None:
    before = invoice_html(november)
    november.customer.name = "Renamed"
    november.customer.save()
    november.billing_entity.legal_name = "Renamed GmbH"
    november.billing_entity.invoice_footer = "Renamed"
    november.billing_entity.save()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        after = invoice_html(Invoice.objects.get(pk=november.pk))

    assert after == before
    assert [query["sql"] for query in queries if "products_" in query["sql"]] == []
    assert len(queries) == 2  # the invoice, and its lines


def test_a_draft_has_a_mark_and_no_number_and_shows_what_would_be_copied() -> None:
    contract = ContractFactory(
        customer__name="Northwind", customer__billing_entity__legal_name="Meterstone", purchase_order="PO 7"
    )
    draft = InvoiceLineFactory(invoice__contract=contract).invoice

    html = invoice_html(draft)

    assert ">DRAFT</div>" in html
    assert "Draft, not yet issued. Do not pay." in html
    assert "<title>Draft invoice</title>" in html
    assert "None" not in html
    for text in (
        "Northwind",
        "Meterstone",
        "PO 7",
        "Due 30 days after issue",
        "Payable within 30 days of the invoice date.",
    ):
        assert text in html


def test_names_are_text_and_never_markup() -> None:
    customer = CustomerFactory(name="<img src=file:///etc/passwd> & Sons")
    html = invoice_html(issue(InvoiceFactory(contract__customer=customer)))

    assert "&lt;img src=file:///etc/passwd&gt; &amp; Sons" in html
    assert "<img" not in html


@pytest.mark.parametrize(
    ("currency", "values", "expected"),
    [
        pytest.param(
            "JPY",
            {"quantity": Decimal(1), "unit_amount": Decimal(1500), "per_units": 1, "amount": Money(1500, "JPY")},
            PaperLine("Input tokens", (), "1 token", "¥1,500 per token", "¥1,500", (), False),
            id="a currency without decimals",
        ),
        pytest.param(
            "KWD",
            {"unit_amount": Decimal("0.125"), "amount": Money("12345.678", "KWD")},
            PaperLine(
                "Input tokens", (), "1,000,000 tokens", "KWD 0.125 per 1,000,000 tokens", "KWD 12,345.678", (), False
            ),
            id="a currency with three decimals and no sign",
        ),
        pytest.param(
            "USD",
            {"quantity": Decimal(-3), "unit_amount": Decimal("0.04"), "per_units": 1, "amount": Money("-0.12", "USD")},
            PaperLine("Input tokens", (), "−3 tokens", "$0.04 per token", "−$0.12", (), False),
            id="a correction",
        ),
        pytest.param(
            "USD",
            {
                "quantity": Decimal("0.333333333333"),
                "unit_amount": Decimal("0.000000000125"),
                "amount": Money(0, "USD"),
            },
            PaperLine(
                "Input tokens", (), "0.333333333333 tokens", "$0.000000000125 per 1,000,000 tokens", "$0.00", (), False
            ),
            id="twelve decimals are all printed",
        ),
        pytest.param(
            "USD",
            {
                "quantity": Decimal(0),
                "amount": Money(0, "USD"),
                "charge_model": "graduated",
                "unit_amount": None,
                "tiers": [tier("0", None, "0", "3", "0")],
            },
            PaperLine("Input tokens", (), "0 tokens", "by tier", "$0.00", (), True),
            id="an unused charge is quiet",
        ),
        pytest.param(
            "USD",
            {
                "quantity": Decimal(900),
                "included_units": Decimal(900),
                "amount": Money(0, "USD"),
                "tiers": [tier("0", None, "0", "3", "0")],
            },
            PaperLine(
                "Input tokens",
                (),
                "900 tokens",
                "$10.00 per 1,000,000 tokens",
                "$0.00",
                (PaperStep("Included", "900 tokens", "no charge", ""),),
                False,
            ),
            id="all of it is included",
        ),
        pytest.param(
            "USD",
            {
                "charge_model": "graduated",
                "unit_amount": None,
                "share_days": 10,
                "amount": Money("1.67", "USD"),
                "tiers": [tier("0", THIRD_OF_1000, THIRD_OF_1000, "5000", "1.666666666666666666666666667")],
            },
            PaperLine(
                "Input tokens",
                ("1 – 30 Nov 2023, 10 of 30 days",),
                "1,000,000 tokens",
                "by tier",
                "$1.67",
                (
                    PaperStep(
                        "Up to 333.33333333…", "333.33333333… tokens", "× $5,000.00 per 1,000,000", "= $1.66666666…"
                    ),
                ),
                False,
            ),
            id="endless decimals are cut and marked, not rounded",
        ),
    ],
)
def test_a_line_in_words(currency: str, values: dict[str, Any], expected: PaperLine) -> None:
    invoice = InvoiceFactory(contract__currency=currency)
    InvoiceLineFactory(invoice=invoice, **values)

    [group] = paper_of(invoice).groups

    [line] = group.lines
    assert _with_plain_spaces(line) == expected


def test_days_are_those_of_the_invoice_zone() -> None:
    """Midnight in Los Angeles is 8:00 UTC in winter; the last day of November is the last day printed."""
    invoice = InvoiceFactory(
        contract__customer__timezone="America/Los_Angeles",
        period_start_at=dt.datetime(2023, 11, 1, 7, tzinfo=dt.UTC),
        period_end_at=dt.datetime(2023, 12, 1, 8, tzinfo=dt.UTC),
    )

    facts = {fact.label: (fact.text, fact.remark) for fact in paper_of(invoice).facts}

    assert facts["Service period"] == ("1 – 30 Nov 2023", "Days in America/Los Angeles")


@pytest.mark.parametrize(
    ("amount", "due", "terms"),
    [
        ("10.00", "Due 1 Jan 2024", "Payable within 30 days, by 1 Jan 2024."),
        ("0.00", "Nothing to pay", "Nothing is to be paid."),
        ("-10.00", "In your favour", "Nothing is to be paid; the amount is in your favour."),
    ],
)
def test_only_what_is_owed_is_asked_for(amount: str, due: str, terms: str) -> None:
    invoice = InvoiceFactory()
    InvoiceLineFactory(invoice=invoice, amount=Money(amount, "USD"))

    paper = paper_of(issue(invoice))

    assert (paper.due, paper.terms, bool(paper.payment_instructions)) == (due, terms, amount == "10.00")


@pytest.mark.parametrize(
    ("days", "terms"), [(0, "Payable on receipt, by 2 Dec 2023."), (1, "Payable within 1 day, by 3 Dec 2023.")]
)
def test_short_terms(days: int, terms: str) -> None:
    invoice = InvoiceFactory(contract__payment_terms_days=days)
    InvoiceLineFactory(invoice=invoice)

    assert paper_of(issue(invoice)).terms == terms


def test_lines_are_grouped_by_product_in_the_order_of_their_positions() -> None:
    invoice = InvoiceFactory()
    for product, description in [("Chat", "a"), ("Images", "b"), ("Chat", "c")]:
        InvoiceLineFactory(invoice=invoice, product_name=product, description=description)

    groups = paper_of(invoice).groups

    assert [(group.name, [line.description for line in group.lines]) for group in groups] == [
        ("Chat", ["a", "c"]),
        ("Images", ["b"]),
    ]


@pytest.mark.parametrize(
    ("country", "lines", "is_letter"),
    [
        ("US", ("San Francisco, CA 94105", "United States of America"), True),
        ("DE", ("94105 San Francisco", "CA", "Germany"), False),
    ],
)
def test_addresses_and_paper_size_follow_the_country(country: str, lines: tuple[str, ...], is_letter: bool) -> None:
    seller = BillingEntityFactory(
        country=country, city="San Francisco", region="CA", postal_code="94105", line1="", tax_id="", email=""
    )

    paper = paper_of(InvoiceFactory(contract__customer__billing_entity=seller))

    assert (paper.seller.details, paper.is_letter) == (lines, is_letter)


def test_a_right_to_left_name_runs_that_way_as_a_whole() -> None:
    paper = paper_of(InvoiceFactory(contract__customer__name="حساب ABC 123", contract__customer__line1="Rue 1"))

    assert paper.buyer.name == "\N{RIGHT-TO-LEFT ISOLATE}حساب ABC 123\N{POP DIRECTIONAL ISOLATE}"
    assert paper.buyer.details[0] == "Rue 1"


@needs_pango
def test_two_renders_are_the_same_to_the_byte(november: Invoice) -> None:
    first = render_pdf(november)
    pdf._stylesheet.cache_clear()

    assert render_pdf(Invoice.objects.get(pk=november.pk)) == first


@needs_pango
def test_the_file_is_an_archivable_tagged_pdf(november: Invoice) -> None:
    reader = PdfReader(io.BytesIO(render_pdf(november)))

    assert reader.metadata is not None
    assert (reader.metadata.title, reader.metadata.author) == ("Invoice MS-2023-00042", "Meterstone AI GmbH")
    assert reader.metadata.creation_date == dt.datetime(2023, 12, 2, 9, 30, tzinfo=dt.UTC)
    root: Any = reader.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"] == True  # noqa: E712  (a PDF boolean object)
    xmp = root["/Metadata"].get_object().get_data().decode()
    assert "<pdfaid:part>3" in xmp or 'pdfaid:part="3"' in xmp


@needs_pango
def test_later_pages_repeat_the_number_and_the_table_head() -> None:
    pages = _pages(_invoice_of(45))

    assert len(pages) == 3
    for number, page in enumerate(pages, start=1):
        assert f"Page {number} of 3" in page
        assert page.count("Invoice MS-2023-00001") == (0 if number == 1 else 1)
        assert page.upper().count("UNIT PRICE") == 1


@needs_pango
@pytest.mark.parametrize("lines", [15, 16, 18, 36, 37, 38, 40])
def test_no_head_closes_a_page_and_no_total_opens_one(lines: int) -> None:
    """Around these counts a page is just full: a product's head moves with its first line, the totals with the last."""
    pages = _pages(_invoice_of(lines))

    assert len(pages) == (2 if lines <= 36 else 3)
    for page in pages:
        rows = [row for row in page.splitlines() if row.startswith(("Product ", "Charge ", "Subtotal"))]
        assert rows[0].startswith(("Product ", "Charge "))
        assert not rows[-1].startswith("Product ")
    assert "Subtotal" in pages[-1]
    assert "Amount due (USD)" in pages[-1]


@needs_pango
def test_a_draft_is_marked_on_every_page() -> None:
    assert ["DRAFT" in page for page in _pages(_invoice_of(30, draft=True))] == [True, True]


@needs_pango
def test_a_name_that_no_font_can_print_is_refused() -> None:
    invoice = InvoiceFactory(contract__customer__name="Acme \U00030000 Ltd")

    with pytest.raises(PdfUnavailable, match="No installed font has the characters “\U00030000”"):
        render_pdf(invoice)


@needs_pango
def test_a_symbol_that_no_font_has_stops_nothing() -> None:
    assert render_pdf(InvoiceFactory(contract__customer__name="Acme \U0001fae8")).startswith(b"%PDF-1.7")


@pytest.mark.usefixtures("without_pango")
def test_without_pango_the_page_stays_and_the_pdf_says_what_to_install(november: Invoice) -> None:
    assert "apt-get install libpango-1.0-0" in str(pdf_support())
    assert "MS-2023-00042" in invoice_html(november)
    with pytest.raises(PdfUnavailable, match="Pango text library"):
        render_pdf(november)


def _pages(invoice: Invoice) -> list[str]:
    return [page.extract_text() for page in PdfReader(io.BytesIO(render_pdf(invoice))).pages]


def _invoice_of(count: int, *, draft: bool = False) -> Invoice:
    """An invoice with so many lines of one row each, three to a product."""
    invoice = InvoiceFactory()
    price_version = PriceVersionFactory()
    lines = [
        InvoiceLineFactory.build(
            invoice=invoice,
            price_version=price_version,
            position=position,
            product_name=f"Product {position // 3}",
            description=f"Charge {position}",
        )
        for position in range(count)
    ]
    InvoiceLine.objects.bulk_create(lines)
    return invoice if draft else issue(invoice, number="MS-2023-00001")


def _with_plain_spaces(line: PaperLine) -> PaperLine:
    def plain(text: str) -> str:
        return text.replace("\N{NO-BREAK SPACE}", " ")

    steps = tuple(PaperStep(step.label, step.quantity, step.price, plain(step.result)) for step in line.steps)
    return PaperLine(
        line.description, line.notes, line.quantity, plain(line.unit_price), plain(line.amount), steps, line.is_quiet
    )
