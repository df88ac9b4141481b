from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.pricing.charge_models.amount_in_event import AmountInEvent
from apps.pricing.charge_models.base import NotRatable, Tier, Usage
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.graduated_percentage import GraduatedPercentage
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charge_models.stairstep import Stairstep
from apps.pricing.charge_models.volume import Volume
from apps.pricing.charges import Charge, PricingUnit, rate_lines
from apps.pricing.conversion import Conversion
from apps.pricing.formatting import plain_decimal
from apps.pricing.written_prices import InvalidWrittenPrice, WrittenPrice, rate_written_price, read_written_price
from tests.pricing.strategies import (
    conversions,
    currencies,
    near_small,
    percentages,
    small_per_units,
    small_tiers,
    unit_models,
)

TIERS = [{"up_to": "100", "unit_amount": "0.10", "flat_amount": "5"}, {"up_to": None, "unit_amount": "0.05"}]
STEPS = [{"up_to": 10, "flat_amount": "5"}, {"up_to": "20", "flat_amount": "9"}]
LEVELS = [{"quantity": 10, "days": 10}, {"quantity": "13", "days": 20}]
MATRIX: dict[str, Any] = {
    "prices": [
        {"match": {"model": "haiku", "direction": "input"}, "unit_amount": "0.25"},
        {"match": {}, "unit_amount": "2"},
    ],
    "events": [
        {"quantity": 2, "properties": {"model": "haiku", "direction": "input", "team": "a"}},
        {"quantity": "3", "properties": {"model": "haiku"}},
        {"quantity": 4},
    ],
}


def amounts(fields: Mapping[str, Any]) -> list[str]:
    return [str(line.amount) for line in rate_written_price(read_written_price({"currency": "USD", **fields}))]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"quantity": "18059974", "unit_amount": "10", "per_units": 1_000_000}, ["180.60"]),
        ({"quantity": Decimal("2.5"), "unit_amount": Decimal("0.30")}, ["0.75"]),
        ({"model": "flat", "amount": "99"}, ["99.00"]),
        ({"model": "flat", "flat_amount": "99", "quantity": 7}, ["99.00"]),
        ({"model": "package", "quantity": 1001, "package_size": 1000, "package_amount": "0.03"}, ["0.06"]),
        (
            {"model": "package", "quantity": 1001, "free_units": 1, "package_size": 1000, "package_amount": "0.03"},
            ["0.03"],
        ),
        ({"model": "graduated", "quantity": "150", "tiers": TIERS}, ["17.50"]),
        ({"model": "graduated", "quantity": "0", "tiers": TIERS}, ["0.00"]),
        (
            {"model": "graduated", "quantity": "0", "tiers": TIERS, "convention": {"flat_fee_at_zero_usage": True}},
            ["5.00"],
        ),
        ({"model": "volume", "quantity": "0", "tiers": TIERS, "flat_fee_at_zero_usage": True}, ["5.00"]),
        ({"model": "volume", "quantity": "150", "tiers": TIERS}, ["7.50"]),
        ({"model": "volume", "quantity": 15, "tiers": STEPS}, ["9.00"]),
        ({"model": "graduated", "quantity": 15, "tiers": STEPS}, ["14.00"]),
        ({"model": "stairstep", "quantity": 15, "tiers": STEPS}, ["9.00"]),
        ({"model": "stairstep", "quantity": 15, "tiers": [{"amount": 3}]}, ["3.00"]),
        (
            {"model": "graduated", "quantity": 11, "tiers": [{"package_size": 10, "package_amount": 3}]},
            ["6.00"],
        ),
        (
            {"model": "graduated", "quantity": 11, "tiers": [{"up_to": 11, "unit_amount": 3, "per_units": 10}]},
            ["3.30"],
        ),
        ({"model": "percentage", "quantity": "1000", "rate_percent": "2.9"}, ["29.00"]),
        (
            {
                "model": "percentage",
                "rate": "1.2",
                "fixed_amount": "0.10",
                "free_count": 3,
                "free_amount": 500,
                "transactions": ["200", "200", "200", "50"],
            },
            ["2.00"],
        ),
        (
            {
                "model": "percentage",
                "rate_percent": 1,
                "per_transaction_min_amount": "0.50",
                "per_transaction_max_amount": 5,
                "transactions": [10, 100, 1000],
            },
            ["6.50"],
        ),
        (
            {
                "model": "graduated_percentage",
                "quantity": 7000,
                "tiers": [{"up_to": 1000, "rate": 2, "flat_amount": 10}, {"rate_percent": "1.5"}],
            },
            ["120.00"],
        ),
        ({"model": "dynamic_markup", "quantity": "123.45", "multiplier": "1.2"}, ["148.14"]),
        ({"model": "amount_in_event", "transactions": ["100", "23.45"]}, ["123.45"]),
        ({"model": "seats", "quantity": 10, "unit_amount": 30, "included_seats": 2}, ["240.00"]),
        ({"model": "seats", "levels": LEVELS, "of_days": 30, "unit_amount": 30}, ["360.00"]),
        ({"model": "seats", "levels": LEVELS, "of_days": 30, "unit_amount": 30, "prorates_added": False}, ["390.00"]),
        (MATRIX, ["0.50", "14.00"]),
        ({"model": "matrix", **MATRIX}, ["0.50", "14.00"]),
        ({"quantity": 3, "unit_amount": 1, "minimum": 5}, ["5.00"]),
        ({"quantity": 30, "unit_amount": 1, "maximum": "5.50"}, ["5.50"]),
        ({"quantity": 601, "unit_amount": 1, "conversion": {"divide_by": 60, "rounding": "ceil"}}, ["11.00"]),
        ({"quantity": 90, "unit_amount": 1, "conversion": {"divide_by": 60}}, ["1.50"]),
        ({"quantity": 20, "unit_amount": 1, "failed": 4, "free_failures": "all"}, ["16.00"]),
        ({"quantity": 20, "unit_amount": 1, "failed": 4, "free_failures": "3"}, ["17.00"]),
        ({"quantity": 20, "unit_amount": 1, "failed": 4}, ["20.00"]),
        ({"quantity": 150, "unit_amount": 2, "pricing_unit": {"singular": "credit", "rate": "0.01"}}, ["3.00"]),
        ({"quantity": 3, "unit_amount": "0.5", "currency": "JPY"}, ["2"]),
        ({"model": "flat", "amount": 1, "unit_amount": None, "quantity": None}, ["1.00"]),
    ],
)
def test_a_written_price_comes_to_its_amount(fields: dict[str, Any], expected: list[str]) -> None:
    assert amounts(fields) == expected


@pytest.mark.parametrize(
    ("fields", "field", "detail"),
    [
        ({"unit_amount": 1}, "quantity", "It is missing."),
        ({"quantity": 1}, "unit_amount", "It is missing."),
        ({"quantity": 1, "unit_amount": 0.1}, "unit_amount", 'Write it as text: "0.1".'),
        ({"quantity": True, "unit_amount": 1}, "quantity", "Write a number"),
        ({"quantity": "1,000", "unit_amount": 1}, "quantity", "without separators or exponent"),
        ({"quantity": "1e6", "unit_amount": 1}, "quantity", "without separators or exponent"),
        ({"quantity": "NaN", "unit_amount": 1}, "quantity", "plain number"),
        ({"quantity": Decimal("Infinity"), "unit_amount": 1}, "quantity", "plain number"),
        ({"quantity": "٣", "unit_amount": 1}, "quantity", "plain number"),
        ({"quantity": "-1", "unit_amount": 1}, "quantity", "below zero"),
        ({"quantity": 1, "unit_amount": -1}, "unit_amount", "below zero"),
        ({"quantity": "1" + 18 * "0", "unit_amount": 1}, "quantity", "up to 18 digits before the point"),
        ({"quantity": 10**5000, "unit_amount": 1}, "quantity", "up to 18 digits before the point"),
        ({"quantity": Decimal("1E+999999"), "unit_amount": 1}, "quantity", "up to 18 digits before the point"),
        ({"quantity": 1, "unit_amount": 10**12}, "unit_amount", "up to 12 digits before the point"),
        ({"quantity": 1, "unit_amount": "0.0000000000001"}, "unit_amount", "and 12 behind it"),
        ({"quantity": 1, "unit_amount": 1, "per_units": 0}, "per_units", "above zero"),
        ({"quantity": 1, "unit_amount": 1, "unit_amout": 1}, "unit_amout", "Did you mean unit_amount?"),
        ({"quantity": 1, "unit_amount": 1, "zzzzzz": 1}, "zzzzzz", "There is no such field"),
        (
            {"quantity": 1, "unit_amount": 1, "tiers": TIERS},
            "tiers",
            "does not belong to a price of the model per_unit",
        ),
        ({"quantity": 1, "unit_amount": 1, "free_units": 1, "included_units": 1}, "included_units", "only one"),
        ({"quantity": 1, "unit_amount": 1, "currency": "XYZ"}, "currency", "ISO 4217"),
        ({"quantity": 1, "unit_amount": 1, "currency": 5}, "currency", "Write a text."),
        (
            {"quantity": 1, "unit_amount": 1, "model": "magic"},
            "model",
            "“magic” is no charge model. Write one of: flat",
        ),
        ({"quantity": 1, "unit_amount": 1, "minimum": 5, "maximum": 4}, "minimum", "above the maximum"),
        ({"quantity": 1, "unit_amount": 1, "failed": 2}, "failed", "More failed than were used"),
        ({"quantity": 1, "unit_amount": 1, "free_failures": "some"}, "free_failures", "plain number"),
        ({"quantity": 1, "unit_amount": 1, "conversion": 60}, "conversion", "Write an object"),
        ({"quantity": 1, "unit_amount": 1, "conversion": {"divide_by": 0}}, "conversion.divide_by", "above 0"),
        (
            {"quantity": 1, "unit_amount": 1, "conversion": {"divide_by": 2, "rounding": "up"}},
            "conversion.rounding",
            "Use ceil, floor, half_up, or none",
        ),
        ({"quantity": 1, "unit_amount": 1, "pricing_unit": {"rate": 1}}, "pricing_unit.singular", "missing"),
        ({"model": "package", "quantity": 1, "unit_amount": 1, "package_size": 1}, "package_amount", "missing"),
        ({"model": "package", "quantity": 1, "package_amount": 1, "package_size": 0}, "package_size", "above zero"),
        ({"model": "graduated", "quantity": 1}, "tiers", "There are no tiers."),
        ({"model": "graduated", "quantity": 1, "tiers": {}}, "tiers", "Write a list."),
        ({"model": "graduated", "quantity": 1, "tiers": [5]}, "tiers.0", "Write an object"),
        ({"model": "graduated", "quantity": 1, "tiers": [{"up_to": 5}]}, "tiers.0.unit_amount", "has no price"),
        (
            {"model": "graduated", "quantity": 1, "tiers": [*TIERS[:1], {"up_to": "50", "unit_amount": 1}]},
            "tiers.1.up_to",
            "Tier 2 ends at 50. Let it end above 100, where tier 1 ends.",
        ),
        (
            {"model": "volume", "quantity": 1, "tiers": [{"unit_amount": 1}, {"unit_amount": 2}]},
            "tiers.0.up_to",
            "no upper end but is not the last",
        ),
        (
            {"model": "volume", "quantity": 1, "tiers": [{"unit_amount": 1, "upto": 5}]},
            "tiers.0.upto",
            "Did you mean up_to?",
        ),
        (
            {"model": "volume", "quantity": 1, "per_units": 5, "tiers": [{"unit_amount": 1, "per_units": 6}]},
            "tiers.0.per_units",
            "for as many units: 5",
        ),
        (
            {"model": "volume", "quantity": 1, "tiers": [{"package_amount": 1}]},
            "tiers.0.package_size",
            "missing",
        ),
        (
            {"model": "stairstep", "quantity": 1, "tiers": [{"flat_amount": 1, "unit_amount": 1}]},
            "tiers.0.unit_amount",
            "flat amount only",
        ),
        (
            {"model": "graduated", "quantity": 1, "tiers": TIERS, "convention": {"rounding": "even"}},
            "convention.rounding",
            "no such field",
        ),
        (
            {"model": "graduated", "quantity": 1, "tiers": TIERS, "flat_fee_at_zero_usage": "yes"},
            "flat_fee_at_zero_usage",
            "true or false",
        ),
        ({"model": "seats", "quantity": 1, "unit_amount": 1, "free_units": 5}, "free_units", "does not belong"),
        (
            {"model": "percentage", "quantity": 5, "rate_percent": 1, "transactions": [1, 2]},
            "quantity",
            "add up to 3, not to 5",
        ),
        ({"model": "percentage", "rate_percent": 1, "transactions": ["1", "x"]}, "transactions.1", "plain number"),
        (
            {"model": "percentage", "rate": 1, "transactions": [], "transaction_minimum": 2, "transaction_maximum": 1},
            "transaction_minimum",
            "above the maximum",
        ),
        ({"model": "seats", "unit_amount": 1, "of_days": 30}, "levels", "missing"),
        ({"model": "seats", "unit_amount": 1, "levels": LEVELS}, "of_days", "missing"),
        ({"model": "seats", "unit_amount": 1, "levels": LEVELS, "of_days": 29}, "of_days", "stand for 30 days"),
        (
            {"model": "seats", "unit_amount": 1, "levels": [{"quantity": 1, "days": "1.5"}], "of_days": 29},
            "levels.0.days",
            "not a whole number",
        ),
        ({"prices": MATRIX["prices"]}, "events", "missing"),
        ({**MATRIX, "quantity": 5}, "quantity", "does not belong to a price of the model matrix"),
        ({"prices": [], "events": []}, "prices", "no dimensions"),
        ({"prices": [{"match": {"m": 1.5}, "unit_amount": 1}], "events": []}, "prices.0.match.m", "Write a text."),
        (
            {"prices": 2 * [{"match": {"m": "a"}, "unit_amount": 1}], "events": []},
            "prices.1.match",
            "price the same values",
        ),
        ({**MATRIX, "events": [{"properties": {}}]}, "events.0.quantity", "missing"),
        ({**MATRIX, "events": [{"quantity": 1, "failed": 2}]}, "events.0.failed", "More failed"),
        ({**MATRIX, "events": [{"quantity": 1, "property": {}}]}, "events.0.property", "Did you mean properties?"),
        ({"model": "percentage", "rate": 1, "transactions": 10_001 * [1]}, "transactions", "up to 10,000 entries"),
    ],
)
def test_what_cannot_be_read_is_refused_by_path_and_mend(fields: dict[str, Any], field: str, detail: str) -> None:
    with pytest.raises(InvalidWrittenPrice) as refusal:
        read_written_price({"currency": "USD", **fields})

    assert refusal.value.field == field
    assert detail in refusal.value.detail
    assert str(refusal.value) == f"{field}: {refusal.value.detail}"


@pytest.mark.parametrize("fields", [None, [], "price", {1: 2}])
def test_what_is_no_object_is_refused(fields: Any) -> None:
    with pytest.raises(InvalidWrittenPrice, match="Write an object"):
        read_written_price(fields)


def test_a_currency_is_never_guessed() -> None:
    with pytest.raises(InvalidWrittenPrice, match="currency: It is missing"):
        read_written_price({"quantity": 1, "unit_amount": 1})


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "stairstep", "quantity": 21, "tiers": STEPS},
        {"model": "percentage", "quantity": 21, "rate": 1, "fixed_amount": 1},
        {**MATRIX, "prices": [{"match": {"model": "haiku", "direction": "input"}, "unit_amount": 1}]},
    ],
)
def test_usage_without_a_price_is_told_when_it_is_rated(fields: dict[str, Any]) -> None:
    with pytest.raises(NotRatable):
        amounts(fields)


def test_an_amount_beyond_exact_arithmetic_is_refused() -> None:
    fields = {"quantity": 18 * "9", "unit_amount": 12 * "9", "per_units": "0.000000000001"}

    with pytest.raises(InvalidWrittenPrice, match="too large"):
        amounts(fields)


def written(model: Any) -> dict[str, Any]:
    """A model in its field names, as an outside program would write it."""
    number = plain_decimal
    match model:
        case Flat():
            return {"model": "flat", "flat_amount": number(model.amount)}
        case PerUnit():
            return {"unit_amount": number(model.unit_amount), "per_units": number(model.per_units)}
        case Package():
            size, amount = number(model.package_size), number(model.unit_amount)
            return {"model": "package", "package_size": size, "package_amount": amount}
        case AmountInEvent():
            return {"model": "amount_in_event", "multiplier": number(model.multiplier)}
        case Percentage():
            return {"model": "percentage", **written_percentage(model)}
        case _:
            fields = {"model": model.name, "tiers": [written_tier(model.name, tier) for tier in model.tiers]}
            fields["convention"] = {"flat_fee_at_zero_usage": model.charge_flat_fee_at_zero}
            if isinstance(model, Graduated | Volume):
                fields["per_units"] = number(model.per_units)
            return fields


def written_tier(model: str, tier: Tier) -> dict[str, str | None]:
    up_to = None if tier.up_to is None else plain_decimal(tier.up_to)
    fields = {"up_to": up_to, "flat_amount": plain_decimal(tier.flat_amount)}
    if tier.package_size is not None:
        return {
            **fields,
            "package_size": plain_decimal(tier.package_size),
            "package_amount": plain_decimal(tier.unit_amount),
        }
    name = {"stairstep": None, "graduated_percentage": "rate_percent"}.get(model, "unit_amount")
    return {**fields, name: plain_decimal(tier.unit_amount)} if name else fields


def written_percentage(model: Percentage) -> dict[str, str]:
    names = ("rate_percent", "fixed_amount", "free_transactions", "free_amount")
    bounds = ("transaction_minimum", "transaction_maximum")
    values = {name: getattr(model, name) for name in names + bounds}
    return {name: plain_decimal(value) for name, value in values.items() if value is not None}


@given(unit_models, near_small, currencies)
def test_a_model_that_is_written_out_is_read_back(model: Any, quantity: Decimal, currency: str) -> None:
    fields = {**written(model), "currency": currency, "quantity": plain_decimal(quantity)}

    assert read_written_price(fields) == WrittenPrice(Charge(model), Usage(quantity), currency)


@given(percentages(), st.lists(near_small, max_size=5))
def test_a_percentage_that_is_written_out_is_read_back(model: Percentage, paid: list[Decimal]) -> None:
    fields = {**written(model), "currency": "USD", "transactions": [plain_decimal(amount) for amount in paid]}

    price = read_written_price(fields)

    assert price.charge == Charge(model)
    assert price.usage == Usage(sum(paid, Decimal(0)), count=len(paid), transactions=tuple(paid))


@given(
    st.one_of(
        st.builds(Graduated, small_tiers(), small_per_units),
        st.builds(Volume, small_tiers(), small_per_units),
        st.builds(Stairstep, small_tiers(unit_prices=False)),
        st.builds(PerUnit, near_small, small_per_units),
    ),
    near_small,
    near_small,
    conversions,
    st.sampled_from([None, Decimal(0), Decimal(3)]),
)
def test_a_charge_that_is_written_out_is_read_back(
    model: Any, included: Decimal, maximum: Decimal, conversion: Conversion, free_failures: Decimal | None
) -> None:
    unit = PricingUnit("credit", "credits", Decimal("0.01"))
    charge = Charge(
        model,
        included_units=included,
        maximum=maximum,
        conversion=conversion,
        free_failures=free_failures,
        pricing_unit=unit,
    )
    fields = {
        **written(model),
        "currency": "EUR",
        "quantity": 5,
        "free_units": plain_decimal(included),
        "maximum": plain_decimal(maximum),
        "conversion": {"divide_by": plain_decimal(conversion.divide_by), "rounding": conversion.rounding or "none"},
        "free_failures": "all" if free_failures is None else plain_decimal(free_failures),
        "pricing_unit": {"singular": "credit", "plural": "credits", "rate": "0.01"},
    }

    assert read_written_price(fields) == WrittenPrice(charge, Usage(Decimal(5)), "EUR")


def test_the_dimensions_of_a_matrix_stand_in_the_order_they_are_written() -> None:
    price = read_written_price({"currency": "USD", **MATRIX})

    assert isinstance(price.charge.model, Matrix)
    assert price.charge.model.dimensions == ("model", "direction")
    assert [row.values for row in price.charge.model.rows] == [("haiku", "input"), (None, None)]
    assert [group.values for group in price.usage.groups] == [("haiku", "input"), ("haiku", None), (None, None)]


def test_rating_a_written_price_is_rating_its_charge() -> None:
    price = read_written_price({"currency": "USD", **MATRIX})

    assert rate_written_price(price) == rate_lines(price.charge, price.usage, "USD")


def test_seats_and_tiers_of_rates_are_read() -> None:
    seats = read_written_price({"currency": "USD", "model": "seats", "levels": LEVELS, "of_days": 30, "unit_amount": 3})
    rates = read_written_price(
        {"currency": "USD", "model": "graduated_percentage", "quantity": 1, "tiers": [{"rate_percent": "2.5"}]}
    )

    assert seats.charge.model == Seats(Decimal(3))
    assert seats.usage.quantity == 12
    assert rates.charge.model == GraduatedPercentage((Tier(None, Decimal("2.5")),))


@pytest.mark.parametrize(
    ("fields", "exact"),
    [
        # 5% of 1,000 and 3% of 500.
        ({"model": "percentage"}, "65"),
        ({"model": "graduated"}, "65"),
        ({"model": "graduated_percentage"}, "65"),
        # 3% of all 1,500.
        ({"model": "volume"}, "45"),
        ({"model": "graduated_percentage", "free_units": "500"}, "50"),
    ],
)
def test_tiers_of_rates_are_a_percentage_by_whatever_name(fields: dict[str, Any], exact: str) -> None:
    tiers = [{"up_to": "1000", "rate_percent": "5"}, {"up_to": None, "rate_percent": "3"}]
    [line] = rate_written_price(read_written_price({"currency": "USD", "quantity": "1500", "tiers": tiers, **fields}))

    assert plain_decimal(line.exact_amount) == exact


def test_what_is_free_of_a_percentage_may_be_called_free_units() -> None:
    written = {"currency": "USD", "model": "percentage", "rate_percent": "2", "quantity": "700", "free_units": "200"}
    [line] = rate_written_price(read_written_price(written))

    assert line.amount == Decimal("10.00")
