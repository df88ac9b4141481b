"""The period that runs now, rated as its invoice will be: for the contract's page and the preview."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace

from apps.contracts.models import Contract
from apps.invoices.billed import with_billed
from apps.invoices.models import Invoice
from apps.pricing.periods import Period
from apps.rating.services import rate_bill
from apps.rating.values import Billed, BillKind, PeriodToRate, RatedPeriod


@dataclass(frozen=True, slots=True)
class RunningPeriod:
    """The invoice of a period as it would be now, and what will be billed in advance of the period before that.

    ``in_advance`` is None once it is billed, or where there is nothing to bill in advance.
    """

    rated: RatedPeriod
    in_advance: RatedPeriod | None


def period_to_show(contract: Contract, now: dt.datetime) -> Period | None:
    """The period that runs now; the first one before the contract begins; None after its end."""
    return contract.period_at(max(now, contract.starts_at))


def rate_running_period(
    contract: Contract, period: Period, *, as_of: dt.datetime, stored_before: dt.datetime | None = None
) -> RunningPeriod:
    """Rate a period less what is billed of it, and what other bills will charge before. Raises what stops the rating.

    The opening invoice of a contract, or the close of the period before, comes first and bills in advance.
    """
    bill, advance = with_billed([PeriodToRate(contract, period), PeriodToRate(contract, period, BillKind.OPENING)])
    if not _has_bills_to_come(contract, period):
        return RunningPeriod(rate_bill(bill, as_of=as_of, stored_before=stored_before), None)
    to_come = rate_bill(advance, as_of=as_of, stored_before=stored_before)
    bill = replace(bill, billed=(*bill.billed, *_as_billed(to_come)))
    rated = rate_bill(bill, as_of=as_of, stored_before=stored_before)
    return RunningPeriod(rated, None if to_come.is_empty else to_come)


def _has_bills_to_come(contract: Contract, period: Period) -> bool:
    if contract.closed_through is None or contract.closed_through < period.start_at:
        return True
    is_first = period.start_at == contract.starts_at
    return is_first and not Invoice.objects.live().filter(contract=contract, kind=BillKind.OPENING).exists()


def _as_billed(rated: RatedPeriod) -> tuple[Billed, ...]:
    return tuple(
        Billed(
            price_version=line.price_version,
            window=line.window,
            share=line.share,
            values=line.rated.values,
            bound=line.rated.bound,
            amount=line.amount,
            bills=frozenset([0]),
        )
        for line in rated.lines
    )
