"""The PDF of an invoice: HTML from stored values, printed by WeasyPrint.

The file is PDF/A-3 with tags, made to be kept and to be read aloud, and the same invoice always gives the same
bytes. WeasyPrint needs Pango from the operating system, so it is imported only when a PDF is made: without it
everything else works, and ``pdf_support`` says what is missing.
"""

from __future__ import annotations

import os
import threading
import unicodedata
from functools import lru_cache
from typing import Any

from django.contrib.staticfiles import finders
from django.template.loader import render_to_string

from apps.common.errors import BillingError
from apps.invoices.models import Invoice
from apps.invoices.paper import paper_of

STYLESHEET = "invoices/invoice.css"
# Layout is bound to the processor, so threads gain nothing by rendering at once; and they share one set of fonts.
# WeasyPrint is imported under it too: two threads that fail to import it at once trip over each other.
_one_at_a_time = threading.Lock()


class PdfUnavailable(BillingError):
    """This machine cannot print PDFs at all, or not this one; the sentence says what to install."""

    code = "pdf_unavailable"
    status = 503


def pdf_support() -> str | None:
    """None where PDFs can be made; otherwise what to install, as a sentence for staff."""
    with _one_at_a_time:
        return _missing_library()


@lru_cache(maxsize=1)
def _missing_library() -> str | None:
    try:
        _weasyprint()
    except (ImportError, OSError):
        return (
            "PDFs need the Pango text library, which is not installed on this machine. On Debian or Ubuntu run: "
            "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0. Then restart the site."
        )
    return None


def invoice_html(invoice: Invoice) -> str:
    """The invoice as a page of HTML, for a browser and for the PDF alike."""
    return render_to_string("invoices/invoice.html", {"paper": paper_of(invoice)})


def render_pdf(invoice: Invoice) -> bytes:
    """Print the invoice. Two renders of the same stored invoice are identical to the byte.

    Raises PdfUnavailable without Pango, and when no installed font has the letters of a name: a paper that is
    kept for years must not show boxes instead.
    """
    if missing_library := pdf_support():
        raise PdfUnavailable(missing_library)
    html = invoice_html(invoice)
    identifier = f"{invoice.number or f'draft-{invoice.pk}-{invoice.rated_at:%s}'}"
    with _one_at_a_time:
        return _print(html, identifier.encode())


def _print(html: str, identifier: bytes) -> bytes:
    stylesheet, fonts = _stylesheet()
    document = _weasyprint().HTML(string=html).render(font_config=fonts, stylesheets=[stylesheet])
    content: bytes = document.write_pdf(pdf_variant="pdf/a-3a", pdf_identifier=identifier)
    if unreadable := _characters_without_font(document):
        raise PdfUnavailable(
            f"No installed font has the characters “{unreadable}”. Install one on the machine that renders PDFs, "
            "such as the package fonts-droid-fallback or fonts-noto-cjk, and render again."
        )
    return content


def _characters_without_font(document: Any) -> str:
    """Letters and digits that were printed as empty boxes. A symbol, such as an emoji, may be one."""
    missing = sorted({chr(codepoint) for font in document.fonts.values() for codepoint in font.missing})
    return "".join(char for char in missing if unicodedata.category(char)[0] in "LMN")


@lru_cache(maxsize=1)
def _weasyprint() -> Any:
    # Without the HarfBuzz library fonts are cut by another one, which would write the time of day into each.
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")
    import weasyprint

    return weasyprint


@lru_cache(maxsize=1)
def _stylesheet() -> tuple[Any, Any]:
    """The parsed stylesheet and the fonts it loads: read once for each process."""
    from weasyprint.text.fonts import FontConfiguration

    fonts = FontConfiguration()
    return _weasyprint().CSS(filename=finders.find(STYLESHEET), font_config=fonts), fonts
