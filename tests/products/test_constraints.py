"""What the database itself refuses of a price, also from a shell: it does not rest on the services alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from apps.products.models import (
    MODEL_COLUMNS,
    ChargeModelName,
    PlanVersion,
    Price,
    PriceMatrixRow,
    PriceTier,
    PriceVersion,
)
from apps.products.terms import AMOUNT_COLUMNS, terms_of
from tests.conftest import utc
from tests.factories import BillableMetricFactory, PlanVersionFactory, PriceFactory, PriceVersionFactory

pytestmark = pytest.mark.django_db


def stated(model: ChargeModelName, **changes: Any) -> PriceVersion:
    """A stored version of a model with the columns that it needs, and no check by a service."""
    values: dict[str, Any] = {column: Decimal(1) for column in MODEL_COLUMNS[model].required}
    if model == ChargeModelName.MATRIX:
        values["dimensions"] = ["model"]
    price = PriceFactory(metric=None if model == ChargeModelName.FLAT else BillableMetricFactory())
    return PriceVersion.objects.create(
        price=price, charge_model=model, recorded_at=utc(2023, 1, 1), **{**values, **changes}
    )


def set_by_sql(version: PriceVersion, **values: str) -> str | None:
    """Set columns from a database shell; the name of the constraint or the sentence that refuses it, None if none."""
    assignments = ", ".join(f"{column} = {value}" for column, value in values.items())
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE products_priceversion SET {assignments} WHERE id = {version.pk}")  # noqa: S608
    except DatabaseError as refusal:
        return str(refusal)
    return None


@pytest.mark.parametrize("model", ChargeModelName)
def test_a_column_that_a_model_does_not_have_is_refused(model: ChargeModelName) -> None:
    version = stated(model)
    columns = MODEL_COLUMNS[model]
    numbers = set(AMOUNT_COLUMNS) - {"quantity_rounding", "free_failures", "divide_by"}
    superfluous = numbers - columns.required - columns.optional

    refusals = {column: set_by_sql(version, **{column: "1"}) or "" for column in superfluous}

    assert superfluous
    assert all(f"{column}_goes_with_model" in refusal for column, refusal in refusals.items()), refusals


@pytest.mark.parametrize("model", ChargeModelName)
def test_a_column_that_a_model_needs_cannot_be_empty(model: ChargeModelName) -> None:
    version = stated(model)

    refusals = {column: set_by_sql(version, **{column: "NULL"}) or "" for column in MODEL_COLUMNS[model].required}

    assert all(f"{column}_goes_with_model" in refusal for column, refusal in refusals.items()), refusals


@pytest.mark.parametrize("model", ChargeModelName)
def test_a_column_that_a_model_may_have_is_taken(model: ChargeModelName) -> None:
    version = stated(model)
    together = {"free_failures", "divide_by", "quantity_rounding"}

    refusals = {column: set_by_sql(version, **{column: "1"}) for column in MODEL_COLUMNS[model].optional - together}

    assert not any(refusals.values()), refusals


@pytest.mark.parametrize(
    ("model", "values", "constraint"),
    [
        ("per_unit", {"divide_by": "60"}, "rounding_goes_with_division"),
        ("per_unit", {"quantity_rounding": "'ceil'"}, "rounding_goes_with_division"),
        ("per_unit", {"divide_by": "0", "quantity_rounding": "''"}, "divide_by_is_positive"),
        ("seats", {"divide_by": "60", "quantity_rounding": "''"}, "divide_by_goes_with_model"),
        ("per_unit", {"failures": "'free_up_to'"}, "free_failures_go_with_policy"),
        ("per_unit", {"free_failures": "5"}, "free_failures_go_with_policy"),
        ("seats", {"failures": "'free'"}, "failures_go_with_model"),
        ("per_unit", {"minimum": "5", "maximum": "4"}, "maximum_is_not_below_minimum"),
        ("per_unit", {"per_units": "0"}, "per_units_is_positive"),
        ("package", {"package_size": "-1"}, "package_size_is_positive"),
        ("per_unit", {"dimensions": "'{model}'"}, "dimensions_go_with_matrix"),
        ("matrix", {"dimensions": "'{}'"}, "dimensions_go_with_matrix"),
        ("per_unit", {"charge_model": "'package'"}, "package_size_goes_with_model"),
        ("per_unit", {"charge_model": "'flat'"}, "A flat price has no metric; every other price needs one."),
    ],
)
def test_columns_that_contradict_one_another_are_refused(model: str, values: dict[str, str], constraint: str) -> None:
    assert constraint in (set_by_sql(stated(ChargeModelName(model)), **values) or "")


@pytest.mark.parametrize(
    "values",
    [
        {"divide_by": "60", "quantity_rounding": "''"},
        {"failures": "'free'"},
        {"failures": "'free_up_to'", "free_failures": "5"},
        {"minimum": "5", "maximum": "5"},
    ],
)
def test_columns_that_belong_together_are_taken(values: dict[str, str]) -> None:
    assert set_by_sql(stated(ChargeModelName.PER_UNIT), **values) is None


@pytest.mark.parametrize("model", [model for model in ChargeModelName if model != ChargeModelName.FLAT])
def test_a_price_without_a_metric_is_flat(model: ChargeModelName) -> None:
    fee = stated(ChargeModelName.FLAT).price
    values = {column: Decimal(1) for column in MODEL_COLUMNS[model].required}

    with pytest.raises(DatabaseError, match="A flat price has no metric"), transaction.atomic():
        PriceVersionFactory(price=fee, charge_model=model, **{"unit_amount": None, "per_units": None, **values})


@pytest.mark.parametrize("values", [{"recurrence": "one_off"}, {"timing": "advance"}])
def test_only_a_fee_is_one_off_or_in_advance(values: dict[str, str]) -> None:
    usage = PriceFactory()

    with pytest.raises(DatabaseError, match="only_fees_are_one_off_or_in_advance"), transaction.atomic():
        Price.objects.filter(pk=usage.pk).update(**values)


def test_a_plan_version_has_a_currency() -> None:
    draft = PlanVersionFactory()

    with pytest.raises(DatabaseError, match="plan_version_has_a_currency"), transaction.atomic():
        PlanVersion.objects.filter(pk=draft.pk).update(currencies=[])


# --- Tiers and rows --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"up_to": Decimal(0)}, "tier_bound_is_positive"),
        ({"up_to": Decimal(10)}, "tier_bound_is_unique"),
        ({"up_to": None}, "tier_bound_is_unique"),
        ({"up_to": Decimal(20), "package_size": Decimal(0)}, "tier_package_is_positive"),
        ({"up_to": Decimal(20), "rate_percent": Decimal(2), "unit_amount": Decimal(1)}, "tier_has_one_kind_of_price"),
        ({"up_to": Decimal(20), "rate_percent": Decimal(2), "package_size": Decimal(1)}, "tier_has_one_kind_of_price"),
    ],
)
def test_a_tier_that_cannot_be_is_refused(values: dict[str, Any], constraint: str) -> None:
    version = stated(ChargeModelName.GRADUATED)
    version.tiers.create(up_to=Decimal(10))
    version.tiers.create(up_to=None)

    with pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        version.tiers.create(**values)


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        ({"position": 1, "values": ["small"]}, "matrix_row_position_is_unique"),
        ({"position": 2, "values": ["large"]}, "matrix_row_values_are_unique"),
    ],
)
def test_a_row_that_is_there_twice_is_refused(values: dict[str, Any], constraint: str) -> None:
    version = stated(ChargeModelName.MATRIX)
    version.rows.create(position=1, values=["large"], unit_amount=Decimal(1))

    with pytest.raises(DatabaseError, match=constraint), transaction.atomic():
        version.rows.create(**values, unit_amount=Decimal(1))


@pytest.fixture
def sealed() -> PriceVersion:
    """A matrix that is sealed with a row in it."""
    version = stated(ChargeModelName.MATRIX)
    version.rows.create(position=1, values=["large"], unit_amount=Decimal(1))
    PriceVersion.objects.filter(pk=version.pk).update(is_sealed=True)
    return version


@pytest.mark.parametrize(
    "attempt",
    [
        lambda version: version.rows.create(position=2, values=[None], unit_amount=Decimal(1)),
        lambda version: version.rows.update(unit_amount=Decimal(0)),
        lambda version: version.rows.all().delete(),
        lambda version: PriceMatrixRow.objects.bulk_create(
            [PriceMatrixRow(price_version=version, position=3, values=["x"], unit_amount=Decimal(1))]
        ),
        lambda version: PriceTier.objects.create(price_version=version),
    ],
)
def test_the_rows_of_a_sealed_version_stand(sealed: PriceVersion, attempt: Any) -> None:
    before = terms_of(sealed)

    with pytest.raises(DatabaseError, match="The tiers and rows of a published price"), transaction.atomic():
        attempt(sealed)

    assert terms_of(PriceVersion.objects.get(pk=sealed.pk)) == before


def test_no_row_leaves_a_sealed_version_or_enters_it(sealed: PriceVersion) -> None:
    other = stated(ChargeModelName.MATRIX)
    other.rows.create(position=2, values=["tiny"], unit_amount=Decimal(1))

    for source, target in ((sealed, other), (other, sealed)):
        with pytest.raises(DatabaseError, match="The tiers and rows of a published price"), transaction.atomic():
            source.rows.update(price_version=target)
