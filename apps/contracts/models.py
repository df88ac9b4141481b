"""What was agreed with a customer: contracts and their dated phases."""

from __future__ import annotations

import datetime as dt

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Func, Q

from apps.common.constraints import same_row
from apps.common.errors import BillingError
from apps.common.fields import CurrencyCodeField, ZoneField
from apps.common.history import tracked
from apps.customers.models import Customer
from apps.pricing.periods import BillingCycle, Period, start_of_day
from apps.products.models import BillingInterval, PlanVersion


class ContractStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    ACTIVE = "active", "Active"
    ENDED = "ended", "Ended"


class IllegalTransition(BillingError):
    code = "illegal_transition"

    def __init__(self, contract: Contract, target: str) -> None:
        super().__init__(f"{contract} is {contract.get_status_display().lower()} and cannot become {target}.")


class ContractQuerySet(models.QuerySet["Contract"]):
    def active(self) -> ContractQuerySet:
        return self.filter(status=ContractStatus.ACTIVE)


@tracked()
class Contract(models.Model):
    """An agreement to bill one customer in one currency, on the plans of its phases.

    ``start_date`` is the first day and ``end_date`` the first day outside, in the contract's own time zone,
    which is the customer's when the contract was made. ``closed_through`` is the instant up to which billing
    periods are closed; the period that begins there is the open one.
    """

    TRANSITIONS = {
        ContractStatus.DRAFT: {ContractStatus.ACTIVE},
        ContractStatus.ACTIVE: {ContractStatus.ENDED},
    }

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="contracts")
    name = models.CharField(max_length=120)
    status = models.CharField(
        max_length=10, choices=ContractStatus.choices, default=ContractStatus.DRAFT, editable=False
    )
    currency = CurrencyCodeField(editable=False)
    timezone = ZoneField()
    start_date = models.DateField("first day")
    end_date = models.DateField("end", null=True, blank=True)
    billing_anchor_day = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(31)],
        help_text="Day of the month on which billing periods begin; 31 means the last day of shorter months.",
    )
    billing_months = models.PositiveSmallIntegerField(
        "billing interval", choices=BillingInterval.choices, default=BillingInterval.MONTH, editable=False
    )
    payment_terms_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(365)],
        help_text="Empty: as the billing entity says.",
    )
    grace_period_hours = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        validators=[MaxValueValidator(24 * 45)],
        help_text="Hours to wait for late events before a period closes. Empty: as the billing entity says.",
    )
    purchase_order = models.CharField(max_length=80, blank=True, help_text="Printed on invoices.")
    activated_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_through = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ContractQuerySet.as_manager()

    class Meta:
        ordering = ["customer__name", "-start_date", "id"]
        indexes = [models.Index(name="contract_open_period", fields=["closed_through"], condition=Q(status="active"))]
        constraints = [
            models.CheckConstraint(
                name="contract_ends_after_it_starts",
                condition=Q(end_date=None) | Q(end_date__gt=F("start_date")),
                violation_error_message="The last day cannot lie before the first.",
            ),
            models.CheckConstraint(
                name="contract_open_period_once_active",
                condition=Q(status="draft", closed_through=None)
                | (~Q(status="draft") & Q(closed_through__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer.name}: {self.name}"

    def move_to(self, target: ContractStatus) -> None:
        if target not in self.TRANSITIONS.get(ContractStatus(self.status), set()):
            raise IllegalTransition(self, target)
        self.status = target

    @property
    def last_date(self) -> dt.date | None:
        """The last day of the contract, inclusive, as people read it."""
        return self.end_date - dt.timedelta(days=1) if self.end_date else None

    @property
    def starts_at(self) -> dt.datetime:
        return start_of_day(self.start_date, self.timezone)

    @property
    def ends_at(self) -> dt.datetime | None:
        return start_of_day(self.end_date, self.timezone) if self.end_date else None

    @property
    def billing_cycle(self) -> BillingCycle:
        return BillingCycle.anchored(self.start_date, self.billing_anchor_day, self.billing_months, self.timezone)

    @property
    def grace_period(self) -> dt.timedelta:
        hours = self.grace_period_hours
        if hours is None:
            hours = self.customer.billing_entity.grace_period_hours
        return dt.timedelta(hours=hours)

    @property
    def payment_terms(self) -> dt.timedelta:
        days = self.payment_terms_days
        if days is None:
            days = self.customer.billing_entity.payment_terms_days
        return dt.timedelta(days=days)

    def period_at(self, instant: dt.datetime) -> Period | None:
        """The billing period that contains ``instant``, cut to the contract's term; None outside the term."""
        return self.cut_to_term(self.billing_cycle.period_containing(instant), containing=instant)

    @property
    def open_period(self) -> Period | None:
        """The period to close next, cut to the contract's term.

        A contract may end on the last day that is closed while fees of the days after it are billed in advance. It
        then has the whole nominal period of those days to close, so that the fees are given back.
        """
        if self.closed_through is None or self.status != ContractStatus.ACTIVE:
            return None
        if self.closed_through == self.ends_at:
            return self.billing_cycle.period_containing(self.closed_through)
        return self.period_at(self.closed_through)

    def cut_to_term(self, nominal: Period, *, containing: dt.datetime | None = None) -> Period | None:
        """The part of a nominal period that lies in the contract's term."""
        start_at = max(nominal.start_at, self.starts_at)
        end_at = min(nominal.end_at, self.ends_at or nominal.end_at)
        if start_at >= end_at:
            return None
        part = Period(start_at=start_at, end_at=end_at, zone=self.timezone)
        return part if containing is None or part.contains(containing) else None


@tracked()
class ContractPhase(models.Model):
    """A dated stretch of a contract on one plan version. Days as in the contract; phases never overlap.

    The phase follows the list prices of its plan as they change, unless it is grandfathered: from the day of
    ``grandfathered_at`` on it then keeps the prices that were in force at that instant, as known then.
    """

    contract = models.ForeignKey(Contract, on_delete=models.CASCADE, related_name="phases")
    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="phases")
    start_date = models.DateField("first day")
    end_date = models.DateField("end", null=True, blank=True)
    grandfathered_at = models.DateTimeField(null=True, blank=True, editable=False)
    grandfather_reason = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ["contract_id", "start_date"]
        constraints = [
            models.CheckConstraint(
                name="grandfathered_with_a_reason",
                condition=Q(grandfathered_at=None, grandfather_reason="")
                | (Q(grandfathered_at__isnull=False) & ~Q(grandfather_reason="")),
            ),
            models.CheckConstraint(
                name="phase_ends_after_it_starts",
                condition=Q(end_date=None) | Q(end_date__gt=F("start_date")),
            ),
            ExclusionConstraint(
                name="phases_of_a_contract_never_overlap",
                expressions=[
                    (same_row("contract_id"), RangeOperators.OVERLAPS),
                    (Func(F("start_date"), F("end_date"), function="daterange"), RangeOperators.OVERLAPS),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan_version} from {self.start_date:%-d %B %Y}"

    def clean(self) -> None:
        if self.plan_version_id and self.plan_version.is_draft:
            raise ValidationError({"plan_version": "Publish this plan version first."})
