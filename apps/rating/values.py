"""What rating takes and gives: values, with no tables behind them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from django.db.models import TextChoices

from apps.billable_metrics.models import MetricVersion
from apps.contracts.models import Contract
from apps.pricing.charges import Charge, RatedCharge
from apps.pricing.invoice_pipeline import InvoiceTotals
from apps.pricing.periods import Period, ShareOfDays
from apps.pricing.progressive import next_bill
from apps.products.estimates import label_of
from apps.products.models import Price, PriceVersion

ZERO = Decimal(0)


class BillKind(TextChoices):
    """What a bill of a period charges for.

    - At the end of the period: its usage, its fees in arrears, and what its fees in advance came to otherwise than
      they were billed; and the fees in advance of the next period.
    - At the contract's start: the fees in advance of its first period, and one-off fees in advance.
    - Within the period: its usage so far.
    """

    PERIOD = "period", "Period"
    OPENING = "opening", "Opening"
    INTERIM = "interim", "Interim"


@dataclass(frozen=True, slots=True)
class Billed:
    """What other bills of a contract charged for a price over one window, in all.

    ``values`` and ``bound`` tell a matrix price's lines from one another, as in ``RatedCharge``. ``bills`` are the
    bills in question, by the caller's own keys.
    """

    price_version: PriceVersion
    window: Period
    share: ShareOfDays
    values: tuple[str | None, ...] | None
    bound: str
    amount: Decimal
    bills: frozenset[int]


@dataclass(frozen=True, slots=True)
class PeriodToRate:
    """A billing period of a contract, as cut to the contract's term, and which bill of it is wanted.

    ``billed`` is what other bills charged for windows of this period and of the next one; the bill is less by that.
    """

    contract: Contract
    period: Period
    kind: BillKind = BillKind.PERIOD
    billed: tuple[Billed, ...] = ()


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line of a charge over one window: what was measured, by which price version, and what it costs.

    A charge has one line, or one for each row of its matrix that was used. ``share`` is the window's part of the
    nominal billing period, by days; ``charge`` is the price by that share. ``billed_before`` is what the bills
    ``billed_on`` charged of ``rated`` already. ``is_reversal``: nothing is charged for the window any more, and the
    line gives back what was.
    """

    price: Price
    price_version: PriceVersion
    window: Period
    share: ShareOfDays
    event_count: int
    metric_version: MetricVersion | None
    charge: Charge
    rated: RatedCharge
    billed_before: Decimal = ZERO
    billed_on: frozenset[int] = frozenset()
    is_reversal: bool = False

    @property
    def name(self) -> str:
        """The name of the price, and what tells the line from its others: ``Tokens: gpt-4, input``."""
        label = label_of(self.rated)
        return f"{self.price.name}: {label}" if label else self.price.name

    @property
    def amount(self) -> Decimal:
        """What is left to bill: the rounded running total, less what is billed already. It may be negative."""
        if not self.billed_before:
            return self.rated.amount
        return next_bill(self.rated.amount, self.billed_before, self.rated.currency)


@dataclass(frozen=True, slots=True)
class RatedPeriod:
    """All lines of one billing period, and their totals.

    ``as_of`` is what was taken for now: price versions recorded later are not known. ``stored_before`` is the
    cutoff of the usage; None means everything stored when it was read.
    """

    contract: Contract
    period: Period
    currency: str
    as_of: dt.datetime
    stored_before: dt.datetime | None
    lines: tuple[RatedLine, ...]
    totals: InvoiceTotals
    kind: BillKind = BillKind.PERIOD

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to bill: no line has an amount, a fee or usage.

        Usage so far is nothing to bill again when it comes to no other amount.
        """
        if self.kind == BillKind.INTERIM:
            return not any(line.amount for line in self.lines)
        return all(not line.amount and not line.rated.quantity for line in self.lines)


@dataclass(frozen=True, slots=True)
class RatingRefused:
    """Why one period could not be rated; the others of the same call are not touched by it."""

    contract: Contract
    period: Period
    code: str
    detail: str
