"""The price form: what is read from it for every charge model, and what it says about input at fault."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apps.billable_metrics.models import BillableMetric
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers
from apps.products.forms import PriceForm, schedule_from
from apps.products.forms.prices import currency_form
from apps.products.forms.tables import CellFault, NumberField, read_matrix_rows, read_tiers
from apps.products.forms.terms import initial_of
from apps.products.models import ChargeModelName, FailurePolicy, Price, PricingUnit, QuantityRounding
from apps.products.services import ChargedFor, add_price
from apps.products.terms import PriceTerms, terms_of
from tests.builders import flat_fee, graduated, published_plan
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory

MODEL = ChargeModelName
D = Decimal


def sent(**fields: Any) -> QueryDict:
    """What a browser sends; a list is a column of a table."""
    data = QueryDict(mutable=True)
    for name, value in fields.items():
        data.setlist(name.replace("__", "-"), value if isinstance(value, list) else [str(value)])
    return data


def price_form(**fields: Any) -> PriceForm:
    named = {"plan_version": PlanVersionFactory().pk, "product": ProductFactory().pk, "name": "Line", **fields}
    return PriceForm(sent(**named))


def metric_for(model: ChargeModelName) -> BillableMetric | None:
    if model == MODEL.FLAT:
        return None
    metric: BillableMetric = BillableMetricFactory(
        carries_over=model == MODEL.SEATS,
        group_by=("model", "direction"),
        outcome_property="status",
        outcome_values=("failed",),
    )
    return metric


TIERS = {"tiers__up_to": ["1,000", ""], "tiers__unit_amount": ["3", "2"]}
WHOLE = (Tier(D(1000), D(3)), Tier(None, D(2)))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "terms"),
    [
        ({"charge_model": "flat", "flat_amount": "1,500.25"}, PriceTerms(MODEL.FLAT, flat_amount=D("1500.25"))),
        (
            {
                "charge_model": "per_unit",
                "unit_amount": "2.50",
                "per_units": "1,000,000",
                "included_units": "100,000",
                "prorates_included": "no",
                "minimum": "5",
                "maximum": "500",
                "divide_by": "60",
                "quantity_rounding": "ceil",
                "failures": "free_up_to",
                "free_failures": "10",
            },
            PriceTerms(
                MODEL.PER_UNIT,
                unit_amount=D("2.50"),
                per_units=D(1_000_000),
                included_units=D(100_000),
                prorates_included=False,
                minimum=D(5),
                maximum=D(500),
                divide_by=D(60),
                quantity_rounding=QuantityRounding.CEIL,
                failures=FailurePolicy.FREE_UP_TO,
                free_failures=D(10),
            ),
        ),
        (
            {"charge_model": "package", "unit_amount": "5", "package_size": "1000"},
            PriceTerms(MODEL.PACKAGE, unit_amount=D(5), package_size=D(1000)),
        ),
        (
            {"charge_model": "graduated", **TIERS, "flat_fee_at_zero_usage": "on"},
            PriceTerms(MODEL.GRADUATED, tiers=WHOLE, flat_fee_at_zero_usage=True),
        ),
        ({"charge_model": "volume", **TIERS}, PriceTerms(MODEL.VOLUME, tiers=WHOLE)),
        (
            {"charge_model": "stairstep", "tiers__up_to": ["10", ""], "tiers__flat_amount": ["5", "9"]},
            PriceTerms(MODEL.STAIRSTEP, tiers=(Tier(D(10), flat_amount=D(5)), Tier(None, flat_amount=D(9)))),
        ),
        (
            {
                "charge_model": "percentage",
                "rate_percent": "2.9",
                "fixed_amount": "0.30",
                "free_transactions": "5",
                "transaction_minimum": "0.50",
                "transaction_maximum": "20",
                "included_units": "100",
            },
            PriceTerms(
                MODEL.PERCENTAGE,
                rate_percent=D("2.9"),
                fixed_amount=D("0.30"),
                free_transactions=5,
                transaction_minimum=D("0.50"),
                transaction_maximum=D(20),
                included_units=D(100),
            ),
        ),
        (
            {"charge_model": "graduated_percentage", **TIERS},
            PriceTerms(MODEL.GRADUATED_PERCENTAGE, tiers=WHOLE),
        ),
        (
            {
                "charge_model": "matrix",
                "dimensions": "model, direction",
                "rows__value-model": ["large", " small ", ""],
                "rows__value-direction": ["input", "", ""],
                "rows__unit_amount": ["2.5", "0.6", "1"],
            },
            PriceTerms(
                MODEL.MATRIX,
                dimensions=("model", "direction"),
                rows=(
                    MatrixRow(("large", "input"), D("2.5")),
                    MatrixRow(("small", None), D("0.6")),
                    MatrixRow((None, None), D(1)),
                ),
            ),
        ),
        (
            {"charge_model": "amount_in_event", "multiplier": "1.2"},
            PriceTerms(MODEL.AMOUNT_IN_EVENT, multiplier=D("1.2")),
        ),
        (
            {"charge_model": "seats", "unit_amount": "20", "included_units": "3", "prorates_removed": "no"},
            PriceTerms(MODEL.SEATS, unit_amount=D(20), included_units=D(3), prorates_removed=False),
        ),
    ],
    ids=[model.value for model in ChargeModelName],
)
def test_every_model_is_read_and_shown_again_as_it_was(fields: dict[str, Any], terms: PriceTerms) -> None:
    metric = metric_for(terms.charge_model)
    form = price_form(metric=metric.pk if metric else "", **fields)
    assert form.is_valid(), form.errors
    assert form.terms == terms

    stored = add_price(
        plan_version=form.cleaned_data["plan_version"], charged=form.charged, terms=terms, now=timezone.now()
    )
    assert terms_of(stored) == terms
    assert {name: PriceForm(instance=stored).initial[name] for name in initial_of(terms)} == initial_of(terms)


@pytest.mark.django_db
def test_a_price_in_credits_says_what_one_is_worth() -> None:
    unit = PricingUnit.objects.create(code="credit", singular="credit", plural="credits")
    fields = {"charge_model": "per_unit", "unit_amount": "10", "metric": BillableMetricFactory().pk}

    assert "worth in money" in price_form(pricing_unit=unit.pk, **fields).errors["pricing_unit_rate"][0]

    form = price_form(pricing_unit=unit.pk, pricing_unit_rate="0.01", **fields)
    assert form.is_valid()
    assert form.terms is not None
    assert (form.charged.pricing_unit, form.terms.pricing_unit_rate) == (unit, D("0.01"))


@pytest.mark.parametrize(
    ("typed", "number"),
    [
        ("1,000,000", D(1_000_000)),
        ("1,000.25", D("1000.25")),
        (" 1_000 ", D(1000)),
        ("0.000000000001", D("0.000000000001")),
    ],
)
def test_a_number_may_have_commas_between_each_three_digits(typed: str, number: Decimal) -> None:
    assert NumberField().clean(typed) == number


@pytest.mark.parametrize("typed", ["1,5", "1,00", "0,123", "1,000,00", "1.000,5", ",5"])
def test_any_other_comma_is_refused(typed: str) -> None:
    with pytest.raises(Exception, match="Leave out the commas"):
        NumberField().clean(typed)


# --- Tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "rows", "fault"),
    [
        (MODEL.GRADUATED, [{"up_to": "10"}], CellFault(0, "unit_amount", "Enter the amount; 0 is allowed.")),
        (MODEL.STAIRSTEP, [{"up_to": "10"}], CellFault(0, "flat_amount", "Enter the amount; 0 is allowed.")),
        (MODEL.GRADUATED, [{"unit_amount": "x"}], CellFault(0, "unit_amount", "Enter a number.")),
        (MODEL.GRADUATED, [{"unit_amount": "-1"}], CellFault(0, "unit_amount", "Enter 0 or more.")),
        (MODEL.VOLUME, [{"up_to": "0", "unit_amount": "1"}], CellFault(0, "up_to", "Enter a number above 0.")),
        (
            MODEL.GRADUATED,
            [{"unit_amount": "1", "package_size": "0"}],
            CellFault(0, "package_size", "Enter a number above 0."),
        ),
        (
            MODEL.GRADUATED,
            [{"up_to": "", "unit_amount": "3"}, {"up_to": "5", "unit_amount": "2"}],
            CellFault(0, "up_to", "Tier 1 has no upper end but is not the last. Enter its last unit."),
        ),
        (
            MODEL.GRADUATED,
            [{"up_to": "9", "unit_amount": "3"}, {"up_to": "5", "unit_amount": "2"}, {"unit_amount": "1"}],
            CellFault(1, "up_to", "Tier 2 ends at 5. Let it end above 9, where tier 1 ends."),
        ),
    ],
)
def test_a_tier_at_fault_is_named_with_its_cell(
    model: ChargeModelName, rows: list[dict[str, str]], fault: CellFault
) -> None:
    assert read_tiers(rows, model)[1] == [fault]


def test_a_column_that_the_model_does_not_have_is_not_read() -> None:
    rows = [{"up_to": "", "unit_amount": "not a number", "flat_amount": "5"}]
    assert read_tiers(rows, MODEL.STAIRSTEP) == ((Tier(None, flat_amount=D(5)),), [])


bounds = st.one_of(st.none(), st.integers(1, 50).map(Decimal))


@given(st.lists(bounds, min_size=1, max_size=5))
def test_the_form_refuses_exactly_the_tiers_that_pricing_refuses(ends: list[Decimal | None]) -> None:
    try:
        check_tiers([Tier(up_to=end, unit_amount=D(1)) for end in ends])
        is_refused = False
    except InvalidTiers:
        is_refused = True
    rows = [{"up_to": "" if end is None else str(end), "unit_amount": "1"} for end in ends]
    faults = read_tiers(rows, MODEL.GRADUATED)[1]
    # A refusal stands at one row, where its reader mends it.
    assert len({fault.row for fault in faults}) == is_refused


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([{"value-model": "a"}], CellFault(0, "unit_amount", "Enter the unit price; 0 is allowed.")),
        (
            [{"value-model": "a", "unit_amount": "1"}, {"value-model": " a", "unit_amount": "2"}],
            CellFault(1, "values", "Prices the same values as row 1. Remove one of them."),
        ),
        (
            [{"value-model": "a" * 501, "unit_amount": "1"}],
            CellFault(0, "values", "A value has at most 500 characters."),
        ),
    ],
)
def test_a_matrix_row_at_fault_is_named_with_its_cell(rows: list[dict[str, str]], fault: CellFault) -> None:
    assert read_matrix_rows(rows, ["model"])[1] == [fault]


@pytest.mark.django_db
def test_a_dimension_that_the_metric_lacks_is_refused_at_the_dimensions() -> None:
    form = price_form(
        charge_model="matrix",
        metric=BillableMetricFactory(group_by=("model",)).pk,
        dimensions="region",
        **{"rows__value-region": ["eu"], "rows__unit_amount": ["1"]},
    )
    assert "is not grouped by region" in form.errors["dimensions"][0]


@pytest.mark.django_db
def test_rows_that_were_emptied_are_no_tiers() -> None:
    form = price_form(
        charge_model="graduated",
        metric=BillableMetricFactory().pk,
        tiers__up_to=["1000", "", ""],
        tiers__unit_amount=["0.10", "", "0"],
    )
    assert form.is_valid()
    assert form.cleaned_data["tiers"] == (Tier(D(1000), D("0.10")), Tier(None))


@pytest.mark.django_db
def test_an_amount_that_cannot_be_read_has_one_fault() -> None:
    form = price_form(charge_model="per_unit", metric=BillableMetricFactory().pk, unit_amount="abc")
    assert form.errors["unit_amount"] == ["Enter a number."]


@pytest.mark.django_db
def test_the_currency_is_one_of_the_plan() -> None:
    version = PlanVersionFactory(currencies=["USD", "EUR"])
    fields = {"plan_version": version.pk, "charge_model": "flat", "flat_amount": "5"}
    assert price_form(currency="EUR", **fields).is_valid()
    usual = price_form(**fields)
    assert usual.is_valid()
    assert usual.charged_currency == "USD"
    assert "currency" in price_form(currency="JPY", **fields).errors


# --- Other currencies and later days ---------------------------------------------------------------------------------


@pytest.mark.django_db
def test_another_currency_is_one_that_the_price_does_not_have_yet() -> None:
    version = PlanVersionFactory(currencies=["USD", "EUR", "JPY"])
    charged = ChargedFor(product=ProductFactory(), name="Fee")
    first = add_price(
        plan_version=version, charged=charged, terms=PriceTerms(MODEL.FLAT, flat_amount=D(5)), now=timezone.now()
    )
    form = currency_form(first.price)(sent(charge_model="flat", flat_amount="4", currency="EUR"))
    assert form.currencies == ["EUR", "JPY"]
    assert form.is_valid()
    assert "currency" in currency_form(first.price)(sent(charge_model="flat", flat_amount="4", currency="USD")).errors


@pytest.fixture
def sold(db: None) -> Price:
    published_plan(graduated(BillableMetricFactory(), ("1000", "3"), (None, "2")))
    return Price.objects.get()


def test_new_amounts_are_read_for_a_preview_before_it_was_seen(sold: Price) -> None:
    form, terms = schedule_from(sold, sent(charge_model="graduated", effective_from="2023-11-15", note="Why", **TIERS))
    assert terms == PriceTerms(MODEL.GRADUATED, tiers=WHOLE)
    assert form.cleaned_data["effective_from"] == dt.date(2023, 11, 15)
    assert (form.cleaned_data["currency"], form.cleaned_data["note"]) == ("USD", "Why")


def test_new_amounts_at_fault_are_no_terms(sold: Price) -> None:
    form, terms = schedule_from(sold, sent(charge_model="graduated", effective_from="2023-11-15"))
    assert terms is None
    assert "There are no tiers" in form.errors["tiers"][0]


def test_new_amounts_may_be_by_another_model(sold: Price) -> None:
    fields = {"charge_model": "per_unit", "unit_amount": "4", "effective_from": "2030-01-01"}
    assert schedule_from(sold, sent(**fields))[1] == PriceTerms(MODEL.PER_UNIT, unit_amount=D(4))


def test_a_fee_stays_a_fee(db: None) -> None:
    published_plan(flat_fee("99"))
    form, terms = schedule_from(
        Price.objects.get(), sent(charge_model="per_unit", unit_amount="4", effective_from="2030-01-01")
    )
    assert terms is None
    assert "charge_model" in form.errors
