"""Reads over invoices: what explains a line."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from apps.invoices.models import InvoiceLine
from apps.pricing.charge_models.base import TierCharge
from apps.pricing.charges import RatedCharge
from apps.pricing.explain import Explanation, explain_charge
from apps.pricing.periods import ShareOfDays
from apps.products.terms import charge_of
from apps.usage.selectors import UsageWindow


def explain_line(line: InvoiceLine) -> Explanation:
    """The line's amount in words, from its stored figures and the price version it was rated with."""
    share = ShareOfDays(days=line.share_days, of=line.share_of_days)
    charge = charge_of(line.price_version)
    if not share.is_whole:
        charge = charge.prorate(share)
    return explain_charge(
        _rated_charge(line),
        charge,
        unit_singular=line.unit_singular,
        unit_plural=line.unit_plural,
        share=None if share.is_whole else share,
    )


def tier_charges(line: InvoiceLine) -> tuple[TierCharge, ...]:
    """The tier breakdown as it was stored with the line."""
    return tuple(_tier_charge(stored) for stored in line.tiers)


def usage_window_of(line: InvoiceLine) -> UsageWindow | None:
    """The usage that the line charges for; None for a recurring charge."""
    if line.metric_version is None:
        return None
    return UsageWindow(
        customer_id=line.invoice.customer_id,
        version=line.metric_version,
        start_at=line.window_start_at,
        end_at=line.window_end_at,
    )


def _rated_charge(line: InvoiceLine) -> RatedCharge:
    return RatedCharge(
        quantity=line.quantity,
        included_used=line.included_units,
        billable_quantity=line.billable_quantity,
        exact_amount=line.exact_amount,
        amount=line.amount.amount,
        currency=line.amount.currency.code,
        tiers=tier_charges(line),
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
    )
