"""The calculator beside the price form: amounts and curves for what is being typed, and what is missing in words."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from apps.pricing.charge_models.base import Tier, Usage, UsageGroup
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.matrix import Matrix, MatrixRow
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charges import Charge
from apps.pricing.conversion import Conversion
from apps.products.admin.drawing import draw
from apps.products.estimates import bounds_of, curve, effective_unit_price
from apps.products.models import PriceVersion, PricingUnit
from tests.builders import graduated, published_plan
from tests.factories import BillableMetricFactory, PlanVersionFactory
from tests.pages import viewer

D = Decimal
Ask = Callable[..., str]


@pytest.fixture
def ask(client: Client, clerk: User) -> Ask:
    """Send fields of the form for a plan in dollars; the answer's text without its marks."""
    client.force_login(clerk)
    version = PlanVersionFactory()

    def send(query: str = "", **fields: Any) -> str:
        data = {"plan_version": version.pk, **{name.replace("__", "-"): value for name, value in fields.items()}}
        answer = client.post(reverse("admin:products_priceversion_calculate") + query, data)
        assert answer.status_code == 200
        return words_of(answer.content.decode())

    return send


def words_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


TIERS = {"tiers__up_to": ["1,000", ""], "tiers__unit_amount": ["0.10", "0.05"], "tiers__flat_amount": ["5", ""]}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"charge_model": "flat", "flat_amount": "99"}, ["$99.00"]),
        (
            {"charge_model": "per_unit", "unit_amount": "2.5", "per_units": "1000", "try_quantity": "4,321"},
            [
                "$10.80",
                "4,321 units × 2.50 USD per 1,000",
                "rounded, once, to 10.80 USD",
                "effectively $2.50 per 1,000",
            ],
        ),
        (
            {"charge_model": "package", "unit_amount": "3", "package_size": "100", "try_quantity": "201"},
            ["$9.00", "201 units start 3 packages of 100"],
        ),
        (
            # 5 + 1,000 × 0.10, and 500 × 0.05.
            {"charge_model": "graduated", **TIERS, "try_quantity": "1500"},
            ["$130.00", "Up to 1,000 1,000 $0.10 $5.00 $105.00", "Above 1,000 500 $0.05 $25.00"],
        ),
        (
            {"charge_model": "volume", **TIERS, "try_quantity": "1500"},
            ["$75.00", "Above 1,000 1,500 $0.05 $75.00"],
        ),
        (
            {
                "charge_model": "stairstep",
                "tiers__up_to": ["10", ""],
                "tiers__flat_amount": ["5", "9"],
                "try_quantity": "11",
            },
            ["$9.00", "fall on the step “above 10”"],
        ),
        (
            # 3 × 0.30 + 2.9% of 99.50.
            {
                "charge_model": "percentage",
                "rate_percent": "2.9",
                "fixed_amount": "0.30",
                "try_transactions": "12.50, 80, 7",
            },
            ["$3.79", "3 transactions × 0.30 USD = 0.90 USD", "2.9% of 99.50 USD"],
        ),
        (
            {
                "charge_model": "graduated_percentage",
                "tiers__up_to": ["100", ""],
                "tiers__unit_amount": ["3", "2"],
                "try_transactions": "100 50",
            },
            ["$4.00", "effectively 2.66667% of the amounts"],
        ),
        (
            {"charge_model": "amount_in_event", "multiplier": "1.2", "try_transactions": "10; 5"},
            ["$18.00", "The events come to 15.00 USD."],
        ),
        (
            # 10 seats for 15 of 30 days.
            {
                "charge_model": "seats",
                "unit_amount": "20",
                "try_seats": "10",
                "try_days": "15",
                "try_of_days": "30",
            },
            ["$100.00", "15 of 30 days"],
        ),
        (
            {
                "charge_model": "seats",
                "unit_amount": "20",
                "prorates_added": "no",
                "try_seats": "10",
                "try_days": "15",
                "try_of_days": "30",
            },
            ["$200.00"],
        ),
        (
            {
                "charge_model": "matrix",
                "dimensions": "model",
                "rows__value-model": ["large", ""],
                "rows__unit_amount": ["2", "0.5"],
                "try_row": ["3", "10"],
                "minimum": "20",
            },
            ["$20.00", "large $6.00", "all other usage $5.00", "Minimum $9.00"],
        ),
    ],
)
def test_the_amount_and_its_reasons_are_told_for_every_model(ask: Ask, fields: dict[str, Any], told: list[str]) -> None:
    text = ask(**fields)
    for words in told:
        assert words in text


@pytest.mark.django_db
def test_a_price_in_credits_is_told_in_both(ask: Ask) -> None:
    unit = PricingUnit.objects.create(code="credit", singular="credit", plural="credits")
    text = ask(
        charge_model="per_unit", unit_amount="10", pricing_unit=unit.pk, pricing_unit_rate="0.01", try_quantity="7"
    )
    assert "$0.70" in text
    assert "70 credits × 0.01 USD = 0.70 USD." in text


@pytest.mark.django_db
def test_failed_units_are_asked_for_where_the_price_tells_them_apart(ask: Ask) -> None:
    metric = BillableMetricFactory(outcome_property="status", outcome_values=("failed",))
    text = ask(
        charge_model="per_unit",
        metric=metric.pk,
        unit_amount="1",
        failures="free_up_to",
        free_failures="3",
        try_quantity="10",
        try_failed="5",
    )
    assert "$7.00" in text
    assert "3 of them failed and are free of charge." in text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"charge_model": "per_unit"}, "Unit price: Enter the amount; 0 is allowed."),
        ({"charge_model": "graduated"}, "Tiers: There are no tiers."),
        ({"charge_model": "matrix"}, "Dimensions: A matrix has no dimensions."),
        ({}, "Charge model: This field is required."),
        (
            {"charge_model": "graduated", "tiers__up_to": ["5", "3"], "tiers__unit_amount": ["1", "2"]},
            "Tiers: Tier 2 ends at 3. Let it end above 5, where tier 1 ends.",
        ),
        ({"charge_model": "per_unit", "unit_amount": "1", "minimum": "9", "maximum": "5"}, "above the maximum"),
        ({"charge_model": "per_unit", "unit_amount": "1", "try_quantity": "many"}, "Units: Enter a number."),
        (
            {
                "charge_model": "graduated",
                "tiers__up_to": ["10"],
                "tiers__unit_amount": ["1"],
                "try_quantity": "11",
            },
            "The last tier ends at 10",
        ),
        ({"charge_model": "percentage", "rate_percent": "1", "try_transactions": "5, x"}, "Amounts: Enter a number."),
        (
            {"charge_model": "seats", "unit_amount": "1", "try_days": "31", "try_of_days": "30"},
            "A period has 1 to 366 days",
        ),
    ],
)
def test_what_is_missing_is_said_in_words(ask: Ask, fields: dict[str, Any], fault: str) -> None:
    assert fault in ask(**fields)


@pytest.mark.django_db
def test_findings_stand_beside_the_figures(ask: Ask) -> None:
    text = ask(charge_model="graduated", tiers__up_to=["10", ""], tiers__unit_amount=["1", "2"])
    assert "Tier 2 has a price of $2.00, and tier 1 before it a price of $1.00." in text


@pytest.mark.django_db
def test_new_amounts_of_a_published_price_are_tried(ask: Ask) -> None:
    published_plan(graduated(BillableMetricFactory(), ("1000", "3"), (None, "2")))
    query = f"?schedule={PriceVersion.objects.get().price_id}"
    assert "$200.00" in ask(query, charge_model="per_unit", unit_amount="4", try_quantity="50")


@pytest.mark.django_db
def test_a_reader_does_not_calculate(client: Client) -> None:
    client.force_login(viewer("products.priceversion"))
    assert client.post(reverse("admin:products_priceversion_calculate")).status_code == 403


# --- Curves ----------------------------------------------------------------------------------------------------------


def amounts(charge: Charge, **kwargs: Any) -> dict[Decimal, Decimal]:
    return {point.quantity: point.amount for point in curve(charge, "USD", **kwargs)}


def test_a_curve_has_both_sides_of_each_bound() -> None:
    charge = Charge(Stairstep((Tier(D(100), flat_amount=D(5)), Tier(None, flat_amount=D(9)))))
    found = amounts(charge)
    assert (found[D(0)], found[D(100)], found[D("100.1")]) == (D("0.00"), D("5.00"), D("9.00"))
    assert max(found) == D(150)
    assert 33 <= len(found) <= 40


def test_a_curve_of_packages_is_a_stair() -> None:
    found = amounts(Charge(Package(D(3), D(100)), included_units=D(50)), up_to=D(500))
    assert (found[D(50)], found[D("50.01")], found[D(150)], found[D("150.1")], found[D(450)]) == (
        D("0.00"),
        D("3.00"),
        D("3.00"),
        D("6.00"),
        D("12.00"),
    )


def test_a_curve_tells_the_unit_price_on_average() -> None:
    charge = Charge(Graduated((Tier(D(100), D(2)), Tier(None, D(1)))))
    point = next(point for point in curve(charge, "USD", up_to=D(200)) if point.quantity == 200)
    assert (point.amount, point.unit_price) == (D("300.00"), D("1.5"))
    assert curve(charge, "USD")[0].unit_price is None


def test_a_curve_ends_where_the_price_does() -> None:
    assert max(amounts(Charge(Graduated((Tier(D(100), D(2)),))))) == 100


def test_a_curve_of_a_matrix_keeps_the_shares() -> None:
    charge = Charge(Matrix(("model",), (MatrixRow(("a",), D(3)), MatrixRow((None,), D(1)))))
    like = Usage(D(4), groups=(UsageGroup(("a",), D(3)), UsageGroup(("b",), D(1))))
    assert amounts(charge, like=like)[D(8)] == D("20.00")
    assert amounts(charge, up_to=D(64))[D(64)] == D("128.00")


def test_a_curve_of_transactions_repeats_them() -> None:
    charge = Charge(Percentage(D(10), fixed_amount=D(1)))
    like = Usage(D(30), count=2, transactions=(D(10), D(20)))
    assert amounts(charge, like=like)[D(60)] == D("10.00")


def test_bounds_are_counted_as_they_are_used() -> None:
    tiers = (Tier(D(10), D(2)), Tier(None, D(1)))
    charge = Charge(Graduated(tiers), included_units=D(5), conversion=Conversion(D(60), "ceil"))
    assert bounds_of(charge) == (D(300), D(900))
    assert bounds_of(Charge(PerUnit(D(1)))) == ()


def test_nothing_used_has_no_unit_price() -> None:
    assert effective_unit_price(D(5), D(0)) is None
    assert effective_unit_price(D(5), D(2000), D(1000)) == D("2.5")


def test_a_drawing_lies_within_its_box() -> None:
    drawn = draw([(D(0), D(0)), (D(50), D(10)), (D(100), D(20))], marked=(D(50), D(10)), bounds=[D(25), D(100)])
    assert drawn is not None
    assert drawn.path == "0.0,106.0 210.0,56.0 420.0,6.0"
    assert drawn.marker == (D("210.0"), D("56.0"))
    assert drawn.bounds == (D("105.0"),)
    assert draw([(D(0), D(0))]) is None
