"""Issuing: a draft gets its number, its parties and its dates, and is frozen."""

from __future__ import annotations

import datetime as dt
import zoneinfo
from collections.abc import Iterable

from django.contrib.auth.models import User
from django.db import transaction

from apps.common.errors import BillingError
from apps.common.history import acting
from apps.customers.models import BillingEntity
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus, NumberSeries
from apps.invoices.services.documents import request_document


class PrefixBelongsToAnother(BillingError):
    code = "invoice_prefix_taken"

    def __init__(self, seller: BillingEntity, series: NumberSeries) -> None:
        super().__init__(
            f"Numbers {series.prefix}-… belong to {series.billing_entity}, which has issued invoices by them. "
            f"Give {seller} another invoice prefix."
        )


class EarlierBillIsDraft(BillingError):
    code = "earlier_bill_is_draft"

    def __init__(self, invoice: Invoice, earlier: Invoice) -> None:
        super().__init__(
            f"{invoice} leaves out what {earlier} bills, which is not issued yet. Issue that one first, "
            "so that this one can name its number."
        )


@transaction.atomic
def issue_invoice(*, invoice_id: int, issued_at: dt.datetime, actor: User | None = None) -> Invoice:
    """Number a draft, freeze it with copies of both parties, and ask for its PDF.

    The invoice date is the day of ``issued_at`` in the billing entity's zone; the due date follows from the
    contract's payment terms. Raises EarlierBillIsDraft while a bill whose charges it leaves out is not issued.
    """
    invoice = (
        Invoice.objects.select_for_update(of=("self",))
        .select_related("billing_entity", "customer", "contract__customer__billing_entity")
        .get(pk=invoice_id)
    )
    invoice.move_to(InvoiceStatus.ISSUED)
    _refuse_before_earlier_bills(invoice)
    seller = invoice.billing_entity
    terms = invoice.contract.payment_terms
    invoice.issued_at = issued_at
    invoice.invoice_date = issued_at.astimezone(zoneinfo.ZoneInfo(seller.timezone)).date()
    invoice.due_date = invoice.invoice_date + terms
    invoice.payment_terms_days = terms.days
    invoice.seller = seller.as_party().as_stored()
    invoice.buyer = invoice.customer.as_party().as_stored()
    invoice.purchase_order = invoice.contract.purchase_order
    invoice.payment_instructions = seller.payment_instructions
    invoice.footer = seller.invoice_footer
    # Numbers may have no gaps, so one is taken only after every possible refusal.
    invoice.number = _next_number(seller, year=invoice.invoice_date.year)
    with acting(actor):
        invoice.save()
    request_document(invoice=invoice, now=issued_at)
    return invoice


def issue_invoices(
    *, invoice_ids: Iterable[int], issued_at: dt.datetime, actor: User | None = None
) -> tuple[list[Invoice], list[BillingError]]:
    """Issue drafts one by one, in the order given; a refused one does not stop the rest."""
    issued: list[Invoice] = []
    refused: list[BillingError] = []
    for invoice_id in invoice_ids:
        try:
            issued.append(issue_invoice(invoice_id=invoice_id, issued_at=issued_at, actor=actor))
        except BillingError as refusal:
            refused.append(refusal)
    return issued, refused


def _refuse_before_earlier_bills(invoice: Invoice) -> None:
    """An earlier draft that was refreshed since may leave out what this one bills; then either goes first."""
    billed_on = InvoiceLine.objects.filter(invoice=invoice).values_list("billed_on", flat=True)
    earlier_ids = {invoice_id for ids in billed_on for invoice_id in ids if invoice_id < invoice.pk}
    earlier = Invoice.objects.drafts().filter(pk__in=earlier_ids).select_related("customer").first()
    if earlier is not None:
        raise EarlierBillIsDraft(invoice, earlier)


def _next_number(seller: BillingEntity, *, year: int) -> str:
    """Take the next number of the entity's series for the year; the lock is held until the issue commits.

    Raises PrefixBelongsToAnother when the prefix was another entity's before, whose series goes on without gaps.
    """
    prefix = f"{seller.invoice_prefix}-{year}"
    NumberSeries.objects.get_or_create(prefix=prefix, defaults={"billing_entity": seller})
    series = NumberSeries.objects.select_for_update(of=("self",)).select_related("billing_entity").get(prefix=prefix)
    if series.billing_entity_id != seller.pk:
        raise PrefixBelongsToAnother(seller, series)
    number = series.next_number
    series.next_number = number + 1
    series.save(update_fields=["next_number"])
    return f"{prefix}-{number:05d}"
