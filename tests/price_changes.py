"""A plan that is sold in two currencies, and changes of its price."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from apps.billable_metrics.models import BillableMetric
from apps.products.models import ChargeModelName, PlanVersion, Price, PriceVersion
from apps.products.services import (
    ChargedFor,
    add_currency,
    add_price,
    create_plan,
    publish_plan_version,
    schedule_price_version,
)
from apps.products.terms import PriceTerms
from tests.builders import SET_UP_AT
from tests.conftest import utc
from tests.factories import ProductFactory

CHANGED_AT = utc(2023, 11, 20)


def per_call(amount: str) -> PriceTerms:
    return PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(amount))


def plan_in_two_currencies(metric: BillableMetric, *, code: str = "duo") -> PlanVersion:
    """A published plan with one price, 0.10 for a unit in USD and 0.09 in EUR."""
    version = create_plan(code=code, name=code.title(), currencies=["USD", "EUR"])
    price = add_price(
        plan_version=version,
        charged=ChargedFor(product=ProductFactory(code=f"{code}-product"), metric=metric, name="Calls"),
        terms=per_call("0.10"),
        currency="USD",
        now=SET_UP_AT,
    ).price
    add_currency(price=price, currency="EUR", terms=per_call("0.09"), now=SET_UP_AT)
    return publish_plan_version(plan_version_id=version.pk, now=SET_UP_AT)


def change_price(
    plan_version: PlanVersion,
    amount: str,
    *,
    from_day: dt.date,
    currency: str = "",
    now: dt.datetime = CHANGED_AT,
    note: str = "",
) -> PriceVersion:
    """Schedule another amount for the plan's only price."""
    return schedule_price_version(
        price=Price.objects.select_related("metric", "product").get(plan_version=plan_version),
        effective_from=from_day,
        currency=currency,
        terms=per_call(amount),
        now=now,
        note=note,
    )
