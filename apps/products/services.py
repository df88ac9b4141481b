"""Writes to the catalogue: plans, their versions, and dated prices."""

from __future__ import annotations

import datetime as dt

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Max

from apps.billable_metrics.models import BillableMetric
from apps.common.days import check_day
from apps.common.errors import BillingError
from apps.common.history import acting
from apps.products.models import (
    BillingInterval,
    ChargeModelName,
    Plan,
    PlanStatus,
    PlanVersion,
    Price,
    PriceTier,
    PriceVersion,
    Product,
)
from apps.products.selectors import version_in_force
from apps.products.terms import PriceTerms, check_terms, terms_of


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
def create_plan(
    *,
    code: str,
    name: str,
    currency: str,
    billing_months: int = BillingInterval.MONTH,
    description: str = "",
    actor: User | None = None,
) -> PlanVersion:
    """Make a plan with its first version, a draft. Raises ValidationError naming the field at fault."""
    with acting(actor):
        plan = Plan(code=code, name=name, description=description)
        plan.full_clean()
        plan.save()
        return new_plan_version(plan=plan, currency=currency, billing_months=billing_months, actor=actor)


@transaction.atomic
def new_plan_version(
    *, plan: Plan, currency: str, billing_months: int = BillingInterval.MONTH, actor: User | None = None
) -> PlanVersion:
    """Add an empty draft version with the next number."""
    Plan.objects.select_for_update().get(pk=plan.pk)
    newest = plan.versions.aggregate(newest=Max("number"))["newest"] or 0
    with acting(actor):
        version = PlanVersion(plan=plan, number=newest + 1, currency=currency, billing_months=billing_months)
        version.full_clean()
        version.save()
    return version


@transaction.atomic
def copy_plan_version(*, plan_version: PlanVersion, now: dt.datetime, actor: User | None = None) -> PlanVersion:
    """Add a draft version with the charges of ``plan_version`` at the amounts that hold at ``now``."""
    draft = new_plan_version(
        plan=plan_version.plan,
        currency=plan_version.currency,
        billing_months=plan_version.billing_months,
        actor=actor,
    )
    for price in plan_version.prices.prefetch_related("versions__tiers"):
        current = version_in_force(list(price.versions.all()), on=now.date(), known_at=now)
        if current is not None:
            add_price(
                plan_version=draft,
                product=price.product,
                metric=price.metric,
                name=price.name,
                charge_model=ChargeModelName(price.charge_model),
                terms=terms_of(current),
                position=price.position,
                now=now,
                actor=actor,
            )
    return draft


@transaction.atomic
def add_price(
    *,
    plan_version: PlanVersion,
    product: Product,
    metric: BillableMetric | None,
    name: str,
    charge_model: ChargeModelName,
    terms: PriceTerms,
    now: dt.datetime,
    position: int | None = None,
    actor: User | None = None,
) -> PriceVersion:
    """Add a charge to a draft plan version, with the amounts that hold from the beginning."""
    draft = _lock_draft(plan_version)
    check_terms(charge_model, terms)
    if position is None:
        position = (draft.prices.aggregate(last=Max("position"))["last"] or 0) + 10
    with acting(actor):
        price = Price(
            plan_version=draft,
            product=product,
            metric=metric,
            name=name,
            charge_model=charge_model,
            position=position,
        )
        price.full_clean()
        price.save()
        return _record_version(price=price, effective_from=None, terms=terms, now=now, note="")


@transaction.atomic
def change_draft_price(
    *,
    price_version: PriceVersion,
    product: Product,
    metric: BillableMetric | None,
    name: str,
    charge_model: ChargeModelName,
    terms: PriceTerms,
    now: dt.datetime,
    actor: User | None = None,
) -> PriceVersion:
    """Change a charge of a draft plan version, and its amounts."""
    price = price_version.price
    _lock_draft(price.plan_version)
    check_terms(charge_model, terms)
    with acting(actor):
        price.product, price.metric, price.name, price.charge_model = product, metric, name, charge_model
        price.full_clean()
        price.save()
        price_version.recorded_at = now
        _write_terms(price_version, terms)
        price_version.tiers.all().delete()
        _write_tiers(price_version, terms)
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
    check_terms(ChargeModelName(price.charge_model), terms)
    with acting(actor, reason=note):
        recorded = _record_version(price=price, effective_from=effective_from, terms=terms, now=now, note=note)
        _seal(recorded)
    return recorded


@transaction.atomic
def publish_plan_version(*, plan_version_id: int, now: dt.datetime, actor: User | None = None) -> PlanVersion:
    """Fix the charges of a draft and let contracts use it. It needs at least one price."""
    version = PlanVersion.objects.select_for_update().select_related("plan").get(pk=plan_version_id)
    _move(version, PlanStatus.PUBLISHED)
    recorded = list(PriceVersion.objects.filter(price__plan_version=version))
    if not recorded:
        raise PlanVersionNotPublishable(f"{version} has no prices yet. Add at least one, then publish.")
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


def _record_version(
    *, price: Price, effective_from: dt.date | None, terms: PriceTerms, now: dt.datetime, note: str
) -> PriceVersion:
    version = PriceVersion(price=price, effective_from=effective_from, recorded_at=now, note=note)
    _write_terms(version, terms)
    _write_tiers(version, terms)
    return version


def _write_terms(version: PriceVersion, terms: PriceTerms) -> None:
    version.flat_amount = terms.flat_amount
    version.unit_amount = terms.unit_amount
    version.per_units = terms.per_units
    version.included_units = terms.included_units
    version.full_clean()
    version.save()


def _write_tiers(version: PriceVersion, terms: PriceTerms) -> None:
    for tier in terms.tiers:
        row = PriceTier(
            price_version=version,
            up_to=tier.up_to,
            unit_amount=tier.unit_amount,
            flat_amount=tier.flat_amount,
        )
        row.full_clean()
        row.save()


def _seal(version: PriceVersion) -> None:
    version.is_sealed = True
    version.save(update_fields=["is_sealed"])
