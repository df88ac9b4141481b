"""The catalogue over the API: products, pricing units, plans and prices, made, changed, published and refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.utils import timezone

from apps.billable_metrics.definitions import Aggregation
from apps.products.api.terms import TERMS, PriceVersionSerializer, TermsInput
from apps.products.models import (
    MODEL_COLUMNS,
    ChargeModelName,
    Plan,
    PlanVersion,
    Price,
    PriceVersion,
    PricingUnit,
    Product,
)
from tests.api.client import ApiCaller
from tests.factories import BillableMetricFactory, PriceVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db

DRAFT_PRICES = "plans/scale/versions/1/prices"


@pytest.fixture
def api() -> ApiCaller:
    return ApiCaller()


@pytest.fixture
def draft(api: ApiCaller) -> Any:
    """A draft in two currencies, with what its prices may name."""
    ProductFactory(code="chat")
    BillableMetricFactory(code="tokens", group_by=("model", "direction"))
    return api.ok("POST", "plans", {"code": "scale", "name": "Scale", "currencies": ["USD", "EUR"]}, status=201)


def tokens(**changes: Any) -> dict[str, Any]:
    """A price per million tokens, as it is sent."""
    sent = {
        "product": "chat",
        "metric": "tokens",
        "name": "Tokens",
        "charge_model": "per_unit",
        "unit_amount": "3",
        "per_units": "1000000",
        **changes,
    }
    return {name: value for name, value in sent.items() if value is not None}


def add(api: ApiCaller, *currencies: str, **changes: Any) -> Any:
    """A price of the draft, in USD and in whatever other currencies are named."""
    made = api.ok("POST", DRAFT_PRICES, tokens(**changes), status=201)
    terms = {name: value for name, value in tokens(**changes).items() if name in TERMS}
    for currency in currencies:
        made = api.ok("POST", f"prices/{made['id']}/versions", {"currency": currency, **terms}, status=201)
    return made


def publish(api: ApiCaller) -> Any:
    return api.ok("POST", "plans/scale/versions/1/publish")


def today() -> dt.date:
    return timezone.now().date()


def in_days(days: int) -> str:
    return (today() + dt.timedelta(days=days)).isoformat()


# --- Products and pricing units --------------------------------------------------------------------------------------

ENTRIES = [
    ("products", {"code": "chat", "name": "Chat API", "description": "All models."}, {"name": "Chat"}),
    ("pricing-units", {"code": "credit", "singular": "credit", "plural": "credits"}, {"plural": "points"}),
]


@pytest.mark.parametrize(("address", "sent", "change"), ENTRIES)
def test_an_entry_is_made_read_and_changed(
    api: ApiCaller, address: str, sent: dict[str, str], change: dict[str, str]
) -> None:
    assert api.ok("POST", address, sent, status=201) == sent
    assert api.ok("GET", f"{address}/{sent['code']}") == sent
    assert api.ok("GET", address, code=sent["code"])["results"] == [sent]
    assert api.ok("PATCH", f"{address}/{sent['code']}", change) == {**sent, **change}


@pytest.mark.parametrize(("address", "sent", "change"), ENTRIES)
def test_the_same_entry_again_changes_nothing(
    api: ApiCaller, address: str, sent: dict[str, str], change: dict[str, str]
) -> None:
    api.ok("POST", address, sent, status=201)

    assert api.ok("POST", address, sent, status=200) == sent
    assert "code" in api.refused("POST", address, {**sent, **change})
    assert Product.objects.count() + PricingUnit.objects.count() == 1


@pytest.mark.parametrize(("address", "sent", "change"), ENTRIES)
def test_an_entry_that_cannot_be_is_named_by_field(
    api: ApiCaller, address: str, sent: dict[str, str], change: dict[str, str]
) -> None:
    [name] = change

    assert list(api.refused("POST", address, {**sent, "code": "two words"})) == ["code"]
    assert list(api.refused("POST", address, {**sent, name: ""})) == [name]
    assert list(api.refused("POST", address, {**sent, "colour": "red"})) == ["colour"]
    assert next(iter(api.refused("POST", address, {"code": "x"}))) in sent
    api.ok("POST", address, sent, status=201)
    assert list(api.refused("PATCH", f"{address}/{sent['code']}", {"code": "other"})) == ["code"]
    api.refused("PATCH", f"{address}/none", change, status=404)


# --- Plans -----------------------------------------------------------------------------------------------------------


def test_a_plan_begins_with_a_draft(api: ApiCaller, draft: Any) -> None:
    [version] = draft["versions"]
    assert (version["number"], version["status"], version["currencies"]) == (1, "draft", ["USD", "EUR"])
    assert (version["billing_months"], version["prices"]) == (1, [])
    assert api.ok("GET", "plans/scale") == draft
    assert api.ok("GET", "plans/scale/versions/1") == version
    assert api.ok("GET", "plans?status=draft", code="scale")["results"] == [draft]
    assert api.ok("GET", "plans?status=archived")["results"] == []


def test_the_same_plan_again_changes_nothing(api: ApiCaller, draft: Any) -> None:
    sent = {"code": "scale", "name": "Scale", "currencies": ["USD", "EUR"]}

    assert api.ok("POST", "plans", sent, status=200) == draft
    assert "code" in api.refused("POST", "plans", {**sent, "currencies": ["USD"]})
    assert (Plan.objects.count(), PlanVersion.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "two words"}, "code"),
        ({"name": ""}, "name"),
        ({"currencies": []}, "currencies"),
        ({"currencies": ["XXX"]}, "currencies"),
        ({"currencies": ["USD", "USD"]}, "currencies"),
        ({"currencies": "USD"}, "currencies"),
        ({"billing_months": 2}, "billing_months"),
        ({"interval": "month"}, "interval"),
    ],
)
def test_a_plan_that_cannot_be_is_named_by_field(api: ApiCaller, changes: dict[str, Any], field: str) -> None:
    assert next(iter(api.refused("POST", "plans", {"code": "scale", "name": "Scale", **changes}))).startswith(field)
    assert not Plan.objects.exists()


def test_a_plan_is_renamed(api: ApiCaller, draft: Any) -> None:
    changed = api.ok("PATCH", "plans/scale", {"name": "Scale 2", "description": "For teams."})

    assert changed == {**draft, "name": "Scale 2", "description": "For teams."}
    assert list(api.refused("PATCH", "plans/scale", {"currencies": ["USD"]})) == ["currencies"]


def test_a_further_version_is_empty(api: ApiCaller, draft: Any) -> None:
    sent = {"currencies": ["JPY"], "billing_months": 12}

    made = api.ok("POST", "plans/scale/versions", sent, status=201)

    assert (made["number"], made["status"], made["currencies"]) == (2, "draft", ["JPY"])
    assert (made["billing_months"], made["prices"]) == (12, [])
    assert api.ok("POST", "plans/scale/versions", sent, status=200) == made


def test_a_further_version_is_a_copy_in_all_currencies(api: ApiCaller, draft: Any) -> None:
    add(api, "EUR")

    made = api.ok("POST", "plans/scale/versions", {"copy_of": 1}, status=201)

    [price] = made["prices"]
    assert (made["number"], made["currencies"], price["plan_version"]) == (2, ["USD", "EUR"], 2)
    assert sorted(version["currency"] for version in price["versions"]) == ["EUR", "USD"]
    assert "has no version 9" in api.refused("POST", "plans/scale/versions", {"copy_of": 9})["copy_of"]
    both = {"copy_of": 1, "currencies": ["USD"]}
    assert "those of its original" in api.refused("POST", "plans/scale/versions", both)["currencies"]


def test_a_version_is_published_and_archived(api: ApiCaller, draft: Any) -> None:
    add(api, "EUR")

    published = publish(api)

    assert (published["status"], published["published_at"] is None) == ("published", False)
    assert publish(api) == published
    assert api.ok("POST", "plans/scale/versions/1/archive")["status"] == "archived"
    assert api.ok("POST", "plans/scale/versions/1/archive")["status"] == "archived"
    assert "cannot become published" in api.refused("POST", "plans/scale/versions/1/publish", status=409)[""]


def test_a_version_that_is_not_complete_is_not_published(api: ApiCaller, draft: Any) -> None:
    assert "has no prices yet" in api.refused("POST", "plans/scale/versions/1/publish", status=409)[""]
    add(api)
    assert "has no price in EUR" in api.refused("POST", "plans/scale/versions/1/publish", status=409)[""]
    assert "cannot become archived" in api.refused("POST", "plans/scale/versions/1/archive", status=409)[""]
    api.refused("POST", "plans/scale/versions/7/publish", status=404)


# --- Prices of a draft -----------------------------------------------------------------------------------------------

TIERS = [{"up_to": "1000", "unit_amount": "0.1", "flat_amount": "5"}, {"up_to": None, "unit_amount": "0.05"}]
MODELS: dict[str, dict[str, Any]] = {
    "flat": {"metric": None, "flat_amount": "49", "unit_amount": None, "per_units": None},
    "per_unit": {"unit_amount": "0.000000000001", "included_units": "0.5", "minimum": "1", "maximum": "2"},
    "package": {"package_size": "1000", "per_units": None},
    "graduated": {"tiers": TIERS, "unit_amount": None, "flat_fee_at_zero_usage": True},
    "volume": {"tiers": TIERS, "unit_amount": None, "divide_by": "60", "quantity_rounding": "ceil"},
    "stairstep": {"tiers": [{"up_to": "10", "flat_amount": "5"}], "unit_amount": None, "per_units": None},
    "percentage": {
        "rate_percent": "1.4",
        "fixed_amount": "0.25",
        "free_transactions": 3,
        "transaction_minimum": "0.5",
        "transaction_maximum": "10",
        "unit_amount": None,
        "per_units": None,
    },
    "graduated_percentage": {
        "tiers": [{"up_to": "1000", "rate_percent": "2.9"}, {"rate_percent": "2.5"}],
        "unit_amount": None,
        "per_units": None,
    },
    "matrix": {
        "dimensions": ["model", "direction"],
        "rows": [
            {"match": {"model": "large", "direction": "input"}, "unit_amount": "10"},
            {"match": {"model": "large"}, "unit_amount": "30"},
            {"match": {}, "unit_amount": "1.5"},
        ],
        "unit_amount": None,
    },
    "amount_in_event": {"multiplier": "1.2", "unit_amount": None, "per_units": None},
    "seats": {"metric": "seats", "unit_amount": "30", "per_units": None, "prorates_removed": False},
}


def test_every_model_is_tested() -> None:
    assert MODELS.keys() == {model.value for model in MODEL_COLUMNS}


@pytest.mark.parametrize("model", MODELS)
def test_what_was_written_is_read_back(api: ApiCaller, draft: Any, model: str) -> None:
    BillableMetricFactory(code="seats", aggregation=Aggregation.SUM, carries_over=True)
    sent = tokens(charge_model=model, **MODELS[model])

    made = api.ok("POST", DRAFT_PRICES, sent, status=201)

    [version] = made["versions"]
    assert (version["currency"], version["effective_from"]) == ("USD", None)
    for name in TERMS:
        if name in ("tiers", "rows"):
            for shown, row in zip(version[name], sent.get(name, []), strict=True):
                assert {field: shown[field] for field in row} == row
        elif name in sent:
            assert version[name] == sent[name]
    assert api.ok("GET", f"prices/{made['id']}") == made
    assert api.ok("POST", DRAFT_PRICES, sent, status=200) == made
    assert Price.objects.count() == 1


@pytest.mark.parametrize("model", MODELS)
def test_what_was_read_can_be_written_again(api: ApiCaller, draft: Any, model: str) -> None:
    BillableMetricFactory(code="seats", aggregation=Aggregation.SUM, carries_over=True)
    made = api.ok("POST", DRAFT_PRICES, tokens(charge_model=model, **MODELS[model]), status=201)
    [version] = made["versions"]

    terms = {name: version[name] for name in TERMS}
    both = api.ok("POST", f"prices/{made['id']}/versions", {"currency": "EUR", **terms}, status=201)

    [in_euro, in_dollars] = both["versions"]
    assert {name: in_euro[name] for name in TERMS} == {name: in_dollars[name] for name in TERMS} == terms


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"product": None}, "product", "required"),
        ({"product": "none"}, "product", "does not exist"),
        ({"product": "\0"}, "product", ""),
        ({"metric": "none"}, "metric", "does not exist"),
        ({"metric": None}, "metric", "Choose the metric"),
        ({"pricing_unit": "none"}, "pricing_unit", "does not exist"),
        ({"pricing_unit_rate": "0.01"}, "pricing_unit_rate", "Clear it"),
        ({"name": ""}, "name", "blank"),
        ({"currency": "JPY"}, "currency", "Use USD or EUR"),
        ({"currency": "XXX"}, "currency", "not a valid choice"),
        ({"charge_model": None}, "charge_model", "required"),
        ({"charge_model": "hourly"}, "charge_model", "not a valid choice"),
        ({"unit_amount": None}, "unit_amount", "Enter the amount"),
        ({"unit_amount": "-1"}, "unit_amount", "0 or more"),
        ({"unit_amount": "1e3"}, "unit_amount", "plain number"),
        ({"unit_amount": "0.0000000000001"}, "unit_amount", "12 behind it"),
        ({"unit_amount": {"usd": 1}}, "unit_amount", "Write a number"),
        ({"per_units": "0"}, "per_units", "above 0"),
        ({"flat_amount": "1"}, "flat_amount", "takes no flat amount"),
        ({"minimum": "5", "maximum": "4"}, "minimum", "above the maximum"),
        ({"quantity_rounding": "ceil"}, "divide_by", "Enter both"),
        ({"failures": "free"}, "failures", "does not say which outcomes"),
        ({"failures": "free_up_to"}, "free_failures", "goes with"),
        ({"timing": "advance"}, "__all__", "Only a fee"),
        ({"tiers": TIERS}, "tiers", "takes no tiers"),
        ({"charge_model": "graduated", "unit_amount": None, "tiers": []}, "tiers", "There are no tiers"),
        ({"charge_model": "graduated", "unit_amount": None, "tiers": [{"rate_percent": 1}]}, "tiers.rate_percent", ""),
        ({"charge_model": "graduated", "unit_amount": None, "tiers": [{"upto": 1}]}, "tiers.0.upto", "Known are up_to"),
        ({"charge_model": "seats", "per_units": None}, "metric", "carries over"),
        (
            {"charge_model": "matrix", "unit_amount": None, "dimensions": ["region"], "rows": [{"unit_amount": 1}]},
            "dimensions",
            "is not grouped by region",
        ),
        (
            {
                "charge_model": "matrix",
                "unit_amount": None,
                "dimensions": ["model"],
                "rows": [{"match": {"modell": "x"}, "unit_amount": 1}],
            },
            "rows",
            "none of the dimensions",
        ),
        (
            {"charge_model": "matrix", "unit_amount": None, "dimensions": ["model"], "rows": [{"unit_amount": 1}] * 2},
            "rows",
            "price the same values",
        ),
    ],
)
def test_a_price_that_cannot_be_is_named_by_field(
    api: ApiCaller, draft: Any, changes: dict[str, Any], field: str, sentence: str
) -> None:
    faults = api.refused("POST", DRAFT_PRICES, tokens(**changes))

    assert list(faults) == [field]
    assert sentence in faults[field]
    assert not Price.objects.exists()


def test_a_price_in_credits_says_what_one_is_worth(api: ApiCaller, draft: Any) -> None:
    api.ok("POST", "pricing-units", {"code": "credit", "singular": "credit", "plural": "credits"}, status=201)
    credits = {"pricing_unit": "credit"}

    assert "is worth in money" in api.refused("POST", DRAFT_PRICES, tokens(**credits))["pricing_unit_rate"]
    made = add(api, pricing_unit_rate="0.01", **credits)

    assert (made["pricing_unit"], made["versions"][0]["pricing_unit_rate"]) == ("credit", "0.01")


def test_a_name_is_there_once(api: ApiCaller, draft: Any) -> None:
    add(api)

    faults = api.refused("POST", DRAFT_PRICES, tokens(unit_amount="4"))

    assert "already has a price with this name" in str(faults)


def test_what_is_left_out_of_a_change_stays(api: ApiCaller, draft: Any) -> None:
    made = add(api, included_units="100")

    changed = api.ok("PATCH", f"prices/{made['id']}", {"name": "Input", "unit_amount": "2.5", "position": 7})

    [version] = changed["versions"]
    assert (changed["name"], changed["position"], changed["product"]) == ("Input", 7, "chat")
    assert (version["unit_amount"], version["per_units"], version["included_units"]) == ("2.5", "1000000", "100")


def test_another_model_brings_its_own_amounts(api: ApiCaller, draft: Any) -> None:
    made = add(api, included_units="100")

    changed = api.ok("PATCH", f"prices/{made['id']}", {"charge_model": "graduated", "tiers": TIERS})

    [version] = changed["versions"]
    assert (version["charge_model"], version["unit_amount"], version["included_units"]) == ("graduated", None, None)
    assert version["per_units"] == "1"


def test_a_change_is_for_one_currency(api: ApiCaller, draft: Any) -> None:
    made = add(api, "EUR")

    changed = api.ok("PATCH", f"prices/{made['id']}", {"currency": "EUR", "unit_amount": "2.8"})

    amounts = {version["currency"]: version["unit_amount"] for version in changed["versions"]}
    assert amounts == {"USD": "3", "EUR": "2.8"}


def test_a_change_that_cannot_be_changes_nothing(api: ApiCaller, draft: Any) -> None:
    made = add(api)
    address = f"prices/{made['id']}"
    add(api, name="Other")

    assert "flat_amount" in api.refused("PATCH", address, {"name": "X", "flat_amount": "1"})
    assert "currency" in api.refused("PATCH", address, {"name": "X", "currency": "EUR"})
    assert "id" in api.refused("PATCH", address, {"id": 7})
    matrix = {"charge_model": "matrix", "dimensions": ["model"], "rows": [{"match": {}}]}
    assert "Row 1 has no unit amount" in api.refused("PATCH", address, matrix)["rows"]
    assert "already has a price" in str(api.refused("PATCH", address, {"name": "Other"}))
    api.refused("PATCH", "prices/0", {"name": "X"}, status=404)
    assert api.ok("GET", address) == made


def test_a_price_is_taken_out_of_a_draft(api: ApiCaller, draft: Any) -> None:
    made = add(api, "EUR")

    api.ok("DELETE", f"prices/{made['id']}", status=204)

    assert not PriceVersion.objects.exists()
    api.refused("DELETE", f"prices/{made['id']}", status=404)


def test_the_prices_of_a_published_version_stand(api: ApiCaller, draft: Any) -> None:
    made = add(api, "EUR")
    publish(api)

    for method, address, body in (
        ("POST", DRAFT_PRICES, tokens(name="Other")),
        ("PATCH", f"prices/{made['id']}", {"name": "X"}),
        ("DELETE", f"prices/{made['id']}", None),
    ):
        assert "so its charges stand" in api.refused(method, address, body, status=409)[""]


# --- Scheduled prices ------------------------------------------------------------------------------------------------


def later(**changes: Any) -> dict[str, Any]:
    sent = {
        "effective_from": in_days(30),
        "charge_model": "per_unit",
        "unit_amount": "2.5",
        "per_units": "1000000",
        **changes,
    }
    return {name: value for name, value in sent.items() if value is not None}


@pytest.fixture
def published(api: ApiCaller, draft: Any) -> str:
    """The address of the versions of a published price."""
    made = add(api, "EUR")
    publish(api)
    return f"prices/{made['id']}/versions"


def test_new_amounts_are_scheduled(api: ApiCaller, published: str) -> None:
    answer = api.ok("POST", published, later(currency="EUR", note="New hardware"), status=201)

    newest = answer["versions"][0]
    assert (newest["currency"], newest["effective_from"], newest["note"]) == ("EUR", in_days(30), "New hardware")
    assert newest["unit_amount"] == "2.5"
    assert len(answer["versions"]) == 3


def test_the_same_schedule_again_changes_nothing(api: ApiCaller, published: str) -> None:
    answer = api.ok("POST", published, later(), status=201)

    assert api.ok("POST", published, later(), status=200) == answer
    api.ok("POST", published, later(unit_amount="2.4"), status=201)
    assert PriceVersion.objects.filter(currency="USD").count() == 3


def test_the_model_may_change(api: ApiCaller, published: str) -> None:
    sent = later(charge_model="volume", unit_amount=None, tiers=TIERS)

    answer = api.ok("POST", published, sent, status=201)

    assert [version["charge_model"] for version in answer["versions"] if version["currency"] == "USD"] == [
        "volume",
        "per_unit",
    ]


def test_a_day_that_is_past_is_acknowledged(api: ApiCaller, published: str) -> None:
    sent = later(effective_from=in_days(-10))

    response = api.call("POST", published, sent)
    problem = response.json()  # type: ignore[attr-defined]
    assert (response.status_code, problem["code"]) == (409, "backdating_not_acknowledged")
    assert '"acknowledge_backdating": true' in problem["detail"]
    assert problem["errors"][0]["field"] == "effective_from"
    assert PriceVersion.objects.count() == 2

    api.ok("POST", published, {**sent, "acknowledge_backdating": True}, status=201)


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"effective_from": None}, "effective_from", "from which day"),
        ({"effective_from": "soon"}, "effective_from", "wrong format"),
        ({"effective_from": "1969-12-31"}, "effective_from", "from 1970 to 2199"),
        ({"currency": "JPY"}, "currency", "Use USD or EUR"),
        ({"charge_model": None}, "charge_model", "required"),
        ({"unit_amount": None}, "unit_amount", "Enter the amount"),
        ({"charge_model": "flat", "unit_amount": None, "flat_amount": 5, "per_units": None}, "metric", "no metric"),
        ({"note": "x" * 201}, "note", "200 characters"),
        ({"name": "Other"}, "name", "Known are"),
    ],
)
def test_amounts_that_cannot_be_scheduled_are_named_by_field(
    api: ApiCaller, published: str, changes: dict[str, Any], field: str, sentence: str
) -> None:
    faults = api.refused("POST", published, later(**changes))

    assert list(faults) == [field]
    assert sentence in faults[field]


def test_nothing_is_scheduled_on_a_draft_or_an_archived_version(api: ApiCaller, draft: Any) -> None:
    address = f"prices/{add(api, 'EUR')['id']}/versions"

    assert "hold from the beginning" in api.refused("POST", address, later())["effective_from"]
    assert "Leave it out" in api.refused("POST", address, later(effective_from=None, note="Why"))["note"]
    faults = api.refused("POST", address, later(effective_from=None, currency="EUR"))
    assert "is priced in EUR already" in faults["currency"]
    publish(api)
    api.ok("POST", "plans/scale/versions/1/archive")
    assert "Make a new version of the plan" in api.refused("POST", address, later(), status=409)[""]
    api.refused("POST", "prices/0/versions", later(), status=404)


# --- Lists of prices -------------------------------------------------------------------------------------------------


def found(api: ApiCaller, **query: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """The names of the prices of a list, each with currency and day of its versions."""
    results = api.ok("GET", "prices", **query)["results"]
    return [
        (price["name"], [(each["currency"], each["effective_from"]) for each in price["versions"]]) for price in results
    ]


def test_prices_are_found_by_what_they_are(api: ApiCaller, published: str) -> None:
    PriceVersionFactory(price__name="Other", currency="GBP")

    for query in ({"plan": "scale"}, {"product": "chat"}, {"metric": "tokens"}, {"plan": "scale", "plan_version": "1"}):
        assert found(api, **query) == [("Tokens", [("EUR", None), ("USD", None)])]
    assert found(api, currency="EUR") == [("Tokens", [("EUR", None)])]
    assert found(api, charge_model="volume") == []
    assert found(api, plan="scale", plan_version="2") == []


def test_prices_are_found_as_they_are_in_force_on_a_day(api: ApiCaller, published: str) -> None:
    api.ok("POST", published, later(), status=201)
    api.ok("POST", published, later(charge_model="volume", unit_amount=None, tiers=TIERS), status=201)

    assert found(api, in_force_on=in_days(29)) == [("Tokens", [("EUR", None), ("USD", None)])]
    assert found(api, in_force_on=in_days(30)) == [("Tokens", [("EUR", None), ("USD", in_days(30))])]
    assert found(api, in_force_on=in_days(30), charge_model="volume") == [("Tokens", [("USD", in_days(30))])]
    assert found(api, in_force_on=in_days(30), charge_model="per_unit", currency="USD") == []
    assert found(api, in_force_on=in_days(29), charge_model="per_unit", currency="USD") == [("Tokens", [("USD", None)])]


@pytest.mark.parametrize("query", [{"in_force_on": "soon"}, {"charge_model": "hourly"}, {"plan_version": "x"}])
def test_a_query_that_cannot_be_is_named(api: ApiCaller, query: dict[str, str]) -> None:
    assert list(api.refused("GET", "prices", **query)) == list(query)


# --- The whole way ---------------------------------------------------------------------------------------------------


def test_the_api_takes_and_shows_every_term() -> None:
    assert set(TermsInput().fields) == set(TERMS)
    assert set(TERMS) <= set(PriceVersionSerializer().fields)
    assert {model.value for model in ChargeModelName} == set(TermsInput().fields["charge_model"].choices)  # type: ignore[attr-defined]
