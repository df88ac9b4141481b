"""Price lint: each rule finds what it is for, and nothing in a price that is as it should be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from apps.billable_metrics.definitions import FilterOperator, PropertyFilter
from apps.billable_metrics.models import BillableMetric
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.lint import lint_price
from apps.products.lint_plans import lint_plan_version
from apps.products.models import ChargeModelName, Price, Product
from apps.products.services import ChargedFor, add_price, create_plan, publish_plan_version
from apps.products.terms import PriceTerms
from tests.builders import SET_UP_AT
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db

MODEL = ChargeModelName
D = Decimal


def tiers(*rows: tuple[str | None, str] | tuple[str | None, str, str]) -> tuple[Tier, ...]:
    """Tiers of an end, a unit price and, where given, a flat fee."""
    return tuple(Tier(None if end is None else D(end), *(D(amount) for amount in amounts)) for end, *amounts in rows)


def rows(*values: str | None) -> tuple[MatrixRow, ...]:
    return tuple(MatrixRow((value,), D(1)) for value in values)


def found(terms: PriceTerms, metric: BillableMetric | None = None) -> list[tuple[str, str]]:
    """The rule and the field of each finding."""
    findings = lint_price(terms, metric=metric, currency="USD", pricing_unit=None)
    assert all(finding.sentence.endswith(".") and finding.reason for finding in findings)
    return [(finding.rule, finding.field) for finding in findings]


def graduated(*stated: Any, **columns: Any) -> PriceTerms:
    return PriceTerms(MODEL.GRADUATED, tiers=tiers(*stated), **columns)


RISE, ALIKE, CLOSED = ("rates_rise", "tiers"), ("tiers_alike", "tiers"), ("closed_last_tier", "tiers")
UNLIMITED_TIERS = ("unlimited_without_cap", "tiers")


@pytest.mark.parametrize(
    ("terms", "findings"),
    [
        # Rates that rise
        (graduated(("10", "3"), (None, "2")), []),
        (graduated(("10", "2"), (None, "3")), [RISE]),
        (graduated(("10", "0"), (None, "3")), []),  # a free first tier is an allowance
        (graduated(("10", "1"), ("20", "0"), (None, "3")), [RISE]),
        (PriceTerms(MODEL.VOLUME, tiers=tiers(("10", "0"), (None, "3"))), [RISE]),  # all units become dearer
        (PriceTerms(MODEL.GRADUATED_PERCENTAGE, tiers=tiers(("10", "2"), (None, "3"))), [RISE]),
        (
            PriceTerms(MODEL.GRADUATED, tiers=(Tier(D(10), D(5), package_size=D(10)), Tier(None, D("0.6")))),
            [RISE],  # 0.50 each in packages, then 0.60
        ),
        (
            PriceTerms(MODEL.STAIRSTEP, tiers=tiers(("10", "0", "10"), ("20", "0", "30"))),
            [RISE, CLOSED],  # 1.00 each, then 1.50 each
        ),
        (PriceTerms(MODEL.STAIRSTEP, tiers=tiers(("10", "0", "10"), ("20", "0", "20"))), [CLOSED]),
        # Tiers alike
        (graduated(("10", "3"), (None, "3")), [ALIKE]),
        (graduated(("10", "3"), (None, "3", "5")), []),
        (PriceTerms(MODEL.VOLUME, tiers=tiers(("10", "3", "5"), (None, "3", "5"))), [ALIKE]),
        (PriceTerms(MODEL.VOLUME, tiers=tiers(("10", "3", "5"), (None, "3"))), []),
        # No end, no price
        (graduated(("10", "3"), ("20", "2")), [CLOSED]),
        (graduated(("10", "3"), (None, "0")), [UNLIMITED_TIERS]),
        (PriceTerms(MODEL.STAIRSTEP, tiers=tiers(("10", "0", "10"), (None, "0", "15"))), [UNLIMITED_TIERS]),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D(0)), [("unlimited_without_cap", "unit_amount")]),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D("0.000001")), []),
        (PriceTerms(MODEL.FLAT, flat_amount=D(0)), []),
        (PriceTerms(MODEL.PERCENTAGE, rate_percent=D(0), fixed_amount=D(1)), []),
        # Out of reach
        (
            PriceTerms(MODEL.PER_UNIT, unit_amount=D(1), included_units=D(10) ** 16),
            [("allowance_out_of_reach", "included_units")],
        ),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D(1), included_units=D(10) ** 15), []),
        (graduated((str(10**16), "3"), (None, "2")), [("allowance_out_of_reach", "tiers")]),
        # Minimum
        (
            PriceTerms(MODEL.PER_UNIT, unit_amount=D(1), included_units=D(5), minimum=D(50)),
            [("minimum_beside_allowance", "minimum")],
        ),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D(1), minimum=D(50)), []),
        # Matrices
        (PriceTerms(MODEL.MATRIX, dimensions=("model",), rows=rows("a", None)), []),
        (PriceTerms(MODEL.MATRIX, dimensions=("model",), rows=rows("a", "b")), [("no_default_row", "rows")]),
        (
            PriceTerms(MODEL.MATRIX, dimensions=("a", "b", "c", "d"), rows=(MatrixRow((None,) * 4, D(1)),)),
            [("too_many_dimensions", "dimensions")],
        ),
        (
            PriceTerms(MODEL.MATRIX, dimensions=("a", "b", "c"), rows=(MatrixRow((None,) * 3, D(0)),)),
            [("unlimited_without_cap", "rows")],
        ),
    ],
)
def test_a_rule_finds_what_it_is_for_and_nothing_else(terms: PriceTerms, findings: list[tuple[str, str]]) -> None:
    assert found(terms) == findings


def test_a_finding_names_the_tiers_and_their_prices() -> None:
    terms = graduated(("10", "2"), (None, "3"), per_units=D(1000))
    [finding] = lint_price(terms, metric=None, currency="EUR", pricing_unit=None)
    assert finding.sentence == (
        "Tier 2 has a price of €3.00 per 1,000, and tier 1 before it a price of €2.00 per 1,000."
    )


@pytest.mark.parametrize(("plural", "is_found"), [("units", True), ("Units ", True), ("tokens", False)])
def test_a_metric_needs_a_word_for_its_unit(plural: str, is_found: bool) -> None:
    metric = BillableMetricFactory(unit_plural=plural)
    assert (("metric_without_unit", "metric") in found(graduated((None, "1")), metric)) is is_found


@pytest.mark.parametrize(
    ("operator", "values", "value", "is_found"),
    [
        (FilterOperator.EQ, ("a",), "b", True),
        (FilterOperator.EQ, ("a",), "a", False),
        (FilterOperator.IN, ("a", "b"), "c", True),
        (FilterOperator.IN, ("a", "b"), "b", False),
        (FilterOperator.NE, ("a",), "a", True),
        (FilterOperator.NOT_IN, ("a", "b"), "b", True),
        (FilterOperator.NOT_IN, ("a", "b"), "c", False),
        (FilterOperator.NOT_EXISTS, (), "a", True),
    ],
)
def test_a_row_that_the_metric_leaves_out_is_never_used(
    operator: FilterOperator, values: tuple[str, ...], value: str, is_found: bool
) -> None:
    metric = BillableMetricFactory(group_by=("model",), filters=(PropertyFilter("model", operator, values),))
    terms = PriceTerms(MODEL.MATRIX, dimensions=("model",), rows=rows(value, None))
    assert (("row_never_used", "rows") in found(terms, metric)) is is_found


# --- Plans -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def product() -> Product:
    made: Product = ProductFactory()
    return made


@pytest.fixture
def metric() -> BillableMetric:
    made: BillableMetric = BillableMetricFactory()
    return made


def sell(code: str, fee: str, usage: PriceTerms, product: Product, metric: BillableMetric) -> Price:
    """Publish a plan with a fee and a price for usage; that price."""
    version = create_plan(code=code, name=code.title(), currencies=["USD"])
    for charged, terms in (
        (ChargedFor(product=product, name="Fee"), PriceTerms(MODEL.FLAT, flat_amount=D(fee))),
        (ChargedFor(product=product, name="Tokens", metric=metric), usage),
    ):
        stored = add_price(plan_version=version, charged=charged, terms=terms, now=SET_UP_AT)
    publish_plan_version(plan_version_id=version.pk, now=SET_UP_AT)
    return stored.price


def allowance(included: str, overage: str) -> PriceTerms:
    return PriceTerms(MODEL.PER_UNIT, unit_amount=D(overage), included_units=D(included))


@pytest.mark.parametrize(
    ("overage", "is_found"),
    [
        ("0.0888", False),  # 20 + 900 × 0.0888 = 99.92
        ("0.0889", True),  # 20 + 900 × 0.0889 = 100.01
    ],
)
def test_overage_is_dearer_than_the_next_plan(
    overage: str, is_found: bool, product: Product, metric: BillableMetric
) -> None:
    sell("scale", "100", allowance("1000", "0.05"), product, metric)
    starter = sell("starter", "20", allowance("100", overage), product, metric).plan_version
    findings = lint_plan_version(starter, starter.prices.all())
    assert [finding.rule for finding in findings] == (["overage_dearer_than_next_plan"] if is_found else [])


def test_the_dearer_plan_has_no_finding_of_its_own(product: Product, metric: BillableMetric) -> None:
    scale = sell("scale", "100", allowance("1000", "0.05"), product, metric).plan_version
    sell("starter", "20", allowance("100", "9"), product, metric)
    assert lint_plan_version(scale, scale.prices.all()) == []


def test_a_plan_in_another_currency_is_not_compared(product: Product, metric: BillableMetric) -> None:
    starter = sell("starter", "20", allowance("100", "9"), product, metric).plan_version
    version = PlanVersionFactory(currencies=["EUR"])
    add_price(
        plan_version=version,
        charged=ChargedFor(product=product, name="Tokens", metric=metric),
        terms=allowance("1000", "1"),
        now=SET_UP_AT,
    )
    assert lint_plan_version(starter, starter.prices.all()) == []


def test_a_fee_with_usage_at_nothing_is_unlimited(product: Product, metric: BillableMetric) -> None:
    version = sell("all", "20", PriceTerms(MODEL.PER_UNIT, unit_amount=D(0)), product, metric).plan_version
    [finding] = lint_plan_version(version, version.prices.all())
    assert finding.sentence == "All gives usage without end for $20.00."
