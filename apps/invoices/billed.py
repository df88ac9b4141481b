"""What was billed already, for whoever rates a bill: the one place that knows which invoices count."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal

from django.db.models import QuerySet

from apps.contracts.models import Contract
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.pricing.money import EXACT
from apps.pricing.periods import Period, ShareOfDays
from apps.rating.values import Billed, BillKind, PeriodToRate

_Span = tuple[dt.datetime, dt.datetime]
_Place = tuple[int, tuple[str | None, ...] | None, str, dt.datetime, dt.datetime]


def with_billed(requests: Sequence[PeriodToRate], *, leaving_out: int | None = None) -> list[PeriodToRate]:
    """The same bills, each with what the live invoices of its contract charge for its period and the next one.

    ``leaving_out`` is the invoice that is made anew and does not count itself. Two queries for any number of
    contracts. Where two bills of a contract may be made at once, hold a lock on the contract.
    """
    spans = [_span(request.contract, request.period) for request in requests]
    lines: defaultdict[int, list[InvoiceLine]] = defaultdict(list)
    for line in _lines_within({request.contract.pk for request in requests}, spans, leaving_out):
        lines[line.invoice.contract_id].append(line)
    return [
        replace(request, billed=_summed(lines[request.contract.pk], span))
        for request, span in zip(requests, spans, strict=True)
    ]


def billed_beyond(contract_ids: Collection[int], *, cutoff: dt.datetime) -> set[tuple[int, dt.datetime]]:
    """Contracts and periods whose usage was billed up to a later instant than the cutoff."""
    interim = Invoice.objects.live().filter(kind=BillKind.INTERIM, contract__in=contract_ids, stored_before__gt=cutoff)
    return set(interim.values_list("contract_id", "period_start_at"))


def names_of_bills(lines: Iterable[InvoiceLine]) -> dict[int, str]:
    """The number of every invoice that charged for the same before, or what it is while it has none."""
    ids = {invoice_id for line in lines for invoice_id in line.billed_on}
    if not ids:
        return {}
    invoices = Invoice.objects.filter(pk__in=ids).only("number", "kind")
    return {invoice.pk: invoice.number or f"a draft ({invoice.get_kind_display().lower()})" for invoice in invoices}


def _span(contract: Contract, period: Period) -> _Span:
    """The whole nominal period, whatever its contract's term cuts of it by now, and the one after it."""
    cycle = contract.billing_cycle
    index = cycle.index_of(period.start_at)
    return period.start_at, cycle.period(index + 1).end_at


def _lines_within(
    contract_ids: Collection[int], spans: Sequence[_Span], leaving_out: int | None
) -> QuerySet[InvoiceLine]:
    if not spans:
        return InvoiceLine.objects.none()
    first_at = min(start_at for start_at, _ in spans)
    last_at = max(end_at for _, end_at in spans)
    return (
        InvoiceLine.objects.filter(
            invoice__contract__in=contract_ids,
            # What was billed in advance stands on the invoice of the period that ended as this one began.
            invoice__period_end_at__gte=first_at,
            window_start_at__gte=first_at,
            window_start_at__lt=last_at,
        )
        .exclude(invoice__status=InvoiceStatus.VOID)
        .exclude(invoice=leaving_out)
        .select_related(
            "invoice",
            "price_version__price__product",
            "price_version__price__metric",
            "price_version__price__pricing_unit",
        )
        .prefetch_related("price_version__tiers", "price_version__rows")
        .order_by("invoice_id", "position")
    )


def _summed(lines: Sequence[InvoiceLine], span: _Span) -> tuple[Billed, ...]:
    """One value for each window of each price that begins within the span."""
    found: dict[_Place, Billed] = {}
    for line in lines:
        if not span[0] <= line.window_start_at < span[1]:
            continue
        values = tuple(line.dimension_values) if line.dimensions else None
        place = (line.price_version.price_id, values, line.bound, line.window_start_at, line.window_end_at)
        amount: Decimal = line.amount.amount
        before = found.get(place)
        found[place] = (
            Billed(
                price_version=line.price_version,
                window=line.window,
                share=ShareOfDays(days=line.share_days, of=line.share_of_days),
                values=values,
                bound=line.bound,
                amount=amount,
                bills=frozenset([line.invoice_id]),
            )
            if before is None
            else replace(before, amount=EXACT.add(before.amount, amount), bills=before.bills | {line.invoice_id})
        )
    return tuple(found.values())
