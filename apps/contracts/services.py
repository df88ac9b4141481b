"""Writes to contracts, one function per verb."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from apps.common.days import check_day
from apps.common.errors import BillingError, InvalidInput
from apps.common.history import acting
from apps.contracts.grandfathering import check_kept_prices
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.customers.models import Customer
from apps.pricing.periods import Period, start_of_day
from apps.products.models import BillingTiming, PlanStatus, PlanVersion, Price


class UsageBilledTwice(BillingError):
    code = "usage_billed_twice"

    def __init__(self, contract: Contract, other: Contract) -> None:
        super().__init__(
            f"{other} is active on some of the same days and charges for the same metrics, so {contract} would bill "
            "that usage a second time. End the other contract first, or use a plan without these metrics."
        )


class ContractIsFixed(BillingError):
    code = "contract_is_fixed"

    def __init__(self, contract: Contract) -> None:
        super().__init__(
            f"{contract} is {contract.get_status_display().lower()}, so these terms stand. "
            "End it and make a new contract instead."
        )


@transaction.atomic
def create_contract(
    *,
    customer: Customer,
    name: str,
    plan_version: PlanVersion,
    start_date: dt.date,
    end_date: dt.date | None = None,
    currency: str = "",
    billing_anchor_day: int = 1,
    timezone: str = "",
    payment_terms_days: int | None = None,
    grace_period_hours: int | None = None,
    purchase_order: str = "",
    actor: User | None = None,
) -> Contract:
    """Make a draft contract with one phase on a published plan version.

    ``end_date`` is the first day outside; ``timezone`` defaults to the customer's, ``currency`` to that of the
    plan where it is sold in one only. Raises InvalidInput or ValidationError naming the field at fault.
    """
    contract = Contract(customer=customer)
    with acting(actor):
        _write_terms(
            contract,
            name=name,
            plan_version=plan_version,
            start_date=start_date,
            end_date=end_date,
            currency=currency,
            billing_anchor_day=billing_anchor_day,
            timezone=timezone or customer.timezone,
            payment_terms_days=payment_terms_days,
            grace_period_hours=grace_period_hours,
            purchase_order=purchase_order,
        )
        ContractPhase.objects.create(
            contract=contract, plan_version=plan_version, start_date=start_date, end_date=end_date
        )
    return contract


@transaction.atomic
def change_draft_contract(
    *,
    contract_id: int,
    name: str,
    plan_version: PlanVersion,
    start_date: dt.date,
    end_date: dt.date | None,
    billing_anchor_day: int,
    timezone: str,
    payment_terms_days: int | None,
    grace_period_hours: int | None,
    purchase_order: str,
    currency: str = "",
    actor: User | None = None,
) -> Contract:
    """Change the terms of a draft contract with one phase."""
    contract = _lock(contract_id)
    if contract.status != ContractStatus.DRAFT:
        raise ContractIsFixed(contract)
    with acting(actor):
        _write_terms(
            contract,
            name=name,
            plan_version=plan_version,
            start_date=start_date,
            end_date=end_date,
            currency=currency,
            billing_anchor_day=billing_anchor_day,
            timezone=timezone,
            payment_terms_days=payment_terms_days,
            grace_period_hours=grace_period_hours,
            purchase_order=purchase_order,
        )
        phase = contract.phases.get()
        check_kept_prices(phase, plan_version)
        phase.plan_version, phase.start_date, phase.end_date = plan_version, start_date, end_date
        phase.save()
    return contract


@transaction.atomic
def activate_contract(*, contract_id: int, now: dt.datetime, actor: User | None = None) -> Contract:
    """Let billing begin: the first period, from the contract's first day, becomes the open one.

    Raises UsageBilledTwice when another active contract of the customer charges for the same usage on the same days.
    """
    contract = _lock(contract_id)
    contract.move_to(ContractStatus.ACTIVE)
    _refuse_double_billing(contract)
    contract.activated_at = now
    contract.closed_through = contract.starts_at
    with acting(actor):
        contract.save(update_fields=["status", "activated_at", "closed_through"])
    return contract


@transaction.atomic
def end_contract(*, contract_id: int, end_date: dt.date, actor: User | None = None) -> Contract:
    """Set the first day outside an active contract. Usage before it is still billed.

    A contract that is billed to that day already has ended at once, unless fees may be billed in advance of later days:
    then the next close gives them back and ends it. Raises ContractIsFixed unless it is active,
    InvalidInput when the day lies in a period that is closed already.
    """
    contract = _lock(contract_id)
    if contract.status != ContractStatus.ACTIVE or contract.closed_through is None:
        raise ContractIsFixed(contract)
    check_day(end_date, field="end_date")
    if end_date <= contract.start_date:
        raise InvalidInput("The last day cannot lie before the contract's first day.", field="end_date")
    if start_of_day(end_date, contract.timezone) < contract.closed_through:
        raise InvalidInput("That day lies in a period that is closed already. Choose a later one.", field="end_date")
    with acting(actor):
        contract.end_date = end_date
        if contract.ends_at == contract.closed_through and not _bills_in_advance(contract):
            contract.move_to(ContractStatus.ENDED)
        contract.save(update_fields=["end_date", "status"])
        contract.phases.filter(start_date__gte=end_date).delete()
        last_phase = contract.phases.order_by("-start_date").first()
        if last_phase is not None:
            last_phase.end_date = end_date
            last_phase.save(update_fields=["end_date"])
    if contract.status == ContractStatus.ACTIVE:
        _refuse_double_billing(contract)
    return contract


def _bills_in_advance(contract: Contract) -> bool:
    plans = contract.phases.values("plan_version")
    return Price.objects.filter(plan_version__in=plans, timing=BillingTiming.ADVANCE).exists()


def _refuse_double_billing(contract: Contract) -> None:
    # Two contracts that are activated at once wait for one another here, so that one of them sees the other.
    Customer.objects.select_for_update().get(pk=contract.customer_id)
    for phase in contract.phases.all():
        metrics = phase.plan_version.prices.exclude(metric=None).values("metric")
        others = (
            ContractPhase.objects.exclude(contract=contract)
            .filter(contract__customer=contract.customer_id, contract__status=ContractStatus.ACTIVE)
            .filter(plan_version__prices__metric__in=metrics)
            .filter(Q(end_date=None) | Q(end_date__gt=phase.start_date))
        )
        if phase.end_date is not None:
            others = others.filter(start_date__lt=phase.end_date)
        other = others.select_related("contract__customer").first()
        if other is not None:
            raise UsageBilledTwice(contract, other.contract)


def close_open_periods(closed: Mapping[Contract, Period]) -> None:
    """Mark the open period of each contract as closed, in the caller's transaction.

    A contract that is billed to its end has ended. Raises PeriodIsNotOpen when a period is not the open one, whole,
    so that no day is closed twice or skipped.
    """
    alike: defaultdict[tuple[Period, dt.datetime, ContractStatus], list[int]] = defaultdict(list)
    for contract, period in closed.items():
        if contract.open_period != period:
            raise PeriodIsNotOpen(contract, period)
        ends_at = contract.ends_at
        contract.closed_through = period.end_at if ends_at is None else min(period.end_at, ends_at)
        if contract.closed_through == ends_at:
            contract.move_to(ContractStatus.ENDED)
        alike[period, contract.closed_through, ContractStatus(contract.status)].append(contract.pk)
    # Most contracts close the same period, so a few statements move them all on.
    for (period, closed_through, status), contract_ids in alike.items():
        open_ones = Contract.objects.filter(pk__in=contract_ids, closed_through=period.start_at)
        if open_ones.update(closed_through=closed_through, status=status) != len(contract_ids):
            raise PeriodIsNotOpen(Contract.objects.get(pk=contract_ids[0]), period)


class PeriodIsNotOpen(BillingError):
    code = "period_is_not_open"

    def __init__(self, contract: Contract, period: Period) -> None:
        super().__init__(
            f"{period.first_date:%-d %b %Y} to {period.last_date:%-d %b %Y} is not the open period of {contract}."
        )


def _currency(plan_version: PlanVersion, currency: str) -> str:
    """The currency to bill in: the one that was chosen, or the only one there is. Nothing is ever converted."""
    offered: list[str] = plan_version.currencies
    if currency in offered:
        return currency
    if not currency and len(offered) == 1:
        return offered[0]
    raise InvalidInput(f"{plan_version} is sold in {' and '.join(offered)}. Choose one of them.", field="currency")


def _lock(contract_id: int) -> Contract:
    return (
        Contract.objects.select_for_update(of=("self",)).select_related("customer__billing_entity").get(pk=contract_id)
    )


def _write_terms(
    contract: Contract,
    *,
    name: str,
    plan_version: PlanVersion,
    start_date: dt.date,
    end_date: dt.date | None,
    currency: str,
    billing_anchor_day: int,
    timezone: str,
    payment_terms_days: int | None,
    grace_period_hours: int | None,
    purchase_order: str,
) -> None:
    if plan_version.status != PlanStatus.PUBLISHED:
        mend = "Publish it first." if plan_version.is_draft else "It is off sale; choose one that is published."
        raise InvalidInput(
            f"{plan_version} is {plan_version.get_status_display().lower()}. {mend}", field="plan_version"
        )
    check_day(start_date, field="start_date")
    if end_date is not None:
        check_day(end_date, field="end_date")
        if end_date <= start_date:
            raise InvalidInput("The last day cannot lie before the first day.", field="end_date")
    contract.name = name
    contract.currency = _currency(plan_version, currency)
    contract.billing_months = plan_version.billing_months
    contract.start_date, contract.end_date = start_date, end_date
    contract.billing_anchor_day = billing_anchor_day
    contract.timezone = timezone
    contract.payment_terms_days = payment_terms_days
    contract.grace_period_hours = grace_period_hours
    contract.purchase_order = purchase_order
    contract.full_clean()
    contract.save()
