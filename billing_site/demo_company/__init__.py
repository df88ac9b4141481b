"""The demo company: Nimbus AI, which sells tokens, images and video to nine customers, with months of their usage.

Everything is made by the product's own services, and the usage by a seeded generator, so that a demo set up on
any day shows closed months with issued invoices, two drafts to review, and an open month with live spend.
"""

from __future__ import annotations

import datetime as dt
import itertools

from django.contrib.auth.models import User
from django.db import transaction

from apps.closing.services import NothingToClose, start_close_run, work_run
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, create_contract
from apps.customers.models import BillingEntity, Customer, CustomerAlias
from apps.invoices.models import Invoice
from apps.invoices.services.issuing import issue_invoice
from apps.pricing.periods import add_months
from apps.products.models import PlanVersion
from apps.rating.values import BillKind
from apps.usage.services import record_events
from billing_site.demo_company.catalogue import make_plans
from billing_site.demo_company.customers import CLOSED_MONTHS, CUSTOMERS, DemoCustomer, start_date
from billing_site.demo_company.usage import generated_events
from billing_site.demo_credentials import ADMIN_PASSWORD, ADMIN_USERNAME

BATCH_SIZE = 2000
DRAFTS_LEFT_TO_REVIEW = 2


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
            plans = make_plans(now=now, actor=actor, change_day=add_months(now.date().replace(day=16), -1))
            for customer in CUSTOMERS:
                _make_customer(customer, plans[customer.plan], first_day=first_day, now=now, actor=actor)
    events = generated_events(first_day, now)
    while batch := list(itertools.islice(events, BATCH_SIZE)):
        record_events(events=batch, api_key_id=None)
    _close_and_issue(now=now, actor=actor)


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
        currency=wanted.currency,
        start_date=start_date(wanted, first_day),
        billing_anchor_day=wanted.anchor_day,
        purchase_order="PO-2207" if wanted.external_id == "northwind" else "",
        actor=actor,
    )
    return activate_contract(contract_id=contract.pk, now=now, actor=actor)


def _close_and_issue(*, now: dt.datetime, actor: User) -> None:
    try:
        run = start_close_run(as_of=now, actor=actor)
    except NothingToClose:
        pass
    else:
        work_run(run_id=run.pk, now=now)
    drafts = sorted(Invoice.objects.drafts(), key=lambda draft: (_due_at(draft), draft.pk))
    for draft in drafts[: max(0, len(drafts) - DRAFTS_LEFT_TO_REVIEW)]:
        issue_invoice(invoice_id=draft.pk, issued_at=min(_due_at(draft), now), actor=actor)


def _due_at(draft: Invoice) -> dt.datetime:
    """When the demo's finance issues a draft: one in advance on its first day, others a day and a half on."""
    if draft.kind == BillKind.OPENING:
        return draft.period_start_at + dt.timedelta(hours=12)
    return draft.period_end_at + dt.timedelta(hours=36)
