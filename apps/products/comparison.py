"""Plan versions side by side: what each charges for, and what the same usage would cost on each.

The amounts come from ``estimates``, which rates as an invoice does: a total is the sum of rounded lines.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal

from apps.billable_metrics.models import BillableMetric
from apps.pricing.charge_models.base import NOTHING_USED, Usage, UsageGroup
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charges import Charge
from apps.pricing.invoice_pipeline import add_lines
from apps.pricing.money import EXACT, round_money
from apps.products.estimates import UsageNotPriced, estimate
from apps.products.models import PlanVersion, Price, PriceVersion, Recurrence
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.terms import charge_of
from apps.products.wording import bounds_in_words, included_in_words, price_in_words

MOST_PLANS = 4
MOST_TRANSACTIONS = 10_000
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class MonthlyUse:
    """What is used of a metric in a month; ``transactions`` is how many alike ones it comes in, where prices ask."""

    quantity: Decimal
    transactions: int = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """A charge of one plan version, in words, and what it comes to over a billing period. None: it cannot be told.

    ``fault`` says why it cannot be told.
    """

    price: Price
    version: PriceVersion
    amount: Decimal | None
    fault: str = ""

    @property
    def words(self) -> list[str]:
        return price_in_words(self.version)

    @property
    def included(self) -> str:
        return included_in_words(self.version)

    @property
    def bounds(self) -> list[str]:
        return bounds_in_words(self.version)

    @property
    def is_one_off(self) -> bool:
        return self.price.recurrence == Recurrence.ONE_OFF


@dataclass(frozen=True, slots=True)
class Row:
    """What several plans charge for the same: a metric of a product, or a fee by its name."""

    product: str
    label: str
    metric: BillableMetric | None
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """What one plan version comes to: in its billing period, in a month on average, and once at the start.

    ``monthly`` is None where a charge cannot be told or the plan is not sold in the currency.
    """

    version: PlanVersion
    is_sold: bool
    period: Decimal | None
    monthly: Decimal | None
    once: Decimal
    is_cheapest: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    currency: str
    versions: tuple[PlanVersion, ...]
    rows: tuple[Row, ...]
    totals: tuple[Total, ...]

    @property
    def metrics(self) -> list[BillableMetric]:
        return list({row.metric.pk: row.metric for row in self.rows if row.metric is not None}.values())

    def asks_transactions(self, metric: BillableMetric) -> bool:
        """Whether a price of the metric charges by transaction, so that their number matters."""
        return any(
            isinstance(charge_of(cell.version).model, Percentage)
            for row in self.rows
            if row.metric == metric
            for cell in row.cells
            if cell is not None
        )


def compare_plans(
    versions: Sequence[PlanVersion], *, currency: str, use: Mapping[int, MonthlyUse], now: dt.datetime
) -> Comparison:
    """Lay out the prices in force at ``now`` in one currency, and rate ``use``, by the metric's key, on each plan."""
    prices = prices_by_plan_version([version.pk for version in versions])
    columns = []
    for version in versions:
        cells = []
        for price in prices.get(version.pk, []):
            price.plan_version = version
            held = version_in_force(price.versions.all(), currency=currency, on=now.date(), known_at=now)
            if held is not None:
                cells.append(_cell(price, held, use, currency))
        columns.append(cells)
    totals = [_total(version, cells, currency) for version, cells in zip(versions, columns, strict=True)]
    return Comparison(currency, tuple(versions), tuple(_rows(columns)), tuple(_with_cheapest(totals)))


# --- What is charged for ---------------------------------------------------------------------------------------------

_Key = tuple[int, int | None, str]


def _rows(columns: Sequence[Sequence[Cell]]) -> list[Row]:
    keyed: list[dict[_Key, Cell]] = []
    for cells in columns:
        by_key: dict[_Key, Cell] = {}
        for cell in cells:
            by_key[_key(cell, by_key)] = cell
        keyed.append(by_key)
    rows = []
    for key in dict.fromkeys(key for by_key in keyed for key in by_key):
        found = tuple(by_key.get(key) for by_key in keyed)
        shown = [cell.price for cell in found if cell is not None]
        rows.append(
            Row(
                product=shown[0].product.name,
                label=" / ".join(dict.fromkeys(price.name for price in shown)),
                metric=shown[0].metric,
                cells=found,
            )
        )
    return sorted(rows, key=lambda row: (row.product, row.metric is not None))


def _key(cell: Cell, taken: Mapping[_Key, Cell]) -> _Key:
    """What makes charges of two plans the same: a metric of a product, or a fee by its name."""
    price = cell.price
    key: _Key = (price.product_id, price.metric_id, "" if price.metric_id else price.name)
    # A plan that charges twice for a metric tells the charges apart by their names.
    return (*key[:2], price.name) if key in taken else key


# --- What it would cost ----------------------------------------------------------------------------------------------


def _cell(price: Price, version: PriceVersion, use: Mapping[int, MonthlyUse], currency: str) -> Cell:
    charge = charge_of(version)
    months = price.plan_version.billing_months
    metric = price.metric
    used = use.get(metric.pk, MonthlyUse(ZERO)) if metric is not None else MonthlyUse(ZERO)
    usage = NOTHING_USED if metric is None else _usage(charge, used, months if metric_adds_up(metric) else 1)
    names = {} if metric is None else {"unit_singular": metric.unit_singular, "unit_plural": metric.unit_plural}
    try:
        return Cell(price, version, estimate(charge, usage, currency=currency, **names).amount)
    except UsageNotPriced as fault:
        return Cell(price, version, None, fault.detail)


def metric_adds_up(metric: BillableMetric) -> bool:
    """Whether a longer period has more of it. A level, such as a number of seats, is the same in each month."""
    return bool(metric.current_version.definition.adds_up) and not metric.current_version.definition.carries_over


def _usage(charge: Charge, used: MonthlyUse, months: int) -> Usage:
    quantity = EXACT.multiply(used.quantity, Decimal(months))
    if isinstance(charge.model, Percentage):
        transactions = _alike(quantity, used.transactions * months) if quantity else ()
        return Usage(quantity, count=len(transactions), transactions=transactions)
    if isinstance(charge.model, Matrix):
        # A quantity alone has no values: it is priced as all other usage, where the matrix has a row for that.
        return Usage(quantity, groups=(UsageGroup((None,) * len(charge.model.dimensions), quantity),))
    return Usage(quantity)


def _alike(total: Decimal, number: int) -> tuple[Decimal, ...]:
    """So many transactions of the same amount; the last one takes what does not divide."""
    number = min(max(number, 1), MOST_TRANSACTIONS)
    one = EXACT.divide(total, Decimal(number)).quantize(Decimal("0.000000000001"), rounding=ROUND_DOWN, context=EXACT)
    last = EXACT.subtract(total, EXACT.multiply(one, Decimal(number - 1)))
    return (*([one] * (number - 1)), last)


def _total(version: PlanVersion, cells: Sequence[Cell], currency: str) -> Total:
    once = add_lines([cell.amount for cell in cells if cell.is_one_off and cell.amount is not None], currency)
    amounts = [cell.amount for cell in cells if not cell.is_one_off]
    if currency not in version.currencies or None in amounts:
        return Total(version, currency in version.currencies, None, None, once)
    period = add_lines([amount for amount in amounts if amount is not None], currency)
    monthly = round_money(EXACT.divide(period, Decimal(version.billing_months)), currency)
    return Total(version, True, period, monthly, once)


def _with_cheapest(totals: Sequence[Total]) -> list[Total]:
    """Mark the lowest monthly amounts, unless all plans that can be told cost the same."""
    told = [total.monthly for total in totals if total.monthly is not None]
    if len(told) < 2 or min(told) == max(told):
        return list(totals)
    return [
        Total(total.version, total.is_sold, total.period, total.monthly, total.once, total.monthly == min(told))
        for total in totals
    ]
