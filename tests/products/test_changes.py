"""What changed from one price to the next: a table for every charge model, and plans against each other."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.changes import Change, PlannedCharge, Wording, changes_between, plan_changes
from apps.products.history import State, recorded_by, revisions
from apps.products.models import ChargeModelName, FailurePolicy, PlanVersion, QuantityRounding
from apps.products.selectors import prices_by_plan_version
from apps.products.services import ChargedFor
from apps.products.terms import PriceTerms
from tests.conftest import utc
from tests.factories import BillableMetricFactory, ProductFactory
from tests.price_changes import change_price, plan_in_two_currencies

MILLION = Decimal(1_000_000)
WORDS = Wording("USD", "token", "tokens")


def d(text: str) -> Decimal:
    return Decimal(text)


def tiers(*given: tuple[str | None, str] | tuple[str | None, str, str]) -> tuple[Tier, ...]:
    return tuple(
        Tier(None if up_to is None else d(up_to), d(amount), d(flat[0]) if flat else Decimal(0))
        for up_to, amount, *flat in given
    )


def rows(*given: tuple[tuple[str | None, ...], str]) -> tuple[MatrixRow, ...]:
    return tuple(MatrixRow(values=values, unit_amount=d(amount)) for values, amount in given)


Model = ChargeModelName
CASES: list[tuple[str, PriceTerms, PriceTerms, list[tuple[str, str, str]]]] = [
    (
        "flat",
        PriceTerms(Model.FLAT, flat_amount=d("500")),
        PriceTerms(Model.FLAT, flat_amount=d("450.5")),
        [("Fee", "$500.00", "$450.50")],
    ),
    (
        "per unit",
        PriceTerms(Model.PER_UNIT, unit_amount=d("2.5"), per_units=MILLION),
        PriceTerms(Model.PER_UNIT, unit_amount=d("0.0022"), per_units=d("1000"), included_units=d("100")),
        [
            ("Price", "$2.50", "$0.0022"),
            ("Price is for", "1,000,000 tokens", "1,000 tokens"),
            ("Included", "none", "100 tokens"),
        ],
    ),
    (
        "package",
        PriceTerms(Model.PACKAGE, unit_amount=d("5"), package_size=d("100")),
        PriceTerms(Model.PACKAGE, unit_amount=d("5"), package_size=d("250"), minimum=d("10")),
        [("Package", "100 tokens", "250 tokens"), ("Minimum", "none", "$10.00")],
    ),
    (
        "graduated, one tier changed",
        PriceTerms(Model.GRADUATED, tiers=tiers(("1000000", "3"), (None, "2.5"))),
        PriceTerms(Model.GRADUATED, tiers=tiers(("1000000", "3"), (None, "2.2"))),
        [("Above 1,000,000", "$2.50", "$2.20")],
    ),
    (
        "graduated, another bound",
        PriceTerms(Model.GRADUATED, tiers=tiers(("1000", "3"), (None, "2"))),
        PriceTerms(Model.GRADUATED, tiers=tiers(("1000", "3"), ("5000", "2", "7"), (None, "1"))),
        [
            ("1,000 to 5,000", "none", "$2.00 and $7.00 once"),
            ("Above 1,000", "$2.00", "none"),
            ("Above 5,000", "none", "$1.00"),
        ],
    ),
    (
        "volume",
        PriceTerms(Model.VOLUME, tiers=tiers((None, "3"))),
        PriceTerms(Model.VOLUME, tiers=tiers((None, "2")), flat_fee_at_zero_usage=True),
        [("All units", "$3.00", "$2.00"), ("First tier's fee without usage", "no", "yes")],
    ),
    (
        "stairstep",
        PriceTerms(Model.STAIRSTEP, tiers=tiers(("10", "0", "50"), (None, "0", "90"))),
        PriceTerms(Model.STAIRSTEP, tiers=tiers(("10", "0", "55"), (None, "0", "90"))),
        [("Up to 10", "$50.00", "$55.00")],
    ),
    (
        "percentage",
        PriceTerms(Model.PERCENTAGE, rate_percent=d("2.9"), fixed_amount=d("0.30")),
        PriceTerms(
            Model.PERCENTAGE,
            rate_percent=d("2.5"),
            free_transactions=10,
            transaction_minimum=d("0.05"),
            transaction_maximum=d("9"),
        ),
        [
            ("Rate", "2.9%", "2.5%"),
            ("Fee for each transaction", "$0.30", "none"),
            ("Least for each transaction", "none", "$0.05"),
            ("Most for each transaction", "none", "$9.00"),
            ("Free transactions", "none", "10"),
        ],
    ),
    (
        "graduated percentage",
        PriceTerms(Model.GRADUATED_PERCENTAGE, tiers=tiers(("1000", "3"), (None, "2"))),
        PriceTerms(Model.GRADUATED_PERCENTAGE, tiers=tiers(("1000", "2.75"), (None, "2"))),
        [("Up to 1,000", "3%", "2.75%")],
    ),
    (
        "matrix",
        PriceTerms(
            Model.MATRIX,
            dimensions=("model",),
            rows=rows((("large",), "3"), (("small",), "1"), ((None,), "2")),
        ),
        PriceTerms(
            Model.MATRIX,
            dimensions=("model",),
            rows=rows((("large",), "2.5"), (("tiny",), "0.5"), ((None,), "2")),
        ),
        [("large", "$3.00", "$2.50"), ("tiny", "none", "$0.50"), ("small", "$1.00", "none")],
    ),
    (
        "matrix, another dimension",
        PriceTerms(Model.MATRIX, dimensions=("model",), rows=rows(((None,), "2"))),
        PriceTerms(Model.MATRIX, dimensions=("model", "region"), rows=rows((("large", None), "2"))),
        [
            ("Dimensions", "model", "model, region"),
            ("large, any", "none", "$2.00"),
            ("All other usage", "$2.00", "none"),
        ],
    ),
    (
        "amount in event",
        PriceTerms(Model.AMOUNT_IN_EVENT, multiplier=d("1.2")),
        PriceTerms(Model.AMOUNT_IN_EVENT, multiplier=d("1.15"), maximum=d("1000")),
        [("Multiplier", "1.2", "1.15"), ("Maximum", "none", "$1,000.00")],
    ),
    (
        "seats",
        PriceTerms(Model.SEATS, unit_amount=d("20")),
        PriceTerms(Model.SEATS, unit_amount=d("25"), prorates_removed=False),
        [("Price", "$20.00", "$25.00"), ("Removed seats by day", "yes", "no")],
    ),
    (
        "another model",
        PriceTerms(Model.FLAT, flat_amount=d("500")),
        PriceTerms(Model.SEATS, unit_amount=d("25")),
        [
            ("Charge model", "Flat fee", "Seats, by the days they are held"),
            ("Fee", "$500.00", "none"),
            ("Price", "none", "$25.00"),
        ],
    ),
    (
        "conversion and failures",
        PriceTerms(Model.PER_UNIT, unit_amount=d("1")),
        PriceTerms(
            Model.PER_UNIT,
            unit_amount=d("1"),
            divide_by=d("60"),
            quantity_rounding=QuantityRounding.CEIL,
            failures=FailurePolicy.FREE_UP_TO,
            free_failures=d("5"),
        ),
        [
            ("Quantity is divided by", "none", "60"),
            ("Free failed units", "none", "5"),
            ("Rounding of the quantity", "none", "Up: started units count"),
            (
                "Failed outcomes",
                "Failed outcomes are charged like others",
                "Failed outcomes are free up to a number",
            ),
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "changes"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_price_against_the_next(old: PriceTerms, new: PriceTerms, changes: list[tuple[str, str, str]]) -> None:
    assert changes_between(old, new, WORDS) == [Change(*change) for change in changes]
    assert {(change.label, change.after, change.before) for change in changes_between(new, old, WORDS)} == set(changes)


@pytest.mark.parametrize("terms", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_nothing_has_changed_from_a_price_to_itself(terms: PriceTerms) -> None:
    assert changes_between(terms, terms, WORDS) == []


def test_every_model_is_in_the_table() -> None:
    assert {case[1].charge_model for case in CASES} == set(ChargeModelName)


def test_prices_in_credits_are_told_in_credits_and_their_worth_in_money() -> None:
    old = PriceTerms(Model.PER_UNIT, unit_amount=d("1"), pricing_unit_rate=d("0.01"))
    new = PriceTerms(Model.PER_UNIT, unit_amount=d("10"), pricing_unit_rate=d("0.008"))
    words = Wording("USD", priced_in=("credit", "credits"))
    assert changes_between(old, new, words) == [
        Change("Price", "1 credit", "10 credits"),
        Change("One pricing unit is worth", "$0.01", "$0.008"),
    ]


def test_amounts_are_told_in_their_currency() -> None:
    old, new = (PriceTerms(Model.FLAT, flat_amount=d(amount)) for amount in ("500", "450"))
    assert changes_between(old, new, Wording("JPY")) == [Change("Fee", "¥500", "¥450")]


# --- Plans -----------------------------------------------------------------------------------------------------------


def charge(name: str, amount: str, **fixed: Any) -> PlannedCharge:
    terms = PriceTerms(Model.FLAT, flat_amount=d(amount))
    return PlannedCharge(ChargedFor(name=name, **fixed), {"USD": terms})


@pytest.mark.django_db
def test_a_plan_against_the_next_tells_what_is_added_removed_and_changed() -> None:
    chat, images = ProductFactory(name="Chat"), ProductFactory(name="Images")
    old = [charge("Platform fee", "500", product=chat), charge("Support", "50", product=images)]
    new = [charge("Platform fee", "450", product=chat), charge("Storage", "5", product=chat)]
    found = plan_changes(old, new)
    assert [each.charged.name for each in found.added] == ["Storage"]
    assert [each.charged.name for each in found.removed] == ["Support"]
    assert [(each.charged.name, changes) for each, changes in found.changed] == [
        ("Platform fee", (Change("Fee", "$500.00", "$450.00"),))
    ]


@pytest.mark.django_db
def test_a_renamed_charge_is_the_same_charge() -> None:
    product, metric = ProductFactory(), BillableMetricFactory()
    old = [charge("Tokens", "5", product=product, metric=metric)]
    new = [charge("Input tokens", "5", product=product, metric=metric)]
    found = plan_changes(old, new)
    assert not found.added
    assert not found.removed
    assert found.changed[0][1] == (Change("Line", "Tokens", "Input tokens"),)


@pytest.mark.django_db
def test_the_same_plan_has_no_changes() -> None:
    fee = charge("Platform fee", "500", product=ProductFactory())
    assert plan_changes([fee], [fee]).is_empty


# --- The history of a price ------------------------------------------------------------------------------------------


@pytest.fixture
def plan(db: None) -> PlanVersion:
    return plan_in_two_currencies(BillableMetricFactory())


def history_of(plan: PlanVersion, now: dt.datetime) -> list[tuple[str, str, str]]:
    [price] = prices_by_plan_version([plan.pk])[plan.pk]
    price.plan_version = plan
    found = revisions(price, now=now, authors=recorded_by([price.pk]))["USD"]
    return [
        (format(each.version.unit_amount, ".2f"), each.state.value, each.changes[0].before if each.changes else "")
        for each in found
    ]


def test_the_history_of_a_price_tells_what_held_when(plan: PlanVersion) -> None:
    change_price(plan, "0.20", from_day=dt.date(2023, 12, 1))
    change_price(plan, "0.30", from_day=dt.date(2024, 2, 1))
    change_price(plan, "0.31", from_day=dt.date(2024, 2, 1), now=utc(2023, 12, 24))
    assert history_of(plan, utc(2024, 1, 1)) == [
        ("0.31", "scheduled", "$0.30"),
        ("0.30", "superseded", "$0.20"),
        ("0.20", "in_force", "$0.10"),
        ("0.10", "past", ""),
    ]


def test_a_price_that_was_corrected_after_it_began_did_hold(plan: PlanVersion) -> None:
    change_price(plan, "0.20", from_day=dt.date(2023, 12, 1))
    change_price(plan, "0.21", from_day=dt.date(2023, 12, 1), now=utc(2023, 12, 10))
    states = [state for _, state, _ in history_of(plan, utc(2024, 1, 1))]
    assert states == [State.IN_FORCE, State.PAST, State.PAST]
