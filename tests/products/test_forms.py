"""What the price form says about amounts and tiers that were typed wrongly."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from apps.billable_metrics.models import BillableMetric
from apps.products.models import PlanVersion, PriceTier, Product
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def sales(clerk: User, client: Client) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture
def entered() -> dict[str, object]:
    """A graduated price without its tiers, as the form sends it."""
    version: PlanVersion = PlanVersionFactory()
    product: Product = ProductFactory()
    metric: BillableMetric = BillableMetricFactory()
    return {
        "plan_version": version.pk,
        "product": product.pk,
        "metric": metric.pk,
        "name": "Tokens",
        "charge_model": "graduated",
        "per_units": "1",
        "included_units": "0",
        "tiers-TOTAL_FORMS": "3",
        "tiers-INITIAL_FORMS": "0",
    }


def rows(*tiers: tuple[str, str, str]) -> dict[str, object]:
    names = ("up_to", "unit_amount", "flat_amount")
    return {f"tiers-{i}-{name}": cell for i, tier in enumerate(tiers) for name, cell in zip(names, tier, strict=True)}


def test_an_amount_that_cannot_be_read_has_one_fault(sales: Client, entered: dict[str, object]) -> None:
    entered |= {"charge_model": "per_unit", "unit_amount": "abc"}

    page = sales.post(reverse("admin:products_priceversion_add"), entered).content.decode()

    assert "Enter a number." in page
    assert "Enter the amount; 0 is allowed." not in page


def test_a_row_that_was_emptied_is_no_tier(sales: Client, entered: dict[str, object]) -> None:
    entered |= rows(("1000", "0.10", "0"), ("", "", ""), ("", "0", "0"))

    sales.post(reverse("admin:products_priceversion_add"), entered)

    assert list(PriceTier.objects.values_list("up_to", "unit_amount")) == [(1000, Decimal("0.1")), (None, 0)]


@pytest.mark.parametrize("bound", ["-5", "0"])
def test_a_tier_ends_above_zero(sales: Client, entered: dict[str, object], bound: str) -> None:
    entered |= rows((bound, "1", "0"), ("", "2", "0"), ("", "", "0"))

    page = sales.post(reverse("admin:products_priceversion_add"), entered).content.decode()

    assert "Constraint" not in page
    assert "above 0" in page
    assert not PriceTier.objects.exists()
