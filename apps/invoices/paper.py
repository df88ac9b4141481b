"""What an invoice says on paper: every figure and sentence as text, from what the invoice stores.

Nothing is rated, looked up in a price list, or rounded here. A draft has no copies of its parties and terms yet,
so it shows those that would be copied if it were issued now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django_countries import countries

from apps.common.formatting import format_day, format_instant
from apps.customers.parties import Party
from apps.invoices.billed import names_of_bills
from apps.invoices.models import Invoice, InvoiceLine
from apps.invoices.paper_lines import PaperLine, PaperStep, in_reading_order, paper_line, print_money, print_quantity
from apps.invoices.wording import days_of, period_in_words
from apps.pricing.money import sum_exactly
from apps.pricing.periods import Period
from apps.rating.values import BillKind

__all__ = ["Paper", "PaperLine", "PaperStep", "paper_of"]

LETTER_COUNTRIES = {"US", "CA", "MX", "PH", "CL", "CO"}
CITY_FIRST_COUNTRIES = {"US", "CA", "AU", "GB", "IN", "NZ", "SG", "IE"}


@dataclass(frozen=True, slots=True)
class PaperParty:
    name: str
    details: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    label: str
    text: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class PaperGroup:
    name: str
    lines: tuple[PaperLine, ...]


@dataclass(frozen=True, slots=True)
class Paper:
    """All texts of one invoice, in the order in which they are printed."""

    title: str
    summary: str
    number: str
    is_draft: bool
    is_letter: bool
    made_at: str
    seller: PaperParty
    imprint: str
    buyer: PaperParty
    facts: tuple[Fact, ...]
    due: str
    groups: tuple[PaperGroup, ...]
    currency: str
    subtotal: str
    total: str
    terms: str
    payment_instructions: str
    footnotes: tuple[str, ...]


def paper_of(invoice: Invoice) -> Paper:
    """Put a stored invoice into words."""
    lines = list(invoice.lines.all())
    for line in lines:
        line.invoice = invoice
    bills = names_of_bills(lines)
    seller, buyer = invoice.seller_party, invoice.buyer_party
    title = "Draft invoice" if invoice.is_draft else f"Invoice {invoice.number}"
    return Paper(
        title=title,
        summary=f"{title} for {buyer.name}, {period_in_words(invoice)}",
        number=invoice.number or "",
        is_draft=invoice.is_draft,
        is_letter=seller.country in LETTER_COUNTRIES,
        made_at=(invoice.issued_at or invoice.rated_at).isoformat(timespec="seconds"),
        seller=_paper_party(seller),
        imprint=" · ".join(filter(None, [seller.name, seller.tax_id and f"Tax ID {seller.tax_id}"])),
        buyer=_paper_party(buyer),
        facts=tuple(_facts(invoice)),
        due=_due(invoice),
        groups=_groups(invoice.period, lines, bills),
        currency=invoice.total.currency.code,
        subtotal=print_money(invoice.subtotal.amount, invoice.total.currency.code),
        total=print_money(invoice.total.amount, invoice.total.currency.code),
        terms=_terms(invoice),
        payment_instructions=_payment_instructions(invoice),
        footnotes=tuple(_footnotes(invoice, lines)),
    )


def _paper_party(party: Party) -> PaperParty:
    details = [
        party.line1,
        party.line2,
        *_city_lines(party),
        countries.name(party.country) if party.country else "",
        f"Tax ID {party.tax_id}" if party.tax_id else "",
        party.email,
    ]
    return PaperParty(
        name=in_reading_order(party.name), details=tuple(in_reading_order(text) for text in details if text)
    )


def _city_lines(party: Party) -> list[str]:
    """City, region and postal code in the order of the country."""
    if party.country in CITY_FIRST_COUNTRIES:
        region_and_code = " ".join(filter(None, [party.region, party.postal_code]))
        return [", ".join(filter(None, [party.city, region_and_code]))]
    return [" ".join(filter(None, [party.postal_code, party.city])), party.region]


_PERIOD_LABELS = {
    BillKind.PERIOD: "Service period",
    BillKind.OPENING: "In advance for",
    BillKind.INTERIM: "Usage so far of",
}


def _facts(invoice: Invoice) -> Iterable[Fact]:
    if invoice.invoice_date:
        yield Fact("Invoice date", format_day(invoice.invoice_date))
    if invoice.due_date:
        yield Fact("Due date", format_day(invoice.due_date))
    label = _PERIOD_LABELS[BillKind(invoice.kind)]
    yield Fact(label, days_of(invoice), remark=f"Days in {invoice.timezone.replace('_', ' ')}")
    purchase_order = invoice.contract.purchase_order if invoice.is_draft else invoice.purchase_order
    if purchase_order:
        yield Fact("Purchase order", purchase_order)


def _due(invoice: Invoice) -> str:
    if invoice.total.amount <= 0:
        return "In your favour" if invoice.total.amount else "Nothing to pay"
    if invoice.due_date:
        return f"Due {format_day(invoice.due_date)}"
    return f"Due {_in_days(_payment_terms_days(invoice))} after issue"


def _terms(invoice: Invoice) -> str:
    if invoice.total.amount <= 0:
        return f"Nothing is to be paid{'; the amount is in your favour' if invoice.total.amount else ''}."
    days = _payment_terms_days(invoice)
    when = f"within {_in_days(days)}" if days else "on receipt"
    if invoice.due_date is None:
        return f"Payable {when} of the invoice date." if days else "Payable on receipt."
    return f"Payable {when}, by {format_day(invoice.due_date)}."


def _in_days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _payment_terms_days(invoice: Invoice) -> int:
    if invoice.payment_terms_days is not None:
        return invoice.payment_terms_days
    return invoice.contract.payment_terms.days


def _payment_instructions(invoice: Invoice) -> str:
    if invoice.total.amount <= 0:
        return ""
    stored = invoice.billing_entity.payment_instructions if invoice.is_draft else invoice.payment_instructions
    return stored.strip()


def _groups(period: Period, lines: Sequence[InvoiceLine], bills: dict[int, str]) -> tuple[PaperGroup, ...]:
    """The lines by product, products and lines in the order of their positions."""
    by_product: dict[str, list[PaperLine]] = {}
    for line in lines:
        by_product.setdefault(line.product_name, []).append(paper_line(line, period, bills))
    return tuple(PaperGroup(name=in_reading_order(name), lines=tuple(found)) for name, found in by_product.items())


def _pricing_units(invoice: Invoice, lines: Sequence[InvoiceLine]) -> Iterable[str]:
    """What was used of each pricing unit in all, next to the money it comes to."""
    by_unit: dict[str, list[InvoiceLine]] = {}
    for line in lines:
        if line.priced_amount is not None:
            by_unit.setdefault(line.pricing_unit_plural, []).append(line)
    for name, found in by_unit.items():
        used = sum_exactly(line.priced_amount for line in found if line.priced_amount is not None)
        billed = print_money(sum_exactly(line.amount.amount for line in found), invoice.total.currency.code)
        yield f"{name.capitalize()} used in this period: {print_quantity(used)}, for {billed}."


def _footnotes(invoice: Invoice, lines: Sequence[InvoiceLine]) -> Iterable[str]:
    if any(line.metric_code for line in lines):
        cutoff = format_instant(invoice.stored_before, invoice.timezone)
        yield f"Counts the usage of the service period that was received before {cutoff}."
        if invoice.kind == BillKind.INTERIM:
            yield "Later usage of the period, and its fees, follow on another invoice."
    yield from _pricing_units(invoice, lines)
    if any(line.exact_amount != line.running_total for line in lines):
        yield "Each line is rounded once; the amount due is the sum of the lines as printed."
    footer = invoice.billing_entity.invoice_footer if invoice.is_draft else invoice.footer
    if footer.strip():
        yield footer.strip()
