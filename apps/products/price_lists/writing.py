"""From a price list to what a file says: texts, lists and mappings in a fixed order. What goes without saying is left
out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from apps.billable_metrics.definitions import MetricDefinition, OutcomePolicy, TimeUnit, ValuesAre
from apps.pricing.charge_models.base import Tier
from apps.pricing.formatting import plain_decimal
from apps.products.models import BillingTiming, ChargeModelName, FailurePolicy, Recurrence
from apps.products.price_lists.building import ALL_FAILURES, BILLING, FLAGS, FORMAT_VERSION
from apps.products.price_lists.document import (
    ListedAmounts,
    ListedMetric,
    ListedPlan,
    ListedPrice,
    ListedPricingUnit,
    ListedProduct,
    PriceList,
)
from apps.products.terms import PriceTerms

Entry = dict[str, Any]
BILLING_WORDS = {int(interval): word for word, interval in BILLING.items()}

# In the order in which people read a price; the first three lists of columns are what most prices need.
TERM_NAMES = (
    "flat_amount",
    "unit_amount",
    "per_units",
    "package_size",
    "rate_percent",
    "fixed_amount",
    "free_transactions",
    "transaction_minimum",
    "transaction_maximum",
    "multiplier",
    "included_units",
    "prorates_included",
    "minimum",
    "maximum",
    "flat_fee_at_zero_usage",
    "divide_by",
    "quantity_rounding",
    "free_failures",
    "prorates_added",
    "prorates_removed",
    "pricing_unit_rate",
)


def price_list_entries(document: PriceList) -> Entry:
    about = {
        "price_list": FORMAT_VERSION,
        "vendor": document.vendor,
        "source": document.source,
        "as_of": document.as_of.isoformat() if document.as_of else "",
        "note": document.note,
    }
    lists = {
        "pricing_units": [_pricing_unit_entries(unit) for unit in document.pricing_units],
        "products": [_product_entries(product) for product in document.products],
        "metrics": [_metric_entries(metric) for metric in document.metrics],
        "plans": [plan_entries(plan) for plan in document.plans],
    }
    return _stated(about) | _stated(lists)


def plan_entries(plan: ListedPlan) -> Entry:
    entries: Entry = {
        "code": plan.code,
        "name": plan.name,
        "description": plan.description,
        "billing": None if plan.billing_months is None else BILLING_WORDS[plan.billing_months],
        "currencies": list(plan.currencies) or None,
        "prices": [price_entries(price) for price in plan.prices],
    }
    return {name: value for name, value in entries.items() if value is not None}


def price_entries(price: ListedPrice) -> Entry:
    model = price.amounts[0].terms.charge_model
    entries: Entry = {
        "line": price.line,
        "product": price.product,
        "metric": price.metric,
        "model": model.value,
        "pricing_unit": price.pricing_unit,
        "recurrence": None if price.recurrence == Recurrence.RECURRING else price.recurrence.value,
        "timing": None if price.timing == BillingTiming.ARREARS else price.timing.value,
        "amounts": [amounts_entries(amounts, model) for amounts in price.amounts],
    }
    return {name: value for name, value in entries.items() if value is not None}


def amounts_entries(amounts: ListedAmounts, price_model: ChargeModelName) -> Entry:
    terms = amounts.terms
    entries: Entry = {"currency": amounts.currency}
    if amounts.effective_from is not None:
        entries["effective_from"] = amounts.effective_from.isoformat()
    if terms.charge_model != price_model:
        entries["model"] = terms.charge_model.value
    entries |= term_entries(terms)
    if terms.dimensions:
        entries["dimensions"] = list(terms.dimensions)
    if terms.tiers:
        entries["tiers"] = [tier_entries(tier, terms.charge_model) for tier in terms.tiers]
    if terms.rows:
        entries["rows"] = [
            {
                "match": {
                    name: value for name, value in zip(terms.dimensions, row.values, strict=True) if value is not None
                },
                "unit_amount": row.unit_amount,
            }
            for row in terms.rows
        ]
    return entries


def term_entries(terms: PriceTerms) -> Entry:
    """The terms but tiers and rows, in their order: Decimals, flags and words."""
    entries: Entry = {}
    for name in TERM_NAMES:
        value = getattr(terms, name)
        if name == "free_failures" and terms.failures == FailurePolicy.FREE:
            value = ALL_FAILURES
        elif name == "free_transactions" and value is not None:
            value = Decimal(value)
        elif name == "quantity_rounding" and value is not None:
            value = value.value or "none"
        if value is not None and value != FLAGS.get(name):
            entries[name] = value
    # A price of single units goes without saying.
    if entries.get("per_units") == 1:
        del entries["per_units"]
    return entries


def tier_entries(tier: Tier, model: ChargeModelName) -> Entry:
    amount_name = "rate_percent" if model == ChargeModelName.GRADUATED_PERCENTAGE else "unit_amount"
    entries: Entry = {"up_to": tier.up_to}
    if tier.unit_amount or not tier.flat_amount:
        entries[amount_name] = tier.unit_amount
    if tier.flat_amount:
        entries["flat_amount"] = tier.flat_amount
    if tier.package_size is not None:
        entries["package_size"] = tier.package_size
    return entries


def _pricing_unit_entries(unit: ListedPricingUnit) -> Entry:
    return {"code": unit.code, "singular": unit.singular, "plural": unit.plural}


def _product_entries(product: ListedProduct) -> Entry:
    return _stated({"code": product.code, "name": product.name, "description": product.description})


def _metric_entries(metric: ListedMetric) -> Entry:
    entries: Entry = {"code": metric.code, "name": metric.name, **definition_entries(metric.definition)}
    return entries | {"unit_singular": metric.unit_singular, "unit_plural": metric.unit_plural}


def definition_entries(definition: MetricDefinition) -> Entry:
    by_default = {"outcome_policy": OutcomePolicy.ALL, "values_are": ValuesAre.CHANGES, "time_unit": TimeUnit.HOUR}
    entries: Entry = {
        "event_type": definition.event_type,
        "aggregation": definition.aggregation.value,
        "value_property": definition.value_property,
        "value_expression": definition.value_expression,
        "filters": [condition.as_json() for condition in definition.filters],
        "group_by": list(definition.group_by),
        "outcome_property": definition.outcome_property,
        "outcome_policy": definition.outcome_policy.value,
        "outcome_values": list(definition.outcome_values),
        "carries_over": definition.carries_over,
        "values_are": definition.values_are.value,
        "time_unit": definition.time_unit.value,
        "percentile_rank": definition.percentile_rank,
    }
    return {
        name: value
        for name, value in entries.items()
        if value not in ("", [], False, None) and by_default.get(name) != value
    }


def _stated(entries: Entry) -> Entry:
    return {name: value for name, value in entries.items() if value not in ("", [], None)}


def scalar_text(value: Any) -> str:
    """A scalar as a cell: numbers in full, flags as words."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain_decimal(value) if isinstance(value, Decimal) else str(value)
