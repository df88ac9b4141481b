"""The one path from contract and usage to amounts.

Preview, spend, simulation and close all come through here, so that what is shown is what is billed.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ParamSpec, TypeVar

from apps.billable_metrics.models import MetricVersion
from apps.billable_metrics.models import version_in_force as metric_version_in_force
from apps.common.errors import BillingError
from apps.common.formatting import format_days
from apps.contracts.models import Contract, ContractPhase
from apps.contracts.selectors import days_of_price_changes, price_version_paid
from apps.pricing.charge_models.base import NotRatable
from apps.pricing.charges import Charge, RatedCharge, rate_lines
from apps.pricing.invoice_pipeline import invoice_totals
from apps.pricing.periods import Period, ShareOfDays, share_of, start_of_day
from apps.products.models import Price, PriceVersion
from apps.products.selectors import prices_by_plan_version
from apps.products.terms import charge_of
from apps.rating.measuring import NO_USAGE, ChargedUsage, Meter, events_of_line, measure_charges, meter_of
from apps.rating.values import PeriodToRate, RatedLine, RatedPeriod, RatingRefused

logger = logging.getLogger(__name__)

UNEXPECTED_ERROR = "unexpected_error"
# What the columns of an invoice hold. Beyond lies no real usage but a fault in what was sent.
QUANTITY_LIMIT = Decimal(10) ** 18
AMOUNT_LIMIT = Decimal(10) ** 16

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class PeriodWithoutPlan(BillingError):
    code = "period_without_plan"

    def __init__(self, contract: Contract, period: Period) -> None:
        super().__init__(
            f"{contract} has no plan for all of {period.first_date:%-d %b %Y} to {period.last_date:%-d %b %Y}. "
            "Let its phases cover the whole contract."
        )


class BeyondAnyInvoice(BillingError):
    """A quantity or an amount that is larger than an invoice can state."""

    code = "beyond_any_invoice"

    def __init__(self, what: str, number: Decimal) -> None:
        super().__init__(
            f"{what} comes to {number:.2E}, more than an invoice can state. "
            "Look for a faulty value in the usage events."
        )


class UsageWithoutPrice(BillingError):
    """Usage that a price says nothing about, such as values that no row of its matrix prices."""

    code = "usage_without_price"

    def __init__(self, window: _ChargeWindow, fault: NotRatable) -> None:
        days = format_days(window.window.first_date, window.window.last_date)
        super().__init__(f"“{window.price.name}” does not price all usage of {days}. {fault}")


@dataclass(frozen=True, slots=True)
class _ChargeWindow:
    """A stretch of a period in which one price version of one price holds; ``charge`` is that for its share of days.

    Contracts that pay the same price over the same days have the same window, so it knows nothing of a customer.
    """

    price: Price
    version: PriceVersion
    window: Period
    share: ShareOfDays
    metric_version: MetricVersion | None
    charge: Charge
    meter: Meter | None


# The windows of each stretch under a plan, by all that decides them.
_KnownWindows = dict[tuple[object, ...], list[_ChargeWindow]]


def rate_period(
    *, contract: Contract, period: Period, as_of: dt.datetime, stored_before: dt.datetime | None = None
) -> RatedPeriod:
    """Rate one billing period of one contract. Raises BillingError when it cannot be rated."""
    [result] = rate_periods([PeriodToRate(contract, period)], as_of=as_of, stored_before=stored_before)
    if isinstance(result, RatingRefused):
        refusal = BillingError(result.detail)
        refusal.code = result.code
        raise refusal
    return result


def rate_periods(
    requests: Sequence[PeriodToRate], *, as_of: dt.datetime, stored_before: dt.datetime | None = None
) -> list[RatedPeriod | RatingRefused]:
    """Rate many periods with a fixed number of queries; one that cannot be rated does not stop the rest.

    Results are in the order of ``requests``.
    """
    phases = _phases_by_contract(requests)
    prices = prices_by_plan_version({phase.plan_version_id for found in phases.values() for phase in found})
    known: _KnownWindows = {}
    planned = [
        _or_refused(request, _charge_windows, request, phases[request.contract.pk], prices, as_of, known)
        for request in requests
    ]
    usage = _measure(requests, planned, stored_before, as_of)
    return [
        windows
        if isinstance(windows, RatingRefused)
        else _or_refused(request, _rate, request, windows, measured, as_of, stored_before)
        for request, windows, measured in zip(requests, planned, usage, strict=True)
    ]


def _or_refused(
    request: PeriodToRate,
    step: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result | RatingRefused:
    """Run one step for one period, and turn whatever goes wrong into a recorded refusal."""
    try:
        return step(*args, **kwargs)
    except BillingError as refusal:
        return RatingRefused(request.contract, request.period, code=refusal.code, detail=refusal.detail)
    except Exception as error:
        logger.exception("rating contract %s failed", request.contract.pk)
        return RatingRefused(
            request.contract,
            request.period,
            code=UNEXPECTED_ERROR,
            detail=f"An unexpected error stopped the rating: {type(error).__name__}: {error}",
        )


def _phases_by_contract(requests: Sequence[PeriodToRate]) -> Mapping[int, list[ContractPhase]]:
    found: defaultdict[int, list[ContractPhase]] = defaultdict(list)
    contract_ids = {request.contract.pk for request in requests}
    for phase in ContractPhase.objects.filter(contract__in=contract_ids).order_by("start_date"):
        found[phase.contract_id].append(phase)
    return found


def _charge_windows(
    request: PeriodToRate,
    phases: Sequence[ContractPhase],
    prices: Mapping[int, list[Price]],
    as_of: dt.datetime,
    known: _KnownWindows,
) -> list[_ChargeWindow]:
    """Split the period wherever the plan or a price changes inside it."""
    nominal = request.contract.billing_cycle.period_containing(request.period.start_at)
    windows: list[_ChargeWindow] = []
    for stretch, phase in _phase_stretches(request, phases):
        key = (phase.plan_version_id, phase.grandfathered_at, request.contract.currency, stretch, nominal)
        if key not in known:
            known[key] = [
                _charge_window(price, version, window, nominal, as_of)
                for price in prices.get(phase.plan_version_id, [])
                for window, version in _version_windows(price, stretch, phase, request.contract.currency, as_of)
            ]
        windows.extend(known[key])
    return windows


def _charge_window(
    price: Price, version: PriceVersion, window: Period, nominal: Period, as_of: dt.datetime
) -> _ChargeWindow:
    share = share_of(window, nominal)
    charge = charge_of(version)
    if not share.is_whole:
        charge = charge.prorate(share)
    metric_version, meter = None, None
    if price.metric is not None:
        metric_version = metric_version_in_force(price.metric.versions.all(), at=window.start_at, known_at=as_of)
        meter = meter_of(charge, metric_version, window, share.of)
    return _ChargeWindow(price, version, window, share, metric_version, charge, meter)


def _phase_stretches(request: PeriodToRate, phases: Sequence[ContractPhase]) -> Iterator[tuple[Period, ContractPhase]]:
    """The part of the period that each phase covers. Raises PeriodWithoutPlan when days are left over."""
    covered_to = request.period.start_at
    for phase in phases:
        start_at = start_of_day(phase.start_date, request.period.zone)
        end_at = start_of_day(phase.end_date, request.period.zone) if phase.end_date else request.period.end_at
        start_at, end_at = max(start_at, request.period.start_at), min(end_at, request.period.end_at)
        if start_at >= end_at:
            continue
        if start_at != covered_to:
            break
        yield Period(start_at=start_at, end_at=end_at, zone=request.period.zone), phase
        covered_to = end_at
    if covered_to != request.period.end_at:
        raise PeriodWithoutPlan(request.contract, request.period)


def _version_windows(
    price: Price, stretch: Period, phase: ContractPhase, currency: str, as_of: dt.datetime
) -> Iterator[tuple[Period, PriceVersion]]:
    """The stretch cut where another price version takes effect; days without any version are not charged."""
    versions = [version for version in price.versions.all() if version.currency == currency]
    days = days_of_price_changes(phase, versions, currency=currency, zone=stretch.zone, known_at=as_of)
    for window in stretch.split_at(start_of_day(day, stretch.zone) for day in days):
        version = price_version_paid(
            phase, versions, currency=currency, zone=stretch.zone, on=window.first_date, known_at=as_of
        )
        if version is not None:
            yield window, version


def _measure(
    requests: Sequence[PeriodToRate],
    planned: Sequence[list[_ChargeWindow] | RatingRefused],
    stored_before: dt.datetime | None,
    as_of: dt.datetime,
) -> list[list[ChargedUsage]]:
    """Measure every window of every period at once; a charge without a metric measures as nothing used."""
    usage: list[list[ChargedUsage]] = [
        [] if isinstance(windows, RatingRefused) else [NO_USAGE] * len(windows) for windows in planned
    ]
    places: list[tuple[list[ChargedUsage], int]] = []
    asked: list[tuple[int, Meter]] = []
    for request, windows, found in zip(requests, planned, usage, strict=True):
        if isinstance(windows, RatingRefused):
            continue
        for position, window in enumerate(windows):
            if window.meter is not None:
                places.append((found, position))
                asked.append((request.contract.customer_id, window.meter))
    for (found, position), measured in zip(
        places, measure_charges(asked, stored_before=stored_before, as_of=as_of), strict=True
    ):
        found[position] = measured
    return usage


def _rate(
    request: PeriodToRate,
    windows: Sequence[_ChargeWindow],
    usage: Sequence[ChargedUsage],
    as_of: dt.datetime,
    stored_before: dt.datetime | None,
) -> RatedPeriod:
    currency = request.contract.currency
    lines = tuple(
        line
        for window, measured in zip(windows, usage, strict=True)
        for line in _rate_window(window, measured, currency)
    )
    totals = invoice_totals([line.amount for line in lines], currency)
    if totals.total.copy_abs() >= AMOUNT_LIMIT:
        raise BeyondAnyInvoice("The total", totals.total)
    return RatedPeriod(
        contract=request.contract,
        period=request.period,
        currency=currency,
        as_of=as_of,
        stored_before=stored_before,
        lines=lines,
        totals=totals,
    )


def _rate_window(window: _ChargeWindow, measured: ChargedUsage, currency: str) -> list[RatedLine]:
    """The lines of one charge window: one, or one for each row of a matrix that was used."""
    if measured.usage.quantity.copy_abs() >= QUANTITY_LIMIT:
        raise BeyondAnyInvoice(f"The quantity of “{window.price.name}”", measured.usage.quantity)
    try:
        rated_lines = rate_lines(window.charge, measured.usage, currency)
    except NotRatable as fault:
        raise UsageWithoutPrice(window, fault) from fault
    return [_rated_line(window, measured, rated) for rated in rated_lines]


def _rated_line(window: _ChargeWindow, measured: ChargedUsage, rated: RatedCharge) -> RatedLine:
    if rated.quantity.copy_abs() >= QUANTITY_LIMIT:
        raise BeyondAnyInvoice(f"The quantity of “{window.price.name}”", rated.quantity)
    if rated.amount.copy_abs() >= AMOUNT_LIMIT:
        raise BeyondAnyInvoice(f"The amount of “{window.price.name}”", rated.amount)
    return RatedLine(
        price=window.price,
        price_version=window.version,
        window=window.window,
        share=window.share,
        event_count=events_of_line(window.charge, measured, rated),
        metric_version=window.metric_version,
        charge=window.charge,
        rated=rated,
    )
