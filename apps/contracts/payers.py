"""Who pays which version of a price, and why. A fixed number of queries, however many contracts there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, CharField, Count, DateField, DateTimeField, F, Func, Q, QuerySet, TextChoices, Value
from django.db.models import When as Whenever
from django.db.models.functions import Cast

from apps.common.formatting import format_day
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.contracts.selectors import price_version_paid
from apps.pricing.periods import local_date
from apps.products.models import Price, PriceVersion


class Why(TextChoices):
    """Why a contract pays the version that it pays."""

    FOLLOWS = "follows", "Follows the list price"
    CHANGES = "changes", "Will follow a scheduled change"
    KEEPS = "keeps", "Keeps the prices of a day"


@dataclass(frozen=True, slots=True)
class PricePaid:
    """What one contract pays for a price on ``on``: today, or its first day where it has not begun.

    ``version`` is None where nothing is charged. ``since`` is the first day on which it pays this version, as far as
    the running phase goes; ``next_version`` is what a contract that follows the list will pay next.
    """

    contract: Contract
    phase: ContractPhase
    on: dt.date
    version: PriceVersion | None
    since: dt.date
    why: Why
    next_version: PriceVersion | None

    @property
    def reason(self) -> str:
        if self.why == Why.KEEPS:
            return f"{self.phase_in_words}."
        if self.next_version is not None and self.next_version.effective_from is not None:
            return f"Will follow from {format_day(self.next_version.effective_from)}: scheduled change."
        return "Follows the list price."

    @property
    def phase_in_words(self) -> str:
        return prices_of_phase_in_words(self.phase, self.contract.timezone)


def prices_of_phase_in_words(phase: ContractPhase, zone: str) -> str:
    """Whether a phase follows the list, or “Keeps the prices of 3 Nov 2026: loyalty agreement”."""
    if phase.grandfathered_at is None:
        return "Follows the list prices"
    return f"Keeps the prices of {format_day(local_date(phase.grandfathered_at, zone))}: {phase.grandfather_reason}"


def phases_paying(price: Price, versions: Sequence[PriceVersion], *, now: dt.datetime) -> QuerySet[Any]:
    """The phase of each contract on the price's plan version that runs now, or that a contract will begin with.

    Drafts are among them. Each has ``today``, the day in the contract's time zone, and ``why`` as a Why.
    """
    local_now = Func(
        F("contract__timezone"),
        Value(now, output_field=DateTimeField()),
        function="timezone",
        output_field=DateTimeField(),
    )
    runs = Q(start_date__lte=F("today")) & (Q(end_date=None) | Q(end_date__gt=F("today")))
    will_begin = Q(start_date__gt=F("today"), start_date=F("contract__start_date"))
    cases = [Whenever(grandfathered_at__isnull=False, then=Value(Why.KEEPS.value))]
    will_change = _will_change(versions, now)
    if will_change is not None:
        cases.append(Whenever(will_change, then=Value(Why.CHANGES.value)))
    why = Case(*cases, default=Value(Why.FOLLOWS.value), output_field=CharField())
    return (
        ContractPhase.objects.filter(plan_version=price.plan_version_id)
        .filter(contract__status__in=[ContractStatus.DRAFT, ContractStatus.ACTIVE])
        .annotate(today=Cast(local_now, DateField()), why=why)
        .filter(runs | will_begin)
        .select_related("contract__customer")
        .order_by("contract__customer__name", "contract__name", "contract_id")
    )


def _will_change(versions: Sequence[PriceVersion], now: dt.datetime) -> Q | None:
    """What tells the phases that live to see a scheduled price; None when none is scheduled."""
    found = None
    for version in versions:
        day = version.effective_from
        # Somewhere on earth it is still the day before.
        if day is None or version.recorded_at > now or day < now.date() - dt.timedelta(days=1):
            continue
        condition = Q(contract__currency=version.currency, today__lt=day) & (Q(end_date=None) | Q(end_date__gt=day))
        found = condition if found is None else found | condition
    return found


def count_by_why(phases: QuerySet[Any]) -> Mapping[str, int]:
    """How many of ``phases_paying`` there are for each reason."""
    counted = phases.order_by().values("why").annotate(contracts=Count("contract", distinct=True))
    return {row["why"]: row["contracts"] for row in counted}


def price_paid(phase: ContractPhase, versions: Sequence[PriceVersion], *, now: dt.datetime) -> PricePaid:
    """What one of ``phases_paying`` pays, and why. No query is made."""
    contract = phase.contract
    on = max(local_date(now, contract.timezone), phase.start_date)
    version = _paid_on(phase, versions, on, now)
    begun = version.effective_from if version is not None else None
    return PricePaid(
        contract=contract,
        phase=phase,
        on=on,
        version=version,
        since=max(begun, phase.start_date) if begun is not None else phase.start_date,
        why=Why(phase.why),  # type: ignore[attr-defined]  # phases_paying adds it
        next_version=_next_version(phase, versions, on, now),
    )


def _next_version(
    phase: ContractPhase, versions: Sequence[PriceVersion], on: dt.date, now: dt.datetime
) -> PriceVersion | None:
    if phase.grandfathered_at is not None:
        return None
    days = sorted(
        version.effective_from
        for version in versions
        if version.currency == phase.contract.currency
        and version.recorded_at <= now
        and version.effective_from is not None
        and version.effective_from > on
        and (phase.end_date is None or version.effective_from < phase.end_date)
    )
    return _paid_on(phase, versions, days[0], now) if days else None


def _paid_on(
    phase: ContractPhase, versions: Sequence[PriceVersion], day: dt.date, now: dt.datetime
) -> PriceVersion | None:
    contract = phase.contract
    return price_version_paid(phase, versions, currency=contract.currency, zone=contract.timezone, on=day, known_at=now)
