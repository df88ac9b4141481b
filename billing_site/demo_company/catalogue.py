"""What the demo company sells, and at which prices."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.models import User

from apps.billable_metrics.definitions import Aggregation, MetricDefinition
from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import create_metric
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import (
    BillingTiming,
    ChargeModelName,
    FailurePolicy,
    PlanVersion,
    PricingUnit,
    Product,
)
from apps.products.services import (
    ChargedFor,
    add_price_in_currencies,
    create_plan,
    publish_plan_version,
    schedule_price_version,
)
from apps.products.terms import PriceTerms
from billing_site.demo_company.usage import COMPLETION, IMAGE, SEATS, VIDEO

MILLION = Decimal(1_000_000)
CREDIT_WORTH = {"USD": Decimal("0.01"), "EUR": Decimal("0.009")}


@dataclass(frozen=True, slots=True)
class PlannedPlan:
    """A plan to make: its charges, each with its terms in the order of the currencies."""

    code: str
    name: str
    currencies: Sequence[str]
    charges: Sequence[tuple[ChargedFor, Sequence[PriceTerms]]]


def make_plans(*, now: dt.datetime, actor: User, change_day: dt.date) -> dict[str, PlanVersion]:
    """Make the catalogue and publish its plans, with one price change on ``change_day``."""
    metrics = _make_metrics(now)
    published = {
        planned.code: _publish(planned, now=now, actor=actor)
        for planned in (*_token_plans(metrics), _studio_plan(metrics))
    }
    schedule_price_version(
        price=published["pay-as-you-go"].prices.get(name="Output tokens"),
        effective_from=change_day,
        terms=_unit("8.00"),
        now=now,
        note="Output tokens became cheaper to serve",
        actor=actor,
    )
    return published


def _publish(planned: PlannedPlan, *, now: dt.datetime, actor: User) -> PlanVersion:
    draft = create_plan(code=planned.code, name=planned.name, currencies=planned.currencies, actor=actor)
    for charged, terms in planned.charges:
        terms_by_currency = dict(zip(planned.currencies, terms, strict=True))
        add_price_in_currencies(
            plan_version=draft, charged=charged, terms_by_currency=terms_by_currency, now=now, actor=actor
        )
    return publish_plan_version(plan_version_id=draft.pk, now=now, actor=actor)


def _make_metrics(now: dt.datetime) -> dict[str, BillableMetric]:
    summed, counted, latest = Aggregation.SUM, Aggregation.COUNT, Aggregation.LATEST
    inputs = MetricDefinition(COMPLETION, summed, "input_tokens", group_by=("model",))
    video = MetricDefinition(VIDEO, summed, "minutes", outcome_property="status", outcome_values=("failed",))
    wanted = (
        ("input_tokens", "Input tokens", "token", inputs),
        ("output_tokens", "Output tokens", "token", MetricDefinition(COMPLETION, summed, "output_tokens")),
        ("images", "Images", "image", MetricDefinition(IMAGE, summed, "images")),
        ("api_calls", "API calls", "call", MetricDefinition(COMPLETION, counted)),
        ("video_minutes", "Video", "minute", video),
        ("seats", "Seats", "seat", MetricDefinition(SEATS, latest, "seats", carries_over=True)),
    )
    return {
        code: create_metric(
            definition=definition, now=now, code=code, name=name, unit_singular=unit, unit_plural=f"{unit}s"
        )
        for code, name, unit, definition in wanted
    }


def _fee(amount: str) -> PriceTerms:
    return PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount))


def _unit(amount: str, per: Decimal = MILLION, included: str = "0") -> PriceTerms:
    return PriceTerms(
        ChargeModelName.PER_UNIT, unit_amount=Decimal(amount), per_units=per, included_units=Decimal(included)
    )


def _stepped(*bounds: tuple[str | None, str]) -> PriceTerms:
    return PriceTerms(
        ChargeModelName.GRADUATED,
        per_units=MILLION,
        tiers=tuple(Tier(None if up_to is None else Decimal(up_to), Decimal(amount)) for up_to, amount in bounds),
    )


def _by_model(included: str, **amounts: str) -> PriceTerms:
    rows = [MatrixRow((name.replace("_", "-"),), Decimal(amount)) for name, amount in amounts.items()]
    return PriceTerms(
        ChargeModelName.MATRIX,
        per_units=MILLION,
        included_units=Decimal(included),
        dimensions=("model",),
        rows=(*rows, MatrixRow((None,), Decimal("3.00"))),
    )


def _token_plans(metrics: dict[str, BillableMetric]) -> list[PlannedPlan]:
    chat = Product.objects.create(code="chat", name="Chat API", description="Completions by the Nimbus models.")
    canvas = Product.objects.create(code="canvas", name="Canvas", description="Image generation.")
    platform = Product.objects.create(code="platform", name="Platform", description="Workspace, support and SLA.")
    inputs = ChargedFor(chat, "Input tokens", metrics["input_tokens"])
    outputs = ChargedFor(chat, "Output tokens", metrics["output_tokens"])
    calls = ChargedFor(chat, "API calls", metrics["api_calls"])
    images = ChargedFor(canvas, "Images", metrics["images"])
    return [
        PlannedPlan(
            "pay-as-you-go",
            "Pay as you go",
            ["USD"],
            [
                (inputs, [_by_model("1000000", nimbus_large="2.50", nimbus_small="0.40")]),
                (outputs, [_unit("10.00")]),
                (images, [_unit("0.04", Decimal(1))]),
            ],
        ),
        PlannedPlan(
            "scale",
            "Scale",
            ["USD"],
            [
                (ChargedFor(platform, "Platform fee"), [_fee("499.00")]),
                (inputs, [_stepped(("25000000", "2.20"), ("100000000", "1.90"), (None, "1.60"))]),
                (outputs, [_unit("9.00", included="2000000")]),
                (calls, [_unit("0.15", Decimal(1000), included="500")]),
                (images, [_unit("0.035", Decimal(1))]),
            ],
        ),
        PlannedPlan(
            "enterprise-eu",
            "Enterprise Europe",
            ["EUR"],
            [
                (ChargedFor(platform, "Enterprise support"), [_fee("2500.00")]),
                (inputs, [_stepped(("20000000", "1.95"), (None, "1.55"))]),
                (outputs, [_unit("7.80")]),
                (images, [_unit("0.032", Decimal(1))]),
            ],
        ),
    ]


def _studio_plan(metrics: dict[str, BillableMetric]) -> PlannedPlan:
    """A plan in credits, sold in two currencies, with a fee in advance and seats."""
    studio = Product.objects.create(code="studio", name="Studio", description="Images and video for creative teams.")
    credits = PricingUnit.objects.create(code="credits", singular="credit", plural="credits")
    fee = ChargedFor(studio, "Studio workspace", timing=BillingTiming.ADVANCE)
    charges: list[tuple[ChargedFor, Sequence[PriceTerms]]] = [
        (fee, [_fee("249.00"), _fee("229.00")]),
        (ChargedFor(studio, "Seats", metrics["seats"]), [_seats("29.00"), _seats("27.00")]),
    ]
    for name, code, amount, failures in (
        ("API calls", "api_calls", "1", FailurePolicy.CHARGED),
        ("Images", "images", "10", FailurePolicy.CHARGED),
        ("Video", "video_minutes", "50", FailurePolicy.FREE),
    ):
        charged = ChargedFor(studio, name, metrics[code], pricing_unit=credits)
        charges.append((charged, [_credits(amount, failures, worth) for worth in CREDIT_WORTH.values()]))
    return PlannedPlan("studio", "Studio", list(CREDIT_WORTH), charges)


def _seats(amount: str) -> PriceTerms:
    return PriceTerms(ChargeModelName.SEATS, unit_amount=Decimal(amount), included_units=Decimal(3))


def _credits(amount: str, failures: FailurePolicy, worth: Decimal) -> PriceTerms:
    return PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(amount), failures=failures, pricing_unit_rate=worth)
