"""Usage that changed after it was invoiced: late events, and events that were corrected.

A list for finance, and no more: nothing is adjusted here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, islice

from django.conf import settings
from django.db.models import QuerySet, prefetch_related_objects

from apps.invoices.models import InvoiceLine, InvoiceStatus
from apps.invoices.selectors import charge_of_line
from apps.pricing.charge_models.base import NotRatable, Usage
from apps.pricing.charges import Charge, rate_lines
from apps.products.estimates import label_of
from apps.rating.measuring import Meter, measure_charges, meter_of
from apps.rating.values import BillKind
from apps.usage.selectors import UsageWindow, changed_since

LINES_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line whose usage measures otherwise now. The amounts are the line's, under its own price version.

    Usage that came for a row of a matrix which had none has no line: then ``line`` is one of the same price, ``name``
    says which row it is, and what was billed is zero. The amount billed is that of all bills of its period.
    """

    line: InvoiceLine
    name: str
    quantity_billed: Decimal
    amount_billed: Decimal
    quantity_now: Decimal
    amount_now: Decimal

    @property
    def quantity_difference(self) -> Decimal:
        return self.quantity_now - self.quantity_billed

    @property
    def amount_difference(self) -> Decimal:
        return self.amount_now - self.amount_billed

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
    # The lines of one price and window stand together: a matrix has several, and they are rated as one charge.
    charges = (list(of_charge) for _, of_charge in groupby(lines, key=_charge_key))
    found: list[ChangedLine] = []
    while chunk := list(islice(charges, LINES_AT_ONCE)):
        found.extend(_changed(chunk))
    return found


def _charge_key(line: InvoiceLine) -> tuple[int, int, dt.datetime]:
    return line.invoice_id, line.price_version_id, line.window_start_at


def _watched_lines(now: dt.datetime, customer_ids: list[int] | None) -> QuerySet[InvoiceLine]:
    lines: QuerySet[InvoiceLine] = InvoiceLine.objects.filter(
        invoice__status__in=[InvoiceStatus.ISSUED, InvoiceStatus.PAID],
        invoice__kind=BillKind.PERIOD,
        invoice__period_end_at__gte=watched_since(now),
        metric_version__isnull=False,
    )
    if customer_ids is not None:
        lines = lines.filter(invoice__customer_id__in=customer_ids)
    return lines.select_related(
        "invoice__customer", "metric_version__metric", "price_version__price__pricing_unit"
    ).order_by("-invoice__period_end_at", "-invoice_id", "position")


def _changed(charges: list[list[InvoiceLine]]) -> Iterator[ChangedLine]:
    windows = [(_window(lines[0]), lines[0].stored_before) for lines in charges]
    may_have_changed = changed_since(windows)
    chosen = [lines for lines, changed in zip(charges, may_have_changed, strict=True) if changed]
    prefetch_related_objects([lines[0] for lines in chosen], "price_version__tiers", "price_version__rows")
    meters = [(lines[0].invoice.customer_id, _meter(lines[0])) for lines in chosen]
    for lines, (_, meter), measured in zip(
        chosen, meters, measure_charges(meters, stored_before=None, as_of=None), strict=True
    ):
        yield from _differences(lines, meter.charge, measured.usage)


def _window(line: InvoiceLine) -> UsageWindow:
    if line.metric_version is None:
        raise ValueError(f"{line} charges for no usage")
    return UsageWindow(line.invoice.customer_id, line.metric_version, line.window_start_at, line.window_end_at)


def _meter(line: InvoiceLine) -> Meter:
    if line.metric_version is None:
        raise ValueError(f"{line} charges for no usage")
    return meter_of(charge_of_line(line), line.metric_version, line.window, line.share_of_days)


def _differences(lines: list[InvoiceLine], charge: Charge, usage: Usage) -> Iterator[ChangedLine]:
    """What each line of a charge would be by now, and what there would be besides.

    Usage that the price says nothing about has no amount; it is listed by its quantity.
    """
    currency = lines[0].amount.currency.code
    try:
        rated_now = {(rated.bound, rated.values): rated for rated in rate_lines(charge, usage, currency)}
    except NotRatable:
        yield _unpriced(lines, usage)
        return
    for line in lines:
        rated = rated_now.pop((line.bound, tuple(line.dimension_values) if line.dimensions else None), None)
        quantity_now, amount_now = (rated.quantity, rated.amount) if rated else (Decimal(0), Decimal(0))
        billed = line.running_total
        if quantity_now != line.quantity or amount_now != billed:
            yield ChangedLine(line, line.description, line.quantity, billed, quantity_now, amount_now)
    for rated in rated_now.values():
        name = f"{lines[0].price_version.price.name}: {label_of(rated)}"
        yield ChangedLine(lines[0], name, Decimal(0), Decimal(0), rated.quantity, rated.amount)


def _unpriced(lines: list[InvoiceLine], usage: Usage) -> ChangedLine:
    quantity = sum((line.quantity for line in lines), Decimal(0))
    amount = sum((line.running_total for line in lines), Decimal(0))
    name = f"{lines[0].price_version.price.name}: usage without a price"
    return ChangedLine(lines[0], name, quantity, amount, usage.quantity, amount)
