"""Writes to the catalogue: plans, their versions, and dated prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from apps.billable_metrics.models import BillableMetric
from apps.common.days import check_day
from apps.common.errors import BillingError, InvalidInput
from apps.common.history import acting
from apps.products.models import (
    BillingInterval,
    BillingTiming,
    Plan,
    PlanStatus,
    PlanVersion,
    Price,
    PriceMatrixRow,
    PriceVersion,
    PricingUnit,
    Product,
    Recurrence,
)
from apps.products.selectors import version_in_force
from apps.products.terms import PriceTerms, check_terms, row_of, terms_of, tier_row_of


class PlanVersionIsFixed(BillingError):
    code = "plan_version_is_fixed"

    def __init__(self, version: PlanVersion) -> None:
        super().__init__(
            f"{version} is {version.get_status_display().lower()}, so its charges stand. "
            "Schedule a new price, or make a new version of the plan."
        )


class PlanVersionNotPublishable(BillingError):
    code = "plan_version_not_publishable"


class PriceNotSchedulable(BillingError):
    code = "price_not_schedulable"

    def __init__(self, version: PlanVersion) -> None:
        mend = "Change the draft instead." if version.is_draft else "Make a new version of the plan."
        super().__init__(
            f"{version} is {version.get_status_display().lower()}, and only prices of a published plan version "
            f"are scheduled. {mend}"
        )


@transaction.atomic
def save_entry(entry: Product | PricingUnit | Plan, names: Mapping[str, str], *, actor: User | None = None) -> None:
    """Store a new entry of the catalogue, or one that is named or described anew.

    Raises ValidationError naming the field at fault.
    """
    with acting(actor):
        for field, value in names.items():
            setattr(entry, field, value)
        entry.full_clean()
        entry.save()


@transaction.atomic
def create_plan(
    *,
    code: str,
    name: str,
    currencies: Sequence[str],
    billing_months: int = BillingInterval.MONTH,
    description: str = "",
    actor: User | None = None,
) -> PlanVersion:
    """Make a plan with its first version, a draft. Raises ValidationError naming the field at fault."""
    with acting(actor):
        plan = Plan(code=code)
        save_entry(plan, {"name": name, "description": description}, actor=actor)
        return new_plan_version(plan=plan, currencies=currencies, billing_months=billing_months, actor=actor)


@transaction.atomic
def new_plan_version(
    *, plan: Plan, currencies: Sequence[str], billing_months: int = BillingInterval.MONTH, actor: User | None = None
) -> PlanVersion:
    """Add an empty draft version with the next number. Raises InvalidInput for a currency that is named twice."""
    if len(set(currencies)) < len(currencies):
        raise InvalidInput("A currency is named twice. Name each one once.", field="currencies")
    Plan.objects.select_for_update().get(pk=plan.pk)
    newest = plan.versions.aggregate(newest=Max("number"))["newest"] or 0
    with acting(actor):
        version = PlanVersion(plan=plan, number=newest + 1, currencies=list(currencies), billing_months=billing_months)
        version.full_clean()
        version.save()
    return version


@transaction.atomic
def copy_plan_version(
    *, plan_version: PlanVersion, now: dt.datetime, currencies: Sequence[str] = (), actor: User | None = None
) -> PlanVersion:
    """Add a draft version with the charges of ``plan_version`` at the amounts that hold at ``now``.

    ``currencies`` default to those of ``plan_version``; amounts in others are left to be added, for nothing is
    converted. Raises InvalidInput when none of them is one of ``plan_version``.
    """
    currencies = currencies or plan_version.currencies
    if not set(currencies) & set(plan_version.currencies):
        raise InvalidInput(
            f"{plan_version} has no amounts in {' or '.join(currencies)}. Keep one of its currencies, or begin with an "
            "empty price list.",
            field="currencies",
        )
    draft = new_plan_version(
        plan=plan_version.plan,
        currencies=currencies,
        billing_months=plan_version.billing_months,
        actor=actor,
    )
    for price in plan_version.prices.prefetch_related("versions__tiers", "versions__rows"):
        recorded = list(price.versions.all())
        terms_by_currency = {
            currency: terms_of(current)
            for currency in currencies
            if (current := version_in_force(recorded, currency=currency, on=now.date(), known_at=now)) is not None
        }
        add_price_in_currencies(
            plan_version=draft,
            charged=ChargedFor.of(price),
            terms_by_currency=terms_by_currency,
            position=price.position,
            now=now,
            actor=actor,
        )
    return draft


@dataclass(frozen=True, slots=True)
class ChargedFor:
    """What a price is for, which is fixed once its plan is published: see ``Price`` for the fields."""

    product: Product
    name: str
    metric: BillableMetric | None = None
    pricing_unit: PricingUnit | None = None
    recurrence: Recurrence = Recurrence.RECURRING
    timing: BillingTiming = BillingTiming.ARREARS

    @classmethod
    def of(cls, price: Price) -> ChargedFor:
        return cls(
            product=price.product,
            name=price.name,
            metric=price.metric,
            pricing_unit=price.pricing_unit,
            recurrence=Recurrence(price.recurrence),
            timing=BillingTiming(price.timing),
        )

    def write_to(self, price: Price) -> None:
        """Check and store what is fixed. Raises InvalidInput or ValidationError naming the field at fault."""
        self._check_fee()
        if price.plan_version.prices.filter(name=self.name).exclude(pk=price.pk).exists():
            raise InvalidInput("This plan version already has a price with this name. Choose another.", field="name")
        price.product, price.metric, price.name = self.product, self.metric, self.name
        price.pricing_unit, price.recurrence, price.timing = self.pricing_unit, self.recurrence, self.timing
        price.full_clean()
        price.save()

    def _check_fee(self) -> None:
        sentence = "Usage is billed after each period. Only a fee is one-off or in advance; clear the metric, or this."
        if self.metric is not None and self.recurrence != Recurrence.RECURRING:
            raise InvalidInput(sentence, field="recurrence")
        if self.metric is not None and self.timing != BillingTiming.ARREARS:
            raise InvalidInput(sentence, field="timing")


@transaction.atomic
def add_price(
    *,
    plan_version: PlanVersion,
    charged: ChargedFor,
    terms: PriceTerms,
    now: dt.datetime,
    currency: str = "",
    position: int | None = None,
    actor: User | None = None,
) -> PriceVersion:
    """Add a charge to a draft plan version, with the amounts that hold from the beginning.

    ``currency`` defaults to the first of the plan version. Raises InvalidInput or ValidationError naming the field.
    """
    draft = _lock_draft(plan_version)
    currency = currency or draft.currencies[0]
    _check_currency(draft, currency)
    check_terms(terms, charged.metric, charged.pricing_unit)
    if position is None:
        position = (draft.prices.aggregate(last=Max("position"))["last"] or 0) + 10
    with acting(actor):
        price = Price(plan_version=draft, position=position)
        charged.write_to(price)
        return _record_version(price=price, currency=currency, effective_from=None, terms=terms, now=now, note="")


@transaction.atomic
def add_currency(
    *, price: Price, currency: str, terms: PriceTerms, now: dt.datetime, actor: User | None = None
) -> PriceVersion:
    """Price a charge of a draft in another currency of its plan version.

    Raises InvalidInput when the plan version is not in that currency, or the charge is priced in it already.
    """
    draft = _lock_draft(price.plan_version)
    _check_currency(draft, currency)
    if price.versions.filter(currency=currency).exists():
        raise InvalidInput(f"“{price}” is priced in {currency} already. Change that price.", field="currency")
    check_terms(terms, price.metric, price.pricing_unit)
    with acting(actor):
        return _record_version(price=price, currency=currency, effective_from=None, terms=terms, now=now, note="")


@transaction.atomic
def add_price_in_currencies(
    *,
    plan_version: PlanVersion,
    charged: ChargedFor,
    terms_by_currency: Mapping[str, PriceTerms],
    now: dt.datetime,
    position: int | None = None,
    actor: User | None = None,
) -> None:
    """Add a charge to a draft plan version in each of these currencies; in none, nothing is added.

    Raises InvalidInput or ValidationError naming the field, and then adds it in none of them.
    """
    added: Price | None = None
    for currency, terms in terms_by_currency.items():
        if added is None:
            added = add_price(
                plan_version=plan_version,
                charged=charged,
                terms=terms,
                currency=currency,
                position=position,
                now=now,
                actor=actor,
            ).price
        else:
            add_currency(price=added, currency=currency, terms=terms, now=now, actor=actor)


@transaction.atomic
def change_draft_price(
    *,
    price_version: PriceVersion,
    charged: ChargedFor,
    terms: PriceTerms,
    now: dt.datetime,
    position: int | None = None,
    actor: User | None = None,
) -> PriceVersion:
    """Change a charge of a draft plan version, and its amounts in one currency."""
    price = price_version.price
    _lock_draft(price.plan_version)
    if position is not None:
        price.position = position
    check_terms(terms, charged.metric, charged.pricing_unit)
    for other in price.versions.exclude(pk=price_version.pk).prefetch_related("tiers", "rows"):
        # The amounts in other currencies stay, so they must fit what the charge is changed to.
        check_terms(terms_of(other), charged.metric, charged.pricing_unit)
    with acting(actor):
        charged.write_to(price)
        price_version.recorded_at = now
        price_version.tiers.all().delete()
        price_version.rows.all().delete()
        _write_terms(price_version, terms)
    return price_version


@transaction.atomic
def remove_draft_price(*, price: Price, actor: User | None = None) -> None:
    """Take a charge out of a draft plan version."""
    _lock_draft(price.plan_version)
    with acting(actor):
        for version in price.versions.all():
            version.delete()
        price.delete()


@transaction.atomic
def schedule_price_version(
    *,
    price: Price,
    effective_from: dt.date,
    terms: PriceTerms,
    now: dt.datetime,
    currency: str = "",
    note: str = "",
    actor: User | None = None,
) -> PriceVersion:
    """Record new amounts for a published charge, from a day on. What was billed stands.

    The day may lie in the past: usage of a period that is not closed yet is then rated with the new amounts.
    Raises PriceNotSchedulable unless the plan version is published, InvalidInput naming the field at fault.
    """
    version = PlanVersion.objects.select_for_update().select_related("plan").get(pk=price.plan_version_id)
    if version.status != PlanStatus.PUBLISHED:
        raise PriceNotSchedulable(version)
    check_day(effective_from, field="effective_from")
    currency = currency or version.currencies[0]
    _check_currency(version, currency)
    check_terms(terms, price.metric, price.pricing_unit)
    with acting(actor, reason=note):
        recorded = _record_version(
            price=price, currency=currency, effective_from=effective_from, terms=terms, now=now, note=note
        )
        _seal(recorded)
    return recorded


@transaction.atomic
def publish_plan_version(*, plan_version_id: int, now: dt.datetime, actor: User | None = None) -> PlanVersion:
    """Fix the charges of a draft and let contracts use it.

    Raises PlanVersionNotPublishable unless it has a price, and each is priced in every currency of the version.
    """
    version = PlanVersion.objects.select_for_update().select_related("plan").get(pk=plan_version_id)
    _move(version, PlanStatus.PUBLISHED)
    recorded = list(PriceVersion.objects.filter(price__plan_version=version))
    if not recorded:
        raise PlanVersionNotPublishable(f"{version} has no prices yet. Add at least one, then publish.")
    _refuse_missing_currencies(version)
    with acting(actor):
        for price_version in recorded:
            _seal(price_version)
        version.published_at = now
        version.save(update_fields=["status", "published_at"])
    return version


@transaction.atomic
def archive_plan_version(*, plan_version_id: int, actor: User | None = None) -> PlanVersion:
    """Take a published version off sale. Contracts on it go on unchanged."""
    version = PlanVersion.objects.select_for_update().select_related("plan").get(pk=plan_version_id)
    _move(version, PlanStatus.ARCHIVED)
    with acting(actor):
        version.save(update_fields=["status"])
    return version


def _move(version: PlanVersion, target: PlanStatus) -> None:
    if target not in PlanVersion.TRANSITIONS.get(PlanStatus(version.status), set()):
        raise PlanVersionNotPublishable(
            f"{version} is {version.get_status_display().lower()} and cannot become {target.label.lower()}."
        )
    version.status = target


def _lock_draft(plan_version: PlanVersion) -> PlanVersion:
    locked = PlanVersion.objects.select_for_update().select_related("plan").get(pk=plan_version.pk)
    if not locked.is_draft:
        raise PlanVersionIsFixed(locked)
    return locked


def _check_currency(version: PlanVersion, currency: str) -> None:
    if currency not in version.currencies:
        raise InvalidInput(
            f"{version} is not priced in {currency}. Use {' or '.join(version.currencies)}.", field="currency"
        )


def _refuse_missing_currencies(version: PlanVersion) -> None:
    for price in version.prices.prefetch_related("versions"):
        priced_in = {recorded.currency for recorded in price.versions.all()}
        missing = [currency for currency in version.currencies if currency not in priced_in]
        if missing:
            raise PlanVersionNotPublishable(
                f"“{price}” has no price in {' and '.join(missing)}, in which {version} is sold. Add it, then publish."
            )


def _record_version(
    *, price: Price, currency: str, effective_from: dt.date | None, terms: PriceTerms, now: dt.datetime, note: str
) -> PriceVersion:
    version = PriceVersion(price=price, currency=currency, effective_from=effective_from, recorded_at=now, note=note)
    _write_terms(version, terms)
    return version


def _write_terms(version: PriceVersion, terms: PriceTerms) -> None:
    terms.write_to(version)
    version.full_clean()
    version.save()
    for tier in terms.tiers:
        tier_row = tier_row_of(tier, version)
        tier_row.full_clean()
        tier_row.save()
    rows: list[PriceMatrixRow] = [row_of(row, position, version) for position, row in enumerate(terms.rows, start=1)]
    for matrix_row in rows:
        matrix_row.full_clean(validate_unique=False, validate_constraints=False)  # check_terms has looked for repeats.
    PriceMatrixRow.objects.bulk_create(rows)


def _seal(version: PriceVersion) -> None:
    version.is_sealed = True
    version.save(update_fields=["is_sealed"])
