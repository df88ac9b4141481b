from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.base import NotRatable, Tier, TierCharge
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.tiers import InvalidTiers
from apps.pricing.charge_models.volume import Volume
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import per_units, quantities, tier_lists, unit_amounts

MILLION = Decimal(1_000_000)
TOKENS = Volume((Tier(MILLION, Decimal(3)), Tier(10 * MILLION, Decimal("2.50")), Tier(None, Decimal(2))), MILLION)
WITH_FEES = (
    Tier(Decimal(100), Decimal("0.10"), Decimal(5)),
    Tier(Decimal(200), Decimal("0.05"), Decimal(20)),
)


@pytest.mark.parametrize(
    ("quantity", "exact"),
    [
        ("0", "0"),
        ("1000000", "3"),
        # One unit above a bound changes the price of all: 1,000,001 at 2.50.
        ("1000001", "2.5000025"),
        ("10000000", "25"),
        ("10000001", "20.000002"),
        ("25000000", "50"),
        ("-1000000", "-3"),
    ],
)
def test_all_units_have_the_price_of_one_tier(quantity: str, exact: str) -> None:
    assert TOKENS.rate(Decimal(quantity)).amount == Decimal(exact)


@pytest.mark.parametrize(
    ("quantity", "at_zero", "exact"),
    [
        ("0", False, "0"),
        ("0", True, "5"),
        ("0.01", False, "5.001"),
        ("100", True, "15"),
        # The fee of the second tier instead of the first one's, not on top of it.
        ("100.01", False, "25.0005"),
        ("200", False, "30"),
        # Neither a fee for less than nothing nor one given back.
        ("-10", False, "-1"),
        ("-10", True, "-1"),
    ],
)
def test_the_flat_fee_of_one_tier_is_charged(quantity: str, at_zero: bool, exact: str) -> None:
    assert Volume(WITH_FEES, charge_flat_fee_at_zero=at_zero).rate(Decimal(quantity)).amount == Decimal(exact)


def test_a_tier_may_be_sold_in_packages() -> None:
    started = Volume((Tier(Decimal(1000), Decimal(3), package_size=Decimal(100)), Tier(None, Decimal("0.02"))))

    assert started.rate(Decimal(101)).amount == 6
    assert started.rate(Decimal(1000)).amount == 30
    assert started.rate(Decimal(1001)).amount == Decimal("20.02")
    assert started.rate(Decimal(101)).tiers[0].in_packages


def test_the_breakdown_is_the_one_tier() -> None:
    assert TOKENS.rate(Decimal(10_000_000)).tiers == (
        TierCharge(MILLION, 10 * MILLION, 10 * MILLION, Decimal("2.50"), MILLION, Decimal(0), Decimal(25)),
    )


def test_a_quantity_above_a_last_tier_that_ends_is_refused() -> None:
    with pytest.raises(NotRatable, match=r"200\.000001 lies above the last tier, which ends at 200"):
        Volume(WITH_FEES).rate(Decimal("200.000001"))


def test_bounds_and_fees_are_prorated() -> None:
    prorated = Volume(WITH_FEES).prorate(ShareOfDays(15, 30))

    assert prorated.rate(Decimal(50)).amount == Decimal("7.5")
    assert prorated.rate(Decimal("50.01")).amount == Decimal("12.5005")


def test_tiers_out_of_order_are_refused() -> None:
    with pytest.raises(InvalidTiers, match="Tier 2 ends at 5") as refusal:
        Volume((Tier(Decimal(10)), Tier(Decimal(5))))

    assert refusal.value.field == "tiers.1.up_to"


@given(tier_lists(), per_units, quantities.filter(bool))
def test_the_amount_is_that_of_one_tier_alone(tiers: tuple[Tier, ...], per: Decimal, quantity: Decimal) -> None:
    tier = next(tier for tier in tiers if tier.up_to is None or quantity <= tier.up_to)
    alone = Graduated((Tier(None, tier.unit_amount, tier.flat_amount),), per)

    assert Volume(tiers, per).rate(quantity).amount == alone.rate(quantity).amount


@given(tier_lists())
def test_each_bound_still_belongs_to_the_tier_that_it_ends(tiers: tuple[Tier, ...]) -> None:
    for tier in tiers:
        if tier.up_to is not None:
            assert Volume(tiers).rate(tier.up_to).tiers[0].unit_amount == tier.unit_amount
            with exact_arithmetic():
                above = Volume(tiers).rate(tier.up_to + Decimal("0.000001")).tiers[0]
            assert above.lower == tier.up_to


@given(unit_amounts, per_units, quantities)
def test_with_one_tier_volume_is_graduated(unit_amount: Decimal, per: Decimal, quantity: Decimal) -> None:
    tiers = (Tier(None, unit_amount),)

    assert Volume(tiers, per).rate(quantity).amount == Graduated(tiers, per).rate(quantity).amount
