"""Prices in words, for every charge model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import (
    BillingTiming,
    ChargeModelName,
    FailurePolicy,
    PriceVersion,
    PricingUnit,
    QuantityRounding,
    Recurrence,
)
from apps.products.services import ChargedFor, add_price
from apps.products.terms import PriceTerms
from apps.products.wording import bounds_in_words, included_in_words, price_in_a_sentence, price_in_words
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db

MODEL = ChargeModelName
D = Decimal
TIERS = (Tier(D(1000), D(3), D(5)), Tier(None, D(2)))


def stored(terms: PriceTerms, **charged: Any) -> PriceVersion:
    metric = BillableMetricFactory(
        carries_over=terms.charge_model == MODEL.SEATS,
        group_by=("model",),
        outcome_property="status",
        outcome_values=("failed",),
    )
    is_fee = terms.charge_model == MODEL.FLAT
    return add_price(
        plan_version=PlanVersionFactory(),
        charged=ChargedFor(product=ProductFactory(), name="Line", metric=None if is_fee else metric, **charged),
        terms=terms,
        now=timezone.now(),
    )


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (PriceTerms(MODEL.FLAT, flat_amount=D(99)), ["$99.00 per month"]),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D("2.5"), per_units=D(1000)), ["$2.50 per 1,000 tokens"]),
        (PriceTerms(MODEL.PACKAGE, unit_amount=D(3), package_size=D(100)), ["$3.00 per started 100 tokens"]),
        (
            PriceTerms(MODEL.GRADUATED, tiers=TIERS),
            ["Per token:", "$3.00 and $5.00 once up to 1,000", "$2.00 above 1,000"],
        ),
        (
            PriceTerms(MODEL.GRADUATED, tiers=(Tier(None, D(3), package_size=D(10)),)),
            ["Per token:", "$3.00 per started 10 all units"],
        ),
        (
            PriceTerms(MODEL.VOLUME, tiers=TIERS, per_units=D(1000)),
            [
                "Per 1,000 tokens, all units at the price of one tier:",
                "$3.00 and $5.00 once up to 1,000",
                "$2.00 above 1,000",
            ],
        ),
        (
            PriceTerms(MODEL.STAIRSTEP, tiers=(Tier(D(10), flat_amount=D(5)), Tier(None, flat_amount=D(9)))),
            ["For the whole quantity:", "$5.00 up to 10", "$9.00 above 10"],
        ),
        (
            PriceTerms(MODEL.PERCENTAGE, rate_percent=D("2.9"), fixed_amount=D("0.3"), transaction_maximum=D(20)),
            ["2.9% of each transaction and $0.30, at most $20.00 each"],
        ),
        (
            PriceTerms(MODEL.GRADUATED_PERCENTAGE, tiers=TIERS),
            ["Of the amounts:", "3% and $5.00 once up to $1,000.00", "2% above $1,000.00"],
        ),
        (
            PriceTerms(
                MODEL.MATRIX, dimensions=("model",), rows=(MatrixRow(("large",), D(3)), MatrixRow((None,), D(1)))
            ),
            ["Per token, by model:", "$3.00 large", "$1.00 all other usage"],
        ),
        (PriceTerms(MODEL.AMOUNT_IN_EVENT, multiplier=D("1.2")), ["The amounts in events × 1.2"]),
        (PriceTerms(MODEL.SEATS, unit_amount=D(20)), ["$20.00 per token and month"]),
    ],
)
def test_every_model_is_put_into_words(terms: PriceTerms, words: list[str]) -> None:
    assert price_in_words(stored(terms)) == words


def test_a_fee_says_how_often_and_when_it_is_billed() -> None:
    fee = PriceTerms(MODEL.FLAT, flat_amount=D(99))
    assert price_in_words(stored(fee, recurrence=Recurrence.ONE_OFF)) == ["$99.00 once"]
    assert price_in_words(stored(fee, timing=BillingTiming.ADVANCE)) == ["$99.00 per month, in advance"]


def test_a_long_matrix_is_told_by_its_first_rows() -> None:
    rows = tuple(MatrixRow((f"model {number}",), D(number)) for number in range(1, 21))
    words = price_in_words(stored(PriceTerms(MODEL.MATRIX, dimensions=("model",), rows=rows)))
    assert (len(words), words[1], words[-1]) == (10, "$1.00 model 1", "and 12 more")


def test_a_price_in_credits_is_in_credits() -> None:
    unit = PricingUnit.objects.create(code="credit", singular="credit", plural="credits")
    version = stored(
        PriceTerms(MODEL.PER_UNIT, unit_amount=D(10), pricing_unit_rate=D("0.01"), minimum=D(1)), pricing_unit=unit
    )
    assert price_in_words(version) == ["10 credits per token"]
    assert bounds_in_words(version) == ["at least 1 credit", "one credit is $0.01"]


def test_a_sentence_keeps_the_capitals_of_names() -> None:
    rows = (MatrixRow(("GPT",), D(1)),)
    version = stored(PriceTerms(MODEL.MATRIX, dimensions=("model",), rows=rows))
    assert price_in_a_sentence(version) == "per token, by model $1.00 GPT"


@pytest.mark.parametrize(
    ("terms", "included"),
    [
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D(1)), ""),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D(1), included_units=D(1)), "1 token"),
        (PriceTerms(MODEL.PER_UNIT, unit_amount=D(1), included_units=D(1000)), "1,000 tokens"),
        (
            PriceTerms(MODEL.PERCENTAGE, rate_percent=D(1), included_units=D(50), free_transactions=1),
            "1 transaction, $50.00",
        ),
    ],
)
def test_what_is_included_is_said_in_what_it_is(terms: PriceTerms, included: str) -> None:
    assert included_in_words(stored(terms)) == included


def test_what_stands_around_a_price_is_said() -> None:
    terms = PriceTerms(
        MODEL.PER_UNIT,
        unit_amount=D(1),
        maximum=D(500),
        divide_by=D(60),
        quantity_rounding=QuantityRounding.CEIL,
        failures=FailurePolicy.FREE_UP_TO,
        free_failures=D(10),
    )
    assert bounds_in_words(stored(terms)) == [
        "at most $500.00",
        "quantity divided by 60, rounded up",
        "the first 10 failed are free",
    ]
