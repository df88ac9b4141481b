from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.common.errors import InvalidInput
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge
from apps.products.models import ChargeModelName, PriceTier, PriceVersion
from apps.products.services import add_price
from apps.products.terms import PriceTerms, charge_of, check_terms, terms_of, tiers_of
from tests.conftest import utc
from tests.factories import BillableMetricFactory, PlanVersionFactory, PriceFactory, ProductFactory
from tests.pricing.strategies import tier_lists

FLAT, PER_UNIT, GRADUATED = ChargeModelName.FLAT, ChargeModelName.PER_UNIT, ChargeModelName.GRADUATED
ONE, LESS = Decimal(1), Decimal("-0.01")
OPEN_TIER = Tier(up_to=None, unit_amount=Decimal("0.05"))
TIERS = (Tier(up_to=Decimal(1000), unit_amount=Decimal("0.10"), flat_amount=Decimal("5.00")), OPEN_TIER)


@pytest.mark.parametrize(
    ("model", "terms", "field", "sentence"),
    [
        (FLAT, PriceTerms(), "flat_amount", "Enter the amount; 0 is allowed."),
        (FLAT, PriceTerms(ChargeModelName.FLAT, flat_amount=LESS), "flat_amount", "A price cannot be negative."),
        (
            FLAT,
            PriceTerms(ChargeModelName.FLAT, flat_amount=ONE, unit_amount=ONE),
            "unit_amount",
            "The flat model takes no unit amount.",
        ),
        (
            FLAT,
            PriceTerms(ChargeModelName.FLAT, flat_amount=ONE, included_units=ONE),
            "included_units",
            "A flat price has no allowance; set it to 0.",
        ),
        (
            FLAT,
            PriceTerms(ChargeModelName.FLAT, flat_amount=ONE, tiers=(OPEN_TIER,)),
            "tiers",
            "The flat model takes no tiers.",
        ),
        (PER_UNIT, PriceTerms(), "unit_amount", "Enter the amount; 0 is allowed."),
        (
            PER_UNIT,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=LESS),
            "unit_amount",
            "A price cannot be negative.",
        ),
        (
            PER_UNIT,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=ONE, flat_amount=ONE),
            "flat_amount",
            "The per unit model takes no flat amount.",
        ),
        (
            PER_UNIT,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=ONE, included_units=LESS),
            "included_units",
            "An allowance cannot be negative.",
        ),
        (
            PER_UNIT,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=ONE, tiers=(OPEN_TIER,)),
            "tiers",
            "The per unit model takes no tiers.",
        ),
        (
            GRADUATED,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=ONE, tiers=(OPEN_TIER,)),
            "unit_amount",
            "The graduated model takes no unit amount.",
        ),
        (
            GRADUATED,
            PriceTerms(ChargeModelName.FLAT, flat_amount=ONE, tiers=(OPEN_TIER,)),
            "flat_amount",
            "The graduated model takes no flat amount.",
        ),
        (GRADUATED, PriceTerms(), "tiers", "There are no tiers. Add at least one, with an empty upper end."),
        (
            GRADUATED,
            PriceTerms(ChargeModelName.GRADUATED, tiers=(TIERS[0],)),
            "tiers",
            "The last tier, tier 1, ends at 1,000. Leave its upper end empty, so that every quantity has a price.",
        ),
        (
            GRADUATED,
            PriceTerms(ChargeModelName.GRADUATED, tiers=(TIERS[0], TIERS[0], OPEN_TIER)),
            "tiers",
            "Tier 2 ends at 1,000. Let it end above 1,000, where tier 1 ends.",
        ),
    ],
)
def test_terms_that_do_not_fit_the_model_are_refused_by_field(
    model: ChargeModelName, terms: PriceTerms, field: str, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_terms(model, terms)

    assert (refusal.value.code, refusal.value.field, refusal.value.detail) == ("invalid_input", field, sentence)


@pytest.mark.parametrize(
    ("model", "terms"),
    [
        (FLAT, PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal("49.00"))),
        (FLAT, PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(0))),
        (
            PER_UNIT,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("0.000000000001"), per_units=Decimal(1_000_000)),
        ),
        (PER_UNIT, PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(0), included_units=Decimal("0.5"))),
        (GRADUATED, PriceTerms(ChargeModelName.GRADUATED, tiers=(OPEN_TIER,))),
        (
            GRADUATED,
            PriceTerms(ChargeModelName.GRADUATED, tiers=TIERS, per_units=Decimal(1000), included_units=Decimal(100)),
        ),
    ],
)
def test_terms_that_fit_are_accepted_stored_and_read_back(db: None, model: ChargeModelName, terms: PriceTerms) -> None:
    stored = add_price(
        plan_version=PlanVersionFactory(),
        product=ProductFactory(),
        metric=None if model == FLAT else BillableMetricFactory(),
        name="A line",
        charge_model=model,
        terms=terms,
        now=utc(2023, 10, 1),
    )

    assert terms_of(PriceVersion.objects.get(pk=stored.pk)) == terms


@pytest.mark.parametrize(
    ("model", "terms", "charge"),
    [
        (FLAT, PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal("49.00")), Charge(Flat(Decimal("49.00")))),
        (
            PER_UNIT,
            PriceTerms(
                ChargeModelName.PER_UNIT,
                unit_amount=Decimal("3.00"),
                per_units=Decimal(1_000_000),
                included_units=Decimal(500),
            ),
            Charge(PerUnit(Decimal("3.00"), Decimal(1_000_000)), included_units=Decimal(500)),
        ),
        (
            GRADUATED,
            PriceTerms(ChargeModelName.GRADUATED, tiers=TIERS, per_units=Decimal(1000)),
            Charge(Graduated(tiers=TIERS, per_units=Decimal(1000))),
        ),
    ],
)
def test_a_stored_version_stands_for_a_charge(
    db: None, model: ChargeModelName, terms: PriceTerms, charge: Charge
) -> None:
    price = PriceFactory(charge_model=model, metric=None if model == FLAT else BillableMetricFactory())
    version = PriceVersion.objects.create(
        price=price,
        recorded_at=utc(2023, 1, 1),
        flat_amount=terms.flat_amount,
        unit_amount=terms.unit_amount,
        per_units=terms.per_units,
        included_units=terms.included_units,
    )
    for tier in reversed(terms.tiers):
        version.tiers.create(up_to=tier.up_to, unit_amount=tier.unit_amount, flat_amount=tier.flat_amount)

    assert charge_of(version) == charge


@pytest.mark.parametrize("model", [FLAT, PER_UNIT])
def test_a_version_without_its_amount_is_not_charged_as_nothing(db: None, model: ChargeModelName) -> None:
    price = PriceFactory(charge_model=model, metric=None if model == FLAT else BillableMetricFactory())
    version = PriceVersion.objects.create(price=price, recorded_at=utc(2023, 1, 1))

    with pytest.raises(ValueError, match="has no amount for its charge model"):
        charge_of(version)


@given(tier_lists(), st.randoms(use_true_random=False))
def test_tiers_stand_by_their_bounds_in_whatever_order_they_come(tiers: tuple[Tier, ...], random: Random) -> None:
    rows = [PriceTier(up_to=tier.up_to, unit_amount=tier.unit_amount, flat_amount=tier.flat_amount) for tier in tiers]

    assert tiers_of(random.sample(rows, len(rows))) == tiers
