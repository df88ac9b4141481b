"""What is sold: products, plans, and the dated prices on them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import F, Q

from apps.billable_metrics.models import BillableMetric
from apps.common.fields import CodeField, CurrencyCodeField
from apps.common.history import tracked
from apps.pricing.charge_models.matrix import values_in_words

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
class PricingUnit(models.Model):
    """What prices are in when they are not in money, such as credits.

    The prices in one unit are its burn table: what each action takes. What one unit is worth in money is in each
    price version.
    """

    code = CodeField(unique=True)
    singular = models.CharField(max_length=40, help_text="Plain word for one, such as credit.")
    plural = models.CharField(max_length=40, help_text="For several, such as credits.")

    class Meta:
        ordering = ["plural", "id"]

    def __str__(self) -> str:
        return self.plural


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


def _us_dollar() -> list[str]:
    return ["USD"]


@tracked()
class PlanVersion(models.Model):
    """One version of a plan: draft until published, then fixed; archived when no longer sold.

    A published version keeps its charges; their amounts change only by dated price versions. Every charge is priced in
    each of ``currencies``; a contract is billed in one of them.
    """

    TRANSITIONS = {PlanStatus.DRAFT: {PlanStatus.PUBLISHED}, PlanStatus.PUBLISHED: {PlanStatus.ARCHIVED}}

    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(default=1, editable=False)
    status = models.CharField(max_length=10, choices=PlanStatus.choices, default=PlanStatus.DRAFT, editable=False)
    currencies = ArrayField(CurrencyCodeField(), default=_us_dollar)
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
                name="plan_version_has_a_currency",
                condition=Q(currencies__len__gte=1),
                violation_error_message="A plan is priced in at least one currency.",
            ),
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
                    | pgtrigger.Q(old__currencies__df=pgtrigger.F("new__currencies"))
                    | pgtrigger.Q(old__billing_months__df=pgtrigger.F("new__billing_months"))
                ),
            ),
        ]

    def __str__(self) -> str:
        currencies = "/".join(self.currencies)
        return f"{self.plan.name} v{self.number} ({currencies}, {self.get_billing_months_display().lower()})"

    @property
    def is_draft(self) -> bool:
        return self.status == PlanStatus.DRAFT


class ChargeModelName(models.TextChoices):
    """How usage becomes an amount. The arithmetic is in ``apps.pricing.charge_models``."""

    FLAT = "flat", "Flat fee"
    PER_UNIT = "per_unit", "Per unit"
    PACKAGE = "package", "Package: each started one is charged whole"
    GRADUATED = "graduated", "Graduated: each unit at the price of its own tier"
    VOLUME = "volume", "Volume: all units at the price of one tier"
    STAIRSTEP = "stairstep", "Stairstep: one amount for the whole quantity"
    PERCENTAGE = "percentage", "Percentage of the amounts of transactions"
    GRADUATED_PERCENTAGE = "graduated_percentage", "Graduated percentage: each part at the rate of its own tier"
    MATRIX = "matrix", "Matrix: a unit price by dimension values"
    AMOUNT_IN_EVENT = "amount_in_event", "Amount in event, times a multiplier"
    SEATS = "seats", "Seats, by the days they are held"


TIERED_MODELS = frozenset(
    [
        ChargeModelName.GRADUATED,
        ChargeModelName.VOLUME,
        ChargeModelName.STAIRSTEP,
        ChargeModelName.GRADUATED_PERCENTAGE,
    ]
)


class Recurrence(models.TextChoices):
    RECURRING = "recurring", "Each billing period"
    ONE_OFF = "one_off", "Once, when the contract starts"


class BillingTiming(models.TextChoices):
    """When a fee is billed: with the invoice before its period, or with the one after it."""

    ARREARS = "arrears", "In arrears, after the period"
    ADVANCE = "advance", "In advance, before the period"


class QuantityRounding(models.TextChoices):
    """How a quantity is rounded to whole billing units after it is divided; see ``pricing.conversion``."""

    NONE = "", "Not rounded"
    CEIL = "ceil", "Up: started units count"
    FLOOR = "floor", "Down: only whole units count"
    HALF_UP = "half_up", "To the nearest, half up"


class FailurePolicy(models.TextChoices):
    """What a price makes of units whose outcome counts as failed."""

    CHARGED = "charged", "Failed outcomes are charged like others"
    FREE = "free", "Failed outcomes are free"
    FREE_UP_TO = "free_up_to", "Failed outcomes are free up to a number"


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
_SEALED_ROW_STANDS = """
    IF EXISTS (
        SELECT 1 FROM products_priceversion terms
        WHERE terms.id IN (OLD.price_version_id, NEW.price_version_id) AND terms.is_sealed
    ) THEN
        RAISE EXCEPTION 'The tiers and rows of a published price cannot be changed; schedule a new price version.';
    END IF;
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
"""


# A fee is charged without usage, everything else for what a metric measures.
_MODEL_GOES_WITH_METRIC = """
    IF (NEW.charge_model = 'flat') <> (
        SELECT price.metric_id IS NULL FROM products_price price WHERE price.id = NEW.price_id
    ) THEN
        RAISE EXCEPTION 'A flat price has no metric; every other price needs one.';
    END IF;
    RETURN NEW;
"""


@tracked()
class Price(models.Model):
    """One charge of a plan version: a product, and what is measured for it.

    How it is charged, and the amounts, are in its price versions. A price without a metric is a fee: ``recurrence``
    says how often it is charged, ``timing`` whether before or after its period. Amounts are money, or in
    ``pricing_unit``.
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
    pricing_unit = models.ForeignKey(
        PricingUnit,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="prices",
        help_text="Empty: amounts are money. Otherwise they are in this unit, such as credits.",
    )
    recurrence = models.CharField(max_length=10, choices=Recurrence.choices, default=Recurrence.RECURRING)
    timing = models.CharField(max_length=10, choices=BillingTiming.choices, default=BillingTiming.ARREARS)
    position = models.PositiveSmallIntegerField(default=0, help_text="Order on the invoice.")

    class Meta:
        ordering = ["plan_version_id", "position", "id"]
        constraints = [
            models.UniqueConstraint(
                name="price_name_is_unique_in_plan_version",
                fields=["plan_version", "name"],
                violation_error_message="This plan version already has a price with this name.",
            ),
            models.CheckConstraint(
                name="only_fees_are_one_off_or_in_advance",
                condition=Q(metric=None) | Q(recurrence="recurring", timing="arrears"),
                violation_error_message="Usage is billed after each period. Only a fee is one-off or in advance.",
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


@dataclass(frozen=True, slots=True)
class ModelColumns:
    """Which columns of a price version a charge model needs, and which others it may have."""

    required: frozenset[str]
    optional: frozenset[str] = frozenset()


_BOUNDS = frozenset(["minimum", "maximum"])
_AROUND_USAGE = _BOUNDS | {"included_units", "free_failures", "divide_by", "quantity_rounding"}

MODEL_COLUMNS: dict[ChargeModelName, ModelColumns] = {
    ChargeModelName.FLAT: ModelColumns(frozenset(["flat_amount"])),
    ChargeModelName.PER_UNIT: ModelColumns(frozenset(["unit_amount", "per_units"]), _AROUND_USAGE),
    ChargeModelName.PACKAGE: ModelColumns(frozenset(["unit_amount", "package_size"]), _AROUND_USAGE),
    ChargeModelName.GRADUATED: ModelColumns(frozenset(["per_units"]), _AROUND_USAGE),
    ChargeModelName.VOLUME: ModelColumns(frozenset(["per_units"]), _AROUND_USAGE),
    ChargeModelName.STAIRSTEP: ModelColumns(frozenset(), _AROUND_USAGE),
    ChargeModelName.PERCENTAGE: ModelColumns(
        frozenset(["rate_percent"]),
        _BOUNDS | {"included_units", "fixed_amount", "free_transactions", "transaction_minimum", "transaction_maximum"},
    ),
    ChargeModelName.GRADUATED_PERCENTAGE: ModelColumns(frozenset(), _BOUNDS | {"included_units"}),
    ChargeModelName.MATRIX: ModelColumns(frozenset(["per_units"]), _AROUND_USAGE),
    ChargeModelName.AMOUNT_IN_EVENT: ModelColumns(frozenset(["multiplier"]), _BOUNDS | {"included_units"}),
    ChargeModelName.SEATS: ModelColumns(frozenset(["unit_amount"]), _BOUNDS | {"included_units"}),
}
"""What each charge model is stated by. Tiers and matrix rows are rows of their own."""


def models_with(column: str) -> list[ChargeModelName]:
    """The charge models that may have a column."""
    return [name for name, columns in MODEL_COLUMNS.items() if column in columns.required | columns.optional]


def models_that_need(column: str) -> list[ChargeModelName]:
    return [name for name, columns in MODEL_COLUMNS.items() if column in columns.required]


def _column_goes_with_model(column: str) -> models.CheckConstraint:
    """The database's own word on which models have a column, and which need it."""
    condition = Q(**{column: None}) | Q(charge_model__in=models_with(column))
    needed = models_that_need(column)
    if needed:
        condition &= Q(**{f"{column}__isnull": False}) | ~Q(charge_model__in=needed)
    return models.CheckConstraint(name=f"{column}_goes_with_model", condition=condition)


class PriceVersionQuerySet(models.QuerySet["PriceVersion"]):
    def known_at(self, instant: dt.datetime) -> PriceVersionQuerySet:
        """Versions recorded by ``instant``: what we knew then."""
        return self.filter(recorded_at__lte=instant)


def _at_least_zero() -> list[MinValueValidator]:
    return [MinValueValidator(Decimal(0))]


@tracked(exclude=("is_sealed",))
class PriceVersion(models.Model):
    """How a price is charged in one currency from one day on.

    ``effective_from`` is a day in the customer's time zone; null means since ever. ``recorded_at`` is when we
    learned of it: of two versions with the same day, the later recorded one holds. Amounts are in ``currency``, or in
    the price's pricing unit, one of which is worth ``pricing_unit_rate`` of the currency.

    Which columns there are follows from ``charge_model``, as MODEL_COLUMNS says; the others are null. Tiers and matrix
    rows are in tables of their own.
    """

    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="versions")
    currency = CurrencyCodeField(default="USD")
    charge_model = models.CharField(max_length=24, choices=ChargeModelName.choices)
    effective_from = models.DateField(
        null=True, blank=True, help_text="First day of these amounts. Empty: from the very beginning."
    )
    recorded_at = models.DateTimeField(editable=False)
    flat_amount = UnitAmountField(null=True, blank=True, help_text="The amount for one full period, or once.")
    unit_amount = UnitAmountField(
        null=True,
        blank=True,
        help_text="The price of so many units as stated, of a package, or of a seat for a period.",
    )
    per_units = QuantityField(
        null=True, blank=True, help_text="The number of units that a unit price is for, such as 1 or 1,000,000."
    )
    package_size = QuantityField(null=True, blank=True, help_text="Units in a package; each started one is charged.")
    rate_percent = UnitAmountField("rate in percent", null=True, blank=True, help_text="Of each transaction's amount.")
    fixed_amount = UnitAmountField(null=True, blank=True, help_text="Charged once for each transaction.")
    free_transactions = models.PositiveIntegerField(
        null=True, blank=True, help_text="The first transactions of each period that are free."
    )
    transaction_minimum = UnitAmountField(null=True, blank=True, help_text="The least that one transaction costs.")
    transaction_maximum = UnitAmountField(null=True, blank=True, help_text="The most that one transaction costs.")
    multiplier = UnitAmountField(
        null=True, blank=True, help_text="What the events' amounts are multiplied by; 1.2 adds 20%."
    )
    included_units = QuantityField(
        null=True,
        blank=True,
        validators=_at_least_zero(),
        help_text="What is free in each period: units, seats, or an amount of money.",
    )
    prorates_included = models.BooleanField(
        "prorate what is included", default=True, help_text="In a part of a period, by its share of days."
    )
    minimum = UnitAmountField(
        null=True, blank=True, help_text="The least that a full period costs, even without usage."
    )
    maximum = UnitAmountField(null=True, blank=True, help_text="The most that a full period costs.")
    flat_fee_at_zero_usage = models.BooleanField(
        default=False, help_text="Charge the first tier's flat fee in a period without usage."
    )
    divide_by = QuantityField(
        null=True, blank=True, help_text="Turns the measured quantity into billing units, such as 60 for minutes."
    )
    # Null where there is no conversion; an empty text is a conversion that keeps fractions.
    quantity_rounding = models.CharField(  # noqa: DJ001
        max_length=10, choices=QuantityRounding.choices, null=True, blank=True
    )
    failures = models.CharField(max_length=10, choices=FailurePolicy.choices, default=FailurePolicy.CHARGED)
    free_failures = QuantityField(
        null=True, blank=True, validators=_at_least_zero(), help_text="Units of failed outcomes that are free."
    )
    prorates_added = models.BooleanField(
        "prorate added seats", default=True, help_text="A seat is charged from the day it is added."
    )
    prorates_removed = models.BooleanField(
        "prorate removed seats", default=True, help_text="A seat is charged up to the day it is removed."
    )
    pricing_unit_rate = UnitAmountField(
        "worth of one pricing unit", null=True, blank=True, help_text="In the currency of this price."
    )
    dimensions = ArrayField(
        models.CharField(max_length=200),
        default=list,
        blank=True,
        help_text="The properties that a matrix prices by, such as model and direction.",
    )
    note = models.CharField(max_length=200, blank=True, help_text="Why the price changed, for colleagues.")
    # Tiers arrive after their version; a service seals it once they are complete and the plan is published.
    is_sealed = models.BooleanField(default=False, editable=False)

    objects = PriceVersionQuerySet.as_manager()

    class Meta:
        verbose_name = "price"
        ordering = ["price_id", "currency", F("effective_from").desc(nulls_last=True), "-recorded_at", "-id"]
        constraints = [
            *(
                _column_goes_with_model(column)
                for column in sorted(set().union(*(each.required | each.optional for each in MODEL_COLUMNS.values())))
                if column not in {"free_failures", "quantity_rounding"}
            ),
            models.CheckConstraint(
                name="free_failures_go_with_policy",
                condition=Q(failures="free_up_to", free_failures__isnull=False)
                | (~Q(failures="free_up_to") & Q(free_failures=None)),
            ),
            models.CheckConstraint(
                name="failures_go_with_model",
                condition=Q(failures="charged") | Q(charge_model__in=models_with("free_failures")),
            ),
            models.CheckConstraint(
                name="rounding_goes_with_division",
                condition=Q(divide_by=None, quantity_rounding=None)
                | Q(divide_by__isnull=False, quantity_rounding__isnull=False),
            ),
            models.CheckConstraint(
                name="dimensions_go_with_matrix",
                condition=Q(charge_model="matrix", dimensions__len__gte=1)
                | (~Q(charge_model="matrix") & Q(dimensions=[])),
            ),
            models.CheckConstraint(name="per_units_is_positive", condition=Q(per_units=None) | Q(per_units__gt=0)),
            models.CheckConstraint(
                name="package_size_is_positive", condition=Q(package_size=None) | Q(package_size__gt=0)
            ),
            models.CheckConstraint(name="divide_by_is_positive", condition=Q(divide_by=None) | Q(divide_by__gt=0)),
            models.CheckConstraint(
                name="maximum_is_not_below_minimum",
                condition=Q(minimum=None) | Q(maximum=None) | Q(maximum__gte=F("minimum")),
                violation_error_message="The maximum is below the minimum.",
            ),
        ]
        triggers = [
            pgtrigger.Protect(
                name="sealed_version_stands",
                operation=pgtrigger.Update | pgtrigger.Delete,
                condition=pgtrigger.Q(old__is_sealed=True),
            ),
            pgtrigger.Trigger(
                name="model_goes_with_metric",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update,
                func=_MODEL_GOES_WITH_METRIC,
            ),
        ]

    def __str__(self) -> str:
        since = f"from {self.effective_from:%-d %B %Y}" if self.effective_from else "from the beginning"
        return f"{self.price.name}, {since}"


@tracked()
class PriceTier(models.Model):
    """A range of a tiered price: from the tier before up to and including ``up_to``; empty is without end.

    A graduated percentage has a ``rate_percent`` and no unit amount.
    """

    price_version = models.ForeignKey(PriceVersion, on_delete=models.CASCADE, related_name="tiers")
    up_to = QuantityField(null=True, blank=True, help_text="Last unit of this tier. Leave the last tier empty.")
    unit_amount = UnitAmountField(default=Decimal(0))
    flat_amount = UnitAmountField(default=Decimal(0), help_text="Charged once when the tier is reached.")
    package_size = QuantityField(null=True, blank=True, help_text="Each started package of so many units is charged.")
    rate_percent = UnitAmountField("rate in percent", null=True, blank=True)

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
            models.CheckConstraint(
                name="tier_has_one_kind_of_price",
                condition=Q(rate_percent=None) | Q(unit_amount=0, package_size=None),
            ),
            models.CheckConstraint(
                name="tier_package_is_positive", condition=Q(package_size=None) | Q(package_size__gt=0)
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="sealed_tier_stands",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                func=_SEALED_ROW_STANDS,
            )
        ]

    def __str__(self) -> str:
        return f"up to {self.up_to:,f}" if self.up_to is not None else "beyond"


def in_tier_order(tiers: Iterable[PriceTier]) -> list[PriceTier]:
    """Tiers by their upper bound, the open one last."""
    return sorted(tiers, key=lambda tier: (tier.up_to is None, tier.up_to or Decimal(0)))


@tracked()
class PriceMatrixRow(models.Model):
    """A unit price for usage with these values of the price version's dimensions, in their order.

    A null value stands for any; a row of nulls only is the default row.
    """

    price_version = models.ForeignKey(PriceVersion, on_delete=models.CASCADE, related_name="rows")
    position = models.PositiveIntegerField()
    values = ArrayField(models.CharField(max_length=500, null=True, blank=True))
    unit_amount = UnitAmountField()

    class Meta:
        ordering = ["price_version_id", "position"]
        constraints = [
            models.UniqueConstraint(name="matrix_row_position_is_unique", fields=["price_version", "position"]),
            models.UniqueConstraint(
                name="matrix_row_values_are_unique",
                fields=["price_version", "values"],
                violation_error_message="Two rows price the same values.",
            ),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="sealed_row_stands",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
                func=_SEALED_ROW_STANDS,
            )
        ]

    def __str__(self) -> str:
        return values_in_words(self.values)
