"""The worked price lists through the whole flow: published plan, contract, events, closed period, issued invoice."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from apps.billable_metrics import catalogue
from apps.billable_metrics.models import BillableMetric
from apps.closing.services import start_close_run, work_run
from apps.contracts.models import Contract
from apps.customers.models import BillingEntity
from apps.invoices.models import Invoice
from apps.invoices.selectors import explain_line
from apps.invoices.services.issuing import issue_invoices
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.formatting import plain_decimal
from apps.products.models import ChargeModelName
from apps.products.terms import PriceTerms
from apps.usage.services import EventInput, record_events
from tests.builders import PlannedPrice, active_contract, flat_fee, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory

pytestmark = pytest.mark.django_db

CASES: dict[str, dict[str, Any]] = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent.parent / "golden" / "seed_prices.json").read_text(encoding="utf-8"))
    if case["kind"] in {"rate", "rate_lines", "rate_matrix", "rate_hybrid"}
}
MOST_LINES = 6
DECEMBER_2 = utc(2023, 12, 2)
DIMENSIONS = ("model", "direction")


@dataclass(frozen=True)
class IssuedLine:
    name: str
    quantity: str
    exact: str
    amount: str
    values: tuple[str | None, ...]
    formula: str


@dataclass(frozen=True)
class IssuedInvoice:
    number: str
    total: str
    lines: tuple[IssuedLine, ...]


# --- From a case to prices and events --------------------------------------------------------------------------------


def terms_of(price: Mapping[str, Any], included: str = "0") -> PriceTerms:
    """The terms that a price of the golden cases means."""
    included_units = Decimal(price.get("free_units", included))
    if "prices" in price:
        rows = tuple(
            MatrixRow(tuple(row["match"].get(name) for name in DIMENSIONS), Decimal(row["unit_amount"]))
            for row in price["prices"]
        )
        return PriceTerms(
            ChargeModelName.MATRIX, per_units=Decimal(price["per_units"]), dimensions=DIMENSIONS, rows=rows
        )
    if "tiers" in price:
        model = ChargeModelName(price["model"])
        return PriceTerms(
            model, per_units=Decimal(price.get("per_units", "1")), tiers=tuple(map(tier_of, price["tiers"]))
        )
    if "package_size" in price:
        return PriceTerms(
            ChargeModelName.PACKAGE,
            unit_amount=Decimal(price["package_amount"]),
            package_size=Decimal(price["package_size"]),
            included_units=included_units,
        )
    return PriceTerms(
        ChargeModelName.PER_UNIT,
        unit_amount=Decimal(price["unit_amount"]),
        per_units=Decimal(price.get("per_units", "1")),
        included_units=included_units,
    )


def tier_of(tier: Mapping[str, Any]) -> Tier:
    return Tier(
        up_to=None if tier["up_to"] is None else Decimal(tier["up_to"]),
        unit_amount=Decimal(tier["package_amount"] if "package_size" in tier else tier["unit_amount"]),
        flat_amount=Decimal(tier.get("flat_amount", "0")),
        package_size=Decimal(tier["package_size"]) if "package_size" in tier else None,
    )


def prices_of(case: Mapping[str, Any], metrics: list[BillableMetric]) -> list[PlannedPrice]:
    price = case["input"]
    if case["kind"] == "rate_lines":
        return [
            PlannedPrice(line["id"], terms_of(line), metric)
            for line, metric in zip(price["lines"], metrics, strict=False)
        ]
    if case["kind"] == "rate_hybrid":
        overage = terms_of(price["overage"], price["included_units"])
        return [flat_fee(price["base_amount"], "Base"), PlannedPrice("Usage", overage, metrics[0])]
    return [PlannedPrice("Usage", terms_of(price), metrics[0])]


def used_in(case: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """What is used: the place of the metric, and the data of an event."""
    price = case["input"]
    if case["kind"] == "rate_lines":
        for place, line in enumerate(price["lines"]):
            yield place, {"quantity": Decimal(line["quantity"])}
    elif case["kind"] == "rate_matrix":
        for event in price["events"]:
            yield 0, {"quantity": Decimal(event["quantity"]), **event["properties"]}
    else:
        yield 0, {"quantity": Decimal(price["quantity"])}


# --- The flow, once for all cases ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def issued(django_db_setup: None, django_db_blocker: Any) -> dict[str, IssuedInvoice]:
    """The invoice of each case. All are set up, closed and issued together, and leave nothing behind."""
    whole = transaction.atomic()
    # As around each test: durable blocks within may take it for a connection of its own.
    whole._from_testcase = True  # type: ignore[attr-defined]
    with django_db_blocker.unblock(), whole:
        invoices = bill_all()
        transaction.set_rollback(True)
    return invoices


def bill_all() -> dict[str, IssuedInvoice]:
    catalogue.forget()
    metrics: list[BillableMetric] = [
        BillableMetricFactory(
            code=f"units_{place}", event_type=f"work.{place}", value_property="quantity", group_by=DIMENSIONS
        )
        for place in range(MOST_LINES)
    ]
    seller: BillingEntity = BillingEntityFactory()
    contracts = {case_id: sell(case, metrics, seller) for case_id, case in CASES.items()}
    events = [
        EventInput("golden", f"{case_id}-{number}", f"work.{place}", case_id, utc(2023, 11, 10, number), data)
        for case_id, case in CASES.items()
        for number, (place, data) in enumerate(used_in(case))
    ]
    record_events(events=events, api_key_id=None)
    run = start_close_run(as_of=DECEMBER_2)
    work_run(run_id=run.pk, now=DECEMBER_2)
    drafts = Invoice.objects.order_by("contract_id")
    issue_invoices(invoice_ids=drafts.values_list("pk", flat=True), issued_at=DECEMBER_2)
    return {case_id: read(Invoice.objects.get(contract=contract)) for case_id, contract in contracts.items()}


def sell(case: Mapping[str, Any], metrics: list[BillableMetric], seller: BillingEntity) -> Contract:
    plan = published_plan(*prices_of(case, metrics), code=case["id"].lower(), currency=case["input"]["currency"])
    customer = CustomerFactory(external_id=case["id"], billing_entity=seller)
    return active_contract(plan, customer=customer, start=dt.date(2023, 11, 1))


def read(invoice: Invoice) -> IssuedInvoice:
    lines = tuple(
        IssuedLine(
            name=line.description,
            quantity=plain_decimal(line.quantity),
            exact=plain_decimal(line.exact_amount),
            amount=f"{line.amount.amount:.2f}",
            values=tuple(line.dimension_values),
            formula=explain_line(line).formula,
        )
        for line in invoice.lines.select_related("invoice", "price_version__price").order_by("position")
    )
    return IssuedInvoice(invoice.number or "", f"{invoice.total.amount:.2f}", lines)


def expected_lines(case: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and amount of each line."""
    expected = case["expected"]
    if case["kind"] == "rate_lines":
        return list(expected["lines"].items())
    if case["kind"] == "rate_hybrid":
        return list(zip(["Base", "Usage"], expected["lines"], strict=True))
    if case["kind"] == "rate_matrix":
        return [(f"Usage: {', '.join(group['match'].values())}", group["amount"]) for group in expected["groups"]]
    return [("Usage", expected["amount"])]


def cases(*kinds: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{case['id']} {case['title']}")
        for case in CASES.values()
        if not kinds or case["kind"] in kinds
    ]


@pytest.mark.parametrize("case", cases())
def test_the_issued_invoice_has_the_worked_lines_and_total(
    issued: dict[str, IssuedInvoice], case: dict[str, Any]
) -> None:
    invoice = issued[case["id"]]

    assert invoice.number
    assert [(line.name, line.amount) for line in invoice.lines] == expected_lines(case)
    assert invoice.total == case["expected"]["amount"]


@pytest.mark.parametrize("case", [case for case in cases("rate") if "exact" in case.values[0]["expected"]])
def test_the_line_keeps_the_exact_amount(issued: dict[str, IssuedInvoice], case: dict[str, Any]) -> None:
    [line] = issued[case["id"]].lines

    assert line.exact == case["expected"]["exact"]


@pytest.mark.parametrize("case", cases("rate_matrix"))
def test_each_row_of_a_matrix_states_its_values_and_quantity(
    issued: dict[str, IssuedInvoice], case: dict[str, Any]
) -> None:
    assert [
        {"match": dict(zip(DIMENSIONS, line.values, strict=True)), "quantity": line.quantity, "amount": line.amount}
        for line in issued[case["id"]].lines
    ] == case["expected"]["groups"]


@pytest.mark.parametrize("case", cases())
def test_each_line_explains_itself_down_to_its_amount(issued: dict[str, IssuedInvoice], case: dict[str, Any]) -> None:
    for line in issued[case["id"]].lines:
        assert line.formula.endswith(f"{Decimal(line.amount):,.2f} USD")


def test_every_case_of_these_kinds_is_billed() -> None:
    assert len(CASES) == 23 + 12 + 8 + 12
