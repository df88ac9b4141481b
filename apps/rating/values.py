"""What rating takes and gives: values, with no tables behind them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

from apps.billable_metrics.models import MetricVersion
from apps.contracts.models import Contract
from apps.pricing.charges import Charge, RatedCharge
from apps.pricing.invoice_pipeline import InvoiceTotals
from apps.pricing.periods import Period, ShareOfDays
from apps.products.estimates import label_of
from apps.products.models import Price, PriceVersion


@dataclass(frozen=True, slots=True)
class PeriodToRate:
    """A billing period of a contract, as cut to the contract's term."""

    contract: Contract
    period: Period


@dataclass(frozen=True, slots=True)
class RatedLine:
    """One line of a charge over one window: what was measured, by which price version, and what it costs.

    A charge has one line, or one for each row of its matrix that was used. ``share`` is the window's part of the
    nominal billing period, by days; ``charge`` is the price by that share.
    """

    price: Price
    price_version: PriceVersion
    window: Period
    share: ShareOfDays
    event_count: int
    metric_version: MetricVersion | None
    charge: Charge
    rated: RatedCharge

    @property
    def name(self) -> str:
        """The name of the price, and what tells the line from its others: ``Tokens: gpt-4, input``."""
        label = label_of(self.charge, self.rated)
        return f"{self.price.name}: {label}" if label else self.price.name

    @property
    def amount(self) -> Decimal:
        """The line's amount, rounded to the currency's minor unit."""
        return self.rated.amount


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

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to bill: no line has an amount, a fee or usage."""
        return all(not line.amount and not line.rated.quantity for line in self.lines)


@dataclass(frozen=True, slots=True)
class RatingRefused:
    """Why one period could not be rated; the others of the same call are not touched by it."""

    contract: Contract
    period: Period
    code: str
    detail: str
