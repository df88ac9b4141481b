"""Billing a period's usage before it ends, as often as one likes."""

from __future__ import annotations

import datetime as dt

from django.contrib.auth.models import User
from django.db import transaction

from apps.common.errors import BillingError
from apps.common.history import acting
from apps.contracts.models import Contract
from apps.invoices.billed import billed_beyond, with_billed
from apps.invoices.models import Invoice
from apps.invoices.services.drafts import write_drafts
from apps.rating.services import rate_bill
from apps.rating.values import BillKind, PeriodToRate, RatedPeriod
from apps.usage.services import settle_cutoff


class NoOpenPeriod(BillingError):
    code = "no_open_period"

    def __init__(self, contract: Contract) -> None:
        super().__init__(
            f"{contract} has no billing period that has begun and is still open. "
            "Usage is billed within a period once the contract is active and its first day has come."
        )


class NoUsageToBill(BillingError):
    code = "no_usage_to_bill"

    def __init__(self, contract: Contract) -> None:
        super().__init__(f"{contract} has no usage left to bill: all of this period so far is billed or costs nothing.")


class BilledMeanwhile(BillingError):
    code = "billed_meanwhile"

    def __init__(self, contract: Contract) -> None:
        super().__init__(f"The usage of {contract} was billed by someone else just now. Look at that draft first.")


def usage_so_far(contract: Contract, *, as_of: dt.datetime, stored_before: dt.datetime | None = None) -> RatedPeriod:
    """What ``bill_so_far`` would bill now. Raises NoOpenPeriod, or what stops the rating."""
    period = None if contract.closed_through is None else contract.period_at(contract.closed_through)
    if period is None or period.start_at > as_of:
        raise NoOpenPeriod(contract)
    [bill] = with_billed([PeriodToRate(contract, period, BillKind.INTERIM)])
    return rate_bill(bill, as_of=as_of, stored_before=stored_before)


def bill_so_far(*, contract_id: int, as_of: dt.datetime, actor: User | None = None) -> Invoice:
    """Draft an invoice of the open period's usage so far, less what earlier bills of the period charge for it.

    Raises NoOpenPeriod, NoUsageToBill when it would bill nothing, BilledMeanwhile when a bill with later usage was
    drafted at the same time.
    """
    cutoff = settle_cutoff()
    with transaction.atomic(), acting(actor, reason="Usage so far billed"):
        contract = (
            Contract.objects.select_for_update(of=("self",))
            .select_related("customer__billing_entity")
            .get(pk=contract_id)
        )
        rated = usage_so_far(contract, as_of=as_of, stored_before=cutoff)
        if (contract.pk, rated.period.start_at) in billed_beyond([contract.pk], cutoff=cutoff):
            raise BilledMeanwhile(contract)
        if rated.is_empty:
            raise NoUsageToBill(contract)
        [draft] = write_drafts([rated])
    return draft
