"""The one path from contract and usage to amounts.

Preview, spend, simulation and close all come through here, so that what is shown is what is billed.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from apps.products.models import BillingTiming, Price, PriceVersion, Recurrence
from apps.products.selectors import prices_by_plan_version
from apps.products.terms import charge_of
from apps.rating.billed import less_billed
from apps.rating.measuring import NO_USAGE, ChargedUsage, Meter, events_of_line, measure_charges, meter_of
from apps.rating.values import BillKind, PeriodToRate, RatedLine, RatedPeriod, RatingRefused

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
    """Rate one billing period of one contract, as if nothing were billed yet.

    Raises BillingError when it cannot be rated.
    """
    return rate_bill(PeriodToRate(contract, period), as_of=as_of, stored_before=stored_before)


def rate_bill(request: PeriodToRate, *, as_of: dt.datetime, stored_before: dt.datetime | None = None) -> RatedPeriod:
    """Rate one bill, less what it is told is billed already. Raises BillingError when it cannot be rated."""
    [result] = rate_periods([request], as_of=as_of, stored_before=stored_before)
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
    """What the bill charges for, split wherever the plan or a price changes inside its period."""
    contract, period = request.contract, request.period
    if period.start_at == contract.ends_at == contract.closed_through:
        return []  # The contract ended with its last closed day: what was billed beyond it goes back.
    stretches = list(_phase_stretches(period, phases))
    if not stretches or stretches[-1][0].end_at != period.end_at:
        raise PeriodWithoutPlan(contract, period)
    found = _windows(contract, period, stretches, prices, as_of, known, _CHARGED_BY[request.kind])
    if request.kind == BillKind.PERIOD:
        found.extend(_windows_in_advance(contract, period, phases, prices, as_of, known))
    return found


@dataclass(frozen=True, slots=True)
class _Charged:
    """Which prices a bill charges for. ``is_running``: usage so far, for a minimum is for a period's last bill only."""

    includes: Callable[[Price], bool]
    is_running: bool = False


def _is_in_advance(price: Price) -> bool:
    return price.timing == BillingTiming.ADVANCE and price.recurrence == Recurrence.RECURRING


# What each bill charges for of its own period. Fees billed in advance are rated at the period's end once more.
_CHARGED_BY: Mapping[BillKind, _Charged] = {
    BillKind.PERIOD: _Charged(lambda price: True),
    BillKind.OPENING: _Charged(lambda price: price.timing == BillingTiming.ADVANCE),
    BillKind.INTERIM: _Charged(lambda price: price.metric_id is not None, is_running=True),
}
_NEXT_IN_ADVANCE = _Charged(_is_in_advance)


def _windows_in_advance(
    contract: Contract,
    period: Period,
    phases: Sequence[ContractPhase],
    prices: Mapping[int, list[Price]],
    as_of: dt.datetime,
    known: _KnownWindows,
) -> list[_ChargeWindow]:
    """The fees in advance of the period that follows, as far as the contract has a plan for it by now."""
    if not any(_is_in_advance(price) for phase in phases for price in prices.get(phase.plan_version_id, [])):
        return []
    following = contract.period_at(period.end_at)
    if following is None:
        return []
    stretches = list(_phase_stretches(following, phases))
    return _windows(contract, following, stretches, prices, as_of, known, _NEXT_IN_ADVANCE)


def _windows(
    contract: Contract,
    period: Period,
    stretches: Sequence[tuple[Period, ContractPhase]],
    prices: Mapping[int, list[Price]],
    as_of: dt.datetime,
    known: _KnownWindows,
    charged: _Charged,
) -> list[_ChargeWindow]:
    nominal = contract.billing_cycle.period_containing(period.start_at)
    windows: list[_ChargeWindow] = []
    for stretch, phase in stretches:
        is_first = stretch.start_at == contract.starts_at
        key = (
            phase.plan_version_id,
            phase.grandfathered_at,
            contract.currency,
            charged,
            is_first,
            period,
            stretch,
            nominal,
        )
        if key not in known:
            known[key] = [
                window
                for price in prices.get(phase.plan_version_id, [])
                if charged.includes(price)
                for window in _windows_of_price(
                    price, phase, stretch, contract.currency, as_of, nominal, period if is_first else None, charged
                )
            ]
        windows.extend(known[key])
    return windows


def _windows_of_price(
    price: Price,
    phase: ContractPhase,
    stretch: Period,
    currency: str,
    as_of: dt.datetime,
    nominal: Period,
    first_period: Period | None,
    charged: _Charged,
) -> Iterator[_ChargeWindow]:
    """The windows of one price in a stretch.

    A one-off fee belongs to the contract's first day: to its plan and its price then, and in full.
    """
    if price.recurrence == Recurrence.RECURRING:
        for window, version in _version_windows(price, stretch, phase, currency, as_of):
            yield _charge_window(price, version, window, nominal, as_of, is_running=charged.is_running)
        return
    if first_period is None:
        return
    version_then = price_version_paid(
        phase,
        price.versions.all(),
        currency=currency,
        zone=stretch.zone,
        on=first_period.first_date,
        known_at=as_of,
    )
    if version_then is not None:
        yield _charge_window(price, version_then, first_period, first_period, as_of)


def _charge_window(
    price: Price,
    version: PriceVersion,
    window: Period,
    nominal: Period,
    as_of: dt.datetime,
    *,
    is_running: bool = False,
) -> _ChargeWindow:
    share = share_of(window, nominal)
    charge = charge_of(version)
    if is_running and charge.minimum is not None:
        charge = replace(charge, minimum=None)
    if not share.is_whole:
        charge = charge.prorate(share)
    metric_version, meter = None, None
    if price.metric is not None:
        metric_version = metric_version_in_force(price.metric.versions.all(), at=window.start_at, known_at=as_of)
        meter = meter_of(charge, metric_version, window, share.of)
    return _ChargeWindow(price, version, window, share, metric_version, charge, meter)


def _phase_stretches(period: Period, phases: Sequence[ContractPhase]) -> Iterator[tuple[Period, ContractPhase]]:
    """The part of the period that each phase covers, from its start on, up to the first day without a phase."""
    covered_to = period.start_at
    for phase in phases:
        start_at = start_of_day(phase.start_date, period.zone)
        end_at = start_of_day(phase.end_date, period.zone) if phase.end_date else period.end_at
        start_at, end_at = max(start_at, period.start_at), min(end_at, period.end_at)
        if start_at >= end_at:
            continue
        if start_at != covered_to:
            return
        yield Period(start_at=start_at, end_at=end_at, zone=period.zone), phase
        covered_to = end_at


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
    lines = less_billed(
        request,
        [
            line
            for window, measured in zip(windows, usage, strict=True)
            for line in _rate_window(window, measured, currency)
        ],
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
        kind=request.kind,
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
