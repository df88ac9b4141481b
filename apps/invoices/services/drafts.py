"""Draft invoices: the stored form of a rated period, replaced as a whole until it is issued."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction
from djmoney.money import Money

from apps.common.copying import copy_rows
from apps.common.errors import BillingError
from apps.common.history import acting
from apps.contracts.models import Contract
from apps.invoices.billed import with_billed
from apps.invoices.models import IllegalTransition, Invoice, InvoiceLine, InvoiceStatus
from apps.pricing.charge_models.base import Component, TierCharge
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.formatting import ELLIPSIS, plain_decimal
from apps.rating.services import rate_bill
from apps.rating.values import BillKind, PeriodToRate, RatedLine, RatedPeriod
from apps.usage.services import settle_cutoff

LONGEST_DESCRIPTION = InvoiceLine._meta.get_field("description").max_length or 0


class DraftWithoutCutoff(BillingError):
    code = "draft_without_cutoff"

    def __init__(self) -> None:
        super().__init__("An invoice needs a stored-before cutoff; a rating without one is a preview only.")


@transaction.atomic
def write_drafts(rated_periods: Sequence[RatedPeriod]) -> list[Invoice]:
    """Store rated periods as draft invoices, in the order given.

    The database holds at most one live invoice per contract and period: a second one raises IntegrityError.
    """
    drafts = Invoice.objects.bulk_create([_draft_of(rated) for rated in rated_periods])
    copy_rows([line for draft, rated in zip(drafts, rated_periods, strict=True) for line in _lines_of(draft, rated)])
    return drafts


def refresh_draft(*, invoice_id: int, as_of: dt.datetime, actor: User | None = None) -> Invoice:
    """Rate a draft's period anew, with all usage stored by now and the prices known at ``as_of``.

    It comes to the running total less what every other live invoice charges, so that they add up in whatever order
    they are refreshed.
    """
    cutoff = settle_cutoff()
    with transaction.atomic(), acting(actor, reason="Draft refreshed"):
        draft = Invoice.objects.select_for_update(of=("self",)).select_related("contract__customer").get(pk=invoice_id)
        if not draft.is_draft:
            raise IllegalTransition(draft, InvoiceStatus.DRAFT)
        # Whoever bills the contract holds it, so that no two bills charge for the same.
        contract = Contract.objects.select_for_update(of=("self",)).select_related("customer").get(pk=draft.contract_id)
        rated = rate_bill(_bill_of(draft, contract), as_of=as_of, stored_before=cutoff)
        fresh = _draft_of(rated)
        for field in ("subtotal", "total", "stored_before", "rated_at", "period_end_at"):
            setattr(draft, field, getattr(fresh, field))
        draft.save(update_fields=["subtotal", "total", "currency", "stored_before", "rated_at", "period_end_at"])
        draft.lines.all().delete()
        copy_rows(_lines_of(draft, rated))
    return draft


def _bill_of(draft: Invoice, contract: Contract) -> PeriodToRate:
    """What a draft bills, with its period as the contract's term cuts it by now."""
    period = contract.period_at(draft.period_start_at) or draft.period
    [bill] = with_billed([PeriodToRate(contract, period, BillKind(draft.kind))], leaving_out=draft.pk)
    return bill


def _draft_of(rated: RatedPeriod) -> Invoice:
    if rated.stored_before is None:
        raise DraftWithoutCutoff
    contract = rated.contract
    return Invoice(
        contract=contract,
        kind=rated.kind,
        customer_id=contract.customer_id,
        billing_entity_id=contract.customer.billing_entity_id,
        timezone=rated.period.zone,
        period_start_at=rated.period.start_at,
        period_end_at=rated.period.end_at,
        stored_before=rated.stored_before,
        rated_at=rated.as_of,
        # django-money takes a Money where the plugin sees a DecimalField.
        subtotal=Money(rated.totals.subtotal, rated.currency),  # type: ignore[misc]
        total=Money(rated.totals.total, rated.currency),
        purchase_order=contract.purchase_order,
    )


def _lines_of(draft: Invoice, rated: RatedPeriod) -> list[InvoiceLine]:
    return [_line_of(draft, position, line) for position, line in enumerate(rated.lines, start=1)]


def _line_of(draft: Invoice, position: int, line: RatedLine) -> InvoiceLine:
    metric, unit = line.price.metric, line.price.pricing_unit
    return InvoiceLine(
        invoice=draft,
        position=position,
        price_version=line.price_version,
        product_name=line.price.product.name,
        description=_short(line.name),
        charge_model=line.price_version.charge_model,
        metric_version=line.metric_version,
        metric_code=metric.code if metric else "",
        unit_singular=metric.unit_singular if metric else "",
        unit_plural=metric.unit_plural if metric else "",
        window_start_at=line.window.start_at,
        window_end_at=line.window.end_at,
        stored_before=draft.stored_before,
        share_days=line.share.days,
        share_of_days=line.share.of,
        event_count=line.event_count,
        quantity=line.rated.quantity,
        included_units=line.rated.included_used,
        billable_quantity=line.rated.billable_quantity,
        unit_amount=_unit_amount(line),
        per_units=line.price_version.per_units or line.price_version.package_size or Decimal(1),
        tiers=[_stored_tier(tier) for tier in line.rated.tiers],
        components=[_stored_component(part) for part in line.rated.components],
        failures_free=line.rated.failures_free,
        converted_quantity=line.rated.converted,
        model_amount=line.rated.model_amount,
        priced_amount=line.rated.priced_amount,
        pricing_unit_rate=line.price_version.pricing_unit_rate,
        pricing_unit_singular=unit.singular if unit else "",
        pricing_unit_plural=unit.plural if unit else "",
        dimensions=line.price_version.dimensions if line.rated.values is not None else [],
        dimension_values=list(line.rated.values or ()),
        bound=line.rated.bound,
        billed_before=line.billed_before,
        billed_on=sorted(line.billed_on) if line.billed_before else [],
        is_reversal=line.is_reversal,
        exact_amount=line.rated.exact_amount,
        amount=Money(line.amount, draft.total.currency),  # type: ignore[misc]
    )


def _short(name: str) -> str:
    """A name cut to what a line states, and marked as cut. The values of a matrix's row are stored whole beside it."""
    return name if len(name) <= LONGEST_DESCRIPTION else name[: LONGEST_DESCRIPTION - 1] + ELLIPSIS


def _unit_amount(line: RatedLine) -> Decimal | None:
    """The one price that the line states: of each unit or package, or of the whole fee; other lines have none.

    An amount in events has its multiplier, which is the price of one unit of that amount.
    """
    if line.rated.bound:
        return None
    model = line.charge.model
    if isinstance(model, Matrix):
        return model.row_with(line.rated.values or ()).unit_amount
    version = line.price_version
    stated = (version.unit_amount, version.flat_amount, version.multiplier)
    return next((amount for amount in stated if amount is not None), None)


def _stored_tier(tier: TierCharge) -> dict[str, str | None]:
    return {
        "lower": plain_decimal(tier.lower),
        "upper": None if tier.upper is None else plain_decimal(tier.upper),
        "quantity": plain_decimal(tier.quantity),
        "unit_amount": plain_decimal(tier.unit_amount),
        "per_units": plain_decimal(tier.per_units),
        "flat_amount": plain_decimal(tier.flat_amount),
        "amount": plain_decimal(tier.amount),
        **({"in_packages": "true"} if tier.in_packages else {}),
    }


def _stored_component(part: Component) -> dict[str, str]:
    return {
        "name": part.name,
        "quantity": plain_decimal(part.quantity),
        "rate": plain_decimal(part.rate),
        "amount": plain_decimal(part.amount),
    }
