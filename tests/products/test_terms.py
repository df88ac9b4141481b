"""Terms of prices: what each model takes and refuses, and the way through the database to a charge and back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.matrix import Matrix, MatrixRow
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge, PricingUnit
from apps.pricing.conversion import Conversion
from apps.products.models import ChargeModelName, FailurePolicy, PriceTier, PriceVersion, QuantityRounding
from apps.products.models import PricingUnit as StoredPricingUnit
from apps.products.services import ChargedFor, add_price
from apps.products.terms import PriceTerms, charge_of, charge_of_terms, check_terms, terms_of, tiers_of
from tests.conftest import utc
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory
from tests.pricing.strategies import tier_lists

D = Decimal
Model = ChargeModelName
ONE, LESS = D(1), D("-0.01")
OPEN_TIER = Tier(up_to=None, unit_amount=D("0.05"))
TIERS = (Tier(up_to=D(1000), unit_amount=D("0.10"), flat_amount=D("5.00")), OPEN_TIER)
PACKAGES = (Tier(D(1000), D(3), package_size=D(100)), Tier(D(5000), D(2)))
STEPS = (Tier(D(10), flat_amount=D(5)), Tier(None, flat_amount=D(9)))
RATES = (Tier(D(1000), D("2.9")), Tier(None, D("2.5"), flat_amount=D(1)))
ROWS = (MatrixRow(("large", "input"), D(10)), MatrixRow(("large", None), D(30)), MatrixRow((None, None), D("1.5")))

# The least that states each model, as a test changes it.
LEAST: dict[ChargeModelName, PriceTerms] = {
    Model.FLAT: PriceTerms(Model.FLAT, flat_amount=ONE),
    Model.PER_UNIT: PriceTerms(Model.PER_UNIT, unit_amount=ONE),
    Model.PACKAGE: PriceTerms(Model.PACKAGE, unit_amount=ONE, package_size=D(1000)),
    Model.GRADUATED: PriceTerms(Model.GRADUATED, tiers=(OPEN_TIER,)),
    Model.VOLUME: PriceTerms(Model.VOLUME, tiers=(OPEN_TIER,)),
    Model.STAIRSTEP: PriceTerms(Model.STAIRSTEP, tiers=STEPS),
    Model.PERCENTAGE: PriceTerms(Model.PERCENTAGE, rate_percent=ONE),
    Model.GRADUATED_PERCENTAGE: PriceTerms(Model.GRADUATED_PERCENTAGE, tiers=RATES),
    Model.MATRIX: PriceTerms(Model.MATRIX, dimensions=("model", "direction"), rows=ROWS),
    Model.AMOUNT_IN_EVENT: PriceTerms(Model.AMOUNT_IN_EVENT, multiplier=ONE),
    Model.SEATS: PriceTerms(Model.SEATS, unit_amount=ONE),
}


@pytest.fixture
def metric(db: None) -> BillableMetric:
    """A sum with dimensions that carries over and tells failures: every model can charge by it."""
    metric: BillableMetric = BillableMetricFactory(
        name="Tokens",
        group_by=("model", "direction"),
        carries_over=True,
        outcome_property="status",
        outcome_values=("failed",),
    )
    return metric


@pytest.fixture
def credit(db: None) -> StoredPricingUnit:
    return StoredPricingUnit.objects.create(code="credit", singular="credit", plural="credits")


def refused(terms: PriceTerms, metric: BillableMetric | None, unit: StoredPricingUnit | None = None) -> tuple[Any, str]:
    """The field and the sentence of the refusal."""
    with pytest.raises(InvalidInput) as refusal:
        check_terms(terms, metric, unit)
    assert refusal.value.code == "invalid_input"
    return refusal.value.field, refusal.value.detail


# --- What is refused -------------------------------------------------------------------------------------------------


def test_every_model_is_stated() -> None:
    assert list(LEAST) == list(ChargeModelName)


@pytest.mark.parametrize("terms", LEAST.values(), ids=LEAST)
def test_the_least_of_each_model_is_accepted(metric: BillableMetric, terms: PriceTerms) -> None:
    check_terms(terms, None if terms.charge_model == Model.FLAT else metric, None)


MISSING = "Enter the amount; 0 is allowed."
NEGATIVE = "A price cannot be negative."
BOTH = "A conversion has a divisor and says how it rounds. Enter both, or neither."
NO_DIMENSIONS = "A matrix has no dimensions. Name at least one, such as model."
NO_TIERS = "There are no tiers. Add at least one, with an empty upper end."
ONLY_MATRIX = "Only a matrix has dimensions and rows."
GOES_WITH = "A number of free failed units goes with “free up to a number”, and only with it."


@pytest.mark.parametrize(
    ("model", "changes", "field", "sentence"),
    [
        (Model.FLAT, {"flat_amount": None}, "flat_amount", MISSING),
        (Model.FLAT, {"flat_amount": LESS}, "flat_amount", NEGATIVE),
        (Model.FLAT, {"unit_amount": ONE}, "unit_amount", "The flat model takes no unit amount."),
        (Model.FLAT, {"included_units": ONE}, "included_units", "The flat model takes no included units."),
        (Model.FLAT, {"minimum": ONE}, "minimum", "The flat model takes no minimum."),
        (Model.FLAT, {"tiers": (OPEN_TIER,)}, "tiers", "The flat model takes no tiers."),
        (Model.PER_UNIT, {"unit_amount": None}, "unit_amount", MISSING),
        (Model.PER_UNIT, {"unit_amount": LESS}, "unit_amount", NEGATIVE),
        (Model.PER_UNIT, {"per_units": D(0)}, "per_units", "Enter a number above 0."),
        (Model.PER_UNIT, {"flat_amount": ONE}, "flat_amount", "The per unit model takes no flat amount."),
        (Model.PER_UNIT, {"included_units": LESS}, "included_units", NEGATIVE),
        (Model.PER_UNIT, {"tiers": (OPEN_TIER,)}, "tiers", "The per unit model takes no tiers."),
        (Model.PER_UNIT, {"rows": ROWS}, "rows", ONLY_MATRIX),
        (Model.PER_UNIT, {"dimensions": ("model",)}, "rows", ONLY_MATRIX),
        (Model.PER_UNIT, {"divide_by": D(60)}, "quantity_rounding", BOTH),
        (Model.PER_UNIT, {"quantity_rounding": QuantityRounding.CEIL}, "divide_by", BOTH),
        (
            Model.PER_UNIT,
            {"divide_by": D(0), "quantity_rounding": QuantityRounding.NONE},
            "divide_by",
            "Enter a number above 0.",
        ),
        (
            Model.PER_UNIT,
            {"minimum": D(5), "maximum": D(4)},
            "minimum",
            "The minimum, 5, is above the maximum, 4. Enter a smaller one.",
        ),
        (Model.PER_UNIT, {"failures": FailurePolicy.FREE_UP_TO}, "free_failures", GOES_WITH),
        (Model.PER_UNIT, {"free_failures": ONE}, "free_failures", GOES_WITH),
        (
            Model.PER_UNIT,
            {"pricing_unit_rate": ONE},
            "pricing_unit_rate",
            "Amounts are money, so there is no pricing unit to be worth anything. Clear it.",
        ),
        (Model.PACKAGE, {"unit_amount": None}, "unit_amount", MISSING),
        (Model.PACKAGE, {"package_size": None}, "package_size", MISSING),
        (Model.PACKAGE, {"package_size": D(0)}, "package_size", "Enter a number above 0."),
        (Model.PACKAGE, {"per_units": ONE}, "per_units", "The package model takes no per units."),
        (Model.GRADUATED, {"unit_amount": ONE}, "unit_amount", "The graduated model takes no unit amount."),
        (Model.GRADUATED, {"flat_amount": ONE}, "flat_amount", "The graduated model takes no flat amount."),
        (Model.GRADUATED, {"tiers": ()}, "tiers", NO_TIERS),
        (
            Model.GRADUATED,
            {"tiers": (TIERS[0], TIERS[0], OPEN_TIER)},
            "tiers",
            "Tier 2 ends at 1,000. Let it end above 1,000, where tier 1 ends.",
        ),
        (
            Model.GRADUATED,
            {"tiers": (OPEN_TIER, TIERS[0])},
            "tiers",
            "Tier 1 has no upper end but is not the last. Enter its last unit.",
        ),
        (Model.VOLUME, {"tiers": ()}, "tiers", NO_TIERS),
        (
            Model.VOLUME,
            {"tiers": (Tier(None, LESS),)},
            "tiers",
            "Tier 1 has a negative price. Enter 0 or more.",
        ),
        (Model.STAIRSTEP, {"tiers": ()}, "tiers", NO_TIERS),
        (Model.STAIRSTEP, {"per_units": ONE}, "per_units", "The stairstep model takes no per units."),
        (Model.PERCENTAGE, {"rate_percent": None}, "rate_percent", MISSING),
        (Model.PERCENTAGE, {"unit_amount": ONE}, "unit_amount", "The percentage model takes no unit amount."),
        (
            Model.PERCENTAGE,
            {"failures": FailurePolicy.FREE},
            "failures",
            "This charge model makes no difference by outcome.",
        ),
        (
            Model.PERCENTAGE,
            {"transaction_minimum": D(2), "transaction_maximum": ONE},
            "transaction_minimum",
            "The transaction minimum, 2, is above the maximum, 1. Enter a smaller one.",
        ),
        (Model.GRADUATED_PERCENTAGE, {"tiers": ()}, "tiers", NO_TIERS),
        (
            Model.GRADUATED_PERCENTAGE,
            {"tiers": PACKAGES},
            "tiers",
            "Tier 1 has a package size. A percentage has none; clear it.",
        ),
        (
            Model.MATRIX,
            {"dimensions": ()},
            "dimensions",
            "A matrix has no dimensions. Name at least one, such as model.",
        ),
        (Model.MATRIX, {"rows": ()}, "rows", "The matrix has no rows. Add at least one."),
        (Model.MATRIX, {"dimensions": ("model",)}, "rows", "Row 1 has 2 values for 1 dimensions."),
        (
            Model.MATRIX,
            {"rows": (ROWS[0], ROWS[0])},
            "rows",
            "Rows 1 and 2 price the same values. Remove one of them.",
        ),
        (
            Model.MATRIX,
            {"dimensions": ("model", "region")},
            "dimensions",
            "“Tokens” is not grouped by region. Add it to the metric's dimensions, or leave it out here.",
        ),
        (Model.AMOUNT_IN_EVENT, {"multiplier": None}, "multiplier", MISSING),
        (
            Model.AMOUNT_IN_EVENT,
            {"divide_by": D(60), "quantity_rounding": QuantityRounding.CEIL},
            "divide_by",
            "The amount in event model takes no divide by.",
        ),
        (Model.SEATS, {"unit_amount": None}, "unit_amount", MISSING),
        (Model.SEATS, {"per_units": ONE}, "per_units", "The seats model takes no per units."),
    ],
)
def test_terms_that_do_not_fit_the_model_are_refused_by_field(
    metric: BillableMetric, model: ChargeModelName, changes: dict[str, Any], field: str, sentence: str
) -> None:
    terms = replace(LEAST[model], **changes)

    assert refused(terms, None if model == Model.FLAT else metric) == (field, sentence)


@pytest.mark.parametrize(
    "terms",
    [
        replace(LEAST[Model.PER_UNIT], per_units=D(7)),
        replace(LEAST[Model.GRADUATED], tiers=TIERS[:1]),
        replace(LEAST[Model.GRADUATED], tiers=PACKAGES),
        replace(LEAST[Model.PER_UNIT], unit_amount=D(0)),
    ],
)
def test_a_price_may_be_for_any_number_of_units_and_end_somewhere(metric: BillableMetric, terms: PriceTerms) -> None:
    check_terms(terms, metric, None)


@pytest.mark.parametrize("model", [model for model in ChargeModelName if model != Model.FLAT])
def test_usage_needs_a_metric(db: None, model: ChargeModelName) -> None:
    assert refused(LEAST[model], None) == ("metric", "Choose the metric whose units are charged.")


def test_a_fee_has_no_metric(metric: BillableMetric) -> None:
    field, sentence = refused(LEAST[Model.FLAT], metric)

    assert (field, sentence) == ("metric", "A flat price has no metric. Clear it, or choose another charge model.")


def test_seats_need_a_metric_that_carries_over(db: None) -> None:
    field, sentence = refused(LEAST[Model.SEATS], BillableMetricFactory(name="Calls"))

    assert (field, "“Calls” starts anew in each" in sentence) == ("metric", True)


def test_rows_need_a_metric_that_adds_up(db: None) -> None:
    largest = BillableMetricFactory(name="Peak", aggregation=Aggregation.MAX, group_by=("model", "direction"))

    field, sentence = refused(LEAST[Model.MATRIX], largest)

    assert (field, "does not add up from its parts" in sentence) == ("metric", True)


@pytest.mark.parametrize(
    "terms",
    [
        replace(LEAST[Model.PER_UNIT], failures=FailurePolicy.FREE),
        replace(LEAST[Model.PER_UNIT], failures=FailurePolicy.FREE_UP_TO, free_failures=D(100)),
    ],
)
def test_free_failures_need_a_metric_that_tells_failures(metric: BillableMetric, terms: PriceTerms) -> None:
    field, sentence = refused(terms, BillableMetricFactory(name="Calls"))

    assert (field, "“Calls” does not say which outcomes count as failed" in sentence) == ("failures", True)
    check_terms(terms, metric, None)


def test_a_price_in_a_pricing_unit_says_what_one_is_worth(metric: BillableMetric, credit: StoredPricingUnit) -> None:
    field, sentence = refused(LEAST[Model.PER_UNIT], metric, credit)

    assert (field, sentence) == ("pricing_unit_rate", "Enter what one of credits is worth in money.")
    check_terms(replace(LEAST[Model.PER_UNIT], pricing_unit_rate=D("0.01")), metric, credit)


# --- Through the database and back -----------------------------------------------------------------------------------

AROUND: dict[str, Any] = {
    "included_units": D("0.5"),
    "prorates_included": False,
    "minimum": ONE,
    "maximum": D(5),
    "divide_by": D(60),
    "quantity_rounding": QuantityRounding.HALF_UP,
    "failures": FailurePolicy.FREE_UP_TO,
    "free_failures": D(100),
}
CHARGE_AROUND: dict[str, Any] = {
    "included_units": D("0.5"),
    "prorates_included": False,
    "minimum": ONE,
    "maximum": D(5),
    "conversion": Conversion(D(60), "half_up"),
    "free_failures": D(100),
}

STATED: list[tuple[PriceTerms, Charge]] = [
    (PriceTerms(Model.FLAT, flat_amount=D("49.00")), Charge(Flat(D("49.00")))),
    (PriceTerms(Model.FLAT, flat_amount=D(0)), Charge(Flat(D(0)))),
    (
        PriceTerms(Model.PER_UNIT, unit_amount=D("0.000000000001"), per_units=D(1_000_000), **AROUND),
        Charge(PerUnit(D("0.000000000001"), D(1_000_000)), **CHARGE_AROUND),
    ),
    (
        PriceTerms(Model.PER_UNIT, unit_amount=D(3), failures=FailurePolicy.FREE),
        Charge(PerUnit(D(3)), free_failures=None),
    ),
    (
        PriceTerms(Model.PER_UNIT, unit_amount=D(3), divide_by=D(60), quantity_rounding=QuantityRounding.NONE),
        Charge(PerUnit(D(3)), conversion=Conversion(D(60), "")),
    ),
    (
        PriceTerms(Model.PACKAGE, unit_amount=D("0.10"), package_size=D(1000), **AROUND),
        Charge(Package(D("0.10"), D(1000)), **CHARGE_AROUND),
    ),
    (
        PriceTerms(Model.GRADUATED, tiers=TIERS, per_units=D(1000), flat_fee_at_zero_usage=True, **AROUND),
        Charge(Graduated(TIERS, D(1000), charge_flat_fee_at_zero=True), **CHARGE_AROUND),
    ),
    (PriceTerms(Model.GRADUATED, tiers=PACKAGES), Charge(Graduated(PACKAGES))),
    (PriceTerms(Model.VOLUME, tiers=TIERS, per_units=D(7)), Charge(Volume(TIERS, D(7)))),
    (
        PriceTerms(Model.STAIRSTEP, tiers=STEPS, flat_fee_at_zero_usage=True),
        Charge(Stairstep(STEPS, charge_flat_fee_at_zero=True)),
    ),
    (
        PriceTerms(
            Model.PERCENTAGE,
            rate_percent=D("1.4"),
            fixed_amount=D("0.25"),
            free_transactions=3,
            included_units=D(100),
            transaction_minimum=D("0.5"),
            transaction_maximum=D(10),
            minimum=ONE,
        ),
        Charge(Percentage(D("1.4"), D("0.25"), D(3), D(100), D("0.5"), D(10)), minimum=ONE),
    ),
    (
        PriceTerms(Model.GRADUATED_PERCENTAGE, tiers=RATES, included_units=D(10)),
        Charge(GraduatedPercentage(RATES), included_units=D(10)),
    ),
    (
        PriceTerms(Model.MATRIX, dimensions=("model", "direction"), rows=ROWS, per_units=D(1_000_000), **AROUND),
        Charge(Matrix(("model", "direction"), ROWS, D(1_000_000)), **CHARGE_AROUND),
    ),
    (PriceTerms(Model.AMOUNT_IN_EVENT, multiplier=D("1.2")), Charge(AmountInEvent(D("1.2")))),
    (
        PriceTerms(Model.SEATS, unit_amount=D(30), included_units=D(2), prorates_added=False, prorates_removed=False),
        Charge(Seats(D(30), D(2), prorates_added=False, prorates_removed=False)),
    ),
]


def stored(terms: PriceTerms, metric: BillableMetric, unit: StoredPricingUnit | None = None) -> PriceVersion:
    """The terms on a draft, read anew from the database."""
    charged = ChargedFor(
        product=ProductFactory(),
        name="A line",
        metric=None if terms.charge_model == Model.FLAT else metric,
        pricing_unit=unit,
    )
    made = add_price(plan_version=PlanVersionFactory(), charged=charged, terms=terms, now=utc(2023, 10, 1))
    return PriceVersion.objects.get(pk=made.pk)


def test_every_model_goes_through_the_database() -> None:
    assert {terms.charge_model for terms, _ in STATED} == set(ChargeModelName)


@pytest.mark.parametrize(("terms", "charge"), STATED)
def test_terms_that_fit_are_stored_read_back_and_charged_by(
    metric: BillableMetric, terms: PriceTerms, charge: Charge
) -> None:
    version = stored(terms, metric)

    assert terms_of(version) == terms
    assert charge_of(version) == charge_of_terms(terms, None) == charge


def test_a_price_in_credits_is_charged_in_credits(metric: BillableMetric, credit: StoredPricingUnit) -> None:
    version = stored(PriceTerms(Model.PER_UNIT, unit_amount=D(10), pricing_unit_rate=D("0.01")), metric, credit)

    assert charge_of(version) == Charge(PerUnit(D(10)), pricing_unit=PricingUnit("credit", "credits", D("0.01")))


@pytest.mark.parametrize("model", [Model.FLAT, Model.PER_UNIT, Model.PACKAGE, Model.SEATS])
def test_a_version_without_its_amount_is_not_charged_as_nothing(model: ChargeModelName) -> None:
    with pytest.raises(ValueError, match="is missing"):
        charge_of_terms(PriceTerms(model), None)


def test_a_price_is_for_one_unit_unless_it_says_so() -> None:
    assert PriceTerms(Model.PER_UNIT, unit_amount=ONE).per_units == 1
    assert PriceTerms(Model.FLAT, flat_amount=ONE).per_units is None
    assert PriceTerms(Model.PER_UNIT, unit_amount=ONE, included_units=D(0)).included_units is None


@given(tier_lists(), st.randoms(use_true_random=False))
def test_tiers_stand_by_their_bounds_in_whatever_order_they_come(tiers: tuple[Tier, ...], random: Random) -> None:
    rows = [
        PriceTier(
            up_to=tier.up_to,
            unit_amount=tier.unit_amount,
            flat_amount=tier.flat_amount,
            package_size=tier.package_size,
        )
        for tier in tiers
    ]

    assert tiers_of(random.sample(rows, len(rows))) == tiers
