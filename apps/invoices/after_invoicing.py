"""Usage that changed after it was invoiced: late events, and events that were corrected.

A list for finance, and no more: nothing is adjusted here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from django.conf import settings
from django.db.models import QuerySet

from apps.invoices.models import InvoiceLine, InvoiceStatus
from apps.invoices.selectors import charge_of_line, usage_window_of
from apps.pricing.charges import rate_charge
from apps.rating.values import BillKind
from apps.usage.selectors import UsageWindow, changed_since, measure_usage

LINES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line whose usage measures otherwise now. The amounts are the line's, under its own price version.

    The amount billed is that of all bills of its period.
    """

    line: InvoiceLine
    quantity_now: Decimal
    amount_now: Decimal

    @property
    def quantity_difference(self) -> Decimal:
        return self.quantity_now - self.line.quantity

    @property
    def amount_difference(self) -> Decimal:
        return self.amount_now - self.line.running_total

    @property
    def currency(self) -> str:
        return str(self.line.amount.currency.code)


def watched_since(now: dt.datetime) -> dt.datetime:
    """Lines of periods that ended earlier are not watched any more: by policy, they are settled."""
    return now - dt.timedelta(days=31 * settings.USAGE_WATCHED_MONTHS)


def changed_after_invoicing(*, now: dt.datetime, customer_ids: list[int] | None = None) -> list[ChangedLine]:
    """Lines of issued invoices whose usage is another by now, newest period first.

    A bill made within its period is none of them: the one at the period's end settles it.
    Buckets say which may have changed; only those are measured again.
    """
    lines = _watched_lines(now, customer_ids).iterator(chunk_size=LINES_AT_ONCE)
    found: list[ChangedLine] = []
    while chunk := [(line, window) for line in islice(lines, LINES_AT_ONCE) if (window := usage_window_of(line))]:
        found.extend(_changed(chunk))
    return found


def _watched_lines(now: dt.datetime, customer_ids: list[int] | None) -> QuerySet[InvoiceLine]:
    lines: QuerySet[InvoiceLine] = InvoiceLine.objects.filter(
        invoice__status__in=[InvoiceStatus.ISSUED, InvoiceStatus.PAID],
        invoice__kind=BillKind.PERIOD,
        invoice__period_end_at__gte=watched_since(now),
        metric_version__isnull=False,
    )
    if customer_ids is not None:
        lines = lines.filter(invoice__customer_id__in=customer_ids)
    return (
        lines.select_related("invoice__customer", "metric_version__metric", "price_version__price__metric")
        .prefetch_related("price_version__tiers")
        .order_by("-invoice__period_end_at", "-invoice_id", "position")
    )


def _changed(lines: list[tuple[InvoiceLine, UsageWindow]]) -> Iterator[ChangedLine]:
    may_have_changed = changed_since([(window, line.stored_before) for line, window in lines])
    chosen = [pair for pair, changed in zip(lines, may_have_changed, strict=True) if changed]
    measured = measure_usage([window for _, window in chosen], stored_before=None)
    for (line, _), usage in zip(chosen, measured, strict=True):
        if usage.quantity != line.quantity:
            rated = rate_charge(charge_of_line(line), usage.quantity, line.amount.currency.code)
            yield ChangedLine(line, usage.quantity, rated.amount)
