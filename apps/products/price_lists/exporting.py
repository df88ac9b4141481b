"""Plan versions of the catalogue as a price list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import TypeVar

from apps.billable_metrics.models import BillableMetric
from apps.products.models import (
    BillingTiming,
    PlanVersion,
    Price,
    PriceVersion,
    PricingUnit,
    Product,
    Recurrence,
)
from apps.products.price_lists.document import (
    ListedAmounts,
    ListedMetric,
    ListedPlan,
    ListedPrice,
    ListedPricingUnit,
    ListedProduct,
    PriceList,
)
from apps.products.selectors import prices_by_plan_version
from apps.products.terms import terms_of

_Row = TypeVar("_Row", BillableMetric, PricingUnit, Product)


def price_list_of(versions: Sequence[PlanVersion], *, as_of: dt.date) -> PriceList:
    """The plans of these versions with all dated amounts, and the definitions of what they refer to."""
    by_version = prices_by_plan_version([version.pk for version in versions])
    prices = [price for version in versions for price in by_version.get(version.pk, [])]
    return PriceList(
        as_of=as_of,
        note="Exported from " + "; ".join(f"{version}, {version.get_status_display().lower()}" for version in versions),
        pricing_units=tuple(
            ListedPricingUnit(unit.code, unit.singular, unit.plural)
            for unit in _each_once(price.pricing_unit for price in prices)
        ),
        products=tuple(
            ListedProduct(product.code, product.name, product.description)
            for product in _each_once(price.product for price in prices)
        ),
        metrics=tuple(
            ListedMetric(
                metric.code, metric.name, metric.current_version.definition, metric.unit_singular, metric.unit_plural
            )
            for metric in _each_once(price.metric for price in prices)
        ),
        plans=tuple(_listed_plan(version, by_version.get(version.pk, [])) for version in versions),
    )


def _listed_plan(version: PlanVersion, prices: Sequence[Price]) -> ListedPlan:
    plan = version.plan
    return ListedPlan(
        code=plan.code,
        name=plan.name,
        description=plan.description,
        billing_months=version.billing_months,
        currencies=tuple(version.currencies),
        prices=tuple(_listed_price(price, version.currencies) for price in prices),
    )


def _listed_price(price: Price, currencies: Sequence[str]) -> ListedPrice:
    return ListedPrice(
        line=price.name,
        product=price.product.code,
        metric=price.metric.code if price.metric else None,
        pricing_unit=price.pricing_unit.code if price.pricing_unit else None,
        recurrence=Recurrence(price.recurrence),
        timing=BillingTiming(price.timing),
        amounts=tuple(
            ListedAmounts(version.currency, terms_of(version), version.effective_from)
            for currency in currencies
            for version in standing_versions(price.versions.all(), currency)
        ),
    )


def standing_versions(versions: Iterable[PriceVersion], currency: str) -> list[PriceVersion]:
    """The versions that count in a currency, by their day: of several for one day the latest recorded."""
    latest: dict[dt.date, PriceVersion] = {}
    for version in sorted(versions, key=lambda version: (version.recorded_at, version.pk)):
        if version.currency == currency:
            latest[version.effective_from or dt.date.min] = version
    return [latest[day] for day in sorted(latest)]


def _each_once(found: Iterable[_Row | None]) -> list[_Row]:
    """Each stored row once, by its code."""
    by_code = {row.code: row for row in found if row is not None}
    return [by_code[code] for code in sorted(by_code)]
