"""Rows for tests: each factory makes what the product itself could have stored, and the least of it.

Dates and instants are fixed, so that tests can name them: November 2023 is billed, and invoices are issued on
2 December 2023. Amounts are given by the test that cares about them.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

from djmoney.money import Money
from factory.declarations import LazyAttribute, LazyFunction, SelfAttribute, Sequence, SubFactory
from factory.django import DjangoModelFactory
from factory.helpers import post_generation

from apps.billable_metrics.definitions import Aggregation, MetricDefinition
from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import create_metric
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.customers.models import BillingEntity, Customer
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.pricing.periods import start_of_day
from apps.products.models import ChargeModelName, Plan, PlanStatus, PlanVersion, Price, PriceVersion, Product

UTC = dt.UTC
START_OF_2023 = dt.datetime(2023, 1, 1, tzinfo=UTC)
NOVEMBER_START = dt.datetime(2023, 11, 1, tzinfo=UTC)
NOVEMBER_END = dt.datetime(2023, 12, 1, tzinfo=UTC)
ISSUED_AT = dt.datetime(2023, 12, 2, 9, 30, tzinfo=UTC)


class BillingEntityFactory(DjangoModelFactory[BillingEntity]):
    class Meta:
        model = BillingEntity

    name = Sequence(lambda n: f"Entity {n}")
    legal_name = LazyAttribute(lambda entity: f"{entity.name} GmbH")
    invoice_prefix = Sequence(lambda n: f"INV{n}")
    line1 = "Torstraße 1"
    postal_code = "10119"
    city = "Berlin"
    country = "DE"
    tax_id = "DE123456788"
    email = "billing@seller.example"
    payment_instructions = "IBAN DE75 5121 0800 1245 1261 99"


class CustomerFactory(DjangoModelFactory[Customer]):
    class Meta:
        model = Customer

    external_id = Sequence(lambda n: f"customer-{n}")
    name = Sequence(lambda n: f"Customer {n}")
    billing_entity = SubFactory(BillingEntityFactory)
    line1 = "12 rue de la Paix"
    postal_code = "75002"
    city = "Paris"
    country = "FR"
    tax_id = "FR19787878784"


class BillableMetricFactory(DjangoModelFactory[BillableMetric]):
    """A sum of input tokens over completions. The fields of its definition are taken as well."""

    class Meta:
        model = BillableMetric

    code = Sequence(lambda n: f"input_tokens_{n}")
    name = "Input tokens"
    event_type = "llm.completion"
    aggregation = Aggregation.SUM
    value_property = "input_tokens"
    unit_singular = "token"
    unit_plural = "tokens"

    @classmethod
    def _create(cls, model_class: type[BillableMetric], *args: Any, **kwargs: Any) -> BillableMetric:
        names = {field.name for field in dataclasses.fields(MetricDefinition)}
        definition = MetricDefinition(**{name: kwargs.pop(name) for name in names & set(kwargs)})
        return create_metric(definition=definition, now=START_OF_2023, **kwargs)


class ProductFactory(DjangoModelFactory[Product]):
    class Meta:
        model = Product

    code = Sequence(lambda n: f"product-{n}")
    name = "Chat API"


class PlanFactory(DjangoModelFactory[Plan]):
    class Meta:
        model = Plan

    code = Sequence(lambda n: f"plan-{n}")
    name = Sequence(lambda n: f"Plan {n}")


class PlanVersionFactory(DjangoModelFactory[PlanVersion]):
    """A draft, so that prices can be added; ``publish`` fixes it."""

    class Meta:
        model = PlanVersion

    plan = SubFactory(PlanFactory)
    currencies = LazyFunction(lambda: ["USD"])


class PriceFactory(DjangoModelFactory[Price]):
    class Meta:
        model = Price

    plan_version = SubFactory(PlanVersionFactory)
    product = SubFactory(ProductFactory)
    metric = SubFactory(BillableMetricFactory)
    name = Sequence(lambda n: f"Input tokens {n}")


class PriceVersionFactory(DjangoModelFactory[PriceVersion]):
    """10.00 per million units, from the very beginning."""

    class Meta:
        model = PriceVersion

    price = SubFactory(PriceFactory)
    currency = LazyAttribute(lambda version: version.price.plan_version.currencies[0])
    charge_model = ChargeModelName.PER_UNIT
    recorded_at = START_OF_2023
    unit_amount = Decimal("10.00")
    per_units = Decimal(1_000_000)


def publish(plan_version: PlanVersion, *, at: dt.datetime = START_OF_2023) -> PlanVersion:
    """Fix a plan version as ``publish_plan_version`` leaves it."""
    PriceVersion.objects.filter(price__plan_version=plan_version).update(is_sealed=True)
    plan_version.status, plan_version.published_at = PlanStatus.PUBLISHED, at
    plan_version.save()
    return plan_version


class ContractFactory(DjangoModelFactory[Contract]):
    """An active monthly contract since November 2023, with one phase on ``plan_version`` (made when not given)."""

    class Meta:
        model = Contract
        skip_postgeneration_save = True

    customer = SubFactory(CustomerFactory)
    name = "Standard"
    status = ContractStatus.ACTIVE
    currency = "USD"
    timezone = SelfAttribute("customer.timezone")
    start_date = NOVEMBER_START.date()
    activated_at = START_OF_2023
    closed_through = LazyAttribute(lambda contract: start_of_day(contract.start_date, contract.timezone))

    @post_generation
    def plan_version(self: Contract, create: bool, plan_version: PlanVersion | None, **_: Any) -> None:
        if plan_version is None:
            plan_version = publish(
                PriceVersionFactory(price__plan_version__currencies=[self.currency]).price.plan_version
            )
        ContractPhase.objects.create(
            contract=self, plan_version=plan_version, start_date=self.start_date, end_date=self.end_date
        )


class InvoiceFactory(DjangoModelFactory[Invoice]):
    """A draft for November 2023 without lines; ``issue`` issues it."""

    class Meta:
        model = Invoice

    contract = SubFactory(ContractFactory)
    customer = SelfAttribute("contract.customer")
    billing_entity = SelfAttribute("customer.billing_entity")
    timezone = SelfAttribute("contract.timezone")
    period_start_at = NOVEMBER_START
    period_end_at = NOVEMBER_END
    stored_before = dt.datetime(2023, 12, 2, tzinfo=UTC)
    rated_at = dt.datetime(2023, 12, 2, tzinfo=UTC)
    subtotal = LazyAttribute(lambda invoice: Money(0, invoice.contract.currency))
    total = SelfAttribute("subtotal")


class InvoiceLineFactory(DjangoModelFactory[InvoiceLine]):
    """A metered line over the whole period. The invoice's totals stay in step with its lines."""

    class Meta:
        model = InvoiceLine
        skip_postgeneration_save = True

    invoice = SubFactory(InvoiceFactory)
    position = LazyAttribute(lambda line: line.invoice.lines.count() + 1)
    price_version = SubFactory(PriceVersionFactory)
    product_name = SelfAttribute("price_version.price.product.name")
    description = "Input tokens"
    charge_model = ChargeModelName.PER_UNIT
    metric_code = "input_tokens"
    unit_singular = "token"
    unit_plural = "tokens"
    window_start_at = SelfAttribute("invoice.period_start_at")
    window_end_at = SelfAttribute("invoice.period_end_at")
    stored_before = SelfAttribute("invoice.stored_before")
    share_days = 30
    share_of_days = 30
    event_count = 1
    quantity = Decimal(1_000_000)
    billable_quantity = LazyAttribute(lambda line: line.quantity - line.included_units)
    included_units = Decimal(0)
    unit_amount = Decimal("10.00")
    per_units = Decimal(1_000_000)
    exact_amount = LazyAttribute(lambda line: line.amount.amount)
    amount = LazyAttribute(lambda line: Money("10.00", line.invoice.total.currency))

    @post_generation
    def totals(self: InvoiceLine, create: bool, extracted: None, **_: Any) -> None:
        self.invoice.subtotal += self.amount
        self.invoice.total = self.invoice.subtotal
        self.invoice.save(update_fields=["subtotal", "total"])


def issue(invoice: Invoice, *, number: str = "", at: dt.datetime = ISSUED_AT) -> Invoice:
    """Issue a draft as ``issue_invoice`` leaves it, but with any number and without asking for its PDF."""
    invoice.status = InvoiceStatus.ISSUED
    invoice.number = number or f"{invoice.billing_entity.invoice_prefix}-{at.year}-{invoice.pk:05d}"
    invoice.issued_at = at
    invoice.invoice_date = at.date()
    invoice.payment_terms_days = invoice.contract.payment_terms.days
    invoice.due_date = invoice.invoice_date + invoice.contract.payment_terms
    invoice.seller = invoice.billing_entity.as_party().as_stored()
    invoice.buyer = invoice.customer.as_party().as_stored()
    invoice.purchase_order = invoice.contract.purchase_order
    invoice.payment_instructions = invoice.billing_entity.payment_instructions
    invoice.footer = invoice.billing_entity.invoice_footer
    invoice.save()
    return invoice
