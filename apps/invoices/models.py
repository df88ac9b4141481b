"""Invoices, their lines and numbers, and the paper that was made of them."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import pgtrigger
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import ArrayField, RangeOperators
from django.db import models
from django.db.models import F, Func, Q
from djmoney.models.fields import MoneyField

from apps.billable_metrics.models import MetricVersion
from apps.common.constraints import same_row
from apps.common.errors import BillingError
from apps.common.fields import ZoneField
from apps.common.history import tracked
from apps.contracts.models import Contract
from apps.customers.models import BillingEntity, Customer
from apps.customers.parties import Party
from apps.pricing.periods import Period
from apps.products.models import ChargeModelName, PriceVersion, QuantityField, UnitAmountField
from apps.rating.values import BillKind


class InvoiceStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    ISSUED = "issued", "Issued"
    PAID = "paid", "Paid"
    VOID = "void", "Void"


class IllegalTransition(BillingError):
    code = "illegal_transition"

    def __init__(self, invoice: Invoice, target: str) -> None:
        super().__init__(f"{invoice} is {invoice.get_status_display().lower()} and cannot become {target}.")


# What an issued invoice says never changes; only what happens to it afterwards (paid, void) is written on it.
# Comparing whole rows keeps this true for every column that is added later.
_ISSUED_INVOICE_STANDS = """
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'Invoice % is issued and cannot be deleted; correct it by a credit note.', OLD.number;
    END IF;
    IF to_jsonb(OLD) - 'status' - 'paid_at' - 'voided_at' IS DISTINCT FROM
       to_jsonb(NEW) - 'status' - 'paid_at' - 'voided_at' THEN
        RAISE EXCEPTION 'Invoice % is issued and cannot be changed; correct it by a credit note.', OLD.number;
    END IF;
    RETURN NEW;
"""


def _lines_stand(operation: pgtrigger.Operation, name: str, *tables: str) -> pgtrigger.Trigger:
    """Refuse a statement that adds, changes or removes lines of an issued invoice.

    Checked once for each statement, for a close writes lines by the thousand. FOR SHARE makes it wait for an issue
    that is under way, so that no line slips in behind it.
    """
    changed = " UNION ".join(f"SELECT invoice_id FROM {table}" for table in tables)  # noqa: S608
    referencing = {"old_lines": "old", "new_lines": "new"}
    return pgtrigger.Trigger(
        name=f"{name}_only_on_drafts",
        level=pgtrigger.Statement,
        when=pgtrigger.After,
        operation=operation,
        referencing=pgtrigger.Referencing(**{referencing[table]: table for table in tables}),  # type: ignore[no-untyped-call]
        declare=[("invoice_status", "text")],
        func=f"""
    FOR invoice_status IN SELECT status FROM invoices_invoice WHERE id IN ({changed}) FOR SHARE
    LOOP
        IF invoice_status <> 'draft' THEN
            RAISE EXCEPTION 'The lines of an issued invoice cannot be changed; correct it by a credit note.';
        END IF;
    END LOOP;
    RETURN NULL;
""",  # noqa: S608  (the names of the tables are those below)
    )


class InvoiceQuerySet(models.QuerySet["Invoice"]):
    def drafts(self) -> InvoiceQuerySet:
        return self.filter(status=InvoiceStatus.DRAFT)

    def live(self) -> InvoiceQuerySet:
        """Every invoice that counts: all but the void ones."""
        return self.exclude(status=InvoiceStatus.VOID)


@tracked()
class Invoice(models.Model):
    """A demand for payment for one billing period of one contract.

    ``kind`` says which bill of the period it is: see BillKind. A period has one at its end; before that, the first
    period may have an opening invoice, and every period interim ones, each with a later cutoff than the last.

    A draft may be made anew; once issued it has a number and never changes, and the database refuses to.
    ``period_start_at``/``period_end_at`` are the half-open billing period in ``timezone``. ``stored_before`` is
    the cutoff of its usage: events stored later are not on it. ``seller`` and ``buyer`` are copies made at issue.
    ``invoice_date`` and ``due_date`` are days in the billing entity's time zone.
    """

    TRANSITIONS = {
        InvoiceStatus.DRAFT: {InvoiceStatus.ISSUED},
        InvoiceStatus.ISSUED: {InvoiceStatus.PAID, InvoiceStatus.VOID},
    }

    contract = models.ForeignKey(Contract, on_delete=models.PROTECT, related_name="invoices")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="invoices")
    billing_entity = models.ForeignKey(BillingEntity, on_delete=models.PROTECT, related_name="invoices")
    kind = models.CharField(max_length=10, choices=BillKind.choices, default=BillKind.PERIOD)
    status = models.CharField(max_length=10, choices=InvoiceStatus.choices, default=InvoiceStatus.DRAFT)
    number = models.CharField(max_length=40, unique=True, null=True, blank=True)
    timezone = ZoneField()
    period_start_at = models.DateTimeField()
    period_end_at = models.DateTimeField()
    stored_before = models.DateTimeField()
    rated_at = models.DateTimeField()
    subtotal = MoneyField(max_digits=20, decimal_places=4, currency_field_name="currency")
    total = MoneyField(max_digits=20, decimal_places=4, currency_field_name="currency")
    issued_at = models.DateTimeField(null=True, blank=True)
    invoice_date = models.DateField(null=True, blank=True)
    due_date = models.DateField(null=True, blank=True)
    paid_at = models.DateTimeField(null=True, blank=True)
    voided_at = models.DateTimeField(null=True, blank=True)
    seller = models.JSONField(null=True, blank=True)
    buyer = models.JSONField(null=True, blank=True)
    purchase_order = models.CharField(max_length=80, blank=True)
    payment_terms_days = models.PositiveSmallIntegerField(null=True, blank=True)
    payment_instructions = models.TextField(blank=True)
    footer = models.TextField(blank=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        ordering = ["-period_end_at", "-id"]
        indexes = [
            models.Index(fields=["status", "-period_end_at"]),
            models.Index(fields=["-period_end_at", "-id"]),
            models.Index(name="invoice_by_date", fields=["invoice_date"], condition=Q(invoice_date__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                name="one_live_invoice_per_contract_and_period",
                fields=["contract", "period_start_at"],
                condition=~Q(status="void") & Q(kind="period"),
            ),
            models.UniqueConstraint(
                name="one_live_opening_invoice_per_contract",
                fields=["contract"],
                condition=~Q(status="void") & Q(kind="opening"),
            ),
            models.UniqueConstraint(
                name="one_live_interim_invoice_per_cutoff",
                fields=["contract", "period_start_at", "stored_before"],
                condition=~Q(status="void") & Q(kind="interim"),
            ),
            ExclusionConstraint(
                name="live_invoices_of_a_contract_never_overlap",
                expressions=[
                    (same_row("contract_id"), RangeOperators.OVERLAPS),
                    (Func(F("period_start_at"), F("period_end_at"), function="tstzrange"), RangeOperators.OVERLAPS),
                ],
                condition=~Q(status="void") & Q(kind="period"),
            ),
            models.CheckConstraint(name="invoice_kind_is_known", condition=Q(kind__in=BillKind.values)),
            models.CheckConstraint(
                name="complete_once_issued",
                condition=Q(
                    status="draft",
                    number=None,
                    issued_at=None,
                    invoice_date=None,
                    due_date=None,
                    seller=None,
                    buyer=None,
                    payment_terms_days=None,
                )
                | (
                    ~Q(status="draft")
                    & Q(
                        number__isnull=False,
                        issued_at__isnull=False,
                        invoice_date__isnull=False,
                        due_date__isnull=False,
                        seller__isnull=False,
                        buyer__isnull=False,
                        payment_terms_days__isnull=False,
                    )
                ),
            ),
            models.CheckConstraint(
                name="invoice_period_is_not_empty", condition=Q(period_end_at__gt=F("period_start_at"))
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="status_moves",
                field="status",
                transitions=[("draft", "issued"), ("issued", "paid"), ("issued", "void")],
            ),
            pgtrigger.Trigger(
                name="issued_invoice_stands",
                when=pgtrigger.Before,
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__status__in=["issued", "paid", "void"]),
                func=_ISSUED_INVOICE_STANDS,
            ),
        ]

    def __str__(self) -> str:
        if self.number:
            return self.number
        which = "Draft" if self.kind == BillKind.PERIOD else f"{self.get_kind_display()} draft"
        return f"{which} for {self.customer.name}, {self.period.first_date:%B %Y}"

    def move_to(self, target: InvoiceStatus) -> None:
        if target not in self.TRANSITIONS.get(InvoiceStatus(self.status), set()):
            raise IllegalTransition(self, target)
        self.status = target

    @property
    def is_draft(self) -> bool:
        return self.status == InvoiceStatus.DRAFT

    @property
    def period(self) -> Period:
        return Period(start_at=self.period_start_at, end_at=self.period_end_at, zone=self.timezone)

    @property
    def seller_party(self) -> Party:
        """The seller as issued, or as it would be printed now while the invoice is a draft."""
        return Party.from_stored(self.seller) if self.seller else self.billing_entity.as_party()

    @property
    def buyer_party(self) -> Party:
        return Party.from_stored(self.buyer) if self.buyer else self.customer.as_party()


class InvoiceLine(models.Model):
    """One charge on an invoice, with all that explains its amount.

    The window is the half-open stretch of event time that was measured, which is shorter than the billing
    period where a price or the contract changed inside it (then ``share_days`` of ``share_of_days`` apply).
    ``exact_amount`` is the amount before it was rounded, once, to ``amount``. ``tiers`` and ``components`` hold the
    breakdown with decimals in text. The other figures are those of ``apps.pricing.charges.RatedCharge``.

    Where other bills charged for the same before, ``billed_before`` is how much and ``billed_on`` the invoices' IDs;
    the quantity, the tiers and ``exact_amount`` are the running totals, and ``amount`` is the rounded running total
    less ``billed_before``. A reversal gives back what is not charged any more: its running total is zero.
    """

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveIntegerField()
    price_version = models.ForeignKey(PriceVersion, on_delete=models.PROTECT, related_name="invoice_lines")
    product_name = models.CharField(max_length=100)
    description = models.CharField(max_length=120)
    charge_model = models.CharField(max_length=24, choices=ChargeModelName.choices)
    metric_version = models.ForeignKey(
        MetricVersion, null=True, blank=True, on_delete=models.PROTECT, related_name="invoice_lines"
    )
    metric_code = models.CharField(max_length=64, blank=True)
    unit_singular = models.CharField(max_length=40, blank=True)
    unit_plural = models.CharField(max_length=40, blank=True)
    window_start_at = models.DateTimeField()
    window_end_at = models.DateTimeField()
    stored_before = models.DateTimeField()
    share_days = models.PositiveIntegerField()
    share_of_days = models.PositiveIntegerField()
    event_count = models.PositiveBigIntegerField(default=0)
    quantity = QuantityField()
    included_units = QuantityField(default=Decimal(0))
    billable_quantity = QuantityField()
    # The price of so many units as ``per_units`` says, of a package of so many, or a flat fee's amount for a whole
    # period; a tiered line has several, in ``tiers``.
    unit_amount = UnitAmountField(null=True, blank=True)
    per_units = QuantityField(default=Decimal(1))
    tiers = models.JSONField(default=list, blank=True)
    components = models.JSONField(default=list, blank=True)
    failures_free = QuantityField(default=Decimal(0))
    converted_quantity = QuantityField(null=True, blank=True)
    # The amount that the model made, where the charge's minimum or maximum applied after it.
    model_amount = models.DecimalField(max_digits=76, decimal_places=40, null=True, blank=True)
    # The amount in the pricing unit, and what one unit is worth; null where the price is in money.
    priced_amount = models.DecimalField(max_digits=76, decimal_places=40, null=True, blank=True)
    pricing_unit_rate = UnitAmountField(null=True, blank=True)
    pricing_unit_singular = models.CharField(max_length=40, blank=True)
    pricing_unit_plural = models.CharField(max_length=40, blank=True)
    # The matrix row that the line charges by: its values in the order of the dimensions, null for any.
    dimensions = ArrayField(models.CharField(max_length=200), default=list, blank=True)
    dimension_values = ArrayField(models.CharField(max_length=500, null=True), default=list, blank=True)
    bound = models.CharField(max_length=10, blank=True)
    exact_amount = models.DecimalField(max_digits=76, decimal_places=40)
    billed_before = models.DecimalField(max_digits=20, decimal_places=4, default=Decimal(0))
    billed_on = ArrayField(models.BigIntegerField(), default=list, blank=True)
    is_reversal = models.BooleanField(default=False)
    amount = MoneyField(max_digits=20, decimal_places=4, currency_field_name="currency")

    # django-money makes a manager of its own type otherwise.
    objects: ClassVar[models.Manager[InvoiceLine]] = models.Manager()

    class Meta:
        ordering = ["invoice_id", "position"]
        constraints = [
            models.UniqueConstraint(name="line_position_is_unique", fields=["invoice", "position"]),
            models.CheckConstraint(
                name="line_window_is_not_empty", condition=Q(window_end_at__gt=F("window_start_at"))
            ),
        ]
        triggers = [
            _lines_stand(pgtrigger.Insert, "insert", "new_lines"),
            _lines_stand(pgtrigger.Update, "update", "old_lines", "new_lines"),
            _lines_stand(pgtrigger.Delete, "delete", "old_lines"),
        ]

    def __str__(self) -> str:
        return f"{self.product_name}: {self.description}"

    @property
    def window(self) -> Period:
        return Period(start_at=self.window_start_at, end_at=self.window_end_at, zone=self.invoice.timezone)

    @property
    def running_total(self) -> Decimal:
        """What the line's window comes to over all bills so far, this one included, rounded."""
        amount: Decimal = self.amount.amount
        return amount + self.billed_before

    @property
    def is_in_advance(self) -> bool:
        """Whether the line charges for days that had yet to come when the invoice was due."""
        if self.invoice.kind == BillKind.OPENING:
            return True
        return self.window_start_at >= self.invoice.period_end_at and not self.is_reversal


class NumberSeries(models.Model):
    """The next free invoice number of a billing entity in one year. Taken under a row lock, at issue only."""

    billing_entity = models.ForeignKey(BillingEntity, on_delete=models.PROTECT, related_name="number_series")
    prefix = models.CharField(max_length=20)
    next_number = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name_plural = "number series"
        constraints = [models.UniqueConstraint(name="series_prefix_is_unique", fields=["prefix"])]

    def __str__(self) -> str:
        return self.prefix


class DocumentState(models.TextChoices):
    PENDING = "pending", "Waiting to be rendered"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class InvoiceDocument(models.Model):
    """The PDF of an issued invoice: a job while pending, then the stored bytes.

    ``next_attempt_at`` is when a worker may try (again); ``error`` says why the last attempt failed.
    """

    invoice = models.OneToOneField(Invoice, on_delete=models.CASCADE, related_name="document")
    state = models.CharField(max_length=10, choices=DocumentState.choices, default=DocumentState.PENDING)
    content = models.BinaryField(null=True, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    rendered_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField()
    error = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(name="document_to_render", fields=["next_attempt_at"], condition=Q(state="pending"))]
        constraints = [
            models.CheckConstraint(
                name="document_ready_has_content",
                condition=~Q(state="ready") | Q(content__isnull=False, rendered_at__isnull=False),
            )
        ]
        triggers = [
            pgtrigger.Protect(
                name="ready_document_stands",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__state="ready"),
            )
        ]

    def __str__(self) -> str:
        return f"PDF of {self.invoice}"
