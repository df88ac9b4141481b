"""Set-ups for tests of whole flows, made by the product's own services."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import count

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, create_contract
from apps.customers.models import BillingEntity, Customer
from apps.pricing.charge_models.base import Tier
from apps.products.models import BillingTiming, ChargeModelName, PlanVersion, PricingUnit, Recurrence
from apps.products.services import ChargedFor, add_price, create_plan, publish_plan_version
from apps.products.terms import PriceTerms
from apps.usage.services import EventInput, record_events
from tests.conftest import utc
from tests.factories import BillingEntityFactory, CustomerFactory, ProductFactory

SET_UP_AT = utc(2023, 10, 1)
_event_numbers = count(1)


@dataclass(frozen=True)
class PlannedPrice:
    """A charge to put on a plan; without a metric it is a flat fee."""

    name: str
    terms: PriceTerms
    metric: BillableMetric | None = None
    pricing_unit: PricingUnit | None = None
    recurrence: Recurrence = Recurrence.RECURRING
    timing: BillingTiming = BillingTiming.ARREARS


def flat_fee(
    amount: str, name: str = "Platform fee", *, in_advance: bool = False, one_off: bool = False
) -> PlannedPrice:
    return PlannedPrice(
        name,
        PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount)),
        recurrence=Recurrence.ONE_OFF if one_off else Recurrence.RECURRING,
        timing=BillingTiming.ADVANCE if in_advance else BillingTiming.ARREARS,
    )


def per_unit(metric: BillableMetric, amount: str, *, per: int = 1, included: str = "0", name: str = "") -> PlannedPrice:
    terms = PriceTerms(
        ChargeModelName.PER_UNIT,
        unit_amount=Decimal(amount),
        per_units=Decimal(per),
        included_units=Decimal(included),
    )
    return PlannedPrice(name or metric.name, terms, metric)


def graduated(
    metric: BillableMetric, *tiers: tuple[str | None, str], per: int = 1, included: str = "0", name: str = ""
) -> PlannedPrice:
    terms = PriceTerms(
        ChargeModelName.GRADUATED,
        per_units=Decimal(per),
        included_units=Decimal(included),
        tiers=tuple(Tier(None if up_to is None else Decimal(up_to), Decimal(amount)) for up_to, amount in tiers),
    )
    return PlannedPrice(name or metric.name, terms, metric)


def published_plan(
    *prices: PlannedPrice, code: str = "plan", currency: str = "USD", billing_months: int = 1
) -> PlanVersion:
    """A published plan with the given prices on one product."""
    version = create_plan(code=code, name=code.title(), currencies=[currency], billing_months=billing_months)
    product = ProductFactory(code=f"{code}-product")
    for price in prices:
        add_price(
            plan_version=version,
            charged=ChargedFor(
                product=product,
                metric=price.metric,
                name=price.name,
                pricing_unit=price.pricing_unit,
                recurrence=price.recurrence,
                timing=price.timing,
            ),
            terms=price.terms,
            now=SET_UP_AT,
        )
    return publish_plan_version(plan_version_id=version.pk, now=SET_UP_AT)


def active_contract(
    plan_version: PlanVersion,
    *,
    customer: Customer | None = None,
    start: dt.date = dt.date(2023, 11, 1),
    end: dt.date | None = None,
    anchor_day: int = 1,
    name: str = "Standard",
) -> Contract:
    contract = create_contract(
        customer=customer or CustomerFactory(),
        name=name,
        plan_version=plan_version,
        start_date=start,
        end_date=end,
        billing_anchor_day=anchor_day,
    )
    return activate_contract(contract_id=contract.pk, now=SET_UP_AT)


def active_contracts(plan_version: PlanVersion, number: int) -> Sequence[Contract]:
    """Many contracts with one billing entity, one customer each."""
    seller: BillingEntity = BillingEntityFactory()
    return [active_contract(plan_version, customer=CustomerFactory(billing_entity=seller)) for _ in range(number)]


def record_usage(subject: Customer | str, metric: BillableMetric, *used: tuple[dt.datetime, str | int]) -> None:
    """Store one event for each instant and quantity, as the systems of a customer would send them."""
    name = subject if isinstance(subject, str) else subject.external_id
    measured = metric.current_version.value_property
    events = [
        EventInput(
            source="gateway",
            event_id=f"event-{next(_event_numbers)}",
            type=metric.current_version.event_type,
            subject=name,
            occurred_at=occurred_at,
            data={measured: Decimal(quantity)} if measured else {},
        )
        for occurred_at, quantity in used
    ]
    record_events(events=events, api_key_id=None)
