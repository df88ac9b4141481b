"""The catalogue for sales ops: products, plans with their versions, and prices."""

from __future__ import annotations

from apps.products.admin import burn_table, changes, version_prices
from apps.products.admin.plans import PlanAdmin, PlanVersionAdmin
from apps.products.admin.prices import PriceVersionAdmin
from apps.products.admin.products import PricingUnitAdmin, ProductAdmin

__all__ = [
    "PlanAdmin",
    "PlanVersionAdmin",
    "PriceVersionAdmin",
    "PricingUnitAdmin",
    "ProductAdmin",
    "burn_table",
    "changes",
    "version_prices",
]
