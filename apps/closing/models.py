"""Close runs: turning ended billing periods into draft invoices, resumably."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from apps.common.history import tracked
from apps.contracts.models import Contract
from apps.invoices.models import Invoice
from apps.rating.values import BillKind


class RunState(models.TextChoices):
    RUNNING = "running", "Running"
    FINISHED = "finished", "Finished"


@tracked()
class CloseRun(models.Model):
    """One pass over the billing periods that had ended.

    ``through_date`` limits it to periods whose last day, in their own zone, is that day or earlier. ``as_of`` is
    what the run takes for now: prices recorded later are unknown to it. ``stored_before`` is the
    cutoff of its usage; every event stored before it had committed when the run began.
    """

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.RUNNING)
    as_of = models.DateTimeField()
    through_date = models.DateField("through", null=True, blank=True)
    stored_before = models.DateTimeField()
    retry_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="retries")
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["-started_at", "-id"]
        constraints = [
            models.CheckConstraint(
                name="run_finished_at_goes_with_state",
                condition=Q(state="running", finished_at=None) | Q(state="finished", finished_at__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"Close run {self.pk}"


class ItemState(models.TextChoices):
    PENDING = "pending", "Waiting"
    INVOICED = "invoiced", "Draft made"
    NOTHING_TO_BILL = "nothing_to_bill", "Nothing to bill"
    FAILED = "failed", "Failed"


class CloseItem(models.Model):
    """The close of one period of one contract within a run, or the opening bill of its first period.

    A period has at most one item of each kind that is not failed, over all runs, so that nothing is billed twice.
    """

    KINDS = [(kind.value, kind.label) for kind in (BillKind.PERIOD, BillKind.OPENING)]

    run = models.ForeignKey(CloseRun, on_delete=models.PROTECT, related_name="items")
    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="close_items")
    kind = models.CharField(max_length=10, choices=KINDS, default=BillKind.PERIOD)
    period_start_at = models.DateTimeField()
    period_end_at = models.DateTimeField()
    state = models.CharField(max_length=16, choices=ItemState.choices, default=ItemState.PENDING)
    invoice = models.ForeignKey(Invoice, null=True, blank=True, on_delete=models.SET_NULL, related_name="close_items")
    error_code = models.CharField(max_length=64, blank=True)
    error_detail = models.TextField(blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["run_id", "id"]
        indexes = [
            models.Index(fields=["run", "state"]),
            models.Index(name="close_item_to_do", fields=["run", "period_start_at"], condition=Q(state="pending")),
        ]
        constraints = [
            models.UniqueConstraint(
                name="one_close_per_contract_and_period",
                fields=["contract", "period_start_at", "kind"],
                condition=~Q(state="failed"),
            ),
            models.CheckConstraint(name="failed_item_says_why", condition=~Q(state="failed") | ~Q(error_detail="")),
        ]

    def __str__(self) -> str:
        which = "opening bill, " if self.kind == BillKind.OPENING else ""
        return f"{self.contract}, {which}{self.period_start_at:%-d %b %Y}"
