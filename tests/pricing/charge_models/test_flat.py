from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from apps.pricing.charge_models.base import ModelRating
from apps.pricing.charge_models.flat import Flat
from apps.pricing.periods import ShareOfDays
from tests.pricing.strategies import exact_amounts, quantities


@given(exact_amounts, quantities)
def test_a_flat_fee_is_the_same_for_every_quantity(amount: Decimal, quantity: Decimal) -> None:
    assert Flat(amount).rate(quantity) == Flat(amount).rate(-quantity) == ModelRating(amount=amount, tiers=())


def test_a_flat_fee_is_prorated_by_days() -> None:
    assert Flat(Decimal("99.00")).prorate(ShareOfDays(15, 30)) == Flat(Decimal("49.50"))


def test_a_prorated_fee_without_end_keeps_forty_decimals() -> None:
    rating = Flat(Decimal(10)).prorate(ShareOfDays(10, 30)).rate(Decimal(0))

    assert rating.amount == Decimal("3.3333333333333333333333333333333333333333")


def test_a_float_is_no_fee() -> None:
    with pytest.raises(TypeError, match="not float"):
        Flat(99.0)  # type: ignore[arg-type]
