from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.base import InvalidPrice
from apps.pricing.charge_models.package import Package
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import quantities, unit_amounts

THOUSANDS = Package(unit_amount=Decimal("0.03"), package_size=Decimal(1000))

sizes = st.sampled_from([Decimal(1), Decimal(60), Decimal("2.5"), Decimal(1000)])
packages = st.builds(Package, unit_amounts, sizes)


@pytest.mark.parametrize(
    ("quantity", "exact"),
    [
        ("0", "0"),
        ("0.000001", "0.03"),
        ("1", "0.03"),
        ("999.999999", "0.03"),
        ("1000", "0.03"),
        ("1000.000001", "0.06"),
        ("1001", "0.06"),
        ("2000", "0.06"),
        ("150001", "4.53"),
        # Corrections outweigh usage: no package is started, and none given back.
        ("-1", "0"),
        ("-5000", "0"),
    ],
)
def test_each_started_package_is_charged_whole(quantity: str, exact: str) -> None:
    assert THOUSANDS.rate(Decimal(quantity)).amount == Decimal(exact)


def test_a_package_may_hold_a_part_of_a_unit() -> None:
    # 0.7 are two packages of 0.3 and a started third.
    assert Package(Decimal(2), Decimal("0.3")).rate(Decimal("0.7")).amount == 6


def test_a_package_holds_as_much_in_a_part_of_the_period() -> None:
    assert THOUSANDS.prorate(ShareOfDays(1, 31)) == THOUSANDS


@pytest.mark.parametrize("size", ["0", "-1000"])
def test_an_empty_package_is_refused(size: str) -> None:
    with pytest.raises(InvalidPrice, match="number of units above zero, not") as refusal:
        Package(Decimal(1), Decimal(size))

    assert refusal.value.field == "package_size"


@given(packages, st.integers(0, 10**6))
def test_full_packages_cost_their_price(price: Package, count: int) -> None:
    with exact_arithmetic():
        assert price.rate(price.package_size * count).amount == price.unit_amount * count


@given(packages, st.integers(0, 10**6))
def test_the_least_more_than_full_packages_starts_another(price: Package, count: int) -> None:
    with exact_arithmetic():
        quantity = price.package_size * count + Decimal("0.000001")
        assert price.rate(quantity).amount == price.unit_amount * (count + 1)


@given(packages, quantities, quantities)
def test_more_never_costs_less(price: Package, one: Decimal, other: Decimal) -> None:
    smaller, larger = sorted([one, other])

    assert price.rate(smaller).amount <= price.rate(larger).amount


@given(packages, quantities)
def test_packages_cost_less_than_one_more_than_their_units(price: Package, quantity: Decimal) -> None:
    with exact_arithmetic():
        of_units = price.unit_amount * quantity / price.package_size
        assert of_units <= price.rate(quantity).amount + Decimal("1E-40")
        assert price.rate(quantity).amount <= of_units + price.unit_amount
