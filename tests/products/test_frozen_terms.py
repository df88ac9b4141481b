"""What was published is held fast by the database itself, also against a shell and a bulk update."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection, transaction

from apps.products.models import ChargeModelName, Plan, PlanStatus, PlanVersion, Price, PriceTier, PriceVersion
from apps.products.services import archive_plan_version, create_plan, schedule_price_version
from apps.products.terms import PriceTerms
from tests.builders import flat_fee, graduated, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, PriceFactory, PriceVersionFactory, ProductFactory
from tests.products.test_services import catalogue

pytestmark = pytest.mark.django_db

Attempt = Callable[[], object]


def sql(statement: str) -> Attempt:
    """An attempt from a database shell."""

    def attempt() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return attempt


def refuse(attempt: Attempt) -> str:
    """Make the attempt, prove that it changed nothing, and return the sentence of the refusal."""
    before = catalogue()
    with pytest.raises(DatabaseError) as refusal, transaction.atomic():
        attempt()
    assert catalogue() == before
    return str(refusal.value)


@pytest.fixture(autouse=True, params=[PlanStatus.PUBLISHED, PlanStatus.ARCHIVED])
def sold(request: pytest.FixtureRequest) -> PlanVersion:
    """A plan version with a charge of each kind and a scheduled price, on sale or no longer."""
    tokens = BillableMetricFactory(name="Input tokens")
    plan_version = published_plan(
        flat_fee("49.00"),
        per_unit(tokens, "3.00"),
        graduated(tokens, ("1000", "0.10"), (None, "0.05"), name="Requests"),
    )
    schedule_price_version(
        price=plan_version.prices.get(name="Platform fee"),
        effective_from=dt.date(2024, 1, 1),
        terms=PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal("59.00")),
        now=utc(2023, 12, 1),
    )
    if request.param == PlanStatus.ARCHIVED:
        archive_plan_version(plan_version_id=plan_version.pk)
    return PlanVersion.objects.get()


@pytest.mark.parametrize(
    "attempt",
    [
        sql("UPDATE products_price SET name = 'Other'"),
        sql("UPDATE products_price SET metric_id = NULL"),
        sql("UPDATE products_price SET position = 0"),
        sql("DELETE FROM products_price"),
        lambda: Price.objects.update(name="Other"),
        lambda: Price.objects.bulk_update(
            [Price(pk=price.pk, position=1) for price in Price.objects.all()], ["position"]
        ),
    ],
)
def test_its_charges_stand(attempt: Attempt) -> None:
    assert "The prices of a published plan cannot be changed or removed" in refuse(attempt)


def test_no_charge_is_added_to_it_by_hand(sold: PlanVersion) -> None:
    sentence = refuse(lambda: PriceFactory(plan_version=sold))

    assert "The prices of a published plan cannot be changed" in sentence


def test_no_charge_leaves_it_for_a_draft() -> None:
    draft = create_plan(code="draft", name="Draft", currencies=["USD"])

    assert "published plan" in refuse(lambda: Price.objects.update(plan_version=draft))


@pytest.mark.parametrize(
    "attempt",
    [
        sql("UPDATE products_priceversion SET unit_amount = 0"),
        sql("UPDATE products_priceversion SET included_units = 1000000"),
        sql("UPDATE products_priceversion SET effective_from = '2020-01-01'"),
        sql("UPDATE products_priceversion SET recorded_at = now()"),
        sql("UPDATE products_priceversion SET is_sealed = false"),
        lambda: PriceVersion.objects.update(flat_amount=Decimal(1)),
        lambda: PriceVersion.objects.filter(effective_from=dt.date(2024, 1, 1)).update(note="Never mind"),
    ],
)
def test_its_amounts_stand(attempt: Attempt) -> None:
    assert "Cannot update" in refuse(attempt)


@pytest.mark.parametrize(
    "attempt",
    [
        sql("DELETE FROM products_priceversion WHERE effective_from IS NOT NULL"),
        lambda: PriceVersion.objects.filter(tiers=None).delete(),
    ],
)
def test_its_amounts_are_not_removed(attempt: Attempt) -> None:
    assert "Cannot" in refuse(attempt)


@pytest.mark.parametrize(
    "attempt",
    [
        sql("UPDATE products_pricetier SET unit_amount = 0"),
        sql("UPDATE products_pricetier SET up_to = 2000 WHERE up_to = 1000"),
        sql("DELETE FROM products_pricetier WHERE up_to = 1000"),
        lambda: PriceTier.objects.update(flat_amount=Decimal(5)),
        lambda: PriceTier.objects.all().delete(),
        lambda: PriceVersion.objects.get(price__name="Requests").tiers.create(up_to=Decimal(1), unit_amount=Decimal(0)),
        lambda: PriceVersion.objects.filter(price__name="Requests").delete(),
    ],
)
def test_its_tiers_stand(attempt: Attempt) -> None:
    assert "The tiers and rows of a published price cannot be changed" in refuse(attempt)


def test_no_tier_leaves_it_for_a_draft() -> None:
    draft = create_plan(code="draft", name="Draft", currencies=["USD"])
    unsealed = PriceVersionFactory(price__plan_version=draft)

    assert "The tiers and rows of a published price" in refuse(lambda: PriceTier.objects.update(price_version=unsealed))


@pytest.mark.parametrize(
    "attempt",
    [
        sql("UPDATE products_planversion SET currencies = '{JPY}'"),
        sql("UPDATE products_planversion SET billing_months = 12"),
        sql("UPDATE products_planversion SET number = 7"),
        sql("UPDATE products_planversion SET status = 'draft', published_at = NULL"),
        lambda: PlanVersion.objects.update(currencies=["JPY"]),
        lambda: PlanVersion.objects.update(plan=Plan.objects.create(code="other", name="Other")),
    ],
)
def test_the_version_itself_stands(attempt: Attempt) -> None:
    refuse(attempt)


def test_the_version_is_not_removed() -> None:
    assert "violates foreign key constraint" in refuse(
        lambda: sql("DELETE FROM products_planversion; SET CONSTRAINTS ALL IMMEDIATE")()
    )


def test_a_draft_may_still_change() -> None:
    draft = create_plan(code="draft", name="Draft", currencies=["USD"])
    price = PriceFactory(plan_version=draft, product=ProductFactory(), name="Before")

    Price.objects.filter(pk=price.pk).update(name="After")
    PlanVersion.objects.filter(pk=draft.pk).update(currencies=["JPY"])

    assert Price.objects.get(pk=price.pk).name == "After"
    assert PlanVersion.objects.get(pk=draft.pk).currencies == ["JPY"]


def test_no_charge_of_a_draft_is_moved_into_it(sold: PlanVersion) -> None:
    draft = create_plan(code="draft", name="Draft", currencies=["USD"])
    PriceFactory(plan_version=draft, name="Smuggled")

    assert "published plan" in refuse(lambda: Price.objects.filter(name="Smuggled").update(plan_version=sold))
