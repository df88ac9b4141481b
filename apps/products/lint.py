"""What is odd about a price, though it can be charged: a warning each, with its rule and the reason. None blocks.

``lint_plans`` looks at plans as a whole. Nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from apps.billable_metrics.definitions import FilterOperator, PropertyFilter
from apps.billable_metrics.models import BillableMetric
from apps.common.formatting import format_money
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.formatting import format_decimal, format_quantity
from apps.pricing.money import EXACT
from apps.products.models import (
    TIERED_MODELS,
    ChargeModelName,
    PricingUnit,
)
from apps.products.terms import PriceTerms

ZERO = Decimal(0)
ONE = Decimal(1)
MOST_DIMENSIONS = 3
BEYOND_REACH = Decimal(10) ** 15
PLACEHOLDER_UNITS = frozenset(["unit", "units"])


@dataclass(frozen=True, slots=True)
class Finding:
    """A warning: the ``rule`` that found it, the form's ``field`` it is about, what is odd, and why that matters."""

    rule: str
    field: str
    sentence: str
    reason: str


@dataclass(frozen=True, slots=True)
class _Price:
    """What the rules look at."""

    terms: PriceTerms
    metric: BillableMetric | None
    currency: str
    unit: PricingUnit | None

    @property
    def model(self) -> ChargeModelName:
        return self.terms.charge_model

    def money(self, amount: Decimal) -> str:
        if self.unit is not None:
            return f"{format_decimal(amount)} {self.unit.singular if amount == 1 else self.unit.plural}"
        return format_money(amount, self.currency)


def lint_price(
    terms: PriceTerms, *, metric: BillableMetric | None, currency: str, pricing_unit: PricingUnit | None
) -> list[Finding]:
    """What is odd about terms that can be charged."""
    price = _Price(terms, metric, currency, pricing_unit)
    return [finding for rule in PRICE_RULES for finding in rule(price)]


# --- Tiers -----------------------------------------------------------------------------------------------------------


def _rates_rise(price: _Price) -> Iterator[Finding]:
    if price.model not in TIERED_MODELS:
        return
    tiers = price.terms.tiers
    for number, (before, tier) in enumerate(pairwise(tiers), start=2):
        old, new = _rate(price, before), _rate(price, tier)
        # A first tier that is free is an allowance, except where going beyond it makes its units dearer as well.
        is_allowance = number == 2 and old == 0 and price.model != ChargeModelName.VOLUME
        if old is None or new is None or new <= old or is_allowance:
            continue
        yield Finding(
            "rates_rise",
            "tiers",
            f"Tier {number} has {_rate_words(price, new)}, and tier {number - 1} before it {_rate_words(price, old)}.",
            "The more a customer uses, the dearer a unit becomes. Were the two swapped, or a digit left out?",
        )


def _rate(price: _Price, tier: Tier) -> Decimal | None:
    """What a unit costs in a tier, so that tiers can be compared; None for the open end of a stairstep."""
    if price.model == ChargeModelName.STAIRSTEP:
        return None if tier.up_to is None else EXACT.divide(tier.flat_amount, tier.up_to)
    if price.model == ChargeModelName.GRADUATED_PERCENTAGE:
        return tier.unit_amount
    return EXACT.divide(tier.unit_amount, tier.package_size or price.terms.per_units or ONE)


def _rate_words(price: _Price, rate: Decimal) -> str:
    if price.model == ChargeModelName.GRADUATED_PERCENTAGE:
        return f"{format_decimal(rate)}%"
    per = price.terms.per_units or ONE
    words = f"a price of {price.money(EXACT.multiply(rate, per).quantize(Decimal('1e-12')).normalize())}"
    return words if per == 1 else f"{words} per {format_quantity(per)}"


def _tiers_alike(price: _Price) -> Iterator[Finding]:
    if price.model not in TIERED_MODELS:
        return
    tiers = price.terms.tiers
    is_whole = price.model in (ChargeModelName.VOLUME, ChargeModelName.STAIRSTEP)
    for number, (before, tier) in enumerate(pairwise(tiers), start=2):
        same_rate = (before.unit_amount, before.package_size) == (tier.unit_amount, tier.package_size)
        # Graduated tiers add up, so a fee of the later one sets it apart; elsewhere one tier counts alone.
        same_fee = before.flat_amount == tier.flat_amount if is_whole else not tier.flat_amount
        if same_rate and same_fee:
            yield Finding(
                "tiers_alike",
                "tiers",
                f"Tiers {number - 1} and {number} cost the same.",
                "Nobody can tell them apart on an invoice. Make one tier of them, or correct a price.",
            )


def _closed_last_tier(price: _Price) -> Iterator[Finding]:
    tiers = price.terms.tiers
    if price.model in TIERED_MODELS and tiers and tiers[-1].up_to is not None:
        yield Finding(
            "closed_last_tier",
            "tiers",
            f"The last tier ends at {format_quantity(tiers[-1].up_to)}, and larger usage has no price.",
            "An invoice with more usage cannot be made until it has one. Leave the end of the last tier empty.",
        )


# --- Matrices --------------------------------------------------------------------------------------------------------


def _too_many_dimensions(price: _Price) -> Iterator[Finding]:
    count = len(price.terms.dimensions)
    if count > MOST_DIMENSIONS:
        yield Finding(
            "too_many_dimensions",
            "dimensions",
            f"The price depends on {count} dimensions.",
            f"With more than {MOST_DIMENSIONS} nobody finds a price in the list, and combinations are forgotten. "
            "Make a price of its own for what differs most.",
        )


def _row_never_used(price: _Price) -> Iterator[Finding]:
    if price.metric is None:
        return
    conditions = price.metric.current_version.definition.conditions
    for number, row in enumerate(price.terms.rows, start=1):
        against = _condition_against(row, price.terms.dimensions, conditions)
        if against is not None:
            yield Finding(
                "row_never_used",
                "rows",
                f"Row {number} can never be used: “{price.metric}” counts only events where {against.describe()}.",
                "No usage reaches the row. Correct its value, or remove it.",
            )


def _condition_against(
    row: MatrixRow, dimensions: Sequence[str], conditions: Sequence[PropertyFilter]
) -> PropertyFilter | None:
    """A condition of the metric that no event with the values of the row meets."""
    named = {name: value for name, value in zip(dimensions, row.values, strict=True) if value is not None}
    for condition in conditions:
        value = named.get(condition.name)
        if value is None:
            continue
        if condition.operator in (FilterOperator.EQ, FilterOperator.IN) and value not in condition.values:
            return condition
        if condition.operator in (FilterOperator.NE, FilterOperator.NOT_IN) and value in condition.values:
            return condition
        if condition.operator == FilterOperator.NOT_EXISTS:
            return condition
    return None


def _no_default_row(price: _Price) -> Iterator[Finding]:
    rows = price.terms.rows
    if rows and all(row.named for row in rows):
        yield Finding(
            "no_default_row",
            "rows",
            "No row prices all other usage.",
            "Usage with a value that no row names, such as a new model, stops the invoice. Add a row with empty cells.",
        )


# --- Allowances and bounds -------------------------------------------------------------------------------------------


def _plain_unit(price: _Price) -> Iterator[Finding]:
    metric = price.metric
    if metric is None or metric.unit_plural.strip().lower() not in PLACEHOLDER_UNITS:
        return
    yield Finding(
        "metric_without_unit",
        "metric",
        f"“{metric}” counts plain units.",
        "The invoice will say “1,000 units”. Give the metric a word that customers use, such as token or image.",
    )


def _unlimited(price: _Price) -> Iterator[Finding]:
    if is_unlimited(price.terms):
        yield Finding(
            "unlimited_without_cap",
            "tiers" if price.model in TIERED_MODELS else "rows" if price.terms.rows else "unit_amount",
            "Usage without end costs nothing more.",
            "One customer can cause any cost for the same money. Give what lies beyond a fair amount a price.",
        )


def is_unlimited(terms: PriceTerms) -> bool:
    """Whether any amount of usage costs no more than some amount does."""
    model = terms.charge_model
    if model in TIERED_MODELS:
        return bool(terms.tiers) and terms.tiers[-1].up_to is None and not terms.tiers[-1].unit_amount
    if model == ChargeModelName.MATRIX:
        return bool(terms.rows) and not any(row.unit_amount for row in terms.rows)
    if model == ChargeModelName.PERCENTAGE:
        return not terms.rate_percent and not terms.fixed_amount and not terms.transaction_minimum
    if model == ChargeModelName.AMOUNT_IN_EVENT:
        return not terms.multiplier
    return model != ChargeModelName.FLAT and not terms.unit_amount


def _out_of_reach(price: _Price) -> Iterator[Finding]:
    included = price.terms.included_units
    if included is not None and included > BEYOND_REACH:
        yield Finding(
            "allowance_out_of_reach",
            "included_units",
            f"The allowance of {format_quantity(included)} is more than anybody can use.",
            "Nothing would ever be charged. Enter the number that the price page promises.",
        )
    for number, tier in enumerate(price.terms.tiers, start=1):
        if tier.up_to is not None and tier.up_to > BEYOND_REACH:
            yield Finding(
                "allowance_out_of_reach",
                "tiers",
                f"Tier {number} ends at {format_quantity(tier.up_to)}, which nobody can reach.",
                "The tiers after it are never used. Enter a smaller end, or leave the last one empty.",
            )


def _minimum_beside_allowance(price: _Price) -> Iterator[Finding]:
    minimum, included = price.terms.minimum, price.terms.included_units
    if minimum and included:
        yield Finding(
            "minimum_beside_allowance",
            "minimum",
            f"What is included is not free: the minimum of {price.money(minimum)} is charged in any case.",
            "Customers read “included” as free. Charge a flat fee for it, or leave out one of the two.",
        )


Rule = Callable[[_Price], Iterator[Finding]]
PRICE_RULES: tuple[Rule, ...] = (
    _rates_rise,
    _tiers_alike,
    _closed_last_tier,
    _too_many_dimensions,
    _row_never_used,
    _no_default_row,
    _plain_unit,
    _unlimited,
    _out_of_reach,
    _minimum_beside_allowance,
)
