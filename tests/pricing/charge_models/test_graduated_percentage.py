from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.base import NotRatable, Tier
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.tiers import InvalidTiers
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import exact_amounts, near_small, small_tiers, unit_amounts

VOLUME_FEES = GraduatedPercentage(
    (
        Tier(Decimal(1000), Decimal(2), Decimal(10)),
        Tier(Decimal(5000), Decimal("1.5")),
        Tier(None, Decimal("0.5"), Decimal(5)),
    )
)


@pytest.mark.parametrize(
    ("amount", "exact"),
    [
        ("0", "0"),
        ("0.01", "10.0002"),
        ("1000", "30"),
        ("1000.01", "30.00015"),
        ("5000", "90"),
        # 10 + 20, 60, and 5 + 0.5% of 2,000.
        ("7000", "105"),
        ("-100", "-2"),
    ],
)
def test_each_part_of_an_amount_has_the_rate_of_its_tier(amount: str, exact: str) -> None:
    assert VOLUME_FEES.rate(Decimal(amount)).amount == Decimal(exact)


def test_the_first_fee_may_be_due_at_zero() -> None:
    assert GraduatedPercentage(VOLUME_FEES.tiers, charge_flat_fee_at_zero=True).rate(Decimal(0)).amount == 10


def test_an_amount_above_a_last_tier_that_ends_is_refused() -> None:
    with pytest.raises(NotRatable, match="ends at 1,000"):
        GraduatedPercentage(VOLUME_FEES.tiers[:1]).rate(Decimal("1000.01"))


def test_bounds_and_fees_are_prorated_and_rates_are_not() -> None:
    assert VOLUME_FEES.prorate(ShareOfDays(15, 30)).rate(Decimal(500)).amount == 15


def test_packages_are_refused() -> None:
    with pytest.raises(InvalidTiers, match="has a package size") as refusal:
        GraduatedPercentage((Tier(None, Decimal(1), package_size=Decimal(10)),))

    assert refusal.value.field == "tiers.0.package_size"


@given(unit_amounts, exact_amounts)
def test_one_tier_is_a_percentage(rate: Decimal, amount: Decimal) -> None:
    assert GraduatedPercentage((Tier(None, rate),)).rate(amount).amount == Percentage(rate).rate(amount).amount


@given(small_tiers(packages=False), near_small, near_small)
def test_the_tiers_cover_the_amount_and_more_never_costs_less(
    tiers: tuple[Tier, ...], one: Decimal, other: Decimal
) -> None:
    price = GraduatedPercentage((*tiers[:-1], Tier(None, tiers[-1].unit_amount, tiers[-1].flat_amount)))
    smaller, larger = sorted([one, other])

    with exact_arithmetic():
        assert sum((charge.quantity for charge in price.rate(larger).tiers), Decimal(0)) == larger
    assert price.rate(smaller).amount <= price.rate(larger).amount
