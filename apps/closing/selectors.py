"""Reads over close runs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet

from apps.closing.models import CloseItem, CloseRun, ItemState
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.pricing.periods import Period
from apps.products.models import BillingTiming
from apps.rating.values import BillKind


def claimable_items(run: CloseRun) -> QuerySet[CloseItem]:
    """Waiting items whose period is their contract's open one: an earlier period always closes first.

    The opening bill comes before the close of its period, so there is one item of a contract at a time.
    """
    opening = CloseItem.objects.filter(
        contract=OuterRef("contract"),
        period_start_at=OuterRef("period_start_at"),
        kind=BillKind.OPENING,
        state=ItemState.PENDING,
    ).exclude(pk=OuterRef("pk"))
    return run.items.filter(
        ~Exists(opening),
        state=ItemState.PENDING,
        contract__status=ContractStatus.ACTIVE,
        contract__closed_through=F("period_start_at"),
    ).order_by("id")


def contracts_to_open(as_of: dt.datetime, contract_ids: Collection[int] | None) -> Iterator[tuple[Contract, Period]]:
    """Contracts that have begun, may have fees in advance and have no opening bill yet, with their first period.

    Once the first period is closed there is nothing to bill in advance of it.
    """
    in_advance = ContractPhase.objects.filter(
        contract=OuterRef("pk"), plan_version__prices__timing=BillingTiming.ADVANCE
    )
    opened = CloseItem.objects.filter(contract=OuterRef("pk"), kind=BillKind.OPENING).exclude(state=ItemState.FAILED)
    contracts = Contract.objects.active().filter(Exists(in_advance), ~Exists(opened), closed_through__lte=as_of)
    if contract_ids is not None:
        contracts = contracts.filter(pk__in=contract_ids)
    for contract in contracts.select_related("customer__billing_entity").order_by("pk").iterator(chunk_size=1000):
        period = contract.open_period
        if period is not None and period.start_at == contract.starts_at:
            yield contract, period


def items_behind_another_run(run: CloseRun) -> QuerySet[CloseItem]:
    """Waiting items of contracts of which another run still has an earlier period to close, or the opening bill."""
    earlier = CloseItem.objects.exclude(run=run).filter(
        Q(period_start_at__lt=OuterRef("period_start_at"))
        | Q(period_start_at=OuterRef("period_start_at"), kind=BillKind.OPENING),
        contract=OuterRef("contract"),
        state=ItemState.PENDING,
    )
    return run.items.filter(Exists(earlier), state=ItemState.PENDING, contract__status=ContractStatus.ACTIVE)


@dataclass(frozen=True, slots=True)
class RunProgress:
    """How many items of a run are in which state."""

    waiting: int
    invoiced: int
    nothing_to_bill: int
    failed: int

    @property
    def total(self) -> int:
        return self.waiting + self.settled

    @property
    def settled(self) -> int:
        return self.invoiced + self.nothing_to_bill + self.failed

    @property
    def percent(self) -> int:
        """Whole percent, rounded down, so that 100 means done."""
        return 100 * self.settled // self.total if self.total else 100


def run_progress(run: CloseRun) -> RunProgress:
    counts = dict(run.items.order_by().values_list("state").annotate(number=Count("pk")))
    return RunProgress(
        waiting=counts.get(ItemState.PENDING, 0),
        invoiced=counts.get(ItemState.INVOICED, 0),
        nothing_to_bill=counts.get(ItemState.NOTHING_TO_BILL, 0),
        failed=counts.get(ItemState.FAILED, 0),
    )
