"""What a new price would change, before it is recorded: rated by the path that bills, in a transaction that is undone.

A day that has come is previewed on the usage of every period since; a day to come on the last full period that is
closed, taken as a typical one. Nothing billed changes: for closed periods the preview says what they would have been.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction

from apps.common.database import TookTooLong, time_limit
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.pricing.invoice_pipeline import add_lines
from apps.pricing.money import EXACT
from apps.pricing.periods import TICK, Period, start_of_day
from apps.products.models import Price, PriceVersion
from apps.products.selectors import version_in_force
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms, terms_of
from apps.rating.services import rate_periods
from apps.rating.values import PeriodToRate, RatedPeriod, RatingRefused

MOST_CONTRACTS = 2000
PERIODS_AT_ONCE = 250
SECONDS = 10
# How far back a typical period is looked for: one in which this very price changed is split and not typical.
PERIODS_LOOKED_AT = 3


@dataclass(frozen=True, slots=True)
class PeriodImpact:
    """What the price comes to in one period of a contract, before and after the change; rounded as on an invoice."""

    period: Period
    is_closed: bool
    before: Decimal
    after: Decimal

    @property
    def difference(self) -> Decimal:
        return EXACT.subtract(self.after, self.before)


@dataclass(frozen=True, slots=True)
class ContractImpact:
    contract: Contract
    periods: tuple[PeriodImpact, ...]
    before: Decimal
    after: Decimal

    @property
    def difference(self) -> Decimal:
        return EXACT.subtract(self.after, self.before)


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change of one price in one currency does to the contracts on it.

    ``contracts`` are those rated, the largest difference first. ``grandfathered`` contracts keep their prices,
    ``other_currencies`` counts those billed in another one, and ``without_period`` have no period to go by: nothing
    since the day, or no full period closed yet. ``not_rated`` were left out because there were too many or, with
    ``ran_out_of_time``, because it took too long. ``refused`` could not be rated, with the reason.
    """

    price: Price
    currency: str
    effective_from: dt.date
    is_typical: bool
    contracts: tuple[ContractImpact, ...]
    grandfathered: int
    other_currencies: Mapping[str, int]
    without_period: int
    refused: tuple[tuple[Contract, str], ...]
    not_rated: int
    ran_out_of_time: bool

    @property
    def changed(self) -> list[ContractImpact]:
        return [found for found in self.contracts if any(period.difference for period in found.periods)]

    @property
    def unchanged(self) -> int:
        """How many were rated and pay the same."""
        return len(self.contracts) - len(self.changed)

    @property
    def before(self) -> Decimal:
        return add_lines([found.before for found in self.contracts], self.currency)

    @property
    def after(self) -> Decimal:
        return add_lines([found.after for found in self.contracts], self.currency)

    @property
    def difference(self) -> Decimal:
        return EXACT.subtract(self.after, self.before)

    @property
    def closed_difference(self) -> Decimal:
        """What closed periods would have come to more: it is not billed, for what was billed stands."""
        return self._difference(is_closed=True)

    @property
    def open_difference(self) -> Decimal:
        """What open periods come to more, with the usage so far."""
        return self._difference(is_closed=False)

    def _difference(self, *, is_closed: bool) -> Decimal:
        differences = [
            period.difference for found in self.contracts for period in found.periods if period.is_closed == is_closed
        ]
        return add_lines(differences, self.currency)


def preview_impact(
    *,
    price: Price,
    currency: str,
    effective_from: dt.date,
    terms: PriceTerms,
    now: dt.datetime,
    stored_before: dt.datetime | None = None,
    most_contracts: int = MOST_CONTRACTS,
    seconds: int = SECONDS,
) -> Impact:
    """Rate the contracts on a published price with and without new terms; nothing stays recorded.

    A day up to today (in UTC) is one that has come. With ``stored_before``, usage that arrives meanwhile is in neither
    figure. Raises as ``schedule_price_version`` does. The plan version is
    locked meanwhile, which is why there is a limit of time.
    """
    is_typical = effective_from > now.date()
    reached, grandfathered, others = _contracts_on(price, currency, effective_from, is_typical)
    versions = [version for version in price.versions.prefetch_related("tiers", "rows") if version.currency == currency]
    periods = {
        contract: _typical_period(contract, versions) if is_typical else _periods_since(contract, effective_from, now)
        for contract in reached[:most_contracts]
    }
    to_rate = {contract: found for contract, found in periods.items() if found}
    with transaction.atomic():
        if is_typical:
            _record_for_typical(price, currency, effective_from, terms, versions, to_rate, now)
        else:
            _record(price, currency, [effective_from], terms, now + TICK)
        rated, refused, ran_out = _rate_all(price, to_rate, now, stored_before, seconds)
        transaction.set_rollback(True)
    return Impact(
        price=price,
        currency=currency,
        effective_from=effective_from,
        is_typical=is_typical,
        contracts=tuple(sorted(rated, key=lambda found: (-abs(found.difference), found.contract.pk))),
        grandfathered=grandfathered,
        other_currencies=others,
        without_period=len(periods) - len(to_rate),
        refused=tuple(refused),
        not_rated=len(reached) - len(periods) + len(to_rate) - len(rated) - len(refused),
        ran_out_of_time=ran_out,
    )


# --- Which contracts, which periods ----------------------------------------------------------------------------------


def _contracts_on(
    price: Price, currency: str, effective_from: dt.date, is_typical: bool
) -> tuple[list[Contract], int, dict[str, int]]:
    """The contracts that the change reaches, and how many it does not: those that keep prices, other currencies."""
    statuses = [ContractStatus.ACTIVE] if is_typical else [ContractStatus.ACTIVE, ContractStatus.ENDED]
    phases = (
        ContractPhase.objects.filter(plan_version=price.plan_version_id, contract__status__in=statuses)
        .exclude(end_date__lte=effective_from)
        .select_related("contract__customer__billing_entity")
        .order_by("contract_id", "start_date")
    )
    following: dict[int, Contract] = {}
    all_contracts: dict[int, Contract] = {}
    for phase in phases:
        all_contracts[phase.contract_id] = phase.contract
        if phase.grandfathered_at is None:
            following.setdefault(phase.contract_id, phase.contract)
    others = Counter(contract.currency for contract in all_contracts.values() if contract.currency != currency)
    reached = [contract for contract in following.values() if contract.currency == currency]
    in_currency = sum(contract.currency == currency for contract in all_contracts.values())
    return reached, in_currency - len(reached), dict(others)


def _periods_since(contract: Contract, effective_from: dt.date, now: dt.datetime) -> list[Period]:
    """Every period from the one of a day to the one that runs now, cut to the contract's term."""
    since = max(start_of_day(effective_from, contract.timezone), contract.starts_at)
    found = (contract.cut_to_term(nominal) for nominal in contract.billing_cycle.periods(since, now))
    return [period for period in found if period is not None]


def _typical_period(contract: Contract, versions: Sequence[PriceVersion]) -> list[Period]:
    """The last full period that is closed, preferably one in which the price did not change; empty if there is none."""
    if contract.closed_through is None:
        return []
    cycle = contract.billing_cycle
    last = cycle.index_of(contract.closed_through) - 1
    full = [
        nominal
        for nominal in (cycle.period(last - back) for back in range(PERIODS_LOOKED_AT))
        if contract.cut_to_term(nominal) == nominal
    ]
    days = {version.effective_from for version in versions if version.effective_from is not None}
    unchanged = [period for period in full if not any(period.first_date < day <= period.last_date for day in days)]
    return (unchanged or full)[:1]


# --- With and without the change -------------------------------------------------------------------------------------


def _record(price: Price, currency: str, days: Sequence[dt.date], terms: PriceTerms, recorded_at: dt.datetime) -> None:
    for day in days:
        schedule_price_version(price=price, currency=currency, effective_from=day, terms=terms, now=recorded_at)


def _record_for_typical(
    price: Price,
    currency: str,
    effective_from: dt.date,
    terms: PriceTerms,
    versions: Sequence[PriceVersion],
    to_rate: Mapping[Contract, Sequence[Period]],
    now: dt.datetime,
) -> None:
    """Put the periods that are looked at under what holds on the day before the change, and then under the change."""
    periods = [period for found in to_rate.values() for period in found]
    first = min((period.first_date for period in periods), default=effective_from)
    last = max((period.last_date for period in periods), default=effective_from)
    inside = {day for version in versions if (day := version.effective_from) is not None and first < day <= last}
    days = sorted({first, *inside})
    held = version_in_force(versions, currency=currency, on=effective_from - dt.timedelta(days=1), known_at=now)
    if held is not None:
        _record(price, currency, days, terms_of(held), now)
    _record(price, currency, days, terms, now + TICK)


def _rate_all(
    price: Price,
    to_rate: Mapping[Contract, Sequence[Period]],
    now: dt.datetime,
    stored_before: dt.datetime | None,
    seconds: int,
) -> tuple[list[ContractImpact], list[tuple[Contract, str]], bool]:
    """Rate as known now and as known a moment later, when the change is; stop when the time is up."""
    deadline = time.monotonic() + seconds
    rated: list[ContractImpact] = []
    refused: list[tuple[Contract, str]] = []
    try:
        with time_limit(seconds):
            for chunk in _chunks(to_rate):
                if time.monotonic() > deadline:
                    return rated, refused, True
                before, after = (
                    rate_periods(chunk, as_of=as_of, stored_before=stored_before) for as_of in (now, now + TICK)
                )
                for contract, pairs in _by_contract(before, after):
                    found = _impact(price, contract, pairs)
                    if isinstance(found, ContractImpact):
                        rated.append(found)
                    else:
                        refused.append((contract, found))
    except TookTooLong:
        return rated, refused, True
    return rated, refused, False


def _chunks(to_rate: Mapping[Contract, Sequence[Period]]) -> Iterator[list[PeriodToRate]]:
    """The periods in portions; those of one contract stay together."""
    chunk: list[PeriodToRate] = []
    for contract, periods in to_rate.items():
        if chunk and len(chunk) + len(periods) > PERIODS_AT_ONCE:
            yield chunk
            chunk = []
        chunk += [PeriodToRate(contract, period) for period in periods]
    if chunk:
        yield chunk


_Pair = tuple[RatedPeriod | RatingRefused, RatedPeriod | RatingRefused]


def _by_contract(
    before: Sequence[RatedPeriod | RatingRefused], after: Sequence[RatedPeriod | RatingRefused]
) -> Iterator[tuple[Contract, list[_Pair]]]:
    found: dict[int, list[_Pair]] = {}
    for pair in zip(before, after, strict=True):
        found.setdefault(pair[0].contract.pk, []).append(pair)
    for pairs in found.values():
        yield pairs[0][0].contract, pairs


def _impact(price: Price, contract: Contract, pairs: Sequence[_Pair]) -> ContractImpact | str:
    """What the price comes to in each period, or why it cannot be told."""
    periods = []
    for before, after in pairs:
        if isinstance(before, RatingRefused):
            return before.detail
        if isinstance(after, RatingRefused):
            return after.detail
        closed_through = contract.closed_through
        periods.append(
            PeriodImpact(
                period=before.period,
                is_closed=closed_through is not None and before.period.end_at <= closed_through,
                before=_amount_of(price, before),
                after=_amount_of(price, after),
            )
        )
    return ContractImpact(
        contract=contract,
        periods=tuple(periods),
        before=add_lines([period.before for period in periods], contract.currency),
        after=add_lines([period.after for period in periods], contract.currency),
    )


def _amount_of(price: Price, rated: RatedPeriod) -> Decimal:
    """What the price comes to for the days of a period; a bill may also charge other days' fees in advance."""
    lines = [line for line in rated.lines if line.price.pk == price.pk and line.window.start_at < rated.period.end_at]
    return add_lines([line.rated.amount for line in lines], rated.currency)
