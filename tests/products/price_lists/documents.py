"""Random price lists: every model, with what a model takes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from apps.billable_metrics.definitions import Aggregation, FilterOperator, MetricDefinition, PropertyFilter
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import (
    MODEL_COLUMNS,
    TIERED_MODELS,
    BillingTiming,
    ChargeModelName,
    FailurePolicy,
    QuantityRounding,
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
from apps.products.terms import PriceTerms

CURRENCIES = ["USD", "EUR", "JPY", "KWD"]
# What spreadsheets, YAML and CSV each like to damage stands beside anything else.
AWKWARD = [
    "=1+1", "-5", "+49", "@sum", "'quoted", "''", '"json"', "null", "~", "true", "NO", "yes", "1e3", "0x10", "007",
    "2026-01-01", "a, b", "a: b", "#x", " padded ", "line\nbreak", "tab\tbed", "_x000D_", "x005F_", "ünïcode ✓",
    "[1]", "{a: 1}", "!tag", "&anchor", "*alias", "\u00a0", "\ufeffbom", "%", "|", ">", "a;b", "\x85", "\u2028",
]  # fmt: skip
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
texts = st.one_of(st.sampled_from(AWKWARD), st.text(characters, min_size=1, max_size=12))
codes = st.one_of(st.from_regex(r"[a-z0-9][a-z0-9_.:-]{0,10}", fullmatch=True), st.sampled_from(AWKWARD))
names = st.one_of(st.sampled_from(["model", "direction", "a, b", '"q"', "=x", "match: y"]), texts)
amounts = st.decimals(min_value=0, max_value=10**11, places=12, allow_nan=False, allow_infinity=False)
positive = st.integers(1, 10**17).map(Decimal)
days = st.one_of(st.none(), st.dates(dt.date(2020, 1, 1), dt.date(2030, 1, 1)))


@st.composite
def terms(draw: Any, model: ChargeModelName | None = None) -> PriceTerms:
    model = model or draw(st.sampled_from(list(ChargeModelName)))
    columns = MODEL_COLUMNS[model]
    skipped = {"free_failures", "free_transactions", "divide_by", "quantity_rounding"}
    stated: dict[str, Any] = {
        name: draw(positive if name in {"per_units", "package_size"} else amounts)
        for name in sorted(columns.required | columns.optional - skipped)
        if name in columns.required or draw(st.booleans())
    }
    if "divide_by" in columns.optional and draw(st.booleans()):
        stated |= {"divide_by": draw(positive), "quantity_rounding": draw(st.sampled_from(list(QuantityRounding)))}
    if "free_transactions" in columns.optional:
        stated["free_transactions"] = draw(st.one_of(st.none(), st.integers(0, 10**6)))
    if "free_failures" in columns.optional:
        stated["failures"] = draw(st.sampled_from(list(FailurePolicy)))
        if stated["failures"] == FailurePolicy.FREE_UP_TO:
            stated["free_failures"] = draw(amounts)
    for name in ("prorates_included", "prorates_added", "prorates_removed", "flat_fee_at_zero_usage"):
        stated[name] = draw(st.booleans())
    if draw(st.booleans()):
        stated["pricing_unit_rate"] = draw(amounts)
    if model in TIERED_MODELS:
        stated["tiers"] = draw(tiers(is_percentage=model == ChargeModelName.GRADUATED_PERCENTAGE))
    if model == ChargeModelName.MATRIX:
        stated["dimensions"] = tuple(
            draw(st.lists(names.map(str.strip).filter(bool), min_size=1, max_size=3, unique=True))
        )
        values = st.tuples(*(st.one_of(st.none(), texts, st.just("")) for _ in stated["dimensions"]))
        stated["rows"] = tuple(
            MatrixRow(row, draw(amounts)) for row in draw(st.lists(values, min_size=1, max_size=5, unique=True))
        )
    return PriceTerms(model, **stated)


@st.composite
def tiers(draw: Any, *, is_percentage: bool) -> tuple[Tier, ...]:
    bounds = sorted(draw(st.lists(positive, max_size=4, unique=True)))
    return tuple(
        Tier(
            up_to=bound,
            unit_amount=draw(amounts),
            flat_amount=draw(amounts),
            package_size=None if is_percentage else draw(st.one_of(st.none(), positive)),
        )
        for bound in [*bounds, None]
    )


@st.composite
def prices(draw: Any) -> ListedPrice:
    stated_for = draw(st.lists(st.tuples(st.sampled_from(CURRENCIES), days), min_size=1, max_size=3, unique=True))
    is_fee = draw(st.booleans())
    return ListedPrice(
        line=draw(texts),
        product=draw(codes),
        metric=None if is_fee else draw(codes),
        pricing_unit=draw(st.one_of(st.none(), codes)),
        recurrence=draw(st.sampled_from(list(Recurrence))) if is_fee else Recurrence.RECURRING,
        timing=draw(st.sampled_from(list(BillingTiming))) if is_fee else BillingTiming.ARREARS,
        amounts=tuple(ListedAmounts(currency, draw(terms()), day) for currency, day in stated_for),
    )


@st.composite
def plans(draw: Any) -> ListedPlan:
    listed = tuple(draw(st.lists(prices(), max_size=3, unique_by=lambda price: price.line)))
    used = tuple(dict.fromkeys(amounts.currency for price in listed for amounts in price.amounts))
    stated = draw(st.lists(st.sampled_from(CURRENCIES), min_size=1, unique=True).map(tuple))
    return ListedPlan(
        code=draw(codes),
        name=draw(st.one_of(st.none(), texts, st.just(""))),
        description=draw(st.one_of(st.none(), texts, st.just(""))),
        billing_months=draw(st.sampled_from([None, 1, 3, 12])),
        currencies=draw(st.sampled_from([used, stated])) if used else stated,
        prices=listed,
    )


def definitions() -> st.SearchStrategy[MetricDefinition]:
    filters = st.lists(
        st.builds(
            PropertyFilter, texts, st.just(FilterOperator.IN), st.lists(texts, min_size=1, max_size=3).map(tuple)
        ),
        max_size=2,
    ).map(tuple)
    named = st.sampled_from(["tokens", "input_tokens", "a b"])
    return st.one_of(
        st.builds(MetricDefinition, event_type=named, aggregation=st.just(Aggregation.COUNT), filters=filters),
        st.builds(
            MetricDefinition,
            event_type=named,
            aggregation=st.just(Aggregation.SUM),
            value_property=named,
            group_by=st.lists(named, max_size=3, unique=True).map(tuple),
            outcome_property=named,
            outcome_values=st.lists(texts, min_size=1, max_size=2).map(tuple),
            carries_over=st.booleans(),
        ),
        st.builds(
            MetricDefinition,
            event_type=named,
            aggregation=st.just(Aggregation.PERCENTILE),
            value_expression=st.just("input * 2"),
            percentile_rank=st.sampled_from([Decimal("95"), Decimal("99.9")]),
        ),
    ).filter(_is_sound)


def _is_sound(definition: MetricDefinition) -> bool:
    try:
        definition.check()
    except Exception:
        return False
    return True


def price_lists() -> st.SearchStrategy[PriceList]:
    def by_code(one: Any) -> str:
        return str(one.code)

    units = st.lists(st.builds(ListedPricingUnit, codes, texts, texts), max_size=2, unique_by=by_code)
    products = st.lists(st.builds(ListedProduct, codes, texts, texts), max_size=2, unique_by=by_code)
    metrics = st.lists(
        st.builds(ListedMetric, codes, texts, definitions(), texts, texts), max_size=2, unique_by=by_code
    )
    return st.builds(
        PriceList,
        plans=st.lists(plans(), min_size=1, max_size=3, unique_by=by_code).map(tuple),
        vendor=texts,
        source=texts,
        as_of=days,
        note=texts,
        pricing_units=units.map(tuple),
        products=products.map(tuple),
        metrics=metrics.map(tuple),
    )
