"""The demo company: Nimbus AI, which sells tokens and images to seven customers, with months of their usage.

Everything is made by the product's own services, and the usage by a seeded generator, so that a demo set up on
any day shows closed months with issued invoices, two drafts to review, and an open month with live spend.
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import transaction

from apps.billable_metrics.definitions import Aggregation, MetricDefinition
from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import create_metric
from apps.closing.services import NothingToClose, start_close_run, work_run
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, create_contract
from apps.customers.models import BillingEntity, Customer, CustomerAlias
from apps.invoices.models import Invoice
from apps.invoices.services.issuing import issue_invoice
from apps.pricing.charge_models.base import Tier
from apps.pricing.periods import add_months
from apps.products.models import ChargeModelName, PlanVersion, Product
from apps.products.services import ChargedFor, add_price, create_plan, publish_plan_version, schedule_price_version
from apps.products.terms import PriceTerms
from apps.usage.services import EventInput, record_events
from billing_site.demo_credentials import ADMIN_PASSWORD, ADMIN_USERNAME

SOURCE = "nimbus-gateway"
CLOSED_MONTHS = 4
BATCH_SIZE = 2000
MILLION = Decimal(1_000_000)
DRAFTS_LEFT_TO_REVIEW = 2
COMPLETION, IMAGE = "llm.completion", "image.generation"


# Product, metric, line on the invoice, charge model, amounts.
PlannedCharge = tuple[Product, BillableMetric | None, str, PriceTerms]


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    """A customer of the demo: where it is, what it pays by, and how many requests it sends on a working day."""

    external_id: str
    name: str
    legal_name: str
    entity: str
    plan: str
    timezone: str
    country: str
    city: str
    address: str
    postal_code: str
    tax_id: str
    requests_a_day: int
    tokens_a_request: int
    images_a_day: int = 0
    anchor_day: int = 1
    starts_months_ago: int = CLOSED_MONTHS


CUSTOMERS = (
    DemoCustomer(
        "northwind",
        "Northwind Robotics",
        "Northwind Robotics Inc.",
        "NIMBUS",
        "scale",
        "America/Los_Angeles",
        "US",
        "San Francisco",
        "548 Market Street",
        "CA 94104",
        "94-3175062",
        60,
        640_000,
        30,
    ),
    DemoCustomer(
        "harbor-legal",
        "Harbor Legal",
        "Harbor Legal LLP",
        "NIMBUS",
        "scale",
        "Europe/London",
        "GB",
        "London",
        "21 Fetter Lane",
        "EC4A 1AJ",
        "GB 340 7121 89",
        25,
        410_000,
    ),
    DemoCustomer(
        "papertrail",
        "Papertrail Notes",
        "Papertrail Notes Ltd.",
        "NIMBUS",
        "pay-as-you-go",
        "America/New_York",
        "US",
        "Brooklyn",
        "77 Sands Street",
        "NY 11201",
        "82-1140932",
        20,
        38_000,
        4,
    ),
    DemoCustomer(
        "tinkerbox",
        "Tinkerbox Studio",
        "Tinkerbox Studio LLC",
        "NIMBUS",
        "pay-as-you-go",
        "America/Denver",
        "US",
        "Boulder",
        "1919 14th Street",
        "CO 80302",
        "",
        8,
        12_000,
        14,
    ),
    DemoCustomer(
        "quill",
        "Quill & Co",
        "",
        "NIMBUS",
        "pay-as-you-go",
        "Asia/Kolkata",
        "IN",
        "Bengaluru",
        "4 Church Street",
        "560001",
        "",
        12,
        9_000,
        0,
        15,
        2,
    ),
    DemoCustomer(
        "lumiere-sante",
        "Lumière Santé",
        "Lumière Santé SAS",
        "NIMBUS-EU",
        "enterprise-eu",
        "Europe/Paris",
        "FR",
        "Paris",
        "12 rue de la Paix",
        "75002",
        "FR 19 787878784",
        30,
        520_000,
    ),
    DemoCustomer(
        "bergmann",
        "Bergmann Logistik",
        "Bergmann Logistik GmbH",
        "NIMBUS-EU",
        "enterprise-eu",
        "Europe/Berlin",
        "DE",
        "Hamburg",
        "Große Elbstraße 45",
        "22767",
        "DE 811 907 980",
        22,
        300_000,
        6,
    ),
)


def ensure_admin_user() -> User:
    """The user that the demo prints; an existing one keeps its password."""
    user = User.objects.filter(username=ADMIN_USERNAME).first()
    return user or User.objects.create_superuser(ADMIN_USERNAME, "admin@nimbus.example", ADMIN_PASSWORD)


def seed(*, now: dt.datetime) -> None:
    """Make the demo company. An interrupted seeding is completed by the next one."""
    actor = ensure_admin_user()
    first_day = add_months(now.date().replace(day=1), -CLOSED_MONTHS)
    if not BillingEntity.objects.filter(invoice_prefix="NIMBUS").exists():
        with transaction.atomic():
            _make_entities()
            plans = _make_plans(now=now, actor=actor, change_day=add_months(now.date().replace(day=16), -1))
            for customer in CUSTOMERS:
                _make_customer(customer, plans[customer.plan], first_day=first_day, now=now, actor=actor)
    events = generated_events(first_day, now)
    while batch := list(itertools.islice(events, BATCH_SIZE)):
        record_events(events=batch, api_key_id=None)
    _close_and_issue(now=now, actor=actor)


def generated_events(first_day: dt.date, now: dt.datetime) -> Iterator[EventInput]:
    """Every customer's requests from its first day to now, plus some of a workspace that nobody knows."""
    for customer in CUSTOMERS:
        start = _start_date(customer, first_day)
        for offset in range((now.date() - start).days + 2):
            yield from _events_of_day(customer, start + dt.timedelta(days=offset), now)
    for number in range(40):
        yield EventInput(
            source=SOURCE,
            event_id=f"legacy-{number}",
            type=COMPLETION,
            subject="ws_legacy_7",
            occurred_at=now - dt.timedelta(hours=number + 1),
            data={"model": "nimbus-large", "input_tokens": 1200 + 37 * number, "output_tokens": 300 + 11 * number},
        )


def _events_of_day(customer: DemoCustomer, day: dt.date, now: dt.datetime) -> Iterator[EventInput]:
    dice = random.Random(f"{customer.external_id} {day}")  # noqa: S311  (sample data, not a secret)
    zone = zoneinfo.ZoneInfo(customer.timezone)
    # Less at weekends, and a little more every month.
    level = (0.35 if day.weekday() >= 5 else 1.0) * (0.85 + 0.3 * dice.random()) * (1 + (day.toordinal() % 120) / 400)
    kinds = [COMPLETION] * round(customer.requests_a_day * level) + [IMAGE] * round(customer.images_a_day * level)
    for number, kind in enumerate(kinds):
        minute = min(1439, max(0, round(dice.gauss(13 * 60, 210))))
        local = dt.datetime.combine(day, dt.time(minute // 60, minute % 60, dice.randrange(60)), tzinfo=zone)
        occurred_at = local.astimezone(dt.UTC)
        if occurred_at >= now:
            continue
        yield EventInput(
            source=SOURCE,
            event_id=f"{customer.external_id}-{day:%Y%m%d}-{number}",
            type=kind,
            subject=customer.external_id,
            occurred_at=occurred_at,
            data=_image_data(dice) if kind == IMAGE else _completion_data(customer, dice),
        )


def _completion_data(customer: DemoCustomer, dice: random.Random) -> dict[str, object]:
    tokens = max(50, round(dice.lognormvariate(0, 0.6) * customer.tokens_a_request))
    return {
        "model": dice.choices(["nimbus-large", "nimbus-small"], weights=[3, 2])[0],
        "input_tokens": tokens,
        "output_tokens": max(10, round(tokens * (0.12 + 0.2 * dice.random()))),
    }


def _image_data(dice: random.Random) -> dict[str, object]:
    return {"model": "nimbus-canvas", "size": "1024x1024", "images": dice.choices([1, 2, 4], weights=[6, 3, 1])[0]}


def _make_entities() -> None:
    BillingEntity.objects.create(
        name="Nimbus AI",
        legal_name="Nimbus AI Inc.",
        line1="2261 Market Street",
        postal_code="CA 94114",
        city="San Francisco",
        country="US",
        tax_id="88-4127730",
        email="billing@nimbus.example",
        timezone="America/Los_Angeles",
        default_currency="USD",
        invoice_prefix="NIMBUS",
        payment_instructions="Wire to Nimbus AI Inc., routing 121000248, account 4417 2205 91.",
        invoice_footer="Questions about a charge? Write to billing@nimbus.example.",
    )
    BillingEntity.objects.create(
        name="Nimbus AI Europe",
        legal_name="Nimbus AI Europe GmbH",
        line1="Torstraße 1",
        postal_code="10119",
        city="Berlin",
        country="DE",
        tax_id="DE 369 258 147",
        email="rechnung@nimbus.example",
        timezone="Europe/Berlin",
        default_currency="EUR",
        invoice_prefix="NIMBUS-EU",
        payment_terms_days=14,
        payment_instructions="IBAN DE75 5121 0800 1245 1261 99, BIC SOGEDEFF. Please name the invoice.",
        invoice_footer="Questions about a charge? Write to rechnung@nimbus.example.",
    )


def _make_metrics(now: dt.datetime) -> dict[str, BillableMetric]:
    summed = (
        ("input_tokens", "Input tokens", COMPLETION, "input_tokens", "token", "tokens"),
        ("output_tokens", "Output tokens", COMPLETION, "output_tokens", "token", "tokens"),
        ("images", "Images", IMAGE, "images", "image", "images"),
    )
    metrics = {
        code: create_metric(
            definition=MetricDefinition(event_type, Aggregation.SUM, value_property=value_property),
            now=now,
            code=code,
            name=name,
            unit_singular=singular,
            unit_plural=plural,
        )
        for code, name, event_type, value_property, singular, plural in summed
    }
    metrics["api_calls"] = create_metric(
        definition=MetricDefinition(COMPLETION, Aggregation.COUNT),
        now=now,
        code="api_calls",
        name="API calls",
        unit_singular="call",
        unit_plural="calls",
    )
    return metrics


def _make_plans(*, now: dt.datetime, actor: User, change_day: dt.date) -> dict[str, PlanVersion]:
    metrics = _make_metrics(now)
    chat = Product.objects.create(code="chat", name="Chat API", description="Completions by the Nimbus models.")
    canvas = Product.objects.create(code="canvas", name="Canvas", description="Image generation.")
    platform = Product.objects.create(code="platform", name="Platform", description="Workspace, support and SLA.")

    def fee(amount: str) -> PriceTerms:
        return PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount))

    def unit(amount: str, per: Decimal = MILLION, included: str = "0") -> PriceTerms:
        return PriceTerms(
            ChargeModelName.PER_UNIT, unit_amount=Decimal(amount), per_units=per, included_units=Decimal(included)
        )

    def stepped(*bounds: tuple[str | None, str]) -> PriceTerms:
        return PriceTerms(
            ChargeModelName.GRADUATED,
            per_units=MILLION,
            tiers=tuple(Tier(None if up_to is None else Decimal(up_to), Decimal(amount)) for up_to, amount in bounds),
        )

    inputs, outputs, images = metrics["input_tokens"], metrics["output_tokens"], metrics["images"]
    calls = metrics["api_calls"]
    price_lists: dict[tuple[str, str, str], list[PlannedCharge]] = {
        ("pay-as-you-go", "Pay as you go", "USD"): [
            (chat, inputs, "Input tokens", unit("2.50", included="1000000")),
            (chat, outputs, "Output tokens", unit("10.00")),
            (canvas, images, "Images", unit("0.04", Decimal(1))),
        ],
        ("scale", "Scale", "USD"): [
            (platform, None, "Platform fee", fee("499.00")),
            (
                chat,
                inputs,
                "Input tokens",
                stepped(("25000000", "2.20"), ("100000000", "1.90"), (None, "1.60")),
            ),
            (chat, outputs, "Output tokens", unit("9.00", included="2000000")),
            (chat, calls, "API calls", unit("0.15", Decimal(1000), included="500")),
            (canvas, images, "Images", unit("0.035", Decimal(1))),
        ],
        ("enterprise-eu", "Enterprise Europe", "EUR"): [
            (platform, None, "Enterprise support", fee("2500.00")),
            (chat, inputs, "Input tokens", stepped(("20000000", "1.95"), (None, "1.55"))),
            (chat, outputs, "Output tokens", unit("7.80")),
            (canvas, images, "Images", unit("0.032", Decimal(1))),
        ],
    }
    published: dict[str, PlanVersion] = {}
    for (code, name, currency), prices in price_lists.items():
        draft = create_plan(code=code, name=name, currencies=[currency], actor=actor)
        for product, metric, label, terms in prices:
            add_price(
                plan_version=draft,
                charged=ChargedFor(product=product, metric=metric, name=label),
                terms=terms,
                now=now,
                actor=actor,
            )
        published[code] = publish_plan_version(plan_version_id=draft.pk, now=now, actor=actor)
    schedule_price_version(
        price=published["pay-as-you-go"].prices.get(name="Output tokens"),
        effective_from=change_day,
        terms=unit("8.00"),
        now=now,
        note="Output tokens became cheaper to serve",
        actor=actor,
    )
    return published


def _make_customer(
    wanted: DemoCustomer, plan_version: PlanVersion, *, first_day: dt.date, now: dt.datetime, actor: User
) -> Contract:
    customer = Customer.objects.create(
        external_id=wanted.external_id,
        name=wanted.name,
        legal_name=wanted.legal_name,
        billing_entity=BillingEntity.objects.get(invoice_prefix=wanted.entity),
        timezone=wanted.timezone,
        line1=wanted.address,
        postal_code=wanted.postal_code,
        city=wanted.city,
        country=wanted.country,
        tax_id=wanted.tax_id,
        email=f"ap@{wanted.external_id}.example",
    )
    CustomerAlias.objects.create(customer=customer, alias=f"ws_{wanted.external_id}")
    contract = create_contract(
        customer=customer,
        name=plan_version.plan.name,
        plan_version=plan_version,
        start_date=_start_date(wanted, first_day),
        billing_anchor_day=wanted.anchor_day,
        purchase_order="PO-2207" if wanted.external_id == "northwind" else "",
        actor=actor,
    )
    return activate_contract(contract_id=contract.pk, now=now, actor=actor)


def _start_date(customer: DemoCustomer, first_day: dt.date) -> dt.date:
    month = add_months(first_day, CLOSED_MONTHS - customer.starts_months_ago)
    return month.replace(day=customer.anchor_day)


def _close_and_issue(*, now: dt.datetime, actor: User) -> None:
    try:
        run = start_close_run(as_of=now, actor=actor)
    except NothingToClose:
        pass
    else:
        work_run(run_id=run.pk, now=now)
    drafts = list(Invoice.objects.drafts().order_by("period_end_at", "pk"))
    for draft in drafts[: max(0, len(drafts) - DRAFTS_LEFT_TO_REVIEW)]:
        issued_at = min(draft.period_end_at + dt.timedelta(hours=36), now)
        issue_invoice(invoice_id=draft.pk, issued_at=issued_at, actor=actor)
