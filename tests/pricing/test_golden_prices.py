"""The worked price lists, every one of them, through what pricing offers its callers."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.pricing.burn_table import burn_credits, credits_for
from apps.pricing.charge_models.flat import Flat
from apps.pricing.charges import Charge, RatedCharge, rate_charge
from apps.pricing.formatting import plain_decimal
from apps.pricing.invoice_pipeline import invoice_totals
from apps.pricing.margin import margin_of
from apps.pricing.periods import Period, share_of, start_of_day
from apps.pricing.plan_change import change_plan, days_left
from apps.pricing.prepaid import draw_prepaid
from apps.pricing.progressive import progressive_bills
from apps.pricing.thresholds import thresholds_passed
from apps.pricing.unit_prices import effective_unit_price, round_to_decimals
from apps.pricing.written_prices import rate_written_price, read_written_price

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "seed_prices.json").read_text(encoding="utf-8")
)
ZONE = "America/New_York"


def rate(price: dict[str, Any], **fields: Any) -> RatedCharge:
    """The one line of a written price, with some fields written otherwise."""
    [line] = rate_written_price(read_written_price({**price, **fields}))
    return line


def total(amounts: list[Decimal], price: dict[str, Any]) -> str:
    return str(invoice_totals(amounts, price["currency"]).total)


def decimals(texts: dict[str, str]) -> dict[str, Decimal]:
    return {name: Decimal(text) for name, text in texts.items()}


def midnight(day: str) -> dt.datetime:
    return start_of_day(dt.date.fromisoformat(day), ZONE)


def days(span: dict[str, str]) -> Period:
    return Period(start_at=midnight(span["start"]), end_at=midnight(span["end"]), zone=ZONE)


def one_quantity(price: dict[str, Any]) -> dict[str, Any]:
    rated = rate(price)
    return {"amount": str(rated.amount), "exact": plain_decimal(rated.exact_amount)}


def matrix(price: dict[str, Any]) -> dict[str, Any]:
    lines = rate_written_price(read_written_price(price))
    groups = [
        {
            "match": dict(zip(("model", "direction"), line.values or (), strict=True)),
            "quantity": plain_decimal(line.quantity),
            "amount": str(line.amount),
        }
        for line in lines
    ]
    return {"amount": total([line.amount for line in lines], price), "groups": groups}


def several_lines(price: dict[str, Any]) -> dict[str, Any]:
    rated = {
        line["id"]: rate({name: value for name, value in line.items() if name != "id"}, currency=price["currency"])
        for line in price["lines"]
    }
    return {
        "lines": {name: str(line.amount) for name, line in rated.items()},
        "amount": total([line.amount for line in rated.values()], price),
    }


def base_fee_and_overage(price: dict[str, Any]) -> dict[str, Any]:
    currency = price["currency"]
    base = rate({"currency": currency, "model": "flat", "amount": price["base_amount"]})
    overage = rate(
        price["overage"], currency=currency, quantity=price["quantity"], included_units=price["included_units"]
    )
    amounts = [base.amount, overage.amount]
    return {"lines": [str(amount) for amount in amounts], "amount": total(amounts, price)}


def part_of_a_period(price: dict[str, Any]) -> dict[str, Any]:
    currency, share = price["currency"], share_of(days(price["active"]), days(price["period"]))
    overage = read_written_price(
        {
            **price["overage"],
            "currency": currency,
            "quantity": price["quantity"],
            "included_units": price["included_units"],
        }
    )
    agreed = overage.charge
    charge = Charge(agreed.model, agreed.included_units, prorates_included=price["prorate_included"]).prorate(share)
    base_line = rate_charge(Charge(Flat(Decimal(price["base_amount"]))).prorate(share), Decimal(0), currency)
    line = rate_charge(charge, overage.usage, currency)
    return {
        "base": str(base_line.amount),
        "included": plain_decimal(charge.included_units),
        "overage": str(line.amount),
        "amount": total([base_line.amount, line.amount], price),
    }


def bills_within_a_period(price: dict[str, Any]) -> dict[str, Any]:
    fields = {name: value for name, value in price.items() if name != "cumulative_quantities"}
    totals = [rate(fields, quantity=quantity).exact_amount for quantity in price["cumulative_quantities"]]
    return {"line_amounts": [str(bill) for bill in progressive_bills(totals, price["currency"])]}


def price_change(price: dict[str, Any]) -> dict[str, Any]:
    april = days({"start": "2026-04-01", "end": "2026-05-01"})
    windows = april.split_at(midnight(change["from"]) for change in price["prices"])
    amounts = []
    for window, change in zip(windows, price["prices"], strict=True):
        used = [Decimal(used["quantity"]) for used in price["usage"] if window.contains(midnight(used["date"]))]
        line = rate(
            {"currency": price["currency"], "per_units": price["per_units"], "unit_amount": change["unit_amount"]},
            quantity=sum(used, Decimal(0)),
        )
        amounts.append(line.amount)
    return {"lines": [str(amount) for amount in amounts], "amount": total(amounts, price)}


def change_of_plan(price: dict[str, Any]) -> dict[str, Any]:
    left = days_left(days(price["period"]), midnight(price["change_date"]))
    changes = [
        change_plan(Decimal(item["old_amount"]), Decimal(item["new_amount"]), left, price["currency"])
        for item in price["items"]
    ]
    return {
        "credits": [str(change.credit) for change in changes],
        "charges": [str(change.charge) for change in changes],
        "net": total([change.net for change in changes], price),
        "days": left.days,
        "days_in_period": left.of,
    }


def credits_menu(price: dict[str, Any]) -> dict[str, Any]:
    burn = burn_credits(
        credits_for(decimals(price["usage"]), decimals(price["menu"])),
        bought=Decimal(price["credits_bought"]),
        price=Decimal(price["price"]),
        currency=price["currency"],
    )
    return {
        "credits_used": plain_decimal(burn.used),
        "credits_left": plain_decimal(burn.left),
        "short": plain_decimal(burn.short),
        "value_used": str(burn.value_used),
        "overage_amount": str(burn.overage_amount),
    }


def prepaid(price: dict[str, Any]) -> dict[str, Any]:
    draws = draw_prepaid(Decimal(price["balance"]), map(Decimal, price["charges"]), price["currency"])
    steps = [{"used": str(draw.used), "balance": str(draw.balance), "due": str(draw.due)} for draw in draws]
    return {"steps": steps}


def alerts(price: dict[str, Any]) -> dict[str, Any]:
    passed = thresholds_passed(
        map(Decimal, price["increments"]), Decimal(price["limit"]), [Decimal(percent) for percent in price["percents"]]
    )
    return {"alerts": [[plain_decimal(percent) for percent in step] for step in passed]}


def price_of_a_unit(price: dict[str, Any]) -> dict[str, Any]:
    return {
        plan: str(
            round_to_decimals(
                effective_unit_price(Decimal(amount), Decimal(units), Decimal(price["per_units"])), price["digits"]
            )
        )
        for plan, amount, units in price["plans"]
    }


def margin(price: dict[str, Any]) -> dict[str, Any]:
    figures = margin_of(
        Decimal(price["revenue"]),
        cost_quantity=Decimal(price["cost_quantity"]),
        cost_unit_amount=Decimal(price["cost_unit_amount"]),
        cost_per_units=Decimal(price["cost_per_units"]),
        currency=price["currency"],
    )
    return {"cost": str(figures.cost), "profit": str(figures.profit), "margin_percent": str(figures.percent)}


def plain_fees(price: dict[str, Any]) -> dict[str, Any]:
    amounts = [
        rate({"currency": price["currency"], "model": "flat", "amount": amount}).amount
        for _, amount, count in price["lines"]
        for _ in range(int(count))
    ]
    return {"amount": total(amounts, price)}


BILL_OF: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "rate": one_quantity,
    "rate_matrix": matrix,
    "rate_lines": several_lines,
    "rate_hybrid": base_fee_and_overage,
    "hybrid_prorated": part_of_a_period,
    "rate_progressive": bills_within_a_period,
    "price_change": price_change,
    "plan_change": change_of_plan,
    "credits_menu": credits_menu,
    "prepaid_sequence": prepaid,
    "thresholds": alerts,
    "unit_price": price_of_a_unit,
    "margin": margin,
    "flat": plain_fees,
}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']} {case['title']}" for case in CASES])
def test_every_worked_price_list_comes_to_its_bill(case: dict[str, Any]) -> None:
    bill = BILL_OF[case["kind"]](case["input"])

    assert {figure: bill[figure] for figure in case["expected"]} == case["expected"]


def test_no_case_is_missing() -> None:
    assert sorted(case["id"] for case in CASES) == [f"SP-{number:03d}" for number in range(1, 72)]
    assert {case["kind"] for case in CASES} == set(BILL_OF)
