"""A price list as a value: what a file states about one or several plans.

Nothing here knows a file format or a stored row. A part that is None was not stated, and stays as it is stored.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from apps.billable_metrics.definitions import MetricDefinition
from apps.products.models import BillingTiming, Recurrence
from apps.products.terms import PriceTerms


@dataclass(frozen=True, slots=True)
class ListedPricingUnit:
    code: str
    singular: str
    plural: str


@dataclass(frozen=True, slots=True)
class ListedProduct:
    code: str
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class ListedMetric:
    code: str
    name: str
    definition: MetricDefinition
    unit_singular: str = "unit"
    unit_plural: str = "units"


@dataclass(frozen=True, slots=True)
class ListedAmounts:
    """The terms of a price in one currency, from a day on; None is from the very beginning."""

    currency: str
    terms: PriceTerms
    effective_from: dt.date | None = None


@dataclass(frozen=True, slots=True)
class ListedPrice:
    """One line of a plan. Product, metric and pricing unit are named by their codes."""

    line: str
    product: str
    amounts: tuple[ListedAmounts, ...]
    metric: str | None = None
    pricing_unit: str | None = None
    recurrence: Recurrence = Recurrence.RECURRING
    timing: BillingTiming = BillingTiming.ARREARS

    def in_force(self, currency: str, on: dt.date) -> ListedAmounts | None:
        """The amounts that hold on a day: the latest that have begun, or the first where none has."""
        stated = sorted(
            (amounts for amounts in self.amounts if amounts.currency == currency),
            key=lambda amounts: amounts.effective_from or dt.date.min,
        )
        begun = [amounts for amounts in stated if amounts.effective_from is None or amounts.effective_from <= on]
        return begun[-1] if begun else next(iter(stated), None)


@dataclass(frozen=True, slots=True)
class ListedPlan:
    code: str
    currencies: tuple[str, ...]
    prices: tuple[ListedPrice, ...]
    name: str | None = None
    description: str | None = None
    billing_months: int | None = None


@dataclass(frozen=True, slots=True)
class PriceList:
    """Plans, and the products, metrics and pricing units that they need where the file defines them.

    ``vendor``, ``source``, ``as_of`` and ``note`` say whose prices these are and where the figures are from.
    """

    plans: tuple[ListedPlan, ...]
    vendor: str = ""
    source: str = ""
    as_of: dt.date | None = None
    note: str = ""
    pricing_units: tuple[ListedPricingUnit, ...] = ()
    products: tuple[ListedProduct, ...] = ()
    metrics: tuple[ListedMetric, ...] = ()

    @property
    def plans_only(self) -> PriceList:
        """What a table holds: the plans, without where they are from and without definitions."""
        return PriceList(plans=self.plans)

    def with_plans(self, *plans: ListedPlan) -> PriceList:
        return replace(self, plans=plans)
