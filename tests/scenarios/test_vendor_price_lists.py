"""The vendors' price lists: each loads, publishes, and bills a month of usage to the cent."""

from __future__ import annotations

import contextlib
import datetime as dt
from decimal import Decimal

import pytest

from apps.closing.services import NothingToClose, start_close_run, work_run
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, create_contract
from apps.customers.models import BillingEntity
from apps.invoices.models import InvoiceLine
from apps.pricing.charge_models.base import NOTHING_USED
from apps.products.estimates import estimate
from apps.products.models import PlanStatus, PlanVersion, Price, PriceVersion
from apps.products.terms import charge_of
from apps.usage.services import EventInput, record_events
from tests.factories import BillingEntityFactory, CustomerFactory
from tests.scenarios.hand_measured import usage_of
from tests.scenarios.vendors import FIRST_DAY, LAST_DAY, LOADED_AT, VENDORS, Bill, bills, load

pytestmark = pytest.mark.django_db

Lines = list[tuple[str, str, Decimal]]
OPENED_AT = dt.datetime(2026, 11, 1, 1, tzinfo=dt.UTC)
CLOSED_AT = dt.datetime(2026, 12, 5, tzinfo=dt.UTC)
BILLS = {vendor: [bill for bill in bills() if bill.vendor == vendor] for vendor in VENDORS}


def test_every_vendor_has_bills() -> None:
    assert len(VENDORS) == 19
    assert all(BILLS[vendor] for vendor in VENDORS)


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_list_is_published_whole_and_loading_it_again_changes_nothing(vendor: str) -> None:
    load(vendor)

    assert PlanVersion.objects.exists()
    assert {version.status for version in PlanVersion.objects.all()} == {PlanStatus.PUBLISHED}
    assert not load(vendor).changes_anything


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_month_of_events_is_estimated_and_invoiced_to_the_cent(vendor: str) -> None:
    load(vendor)
    seller: BillingEntity = BillingEntityFactory()
    contracts = {str(bill): _contract(bill, seller) for bill in BILLS[vendor]}
    for bill in BILLS[vendor]:
        record_events(events=_events(bill, contracts[str(bill)]), api_key_id=None)

    _close()

    # By estimates the usage is measured by hand, by invoices from the events: three ways to the same amounts.
    assert {str(bill): _estimated(bill) for bill in BILLS[vendor]} == {
        str(bill): _stated(bill) for bill in BILLS[vendor]
    }
    invoiced = {name: _invoiced(contract) for name, contract in contracts.items()}
    assert invoiced == {str(bill): _due(bill) for bill in BILLS[vendor]}


def _stated(bill: Bill) -> tuple[Lines, Decimal]:
    return list(bill.lines), bill.total


def _due(bill: Bill) -> tuple[Lines, Decimal]:
    """What is invoiced: a plan of nothing but free fees makes no invoice."""
    is_metered = Price.objects.filter(plan_version__plan__code=bill.plan, metric__isnull=False).exists()
    return _stated(bill) if bill.total or is_metered else ([], Decimal(0))


# --- By estimates ----------------------------------------------------------------------------------------------------


def _estimated(bill: Bill) -> tuple[Lines, Decimal]:
    versions = PriceVersion.objects.filter(
        price__plan_version__plan__code=bill.plan, currency=bill.currency
    ).select_related("price__metric", "price__pricing_unit")
    lines: Lines = []
    for version in versions.order_by("price__position"):
        metric = version.price.metric
        usage = NOTHING_USED
        if metric is not None:
            usage = usage_of(metric.current_version.definition, bill.events, version.dimensions)
        found = estimate(charge_of(version), usage, currency=bill.currency)
        lines += [(version.price.name, line.label, line.rated.amount) for line in found.lines]
    return _named(lines), sum((amount for _, _, amount in lines), start=Decimal(0))


# --- By invoices -----------------------------------------------------------------------------------------------------


def _contract(bill: Bill, seller: BillingEntity) -> Contract:
    version = PlanVersion.objects.get(plan__code=bill.plan)
    contract = create_contract(
        customer=CustomerFactory(external_id=str(bill), billing_entity=seller, timezone="UTC"),
        name="Standard",
        plan_version=version,
        start_date=FIRST_DAY,
        currency=bill.currency,
    )
    return activate_contract(contract_id=contract.pk, now=LOADED_AT)


def _events(bill: Bill, contract: Contract) -> list[EventInput]:
    return [
        EventInput("gateway", f"{bill}-{number}", event.type, contract.customer.external_id, event.at, event.data)
        for number, event in enumerate(bill.events)
    ]


def _close() -> None:
    """Bill what is due on the first day, then the month."""
    for now in (OPENED_AT, CLOSED_AT):
        with contextlib.suppress(NothingToClose):
            run = start_close_run(as_of=now, through_date=LAST_DAY, wait_for_grace=False)
            work_run(run_id=run.pk, now=now)


def _invoiced(contract: Contract) -> tuple[Lines, Decimal]:
    """What stands on the contract's invoices for November; the fees of December that are billed in advance do not."""
    found = InvoiceLine.objects.filter(invoice__contract=contract, window_start_at__date__lte=LAST_DAY).select_related(
        "price_version__price"
    )
    in_order = sorted(found, key=lambda line: (line.price_version.price.position, line.position))
    lines = [(line.price_version.price.name, _label(line), line.amount.amount) for line in in_order]
    return _named(lines), sum((amount for _, _, amount in lines), start=Decimal(0))


def _label(line: InvoiceLine) -> str:
    if line.bound:
        return line.bound.capitalize()
    return ", ".join(value for value in line.dimension_values if value is not None)


def _named(lines: Lines) -> Lines:
    """The default row of a matrix names nothing."""
    return [(name, "" if label == "all other usage" else label, amount) for name, label, amount in lines]
