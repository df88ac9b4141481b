"""Reads over close runs."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Exists, F, OuterRef, QuerySet

from apps.closing.models import CloseItem, CloseRun, ItemState
from apps.contracts.models import ContractStatus


def claimable_items(run: CloseRun) -> QuerySet[CloseItem]:
    """Waiting items whose period is their contract's open one: an earlier period always closes first."""
    return run.items.filter(
        state=ItemState.PENDING,
        contract__status=ContractStatus.ACTIVE,
        contract__closed_through=F("period_start_at"),
    ).order_by("id")


def items_behind_another_run(run: CloseRun) -> QuerySet[CloseItem]:
    """Waiting items of contracts of which another run still has an earlier period to close."""
    earlier = CloseItem.objects.exclude(run=run).filter(
        contract=OuterRef("contract"), state=ItemState.PENDING, period_start_at__lt=OuterRef("period_start_at")
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
