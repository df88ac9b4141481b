"""What is sold: products, plans, and the dated prices on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, TypeVar

import pgtrigger
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.billable_metrics.models import BillableMetric
from apps.common.fields import CodeField, CurrencyCodeField
from apps.common.history import tracked

_Set = TypeVar("_Set", contravariant=True)
_Get = TypeVar("_Get", covariant=True)


class UnitAmountField(models.DecimalField[_Set, _Get]):
    """A price in whole currency units with up to 12 decimals: token prices are far below a cent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 24)
        kwargs.setdefault("decimal_places", 12)
        kwargs.setdefault("validators", [MinValueValidator(Decimal(0))])
        super().__init__(*args, **kwargs)


class QuantityField(models.DecimalField[_Set, _Get]):
    """A number of units, fractions included."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_digits", 30)
        kwargs.setdefault("decimal_places", 12)
        super().__init__(*args, **kwargs)


@tracked()
class Product(models.Model):
    """Something a customer buys, such as “Chat API”. Invoices group their lines by product."""

    code = CodeField(unique=True)
    name = models.CharField(max_length=100, help_text="Printed on invoices.")
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


@tracked()
class Plan(models.Model):
    """A named price list. Its terms live in numbered versions."""

    code = CodeField(unique=True)
    name = models.CharField(max_length=100)
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class PlanStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    PUBLISHED = "published", "Published"
    ARCHIVED = "archived", "Archived"


class BillingInterval(models.IntegerChoices):
    """Length of a billing period in months."""

    MONTH = 1, "Monthly"
    QUARTER = 3, "Quarterly"
    YEAR = 12, "Yearly"


class PlanVersionQuerySet(models.QuerySet["PlanVersion"]):
    def published(self) -> PlanVersionQuerySet:
        return self.filter(status=PlanStatus.PUBLISHED)


@tracked()
class PlanVersion(models.Model):
    """One version of a plan: draft until published, then fixed; archived when no longer sold.

    A published version keeps its charges; their amounts change only by dated price versions.
    """

    TRANSITIONS = {PlanStatus.DRAFT: {PlanStatus.PUBLISHED}, PlanStatus.PUBLISHED: {PlanStatus.ARCHIVED}}

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(default=1, editable=False)
    status = models.CharField(max_length=10, choices=PlanStatus.choices, default=PlanStatus.DRAFT, editable=False)
    currency = CurrencyCodeField(default="USD")
    billing_months = models.PositiveSmallIntegerField(
        "billing interval", choices=BillingInterval.choices, default=BillingInterval.MONTH
    )
    published_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PlanVersionQuerySet.as_manager()

    class Meta:
        ordering = ["plan__name", "-number"]
        constraints = [
            models.UniqueConstraint(name="plan_version_number_is_unique", fields=["plan", "number"]),
            models.CheckConstraint(
                name="plan_version_published_at_goes_with_status",
                condition=Q(status="draft", published_at=None) | (~Q(status="draft") & Q(published_at__isnull=False)),
            ),
        ]
        triggers = [
            pgtrigger.FSM(
                name="status_moves",
                field="status",
                transitions=[("draft", "published"), ("published", "archived")],
            ),
            pgtrigger.Protect(
                name="published_terms_stand",
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__status__in=["published", "archived"])
                & (
                    pgtrigger.Q(old__plan_id__df=pgtrigger.F("new__plan_id"))
                    | pgtrigger.Q(old__number__df=pgtrigger.F("new__number"))
                    | pgtrigger.Q(old__currency__df=pgtrigger.F("new__currency"))
                    | pgtrigger.Q(old__billing_months__df=pgtrigger.F("new__billing_months"))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.plan.name} v{self.number} ({self.currency}, {self.get_billing_months_display().lower()})"

    @property
    def is_draft(self) -> bool:
        return self.status == PlanStatus.DRAFT


class ChargeModelName(models.TextChoices):
    """How a quantity becomes an amount. The arithmetic is in ``apps.pricing.charge_models``."""

    FLAT = "flat", "Flat, once each billing period"
    PER_UNIT = "per_unit", "Per unit"
    GRADUATED = "graduated", "Graduated: each unit at the price of its own tier"


# The plan version of a price decides whether the price may still change; the database looks it up itself
# so that a shell or a bulk update cannot change what was published.
_PUBLISHED_PRICE_STANDS = """
    IF EXISTS (
        SELECT 1 FROM products_planversion version
        WHERE version.id IN (OLD.plan_version_id, NEW.plan_version_id) AND version.status <> 'draft'
    ) THEN
        RAISE EXCEPTION 'The prices of a published plan cannot be changed or removed; schedule a new one.';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
"""
_SEALED_TIER_STANDS = """
    IF EXISTS (
        SELECT 1 FROM products_priceversion terms
        WHERE terms.id IN (OLD.price_version_id, NEW.price_version_id) AND terms.is_sealed
    ) THEN
        RAISE EXCEPTION 'The tiers of a published price cannot be changed; schedule a new price version.';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
"""


@tracked()
class Price(models.Model):
    """One charge of a plan version: a product, what is measured for it, and by which model it is charged.

    The amounts are in its price versions. A price without a metric recurs: it is charged once each period.
    """

    plan_version = models.ForeignKey(PlanVersion, on_delete=models.PROTECT, related_name="prices")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="prices")
    metric = models.ForeignKey(
        BillableMetric,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="prices",
        verbose_name="metric",
    )
    name = models.CharField(max_length=120, help_text="The line on the invoice, such as “Input tokens”.")
    charge_model = models.CharField(max_length=16, choices=ChargeModelName.choices)
    position = models.PositiveSmallIntegerField(default=0, help_text="Order on the invoice.")

    class Meta:
        ordering = ["plan_version_id", "position", "id"]
        constraints = [
            models.CheckConstraint(
                name="price_metric_goes_with_model",
                condition=Q(charge_model="flat", metric=None) | (~Q(charge_model="flat") & Q(metric__isnull=False)),
                violation_error_message="A flat price has no metric; every other price needs one.",
            ),
            models.UniqueConstraint(
                name="price_name_is_unique_in_plan_version",
                fields=["plan_version", "name"],
                violation_error_message="This plan version already has a price with this name.",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="published_price_stands",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                func=_PUBLISHED_PRICE_STANDS,
            )
        ]

    def __str__(self) -> str:
        return self.name


class PriceVersionQuerySet(models.QuerySet["PriceVersion"]):
    def known_at(self, instant: dt.datetime) -> PriceVersionQuerySet:
        """Versions recorded by ``instant``: what we knew then."""
        return self.filter(recorded_at__lte=instant)


@tracked(exclude=("is_sealed",))
class PriceVersion(models.Model):
    """The amounts of a price from one day on.

    ``effective_from`` is a day in the customer's time zone; null means since ever. ``recorded_at`` is when we
    learned of it: of two versions with the same day, the later recorded one holds. Unit amounts are for
    ``per_units`` units and in the plan version's currency.
    """

    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="versions")
    effective_from = models.DateField(
        null=True, blank=True, help_text="First day of these amounts. Empty: from the very beginning."
    )
    recorded_at = models.DateTimeField(editable=False)
    flat_amount = UnitAmountField(null=True, blank=True, help_text="For a flat price: the amount for one full period.")
    unit_amount = UnitAmountField(null=True, blank=True, help_text="For a per-unit price.")
    per_units = models.DecimalField(
        max_digits=18,
        decimal_places=0,
        default=Decimal(1),
        choices=[
            (Decimal(1), "1 unit"),
            (Decimal(1000), "1,000 units"),
            (Decimal(1_000_000), "1,000,000 units"),
        ],
        help_text="The number of units that the unit amount is for.",
    )
    included_units = QuantityField(
        default=Decimal(0),
        blank=True,
        validators=[MinValueValidator(Decimal(0))],
        help_text="Units in each period that are free of charge.",
    )
    note = models.CharField(max_length=200, blank=True, help_text="Why the price changed, for colleagues.")
    # Tiers arrive after their version; a service seals it once they are complete and the plan is published.
    is_sealed = models.BooleanField(default=False, editable=False)

    objects = PriceVersionQuerySet.as_manager()

    class Meta:
        verbose_name = "price"
        ordering = ["price_id", F("effective_from").desc(nulls_last=True), "-recorded_at", "-id"]
        triggers = [
            pgtrigger.Protect(
                name="sealed_version_stands",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__is_sealed=True),
            )
        ]

    def __str__(self) -> str:
        since = f"from {self.effective_from:%-d %B %Y}" if self.effective_from else "from the beginning"
        return f"{self.price.name}, {since}"

    def clean(self) -> None:
        if not hasattr(self, "price"):
            return
        model = self.price.charge_model
        wanted = {ChargeModelName.FLAT: "flat_amount", ChargeModelName.PER_UNIT: "unit_amount"}.get(
            ChargeModelName(model)
        )
        if wanted is not None and getattr(self, wanted) is None:
            raise ValidationError({wanted: "Enter the amount; 0 is allowed."})
        for field in {"flat_amount", "unit_amount"} - {wanted}:
            if getattr(self, field) is not None:
                raise ValidationError({field: f"A {self.price.get_charge_model_display()} price has none. Clear it."})
        if model == ChargeModelName.FLAT and self.included_units:
            raise ValidationError({"included_units": "A flat price has no allowance. Set it to 0."})


@tracked()
class PriceTier(models.Model):
    """A range of a tiered price: from the tier before up to and including ``up_to``; empty is without end."""

    price_version = models.ForeignKey(PriceVersion, on_delete=models.CASCADE, related_name="tiers")
    up_to = QuantityField(null=True, blank=True, help_text="Last unit of this tier. Leave the last tier empty.")
    unit_amount = UnitAmountField(default=Decimal(0))
    flat_amount = UnitAmountField(default=Decimal(0), help_text="Charged once when the tier is reached.")

    class Meta:
        ordering = ["price_version_id", F("up_to").asc(nulls_last=True)]
        constraints = [
            models.UniqueConstraint(
                name="tier_bound_is_unique",
                fields=["price_version", "up_to"],
                nulls_distinct=False,
                violation_error_message="Two tiers end at the same quantity.",
            ),
            models.CheckConstraint(name="tier_bound_is_positive", condition=Q(up_to=None) | Q(up_to__gt=0)),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="sealed_tier_stands",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                func=_SEALED_TIER_STANDS,
            )
        ]

    def __str__(self) -> str:
        return f"up to {self.up_to:,f}" if self.up_to is not None else "beyond"


def in_tier_order(tiers: Iterable[PriceTier]) -> list[PriceTier]:
    """Tiers by their upper bound, the open one last."""
    return sorted(tiers, key=lambda tier: (tier.up_to is None, tier.up_to or Decimal(0)))
