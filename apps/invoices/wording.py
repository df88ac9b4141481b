"""What kind of bill an invoice is, in words: the same on screens and on paper."""

from __future__ import annotations

from collections.abc import Mapping

from apps.common.formatting import format_days, format_money
from apps.invoices.models import Invoice, InvoiceLine
from apps.rating.values import BillKind


def days_of(invoice: Invoice) -> str:
    return format_days(invoice.period.first_date, invoice.period.last_date)


def period_in_words(invoice: Invoice) -> str:
    """The billing period, and whether it is billed in advance or only so far."""
    if invoice.kind == BillKind.OPENING:
        return f"In advance for {days_of(invoice)}"
    return f"Usage so far of {days_of(invoice)}" if invoice.kind == BillKind.INTERIM else days_of(invoice)


def billed_before_in_words(line: InvoiceLine, names: Mapping[int, str]) -> str:
    """“$5.00 in all, $2.00 billed before on NIM-2026-00001”; an empty string where nothing was."""
    if not line.billed_before:
        return ""
    currency = line.amount.currency.code
    before = format_money(line.billed_before, currency)
    bills = " and ".join(names[invoice_id] for invoice_id in line.billed_on if invoice_id in names)
    on = f" on {bills}" if bills else ""
    if line.is_reversal:
        return f"Not charged any more; {before} billed before{on}"
    kind = "Adjustment: " if line.amount.amount < 0 or not line.metric_code else ""
    return f"{kind}{format_money(line.running_total, currency)} in all, {before} billed before{on}"
