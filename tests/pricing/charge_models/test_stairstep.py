from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.base import NotRatable, Tier
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.tiers import InvalidTiers
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import quantities, small_tiers


def step(up_to: str | None, amount: str) -> Tier:
    return Tier(None if up_to is None else Decimal(up_to), flat_amount=Decimal(amount))


PLANS = Stairstep((step("10000", "5"), step("30000", "22"), step("100000", "99")))


@pytest.mark.parametrize(
    ("quantity", "exact"),
    [
        ("0", "0"),
        ("0.000001", "5"),
        ("9999.999999", "5"),
        ("10000", "5"),
        ("10000.000001", "22"),
        ("30000", "22"),
        ("30001", "99"),
        ("100000", "99"),
        ("-1", "0"),
    ],
)
def test_the_whole_quantity_costs_the_amount_of_its_step(quantity: str, exact: str) -> None:
    assert PLANS.rate(Decimal(quantity)).amount == Decimal(exact)


def test_the_first_step_may_be_due_at_zero() -> None:
    due = Stairstep(PLANS.tiers, charge_flat_fee_at_zero=True)

    assert due.rate(Decimal(0)).amount == 5
    assert due.rate(Decimal(-1)).amount == 0


def test_above_the_last_step_there_is_no_price() -> None:
    with pytest.raises(NotRatable, match="which ends at 100,000"):
        PLANS.rate(Decimal("100000.000001"))


def test_the_last_step_may_have_no_end() -> None:
    assert Stairstep((step("10", "1"), step(None, "2"))).rate(Decimal(10**9)).amount == 2


def test_bounds_and_amounts_are_prorated() -> None:
    prorated = PLANS.prorate(ShareOfDays(15, 30))

    assert prorated.rate(Decimal(5000)).amount == Decimal("2.5")
    assert prorated.rate(Decimal(5001)).amount == 11


@pytest.mark.parametrize(
    ("wrong", "field", "sentence"),
    [
        (Tier(None, Decimal("0.01"), Decimal(1)), "tiers.1.unit_amount", "has a unit price"),
        (Tier(None, Decimal(0), Decimal(1), Decimal(10)), "tiers.1.package_size", "has a package size"),
        (step("10000", "-1"), "tiers.1.flat_amount", "negative price"),
        (step("10000", "1"), "tiers.1.up_to", "Let it end above 10,000"),
    ],
)
def test_what_is_no_step_is_refused(wrong: Tier, field: str, sentence: str) -> None:
    with pytest.raises(InvalidTiers, match=sentence) as refusal:
        Stairstep((step("10000", "5"), wrong))

    assert refusal.value.field == field


@given(small_tiers(unit_prices=False), quantities, quantities)
def test_with_rising_steps_more_never_costs_less(tiers: tuple[Tier, ...], one: Decimal, other: Decimal) -> None:
    amounts = sorted(tier.flat_amount for tier in tiers)
    ends = [*(tier.up_to for tier in tiers[:-1]), None]
    rising = Stairstep(tuple(Tier(end, flat_amount=amount) for end, amount in zip(ends, amounts, strict=True)))
    smaller, larger = sorted([one, other])

    assert rising.rate(smaller).amount <= rising.rate(larger).amount
