"""The worked price lists, as far as the charge models of today can express them."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.pricing.charge_models.base import ChargeModel, Tier
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charge_models.graduated import Graduated
from apps.pricing.charge_models.per_unit import PerUnit
from apps.pricing.charges import Charge, RatedCharge, rate_charge
from apps.pricing.formatting import plain_decimal
from apps.pricing.invoice_pipeline import invoice_totals
from apps.pricing.periods import Period, share_of, start_of_day

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "seed_prices.json").read_text(encoding="utf-8")
)
ZONE = "America/New_York"


def model_of(price: dict[str, Any]) -> str:
    """The charge model that a price asks for; tiers of started packages are a model of their own."""
    if "package_size" in price or any("package_size" in tier for tier in price.get("tiers", ())):
        return "package"
    return str(price.get("model", "per_unit"))


def is_expressible(case: dict[str, Any]) -> bool:
    price = case["input"].get("overage", case["input"])
    match case["kind"]:
        case "rate" | "rate_hybrid" | "hybrid_prorated":
            return model_of(price) in {"per_unit", "graduated"}
        case kind:
            return kind in {"rate_lines", "rate_matrix", "flat", "price_change"}


def expressible(kind: str) -> list[Any]:
    return [
        pytest.param(case["input"], case["expected"], id=f"{case['id']} {case['title']}")
        for case in CASES
        if case["kind"] == kind and is_expressible(case)
    ]


def charge_model(price: dict[str, Any]) -> ChargeModel:
    per_units = Decimal(price.get("per_units", "1"))
    if model_of(price) == "per_unit":
        return PerUnit(unit_amount=Decimal(price["unit_amount"]), per_units=per_units)
    tiers = tuple(
        Tier(
            up_to=None if tier["up_to"] is None else Decimal(tier["up_to"]),
            unit_amount=Decimal(tier["unit_amount"]),
            flat_amount=Decimal(tier["flat_amount"]),
        )
        for tier in price["tiers"]
    )
    return Graduated(tiers=tiers, per_units=per_units)


def rate(model: ChargeModel, quantity: str, price: dict[str, Any], included: str = "0") -> RatedCharge:
    return rate_charge(Charge(model, included_units=Decimal(included)), Decimal(quantity), price["currency"])


def total(amounts: list[Decimal], price: dict[str, Any]) -> str:
    return str(invoice_totals(amounts, price["currency"]).total)


def days(span: dict[str, str]) -> Period:
    start, end = (start_of_day(dt.date.fromisoformat(span[bound]), ZONE) for bound in ("start", "end"))
    return Period(start_at=start, end_at=end, zone=ZONE)


@pytest.mark.parametrize(("price", "expected"), expressible("rate"))
def test_one_quantity_under_one_price(price: dict[str, Any], expected: dict[str, Any]) -> None:
    rated = rate(charge_model(price), price["quantity"], price)

    assert str(rated.amount) == expected["amount"]
    assert expected.get("exact") in {None, plain_decimal(rated.exact_amount)}


@pytest.mark.parametrize(("price", "expected"), expressible("rate_lines"))
def test_several_lines(price: dict[str, Any], expected: dict[str, Any]) -> None:
    rated = {line["id"]: rate(charge_model(line), line["quantity"], price) for line in price["lines"]}

    assert {name: str(line.amount) for name, line in rated.items()} == expected["lines"]
    assert total([line.amount for line in rated.values()], price) == expected["amount"]


@pytest.mark.parametrize(("price", "expected"), expressible("rate_hybrid"))
def test_a_base_fee_with_included_units(price: dict[str, Any], expected: dict[str, Any]) -> None:
    base = rate(Flat(Decimal(price["base_amount"])), "0", price)
    overage = rate(charge_model(price["overage"]), price["quantity"], price, price["included_units"])

    assert [str(base.amount), str(overage.amount)] == expected["lines"]
    assert total([base.amount, overage.amount], price) == expected["amount"]


@pytest.mark.parametrize(("price", "expected"), expressible("hybrid_prorated"))
def test_a_base_fee_for_a_part_of_the_period(price: dict[str, Any], expected: dict[str, Any]) -> None:
    share = share_of(days(price["active"]), days(price["period"]))
    agreed = Charge(charge_model(price["overage"]), included_units=Decimal(price["included_units"]))
    charge = agreed.prorate(share) if price["prorate_included"] else agreed

    base = rate(Flat(Decimal(price["base_amount"])).prorate(share), "0", price)
    overage = rate_charge(charge, Decimal(price["quantity"]), price["currency"])

    assert charge.included_units == Decimal(expected["included"])
    assert (str(base.amount), str(overage.amount)) == (expected["base"], expected["overage"])
    assert total([base.amount, overage.amount], price) == expected["amount"]


@pytest.mark.parametrize(("price", "expected"), expressible("price_change"))
def test_usage_keeps_the_price_of_its_own_day(price: dict[str, Any], expected: dict[str, Any]) -> None:
    april = days({"start": "2026-04-01", "end": "2026-05-01"})
    changes = [start_of_day(dt.date.fromisoformat(change["from"]), ZONE) for change in price["prices"]]

    amounts = []
    for window, change in zip(april.split_at(changes), price["prices"], strict=True):
        used = sum(
            (
                Decimal(used["quantity"])
                for used in price["usage"]
                if window.contains(start_of_day(dt.date.fromisoformat(used["date"]), ZONE))
            ),
            Decimal(0),
        )
        amounts.append(rate(charge_model({**price, **change}), str(used), price).amount)

    assert [str(amount) for amount in amounts] == expected["lines"]
    assert total(amounts, price) == expected["amount"]


@pytest.mark.parametrize(("price", "expected"), expressible("flat"))
def test_plain_fees(price: dict[str, Any], expected: dict[str, Any]) -> None:
    amounts = [
        rate(Flat(Decimal(amount)), count, price).amount
        for _, amount, count in price["lines"]
        for _ in range(int(count))
    ]

    assert total(amounts, price) == expected["amount"]


@pytest.mark.parametrize(("price", "expected"), expressible("rate_matrix"))
def test_prices_by_model_and_direction(price: dict[str, Any], expected: dict[str, Any]) -> None:
    lines = []
    for row in price["prices"]:
        matching = [Decimal(event["quantity"]) for event in price["events"] if event["properties"] == row["match"]]
        if matching:
            quantity = str(sum(matching, Decimal(0)))
            lines.append((row["match"], rate(charge_model({**price, **row}), quantity, price)))

    assert [
        {"match": match, "quantity": plain_decimal(line.quantity), "amount": str(line.amount)} for match, line in lines
    ] == expected["groups"]
    assert total([line.amount for _, line in lines], price) == expected["amount"]


def ids(numbers: Iterable[int]) -> list[str]:
    return [f"SP-{number:03d}" for number in numbers]


def test_no_case_drops_out_unseen() -> None:
    covered = {
        "rate": ids([*range(1, 8), 59, 60, 61]),
        "rate_matrix": ids(range(12, 20)),
        "rate_lines": ids([20, 21, 22, 23, *range(35, 40), 41, 53, 54]),
        "rate_hybrid": ids([*range(42, 47), 48, 49, *range(62, 66)]),
        "hybrid_prorated": ids([51, 52]),
        "flat": ids([66]),
        "price_change": ids([68]),
    }
    left_for_later = {
        "volume": ids([8, 9, 10, *range(28, 34)]),
        "package": ids([11, 24, 40, 47, 55]),
        "credits_menu": ids([25, 26, 27]),
        "unit_price": ids([34]),
        "rate_progressive": ids([50]),
        "margin": ids([56, 57, 58]),
        "plan_change": ids([67]),
        "thresholds": ids([69, 70]),
        "prepaid_sequence": ids([71]),
    }
    found: defaultdict[bool, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case in CASES:
        model = model_of(case["input"].get("overage", case["input"]))
        group = model if model in {"volume", "package"} else case["kind"]
        found[is_expressible(case)][group].append(case["id"])

    assert (found[True], found[False]) == (covered, left_for_later)
    assert [sum(map(len, groups.values())) for groups in (covered, left_for_later)] == [45, 26]
