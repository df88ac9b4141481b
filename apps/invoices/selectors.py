"""Reads over invoices: what explains a line."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from django.db.models import Sum

from apps.invoices.billed import names_of_bills
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.pricing.charge_models.base import Component, TierCharge
from apps.pricing.charges import Charge, RatedCharge, take_allowance
from apps.pricing.explain import Explanation, explain_charge
from apps.pricing.formatting import format_unit_amount
from apps.pricing.periods import ShareOfDays
from apps.products.models import Recurrence
from apps.products.terms import charge_of
from apps.rating.values import BillKind
from apps.usage.selectors import UsageWindow, rounded


def explain_line(line: InvoiceLine) -> Explanation:
    """The line's amount in words, from its stored figures and the price version it was rated with."""
    if line.is_reversal:
        return _explain_reversal(line)
    share = ShareOfDays(days=line.share_days, of=line.share_of_days)
    charge = charge_of_line(line)
    total = explain_charge(
        _rated_charge(line, charge),
        charge,
        unit_singular=line.unit_singular,
        unit_plural=line.unit_plural,
        share=None if share.is_whole else share,
    )
    if line.price_version.price.recurrence == Recurrence.ONE_OFF:
        once = total.steps[0].replace("The fee for a billing period", "The fee, charged once as the contract starts,")
        total = Explanation(steps=(once, *total.steps[1:]), formula=total.formula)
    return _less_billed(total, line) if line.billed_before else total


def _bills_in_words(line: InvoiceLine) -> str:
    """The invoices that charged for the same before, as “NIM-2026-00003 and NIM-2026-00004”."""
    names = names_of_bills([line])
    return " and ".join(names[invoice_id] for invoice_id in line.billed_on if invoice_id in names)


def _less_billed(total: Explanation, line: InvoiceLine) -> Explanation:
    currency = line.amount.currency.code
    before, here = format_unit_amount(line.billed_before, currency), format_unit_amount(line.amount.amount, currency)
    step = f"{before} of it was billed before on {_bills_in_words(line)}, so {here} is billed here."
    if line.amount.amount < 0:
        given_back = format_unit_amount(-line.amount.amount, currency)
        step = f"{before} was billed before on {_bills_in_words(line)}, so {given_back} is given back here."
    return Explanation(steps=(*total.steps, step), formula=f"{total.formula}, less {before} billed before = {here}")


def _explain_reversal(line: InvoiceLine) -> Explanation:
    currency = line.amount.currency.code
    before = format_unit_amount(line.billed_before, currency)
    steps = (
        f"{before} was billed before on {_bills_in_words(line)}.",
        "It is not charged any more, so it is given back.",
    )
    return Explanation(steps=steps, formula=f"nothing, less {before} billed before")


def charge_of_line(line: InvoiceLine) -> Charge:
    """The charge that the line was rated with: its price version, by its share of days."""
    share = ShareOfDays(days=line.share_days, of=line.share_of_days)
    charge = charge_of(line.price_version)
    return charge if share.is_whole else charge.prorate(share)


def tier_charges(line: InvoiceLine) -> tuple[TierCharge, ...]:
    """The tier breakdown as it was stored with the line."""
    return tuple(_tier_charge(stored) for stored in line.tiers)


def components_of(line: InvoiceLine) -> tuple[Component, ...]:
    """The named parts of the amount as they were stored with the line."""
    return tuple(_component(stored) for stored in line.components)


def usage_window_of(line: InvoiceLine) -> UsageWindow | None:
    """The usage that the line charges for; None for a fee, and for a bound, which is no usage of its own.

    The line of a matrix's row charges for a part of it only.
    """
    if line.metric_version is None or line.bound:
        return None
    return UsageWindow(
        customer_id=line.invoice.customer_id,
        version=line.metric_version,
        start_at=line.window_start_at,
        end_at=line.window_end_at,
    )


def _rated_charge(line: InvoiceLine, charge: Charge) -> RatedCharge:
    converted, included, billable = _unrounded_quantities(line, charge)
    return RatedCharge(
        quantity=line.quantity,
        included_used=included,
        billable_quantity=billable,
        exact_amount=line.exact_amount,
        amount=line.running_total,
        currency=line.amount.currency.code,
        tiers=tier_charges(line),
        components=components_of(line),
        failures_free=line.failures_free,
        converted=converted,
        model_amount=line.model_amount,
        priced_amount=line.priced_amount,
        values=tuple(line.dimension_values) if line.dimensions else None,
        bound=line.bound,
    )


def _unrounded_quantities(line: InvoiceLine, charge: Charge) -> tuple[Decimal | None, Decimal, Decimal]:
    """The line's quantity in billing units, what of it was included, and what was charged, at full precision.

    A column keeps twelve decimals, which is less than a third of an allowance has; what lies behind them follows from
    the quantity. Where it does not, as among the rows of a matrix that share an allowance, the columns hold.
    """
    stored = (line.converted_quantity, line.included_units, line.billable_quantity)
    if line.bound:
        return stored
    quantity = line.quantity - line.failures_free
    converted = None if charge.conversion is None else charge.conversion.convert(quantity)
    exact = (converted, *take_allowance(quantity if converted is None else converted, charge.included_units))
    is_same = all(
        (one is None) == (other is None) and (one is None or other is None or rounded(one) == other)
        for one, other in zip(exact, stored, strict=True)
    )
    return exact if is_same else stored


def _component(stored: dict[str, str]) -> Component:
    return Component(
        name=stored["name"],
        quantity=Decimal(stored["quantity"]),
        rate=Decimal(stored["rate"]),
        amount=Decimal(stored["amount"]),
    )


def _tier_charge(stored: dict[str, Any]) -> TierCharge:
    return TierCharge(
        lower=Decimal(stored["lower"]),
        upper=None if stored["upper"] is None else Decimal(stored["upper"]),
        quantity=Decimal(stored["quantity"]),
        unit_amount=Decimal(stored["unit_amount"]),
        per_units=Decimal(stored["per_units"]),
        flat_amount=Decimal(stored["flat_amount"]),
        amount=Decimal(stored["amount"]),
        in_packages="in_packages" in stored,
    )


def average_rates(metric_ids: Collection[int], *, since: dt.datetime) -> dict[int, dict[str, Decimal]]:
    """What customers paid for one unit of each metric on invoices issued since, by currency: an average, no price."""
    # A bill within the period states running totals too; the one at its end states the last.
    lines = InvoiceLine.objects.filter(
        invoice__status__in=[InvoiceStatus.ISSUED, InvoiceStatus.PAID],
        invoice__kind=BillKind.PERIOD,
        invoice__issued_at__gte=since,
        metric_version__metric_id__in=metric_ids,
        quantity__gt=0,
    )
    sums = (
        lines.order_by()
        .values_list("metric_version__metric_id", "currency")
        .annotate(charged=Sum("amount") + Sum("billed_before"), used=Sum("quantity"))
    )
    rates: defaultdict[int, dict[str, Decimal]] = defaultdict(dict)
    for metric_id, currency, amount, quantity in sums:
        rates[metric_id][currency] = amount / quantity
    return dict(rates)


def issued_periods(customer_id: int, *, since: dt.datetime) -> list[tuple[dt.datetime, dt.datetime, dt.datetime]]:
    """Start and end of each period of a customer that was invoiced, and when its invoice was issued."""
    invoices = Invoice.objects.filter(
        customer_id=customer_id,
        kind=BillKind.PERIOD,
        status__in=[InvoiceStatus.ISSUED, InvoiceStatus.PAID],
        period_end_at__gte=since,
    )
    periods = invoices.order_by("period_start_at").values_list("period_start_at", "period_end_at", "issued_at")
    return [(start_at, end_at, issued_at) for start_at, end_at, issued_at in periods if issued_at is not None]
