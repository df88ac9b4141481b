"""Estimates over the API: every worked price list, stored prices and plans, and what cannot be estimated."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.access.models import Scope
from apps.billable_metrics.definitions import Aggregation
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import ChargeModelName, PlanVersion, PricingUnit
from apps.products.services import (
    ChargedFor,
    add_currency,
    add_price,
    create_plan,
    publish_plan_version,
    schedule_price_version,
)
from apps.products.terms import PriceTerms
from tests.api.client import ApiCaller
from tests.builders import SET_UP_AT, flat_fee, graduated, per_unit, published_plan
from tests.factories import BillableMetricFactory, PriceVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "seed_prices.json").read_text(encoding="utf-8")
)
ESTIMATE = "prices/estimate"


@pytest.fixture
def api() -> ApiCaller:
    """A program that may read and no more."""
    return ApiCaller(Scope.READ)


def worked(*kinds: str) -> list[Any]:
    return [pytest.param(case["input"], case["expected"], id=case["id"]) for case in CASES if case["kind"] in kinds]


def estimated(api: ApiCaller, **fields: Any) -> Any:
    return api.ok("POST", ESTIMATE, fields)


# --- The worked price lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "expected"), worked("rate"))
def test_a_worked_price_comes_to_the_cent(api: ApiCaller, price: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = estimated(api, **price)

    assert answer["amount"] == expected["amount"]
    assert Decimal(answer["exact"]) == Decimal(expected.get("exact", expected["amount"]))
    [line] = answer["lines"]
    assert (line["amount"], answer["tiers"], answer["explanation"]) == (
        answer["amount"],
        line["tiers"],
        line["explanation"],
    )
    assert sum(Decimal(tier["amount"]) for tier in line["tiers"]) in (Decimal(0), Decimal(answer["exact"]))


@pytest.mark.parametrize(("price", "expected"), worked("rate_matrix"))
def test_a_worked_matrix_has_a_line_for_each_row(
    api: ApiCaller, price: dict[str, Any], expected: dict[str, Any]
) -> None:
    answer = estimated(api, **price)

    groups = [{name: line[name] for name in ("match", "quantity", "amount")} for line in answer["lines"]]
    assert (answer["amount"], groups) == (expected["amount"], expected["groups"])
    assert answer["explanation"]["formula"].endswith(f"= {expected['amount']} USD")


@pytest.mark.parametrize(("bill", "expected"), worked("rate_lines"))
def test_worked_lines_come_to_the_cent(api: ApiCaller, bill: dict[str, Any], expected: dict[str, Any]) -> None:
    amounts = {}
    for line in bill["lines"]:
        price = {name: value for name, value in line.items() if name != "id"}
        amounts[line["id"]] = estimated(api, currency=bill["currency"], **price)["amount"]

    assert amounts == expected["lines"]
    assert sum(Decimal(amount) for amount in amounts.values()) == Decimal(expected["amount"])


@pytest.mark.parametrize(("bill", "expected"), worked("rate_hybrid"))
def test_a_worked_fee_with_overage_comes_to_the_cent(
    api: ApiCaller, bill: dict[str, Any], expected: dict[str, Any]
) -> None:
    currency = bill["currency"]
    fee = estimated(api, currency=currency, model="flat", flat_amount=bill["base_amount"])
    free_and_used = {"free_units": bill["included_units"], "quantity": bill["quantity"]}
    overage = estimated(api, currency=currency, **free_and_used, **bill["overage"])

    assert [fee["amount"], overage["amount"]] == expected["lines"]
    assert Decimal(fee["amount"]) + Decimal(overage["amount"]) == Decimal(expected["amount"])


@pytest.mark.parametrize(("bill", "expected"), worked("rate_progressive"))
def test_a_worked_running_total_comes_to_the_cent(
    api: ApiCaller, bill: dict[str, Any], expected: dict[str, Any]
) -> None:
    price = {name: value for name, value in bill.items() if name != "cumulative_quantities"}
    totals = [Decimal(estimated(api, **price, quantity=each)["amount"]) for each in bill["cumulative_quantities"]]

    before = [Decimal(0), *totals[:-1]]
    assert [str(total - earlier) for total, earlier in zip(totals, before, strict=True)] == expected["line_amounts"]


# --- A price written out ---------------------------------------------------------------------------------------------

WRITTEN: dict[str, Any] = {"currency": "USD", "model": "per_unit", "unit_amount": "0.10", "quantity": "3"}


@pytest.mark.parametrize(
    ("price", "amount", "exact"),
    [
        ({"model": "per_unit", "unit_amount": "0.000000000001", "quantity": "1"}, "0.00", "0.000000000001"),
        ({"currency": "JPY", "unit_amount": "0.5", "quantity": "3"}, "2", "1.5"),
        ({"currency": "KWD", "unit_amount": "0.0005", "quantity": "3"}, "0.002", "0.0015"),
        ({"model": "package", "package_size": "1000", "package_amount": "2", "quantity": "1001"}, "4.00", "4"),
        (
            {
                "model": "stairstep",
                "tiers": [{"up_to": "10", "flat_amount": "5"}, {"flat_amount": "9"}],
                "quantity": 11,
            },
            "9.00",
            "9",
        ),
        ({"model": "percentage", "rate_percent": "1.5", "quantity": "200"}, "3.00", "3"),
        (
            {"model": "percentage", "rate_percent": "1.4", "fixed_amount": "0.25", "transactions": ["120", "35.5"]},
            "2.68",
            "2.677",
        ),
        (
            {
                "model": "graduated_percentage",
                "tiers": [{"up_to": "1000", "rate_percent": "10"}, {"rate_percent": "5"}],
                "quantity": "1500",
            },
            "125.00",
            "125",
        ),
        ({"model": "dynamic_markup", "multiplier": "1.2", "quantity": "10.01"}, "12.01", "12.012"),
        (
            {
                "model": "seats",
                "unit_amount": "30",
                "levels": [{"quantity": 2, "days": 15}, {"quantity": 4, "days": 15}],
                "of_days": 30,
            },
            "90.00",
            "90",
        ),
        (
            {
                "model": "graduated",
                "tiers": [{"up_to": "10", "unit_amount": "1", "flat_amount": "7"}, {"unit_amount": "1"}],
                "quantity": "0",
                "convention": {"flat_fee_at_zero_usage": True},
            },
            "7.00",
            "7",
        ),
        (
            {"unit_amount": "0.36", "quantity": "61", "conversion": {"divide_by": 60, "rounding": "ceil"}},
            "0.72",
            "0.72",
        ),
        ({"unit_amount": "1", "quantity": "2", "minimum": "5"}, "5.00", "5"),
        ({"unit_amount": "1", "quantity": "9", "maximum": "5"}, "5.00", "5"),
        ({"unit_amount": "1", "quantity": "9", "failed": "4", "free_failures": "all"}, "5.00", "5"),
    ],
)
def test_a_written_price_of_each_model_is_estimated(
    api: ApiCaller, price: dict[str, Any], amount: str, exact: str
) -> None:
    answer = estimated(api, **{"currency": "USD", **price})

    assert (answer["amount"], answer["exact"]) == (amount, exact)


def test_an_estimate_shows_the_way_to_the_amount(api: ApiCaller) -> None:
    answer = estimated(
        api,
        currency="USD",
        model="graduated",
        per_units="1000000",
        free_units="100000",
        quantity="2600000",
        tiers=[{"up_to": "1000000", "unit_amount": "3.00", "flat_amount": "1"}, {"unit_amount": "2.5"}],
    )

    assert answer["tiers"] == [
        {
            "from": "0",
            "up_to": "1000000",
            "quantity": "1000000",
            "unit_amount": "3",
            "per_units": "1000000",
            "in_packages": False,
            "flat_amount": "1",
            "amount": "4",
        },
        {
            "from": "1000000",
            "up_to": None,
            "quantity": "1500000",
            "unit_amount": "2.5",
            "per_units": "1000000",
            "in_packages": False,
            "flat_amount": "0",
            "amount": "3.75",
        },
    ]
    [line] = answer["lines"]
    assert (line["quantity"], line["included_used"], line["billable_quantity"]) == ("2600000", "100000", "2500000")
    assert answer["explanation"]["steps"][0] == "2,600,000 units were used."
    assert answer["explanation"]["formula"].endswith("= 7.75 USD")


def test_the_parts_of_a_percentage_are_shown(api: ApiCaller) -> None:
    price = {"model": "percentage", "rate_percent": "2", "fixed_amount": "0.30", "transactions": ["10", "20"]}

    [line] = estimated(api, currency="USD", **price)["lines"]

    assert line["components"] == [
        {"name": "rate", "quantity": "30", "rate": "2", "amount": "0.6"},
        {"name": "fixed", "quantity": "2", "rate": "0.3", "amount": "0.6"},
    ]


def test_a_price_in_credits_is_shown_beside_its_money(api: ApiCaller) -> None:
    unit = {"singular": "credit", "plural": "credits", "rate": "0.01"}

    [line] = estimated(api, currency="USD", unit_amount="10", quantity="300", pricing_unit=unit)["lines"]

    assert (line["amount"], line["pricing_unit"]) == ("30.00", {"unit": "credits", "amount": "3000"})


def test_numbers_of_json_lose_no_digit(api: ApiCaller) -> None:
    body = '{"currency": "USD", "unit_amount": 0.123456789012, "quantity": 100000000000000001.5}'

    answer = api.ok("POST", ESTIMATE, body)

    assert answer["exact"] == "12345678901200000.185185183518"


# --- Stored prices ---------------------------------------------------------------------------------------------------


def test_a_stored_price_goes_by_the_day(api: ApiCaller) -> None:
    tokens = BillableMetricFactory(name="Input tokens")
    price = published_plan(per_unit(tokens, "3.00", per=1_000_000)).prices.get()
    cheaper = PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(2), per_units=Decimal(1_000_000))
    schedule_price_version(price=price, effective_from=dt.date(2024, 1, 1), terms=cheaper, now=SET_UP_AT)

    amounts = {
        day: estimated(api, price=price.pk, quantity="2500000", on=day)["amount"]
        for day in ("2023-12-31", "2024-01-01")
    }

    assert amounts == {"2023-12-31": "7.50", "2024-01-01": "5.00"}
    answer = estimated(api, price=price.pk, quantity="2500000")
    assert (answer["price"], answer["amount"], answer["lines"][0]["label"]) == (price.pk, "5.00", "Input tokens")
    assert answer["explanation"]["steps"][0] == "2,500,000 tokens were used."


def test_a_stored_price_goes_by_the_currency(api: ApiCaller) -> None:
    version = PriceVersionFactory(price__plan_version__currencies=["USD", "JPY"])
    PriceVersionFactory(price=version.price, currency="JPY", unit_amount=Decimal(1500))

    sent = {"price": version.price.pk, "quantity": "1234567"}

    assert estimated(api, **sent)["amount"] == "12.35"
    assert estimated(api, **sent, currency="JPY")["amount"] == "1852"
    assert (
        "is not priced in EUR. Use USD or JPY" in api.refused("POST", ESTIMATE, {**sent, "currency": "EUR"})["currency"]
    )


def priced(terms: PriceTerms, **metric: Any) -> int:
    """A stored price with these terms."""
    draft = create_plan(code="scale", name="Scale", currencies=["USD"])
    charged = ChargedFor(product=ProductFactory(), name="Usage", metric=BillableMetricFactory(**metric))
    return add_price(plan_version=draft, charged=charged, terms=terms, now=SET_UP_AT).price_id


def test_a_stored_matrix_takes_events(api: ApiCaller) -> None:
    rows = (MatrixRow(("large",), Decimal(10)), MatrixRow((None,), Decimal(1)))
    terms = PriceTerms(
        ChargeModelName.MATRIX, per_units=Decimal(1_000_000), dimensions=("model",), rows=rows, minimum=Decimal(40)
    )
    events = [
        {"quantity": "2000000", "properties": {"model": "large"}},
        {"quantity": "3000000", "properties": {"model": "tiny"}},
        {"quantity": "1000000"},
    ]

    answer = estimated(api, price=priced(terms, group_by=("model",)), events=events)

    shown = [(line["label"], line["match"], line["amount"]) for line in answer["lines"]]
    assert shown == [
        ("Usage: large", {"model": "large"}, "20.00"),
        ("Usage: all other usage", {}, "4.00"),
        ("Usage: Minimum", None, "16.00"),
    ]
    assert answer["amount"] == "40.00"


def test_a_stored_percentage_takes_transactions(api: ApiCaller) -> None:
    terms = PriceTerms(ChargeModelName.PERCENTAGE, rate_percent=Decimal(2), transaction_minimum=Decimal("0.50"))

    answer = estimated(api, price=priced(terms), transactions=["10.00", "100.00"])

    assert answer["amount"] == "2.50"


def test_stored_seats_take_levels(api: ApiCaller) -> None:
    terms = PriceTerms(ChargeModelName.SEATS, unit_amount=Decimal(30), included_units=Decimal(1))
    price = priced(terms, aggregation=Aggregation.SUM, carries_over=True)

    answer = estimated(api, price=price, levels=[{"quantity": 3, "days": 20}, {"quantity": 4, "days": 10}], of_days=30)

    assert answer["amount"] == "70.00"


# --- Plans -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scale() -> PlanVersion:
    """A fee, tokens by tiers, and requests."""
    tokens = BillableMetricFactory(code="tokens", name="Tokens")
    requests = BillableMetricFactory(code="requests", name="Requests", unit_singular="request", unit_plural="requests")
    return published_plan(
        flat_fee("49.00"),
        graduated(tokens, ("1000000", "3.00"), (None, "2.50"), per=1_000_000),
        per_unit(requests, "0.001", included="1000"),
        code="scale",
    )


def test_a_plan_is_estimated_price_by_price(api: ApiCaller, scale: PlanVersion) -> None:
    answer = estimated(api, plan="scale", quantities={"tokens": "2000000", "Requests": {"quantity": "1500"}})

    assert (answer["plan"], answer["version"], answer["currency"], answer["amount"]) == ("scale", 1, "USD", "55.00")
    shown = [(price["name"], price["metric"], price["amount"], price["exact"]) for price in answer["prices"]]
    assert shown == [
        ("Platform fee", None, "49.00", "49"),
        ("Tokens", "tokens", "5.50", "5.5"),
        ("Requests", "requests", "0.50", "0.5"),
    ]
    assert [line["label"] for line in answer["lines"]] == ["Platform fee", "Tokens", "Requests"]
    assert answer["explanation"]["formula"] == "49.00 USD + 5.50 USD + 0.50 USD = 55.00 USD"


def test_what_is_not_named_is_unused(api: ApiCaller, scale: PlanVersion) -> None:
    assert estimated(api, plan="scale")["amount"] == "49.00"


def test_without_a_number_the_newest_published_version_counts(api: ApiCaller, scale: PlanVersion) -> None:
    api_with_rights = ApiCaller()
    api_with_rights.ok("POST", "plans/scale/versions", {"copy_of": 1}, status=201)

    assert estimated(ApiCaller(Scope.READ), plan="scale")["version"] == 1
    assert estimated(ApiCaller(Scope.READ), plan="scale", version=2)["amount"] == "49.00"


def test_a_plan_is_estimated_in_a_currency_of_its_own(api: ApiCaller) -> None:
    draft = create_plan(code="scale", name="Scale", currencies=["USD", "EUR"])
    fee = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(49))
    charged = ChargedFor(product=ProductFactory(), name="Fee")
    price = add_price(plan_version=draft, charged=charged, terms=fee, now=SET_UP_AT).price
    with_euro = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal("45.5"))
    add_currency(price=price, currency="EUR", terms=with_euro, now=SET_UP_AT)
    publish_plan_version(plan_version_id=draft.pk, now=SET_UP_AT)

    answer = estimated(api, plan="scale", currency="EUR")

    assert (answer["amount"], answer["currency"]) == ("45.50", "EUR")


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_an_estimate_needs_the_read_scope() -> None:
    assert "read" in ApiCaller(Scope.MANAGE).refused("POST", ESTIMATE, WRITTEN, status=403)[""]


def test_usage_without_a_price_is_not_estimated_at_nothing(api: ApiCaller) -> None:
    closed = {"currency": "USD", "model": "volume", "tiers": [{"up_to": "10", "unit_amount": "1"}], "quantity": "11"}
    matrix = {
        "currency": "USD",
        "model": "matrix",
        "prices": [{"match": {"model": "large"}, "unit_amount": "1"}],
        "events": [{"quantity": "1", "properties": {"model": "tiny"}}],
    }

    for price, sentence in ((closed, "lies above the last tier"), (matrix, "No row prices model = tiny")):
        response = api.call("POST", ESTIMATE, price)
        problem = response.json()  # type: ignore[attr-defined]
        assert (response.status_code, problem["code"]) == (409, "usage_not_priced")
        assert sentence in problem["detail"]


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"currency": None}, "currency", "missing"),
        ({"currency": "XYZ"}, "currency", "not a currency code"),
        ({"currency": 5}, "currency", "text"),
        ({"model": "hourly"}, "model", "is no charge model"),
        ({"model": ["per_unit"]}, "model", "text"),
        ({"quantity": None}, "quantity", "missing"),
        ({"quantity": "-1"}, "quantity", "0 or more"),
        ({"quantity": "1e3"}, "quantity", "plain number"),
        ({"quantity": "NaN"}, "quantity", "plain number"),
        ({"quantity": True}, "quantity", "Write a number"),
        ({"quantity": {"a": 1}}, "quantity", "Write a number"),
        ({"quantity": 10**40}, "quantity", "18 digits"),
        ({"quantity": "1" + "0" * 5000}, "quantity", "plain number"),
        ({"unit_amount": "0.0000000000001"}, "unit_amount", "12 behind it"),
        ({"unit_amont": "1"}, "unit_amont", "Did you mean unit_amount?"),
        ({"tiers": []}, "tiers", "does not belong"),
        ({"minimum": "5", "maximum": "4"}, "minimum", "above the maximum"),
        ({"conversion": {"divide_by": "0"}}, "conversion.divide_by", "above 0"),
        ({"model": "graduated", "unit_amount": None, "tiers": []}, "tiers", "There are no tiers"),
        ({"model": "graduated", "unit_amount": None, "tiers": {"up_to": 1}}, "tiers", "Write a list"),
        ({"model": "graduated", "unit_amount": None, "tiers": [5]}, "tiers.0", "Write an object"),
        (
            {"model": "graduated", "unit_amount": None, "tiers": [{"up_to": "5", "unit_amount": "1"}] * 2},
            "tiers.1.up_to",
            "Let it end above 5",
        ),
    ],
)
def test_what_cannot_be_read_is_named_by_its_field(
    api: ApiCaller, changes: dict[str, Any], field: str, sentence: str
) -> None:
    sent = {name: value for name, value in {**WRITTEN, **changes}.items() if value is not None}

    faults = api.refused("POST", ESTIMATE, sent)

    assert list(faults) == [field]
    assert sentence in faults[field]


@pytest.mark.parametrize(
    ("changes", "status", "field"),
    [
        ({"price": 10**9}, 404, "price"),
        ({"price": 10**15}, 404, "price"),
        ({"price": "x"}, 400, "price"),
        ({"price": 1.5}, 400, "price"),
        ({"on": "tomorrow"}, 400, "on"),
        ({"on": "0001-01-01"}, 400, "on"),
        ({"unit_amount": "1"}, 400, "unit_amount"),
        ({"events": [{"quantity": 1}]}, 400, "events"),
        ({"plan": "scale"}, 400, "price"),
    ],
)
def test_a_stored_price_that_cannot_be_estimated_is_named_by_field(
    api: ApiCaller, scale: PlanVersion, changes: dict[str, Any], status: int, field: str
) -> None:
    price = scale.prices.get(name="Tokens")

    faults = api.refused("POST", ESTIMATE, {"price": price.pk, "quantity": "1", **changes}, status=status)

    assert next(iter(faults)) == field


@pytest.mark.parametrize(
    ("changes", "status", "field", "sentence"),
    [
        ({"plan": "none"}, 404, "plan", "no plan"),
        ({"plan": "\0"}, 400, "plan", "Write a text"),
        ({"version": 7}, 404, "version", "has no version 7"),
        ({"currency": "EUR"}, 400, "currency", "Use USD"),
        ({"quantities": {"token": 1}}, 400, "quantities.token", "Use tokens or requests"),
        ({"quantities": {"Platform fee": 1}}, 400, "quantities.Platform fee", "Use tokens or requests"),
        ({"quantities": {"tokens": 1, "Tokens": 2}}, 400, "quantities.Tokens", "given twice"),
        ({"quantities": {"tokens": "many"}}, 400, "quantities.tokens.quantity", "plain number"),
        ({"quantities": {"tokens": {"quantity": 1, "day": 1}}}, 400, "quantities.tokens.day", "no such field"),
        ({"quantities": [1]}, 400, "quantities", "Write an object"),
        ({"quantity": "1"}, 400, "quantity", "estimate of a plan"),
    ],
)
def test_a_plan_that_cannot_be_estimated_is_named_by_field(
    api: ApiCaller, scale: PlanVersion, changes: dict[str, Any], status: int, field: str, sentence: str
) -> None:
    faults = api.refused("POST", ESTIMATE, {"plan": "scale", **changes}, status=status)

    assert list(faults) == [field]
    assert sentence in faults[field]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "5",
        "null",
        "{",
        "[" * 100_000,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        '{"currency": "USD", "unit_amount": NaN, "quantity": 1}',
        '{"currency": "USD", "unit_amount": 1e999999999, "quantity": 1}',
        '{"currency": "USD", "unit_amount": 1e-999999999, "quantity": 1}',
        '{"currency": "USD", "unit_amount": 1e99999999999999999999, "quantity": 1}',
        '{"currency": "USD", "unit_amount": 1, "quantity": ' + "9" * 10_000 + "}",
        '{"currency": "USD", "unit_amount": 1, "quantity": 1, "\\ud800": 1}',
        '{"currency": "\\ud800", "unit_amount": 1, "quantity": 1}',
        '{"plan": "\\ud800"}',
        '{"currency": "USD", "prices": [{"match": {"model": "\\ud800"}, "unit_amount": 1}], "events": '
        '[{"quantity": 1, "properties": {"model": "\\ud800"}}]}',
    ],
)
def test_what_is_no_price_at_all_is_refused(api: ApiCaller, body: str) -> None:
    api.refused("POST", ESTIMATE, body)


def test_the_largest_figures_are_answered(api: ApiCaller) -> None:
    most = {"currency": "USD", "unit_amount": "9" * 12 + "." + "9" * 12, "quantity": "9" * 18 + "." + "9" * 12}

    assert len(estimated(api, **most)["amount"]) > 30
    assert "too large" in api.refused("POST", ESTIMATE, {**most, "per_units": "0.000000000001"})["quantity"]


def test_more_events_and_rows_than_anyone_has_are_refused(api: ApiCaller) -> None:
    prices = [{"match": {"model": str(number)}, "unit_amount": 1} for number in range(1001)]
    events = [{"quantity": 1, "properties": {"model": str(number)}} for number in range(1000)]

    faults = api.refused("POST", ESTIMATE, {"currency": "USD", "model": "matrix", "prices": prices, "events": events})

    assert "Add up those that are alike" in faults["events"]


def test_an_estimate_stores_nothing(api: ApiCaller) -> None:
    estimated(api, **WRITTEN)

    assert not PlanVersion.objects.exists()
    assert not PricingUnit.objects.exists()
