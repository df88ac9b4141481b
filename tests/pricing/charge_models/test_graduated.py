from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import NotRatable, Tier, TierCharge
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers
from apps.pricing.money import exact_arithmetic, settle
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import decimals, graduated_prices, per_units, quantities, tier_lists, unit_amounts

MILLION = Decimal(1_000_000)
TOKENS = Graduated(
    tiers=(
        Tier(up_to=MILLION, unit_amount=Decimal("3.00")),
        Tier(up_to=10 * MILLION, unit_amount=Decimal("2.50")),
        Tier(up_to=None, unit_amount=Decimal("2.00")),
    ),
    per_units=MILLION,
)
WITH_FEES = (
    Tier(up_to=Decimal(100), unit_amount=Decimal("0.10"), flat_amount=Decimal("5.00")),
    Tier(up_to=None, unit_amount=Decimal("0.05"), flat_amount=Decimal("20.00")),
)


def tier(up_to: str | None, unit_amount: str = "1", flat_amount: str = "0") -> Tier:
    return Tier(None if up_to is None else Decimal(up_to), Decimal(unit_amount), Decimal(flat_amount))


@pytest.mark.parametrize(
    ("quantity", "exact"),
    [
        ("0", "0"),
        ("500000", "1.50"),
        ("1000000", "3.00"),
        ("1000000.5", "3.00000125"),
        ("1000001", "3.0000025"),
        ("10000000", "25.50"),
        ("12345678", "30.191356"),
        ("25000000", "55.50"),
    ],
)
def test_each_unit_has_the_price_of_its_own_tier(quantity: str, exact: str) -> None:
    assert TOKENS.rate(Decimal(quantity)).amount == Decimal(exact)


def test_the_breakdown_shows_what_each_tier_costs() -> None:
    rating = TOKENS.rate(Decimal(12_345_678))

    assert rating.tiers == (
        TierCharge(Decimal(0), MILLION, MILLION, Decimal("3.00"), MILLION, Decimal(0), Decimal("3.00")),
        TierCharge(MILLION, 10 * MILLION, 9 * MILLION, Decimal("2.50"), MILLION, Decimal(0), Decimal("22.50")),
        TierCharge(10 * MILLION, None, Decimal(2_345_678), Decimal("2.00"), MILLION, Decimal(0), Decimal("4.691356")),
    )


@pytest.mark.parametrize(
    ("quantity", "at_zero", "exact"),
    [
        ("0", False, "0"),
        ("0", True, "5.00"),
        ("0.01", False, "5.001"),
        ("100", False, "15.00"),
        ("100", True, "15.00"),
        # The second fee falls due with the first unit above the bound.
        ("100.01", False, "35.0005"),
        ("200", False, "40.00"),
    ],
)
def test_a_flat_fee_is_charged_when_its_tier_is_reached(quantity: str, at_zero: bool, exact: str) -> None:
    price = Graduated(tiers=WITH_FEES, charge_flat_fee_at_zero=at_zero)

    assert price.rate(Decimal(quantity)).amount == Decimal(exact)


def test_zero_usage_reaches_no_tier() -> None:
    assert Graduated(tiers=WITH_FEES).rate(Decimal(0)).tiers == ()


@pytest.mark.parametrize("at_zero", [False, True])
def test_a_negative_quantity_has_the_first_price_and_no_flat_fee(at_zero: bool) -> None:
    rating = Graduated(tiers=WITH_FEES, charge_flat_fee_at_zero=at_zero).rate(Decimal(-30))

    assert rating.amount == Decimal("-3.00")
    assert rating.tiers == (
        TierCharge(Decimal(0), Decimal(100), Decimal(-30), Decimal("0.10"), Decimal(1), Decimal(0), Decimal("-3.00")),
    )


def test_bounds_and_flat_fees_are_prorated_and_unit_prices_are_not() -> None:
    prorated = Graduated(tiers=WITH_FEES).prorate(ShareOfDays(15, 30))

    assert prorated.tiers == (tier("50", "0.10", "2.50"), tier(None, "0.05", "10.00"))


def test_parts_that_do_not_end_add_up_to_the_half_cent_that_rounds_up() -> None:
    fees = (tier("3", "0", "0.01"), tier("6", "0", "0.01"), tier(None, "0", "0.025"))

    rating = Graduated(tiers=fees).prorate(ShareOfDays(10, 30)).rate(Decimal(9))

    # A third of 0.01, of 0.01 and of 0.025; any of the three cut short would make it less than 0.015.
    assert rating.amount == Decimal("0.015")


def test_a_share_of_no_days_leaves_no_bounds() -> None:
    with pytest.raises(InvalidTiers, match="Tier 1 ends at 0"):
        TOKENS.prorate(ShareOfDays(0, 30))


@pytest.mark.parametrize(
    ("tiers", "sentence"),
    [
        ([], "There are no tiers. Add at least one, with an empty upper end."),
        ([tier("0"), tier(None)], "Tier 1 ends at 0. Let it end above 0."),
        ([tier("-5"), tier(None)], "Tier 1 ends at -5. Let it end above 0."),
        (
            [tier("1000"), tier("1000"), tier(None)],
            "Tier 2 ends at 1,000. Let it end above 1,000, where tier 1 ends.",
        ),
        (
            [tier("1000"), tier("2000"), tier("1500.5"), tier(None)],
            "Tier 3 ends at 1,500.5. Let it end above 2,000, where tier 2 ends.",
        ),
        ([tier("10"), tier(None), tier("20")], "Tier 2 has no upper end but is not the last. Enter its last unit."),
        ([tier(None), tier(None)], "Tier 1 has no upper end but is not the last. Enter its last unit."),
        ([tier("10"), tier(None, "-1")], "Tier 2 has a negative price. Enter 0 or more."),
        ([tier(None, "1", "-1")], "Tier 1 has a negative price. Enter 0 or more."),
    ],
)
def test_tiers_that_leave_a_doubt_are_refused(tiers: list[Tier], sentence: str) -> None:
    with pytest.raises(InvalidTiers) as refusal:
        check_tiers(tiers)

    assert str(refusal.value) == sentence


def test_a_price_with_such_tiers_cannot_be_made() -> None:
    with pytest.raises(InvalidTiers):
        Graduated(tiers=(tier("10"), tier("5")))


def test_a_last_tier_may_end() -> None:
    closed = Graduated(tiers=(tier("1000", "2"), tier("2000")))

    assert closed.rate(Decimal(2000)).amount == Decimal(3000)


@pytest.mark.parametrize("quantity", ["2000.000001", "5000"])
def test_a_quantity_above_a_last_tier_that_ends_has_no_price(quantity: str) -> None:
    closed = Graduated(tiers=(tier("1000", "2"), tier("2000")))

    with pytest.raises(NotRatable, match="above the last tier, which ends at 2,000"):
        closed.rate(Decimal(quantity))


def test_tiers_of_floats_are_refused() -> None:
    with pytest.raises(TypeError, match="not float"):
        Graduated(tiers=(Tier(up_to=None, unit_amount=0.5),))  # type: ignore[arg-type]


@given(tier_lists())
def test_tiers_that_follow_one_another_are_accepted(tiers: tuple[Tier, ...]) -> None:
    check_tiers(tiers)

    assert Graduated(tiers=tiers).tiers == tiers


@given(graduated_prices, quantities)
def test_the_tiers_cover_the_quantity_exactly(price: Graduated, quantity: Decimal) -> None:
    charges = price.rate(quantity).tiers

    assert sum(charge.quantity for charge in charges) == quantity
    assert all(charge.upper == following.lower for charge, following in pairwise(charges))
    assert all(charge.upper is None or charge.lower + charge.quantity <= charge.upper for charge in charges)


@given(graduated_prices, quantities)
def test_the_tiers_add_up_to_the_amount(price: Graduated, quantity: Decimal) -> None:
    rating = price.rate(quantity)

    with exact_arithmetic():
        difference = abs(sum((charge.amount for charge in rating.tiers), Decimal(0)) - rating.amount)
    assert difference < Decimal("1E-38")


@given(graduated_prices, quantities, quantities)
def test_more_never_costs_less(price: Graduated, one: Decimal, other: Decimal) -> None:
    smaller, larger = sorted([one, other])

    assert price.rate(smaller).amount <= price.rate(larger).amount


@given(tier_lists(with_flat_fees=False), quantities, decimals("0.000001", "1", 6))
def test_without_flat_fees_a_little_more_costs_a_little_more(
    tiers: tuple[Tier, ...], quantity: Decimal, step: Decimal
) -> None:
    price, dearest = Graduated(tiers=tiers), max(tier.unit_amount for tier in tiers)

    for start in [quantity, *(tier.up_to for tier in tiers if tier.up_to is not None)]:
        with exact_arithmetic():
            rise = price.rate(start + step).amount - price.rate(start).amount
            assert 0 <= rise <= step * dearest


@given(tier_lists(), per_units, quantities, quantities)
def test_a_tier_cut_in_two_at_the_same_price_costs_the_same(
    tiers: tuple[Tier, ...], per: Decimal, cut: Decimal, quantity: Decimal
) -> None:
    bounds = [tier.up_to for tier in tiers]
    index = next(index for index, bound in enumerate(bounds) if bound is None or cut < bound)
    if cut == 0 or cut in bounds:
        return
    whole = tiers[index]
    halves = (
        Tier(cut, whole.unit_amount, whole.flat_amount),
        Tier(whole.up_to, whole.unit_amount),
    )
    cut_tiers = (*tiers[:index], *halves, *tiers[index + 1 :])

    # The noise of a division that does not end (per 60) may differ in the last of forty decimals.
    with exact_arithmetic():
        difference = Graduated(cut_tiers, per).rate(quantity).amount - Graduated(tiers, per).rate(quantity).amount
    assert abs(difference) < Decimal("1E-38")


@given(tier_lists(), quantities, quantities)
def test_the_units_between_two_quantities_cost_the_difference(
    tiers: tuple[Tier, ...], one: Decimal, other: Decimal
) -> None:
    price = Graduated(tiers=tiers)
    smaller, larger = sorted([one, other])

    between = Fraction(0)
    lower = Fraction(0)
    for tier in tiers:
        upper = Fraction(larger) if tier.up_to is None else min(Fraction(larger), Fraction(tier.up_to))
        if upper > max(lower, Fraction(smaller)):
            between += (upper - max(lower, Fraction(smaller))) * Fraction(tier.unit_amount)
        if smaller <= lower < larger:
            between += Fraction(tier.flat_amount)
        lower = Fraction(tier.up_to or larger)

    assert Fraction(price.rate(larger).amount) - Fraction(price.rate(smaller).amount) == between


@given(
    tier_lists(bounds=st.integers(1, 60).map(Decimal)),
    st.sampled_from([Decimal(1), Decimal(1000)]),
    st.integers(0, 80),
    st.booleans(),
)
def test_a_slow_calculator_that_prices_unit_by_unit_agrees(
    tiers: tuple[Tier, ...], per: Decimal, quantity: int, at_zero: bool
) -> None:
    amount = Fraction(tiers[0].flat_amount) if quantity == 0 and at_zero else Fraction(0)
    tier_of_last_unit = None
    for unit in range(1, quantity + 1):
        tier_of_unit = next(tier for tier in tiers if tier.up_to is None or unit <= tier.up_to)
        amount += Fraction(tier_of_unit.unit_amount) / Fraction(per)
        if tier_of_unit is not tier_of_last_unit:
            amount += Fraction(tier_of_unit.flat_amount)
        tier_of_last_unit = tier_of_unit

    price = Graduated(tiers=tiers, per_units=per, charge_flat_fee_at_zero=at_zero)
    assert Fraction(price.rate(Decimal(quantity)).amount) == amount


@given(tier_lists(), st.integers(1, 30), quantities)
def test_a_share_of_the_quantity_costs_that_share_under_prorated_tiers(
    tiers: tuple[Tier, ...], days: int, quantity: Decimal
) -> None:
    share, price = ShareOfDays(days, 30), Graduated(tiers=tiers)

    prorated = price.prorate(share).rate(share.apply(quantity)).amount

    assert abs(prorated - settle(share.apply(price.rate(quantity).amount))) < Decimal("1E-20")


@given(unit_amounts, per_units, quantities)
def test_one_tier_is_a_price_per_unit(unit_amount: Decimal, per: Decimal, quantity: Decimal) -> None:
    graduated = Graduated(tiers=(Tier(None, unit_amount),), per_units=per)

    assert graduated.rate(quantity).amount == PerUnit(unit_amount, per).rate(quantity).amount


@given(unit_amounts, quantities)
def test_a_negative_quantity_runs_on_in_a_straight_line(unit_amount: Decimal, quantity: Decimal) -> None:
    price = Graduated(tiers=(Tier(Decimal(10**9), unit_amount), Tier(None, Decimal(0))))

    assert price.rate(-quantity).amount == price.rate(quantity).amount.copy_negate()
