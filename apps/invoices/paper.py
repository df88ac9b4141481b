"""What an invoice says on paper: every figure and sentence as text, from what the invoice stores.

Nothing is rated, looked up in a price list, or rounded here. A draft has no copies of its parties and terms yet,
so it shows those that would be copied if it were issued now.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from django_countries import countries

from apps.common.formatting import format_day, format_days, format_instant, format_money
from apps.customers.parties import Party
from apps.invoices.billed import names_of_bills
from apps.invoices.models import Invoice, InvoiceLine
from apps.invoices.wording import billed_before_in_words, days_of, period_in_words
from apps.pricing.formatting import format_quantity
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import Period
from apps.products.models import ChargeModelName
from apps.rating.values import BillKind

LETTER_COUNTRIES = {"US", "CA", "MX", "PH", "CL", "CO"}
CITY_FIRST_COUNTRIES = {"US", "CA", "AU", "GB", "IN", "NZ", "SG", "IE"}
# A number with a longer tail (the third of an allowance) is cut and marked as cut, never rounded.
MOST_DECIMALS = 8
TRUE_MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


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
class PaperStep:
    """One step of a line's calculation: units, times price, equals exact amount."""

    label: str
    quantity: str
    price: str
    result: str


@dataclass(frozen=True, slots=True)
class PaperLine:
    description: str
    notes: tuple[str, ...]
    quantity: str
    unit_price: str
    amount: str
    steps: tuple[PaperStep, ...]
    is_quiet: bool


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
        subtotal=_money(invoice.subtotal.amount, invoice.total.currency.code),
        total=_money(invoice.total.amount, invoice.total.currency.code),
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
        name=_in_reading_order(party.name), details=tuple(_in_reading_order(text) for text in details if text)
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
        by_product.setdefault(line.product_name, []).append(_paper_line(line, period, bills))
    return tuple(PaperGroup(name=_in_reading_order(name), lines=tuple(found)) for name, found in by_product.items())


def _paper_line(line: InvoiceLine, period: Period, bills: dict[int, str]) -> PaperLine:
    currency = line.amount.currency.code
    is_quiet = not line.quantity and not line.amount.amount
    return PaperLine(
        description=_in_reading_order(line.description),
        notes=tuple(_notes(line, period, bills)),
        quantity=f"{_quantity(line.quantity)} {_unit_name(line, line.quantity)}" if line.metric_code else "",
        unit_price=_unit_price(line, currency),
        amount=_money(line.amount.amount, currency),
        steps=() if is_quiet else tuple(_steps(line, currency)),
        is_quiet=is_quiet,
    )


def _notes(line: InvoiceLine, period: Period, bills: dict[int, str]) -> Iterable[str]:
    """What is special about the line: other days than the invoice's, a share of a period, what was billed before."""
    window = Period(start_at=line.window_start_at, end_at=line.window_end_at, zone=period.zone)
    is_whole = line.share_days == line.share_of_days
    if window != period or not is_whole:
        days = format_days(window.first_date, window.last_date)
        share = "" if is_whole else f", {line.share_days} of {line.share_of_days} days"
        in_advance = ", in advance" if line.is_in_advance and window.start_at >= period.end_at else ""
        yield f"{days}{share}{in_advance}"
    if before := billed_before_in_words(line, bills):
        yield before


def _unit_price(line: InvoiceLine, currency: str) -> str:
    if line.charge_model == ChargeModelName.GRADUATED:
        return "by tier"
    if line.unit_amount is None:
        return ""
    if line.charge_model == ChargeModelName.FLAT:
        return _money(line.unit_amount, currency)
    per = "" if line.per_units == 1 else f"{format_quantity(line.per_units)} "
    return f"{_money(line.unit_amount, currency)} per {per}{_unit_name(line, line.per_units)}"


def _steps(line: InvoiceLine, currency: str) -> Iterable[PaperStep]:
    """The calculation, where one row of quantity and price does not tell it all."""
    if line.included_units:
        yield PaperStep("Included", _units(line, line.included_units), "no charge", "")
    if line.included_units or line.charge_model == ChargeModelName.GRADUATED:
        for tier in line.tiers:
            if Decimal(tier["quantity"]) or Decimal(tier["amount"]):
                yield _tier_step(tier, line, currency)


def _tier_step(tier: dict[str, Any], line: InvoiceLine, currency: str) -> PaperStep:
    per_units, flat = Decimal(tier["per_units"]), Decimal(tier["flat_amount"])
    per = "" if per_units == 1 else f" per {format_quantity(per_units)}"
    fee = f" + {_tail_cut(flat, lambda amount: _money(amount, currency))} fee" if flat else ""
    return PaperStep(
        _tier_range(tier),
        _units(line, Decimal(tier["quantity"])),
        f"× {_money(Decimal(tier['unit_amount']), currency)}{per}{fee}",
        f"={NO_BREAK}{_tail_cut(Decimal(tier['amount']), lambda amount: _money(amount, currency))}",
    )


def _tier_range(tier: dict[str, Any]) -> str:
    lower = Decimal(tier["lower"])
    if tier["upper"] is None:
        return f"Above {_tail_cut(lower, _quantity)}" if lower else "Charged"
    upper = _tail_cut(Decimal(tier["upper"]), _quantity)
    return f"Above {_tail_cut(lower, _quantity)}, up to {upper}" if lower else f"Up to {upper}"


def _footnotes(invoice: Invoice, lines: Sequence[InvoiceLine]) -> Iterable[str]:
    if any(line.metric_code for line in lines):
        cutoff = format_instant(invoice.stored_before, invoice.timezone)
        yield f"Counts the usage of the service period that was received before {cutoff}."
        if invoice.kind == BillKind.INTERIM:
            yield "Later usage of the period, and its fees, follow on another invoice."
    if any(line.exact_amount != line.running_total for line in lines):
        yield "Each line is rounded once; the amount due is the sum of the lines as printed."
    footer = invoice.billing_entity.invoice_footer if invoice.is_draft else invoice.footer
    if footer.strip():
        yield footer.strip()


def _units(line: InvoiceLine, quantity: Decimal) -> str:
    return f"{_tail_cut(quantity, _quantity)} {_unit_name(line, quantity)}".strip()


def _unit_name(line: InvoiceLine, quantity: Decimal) -> str:
    return line.unit_singular if quantity == 1 else line.unit_plural


def _tail_cut(number: Decimal, as_text: Callable[[Decimal], str]) -> str:
    with exact_arithmetic():
        cut = number.quantize(Decimal(1).scaleb(-MOST_DECIMALS), rounding=ROUND_DOWN)
    return as_text(cut) + ("" if cut == number else "…")


def _quantity(number: Decimal) -> str:
    return format_quantity(number).replace("-", TRUE_MINUS)


def _money(amount: Decimal, currency: str) -> str:
    return format_money(amount, currency).replace("-", TRUE_MINUS)


def _in_reading_order(text: str) -> str:
    """Let a text that begins in a right-to-left script run that way as a whole, digits and Latin words included."""
    first_strong = next((kind for kind in map(unicodedata.bidirectional, text) if kind in {"L", "R", "AL"}), "L")
    return text if first_strong == "L" else f"\N{RIGHT-TO-LEFT ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
