"""By which price an event is charged, and on which invoice line it stands; or why on none yet."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from apps.billable_metrics.measuring import dimension_in, property_of
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.contracts.selectors import price_version_paid
from apps.invoices.models import InvoiceLine, InvoiceStatus
from apps.pricing.charge_models.base import NotRatable
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.periods import local_date
from apps.products.models import Price, PriceVersion
from apps.products.selectors import prices_by_plan_version
from apps.products.terms import charge_of
from apps.products.wording import price_in_a_sentence
from apps.rating.values import BillKind
from apps.usage.models import UsageEvent


@dataclass(frozen=True, slots=True)
class EventPrice:
    """A price that charges the event, in a contract that was in force at its time."""

    contract: Contract
    price: Price
    version: PriceVersion

    @property
    def in_words(self) -> str:
        return price_in_a_sentence(self.version)


@dataclass(frozen=True, slots=True)
class EventLine:
    """A line whose window holds the event. ``is_included``: it was known when the line was measured."""

    line: InvoiceLine
    is_included: bool


@dataclass(frozen=True, slots=True)
class EventBilling:
    """``why_not`` says why the event stands on no invoice; empty when it does."""

    prices: tuple[EventPrice, ...]
    lines: tuple[EventLine, ...]
    why_not: str


def billing_of(event: UsageEvent, *, counted_by: dict[int, int], now: dt.datetime) -> EventBilling:
    """Follow the event to its price and its line. ``counted_by``: the metric versions that count it, with metrics."""
    customer_id = event.customer_id
    if customer_id is None:
        return EventBilling((), (), "Nobody can be billed for it: its subject is no customer yet.")
    lines = _lines_of(event, customer_id, list(counted_by))
    contracts = _contracts_at(event, customer_id)
    prices = tuple(_prices_of(event, contracts, set(counted_by.values()), now))
    if any(found.is_included for found in lines):
        return EventBilling(prices, lines, "")
    return EventBilling(prices, lines, _why_not(event, contracts, bool(counted_by), prices, lines))


def _lines_of(event: UsageEvent, customer_id: int, version_ids: list[int]) -> tuple[EventLine, ...]:
    lines = (
        InvoiceLine.objects.filter(
            invoice__customer_id=customer_id,
            metric_version_id__in=version_ids,
            window_start_at__lte=event.occurred_at,
            window_end_at__gt=event.occurred_at,
            bound="",
        )
        .exclude(invoice__status=InvoiceStatus.VOID)
        .select_related("invoice__customer", "price_version__price__pricing_unit")
        .prefetch_related("price_version__rows")
        .order_by("invoice_id", "position")
    )
    return tuple(EventLine(line, _was_known(event, line.stored_before)) for line in lines if _is_priced_by(event, line))


def _is_priced_by(event: UsageEvent, line: InvoiceLine) -> bool:
    """Whether the line charges for the event: of a matrix, only the line of the row that prices its values."""
    matrix = charge_of(line.price_version).model
    if not isinstance(matrix, Matrix):
        return True
    values = tuple(dimension_in(property_of(event.data, name)) for name in matrix.dimensions)
    try:
        row = matrix.rows[matrix.row_for(values)]
    except NotRatable:
        return False
    return list(row.values) == line.dimension_values


def _was_known(event: UsageEvent, stored_before: dt.datetime) -> bool:
    return (
        event.attributed_at is not None
        and event.attributed_at < stored_before
        and (event.voided_at is None or event.voided_at >= stored_before)
    )


def _contracts_at(event: UsageEvent, customer_id: int) -> list[Contract]:
    contracts = Contract.objects.filter(customer_id=customer_id).exclude(status=ContractStatus.DRAFT)
    found = contracts.select_related("customer").prefetch_related("phases__plan_version__plan")
    return [
        contract
        for contract in found
        if contract.starts_at <= event.occurred_at
        and (contract.ends_at is None or event.occurred_at < contract.ends_at)
    ]


def _prices_of(
    event: UsageEvent, contracts: list[Contract], metric_ids: set[int], now: dt.datetime
) -> list[EventPrice]:
    phases = [(contract, phase) for contract in contracts if (phase := _phase_on(contract, event)) is not None]
    prices = prices_by_plan_version({phase.plan_version_id for _, phase in phases})
    found = []
    for contract, phase in phases:
        for price in prices.get(phase.plan_version_id, []):
            version = price_version_paid(
                phase,
                price.versions.all(),
                currency=contract.currency,
                zone=contract.timezone,
                on=local_date(event.occurred_at, contract.timezone),
                known_at=now,
            )
            if price.metric_id in metric_ids and version is not None:
                found.append(EventPrice(contract, price, version))
    return found


def _phase_on(contract: Contract, event: UsageEvent) -> ContractPhase | None:
    day = local_date(event.occurred_at, contract.timezone)
    for phase in contract.phases.all():
        if phase.start_date <= day and (phase.end_date is None or day < phase.end_date):
            return phase
    return None


def _why_not(
    event: UsageEvent,
    contracts: list[Contract],
    is_counted: bool,
    prices: tuple[EventPrice, ...],
    lines: tuple[EventLine, ...],
) -> str:
    if not is_counted:
        return "No metric counts it, so there is nothing to bill."
    if event.voided_at is not None:
        return "It was voided before it was billed."
    if any(found.line.invoice.kind == BillKind.PERIOD for found in lines):
        return "It became known after the invoice of its period was made, so it is not on it."
    if not contracts:
        return "The customer had no contract in force at the event's time."
    if not prices:
        return "No price of the customer's contracts charges for a metric that counts it."
    open_ones = [found.contract for found in prices if _is_open(found.contract, event)]
    if open_ones:
        period = open_ones[0].period_at(event.occurred_at)
        last = f" on {period.last_date:%-d %b %Y}" if period else ""
        return f"Its billing period is not closed yet: it ends{last}, and an invoice is drafted after the grace period."
    return "Its billing period is closed, and no invoice was made for it."


def _is_open(contract: Contract, event: UsageEvent) -> bool:
    return contract.closed_through is None or event.occurred_at >= contract.closed_through
