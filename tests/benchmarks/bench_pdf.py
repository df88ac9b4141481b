"""PDFs through the product against bare WeasyPrint on the same HTML: python -m tests.benchmarks.bench_pdf

Bare is ``weasyprint.HTML(string=html).write_pdf()`` with the same stylesheet and PDF options and nothing kept
between documents. The product reads the invoice from the database, writes the HTML, and prints it with its kept
stylesheet and fonts. Both must give the same bytes. The score is documents per second, product over bare, taken
round by round; more than 1 means that the product is faster. It makes, and removes, a database of its own.
"""

from __future__ import annotations

import argparse
import sys

from tests.benchmarks.harness import compare, own_database, report, set_up

set_up()

from django.contrib.staticfiles import finders  # noqa: E402  (needs the settings)

from apps.invoices.models import Invoice, InvoiceLine  # noqa: E402
from apps.invoices.pdf import STYLESHEET, invoice_html, pdf_support, render_pdf  # noqa: E402
from tests.factories import InvoiceFactory, InvoiceLineFactory, PriceVersionFactory, issue  # noqa: E402

PAGES_BY_LINES = {8: 1, 45: 3}


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--documents", type=int, default=5, help="documents of each side in a round")
    options = arguments.parse_args()
    if missing_library := pdf_support():
        report(missing_library)
        return 1
    with own_database("pdf"):
        for lines, pages in PAGES_BY_LINES.items():
            _compare(_invoice_of(lines), pages, rounds=options.rounds, documents=options.documents)
    return 0


def _compare(invoice: Invoice, pages: int, *, rounds: int, documents: int) -> None:
    import weasyprint

    html, identifier = invoice_html(invoice), str(invoice.number).encode()

    def bare() -> bytes:
        document = weasyprint.HTML(string=html)
        content: bytes = document.write_pdf(
            stylesheets=[finders.find(STYLESHEET)], pdf_variant="pdf/a-3a", pdf_identifier=identifier
        )
        return content

    def product() -> bytes:
        return render_pdf(Invoice.objects.get(pk=invoice.pk))

    if bare() != product():
        raise AssertionError("the product and bare WeasyPrint printed different papers")
    score = compare(
        ours=lambda _: [product() for _ in range(documents)],
        limit=lambda _: [bare() for _ in range(documents)],
        rounds=rounds,
    )
    report(
        f"{pages} page{'s' if pages > 1 else ''}, {invoice.lines.count()} lines, {rounds} rounds: product over bare "
        f"{score}; product {1000 * score.ours_seconds / documents:.0f} ms, "
        f"bare {1000 * score.limit_seconds / documents:.0f} ms a document"
    )


def _invoice_of(count: int) -> Invoice:
    invoice = InvoiceFactory()
    price_version = PriceVersionFactory()
    InvoiceLine.objects.bulk_create(
        InvoiceLineFactory.build(
            invoice=invoice,
            price_version=price_version,
            position=position,
            product_name=f"Product {position // 3}",
            description=f"Charge {position}",
        )
        for position in range(count)
    )
    return issue(invoice)


if __name__ == "__main__":
    sys.exit(main())
