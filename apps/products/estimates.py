"""What usage would cost under a price: for the calculator beside the form, and for the API.

Nothing is stored or looked up here; the amounts come from ``pricing``, as those of an invoice do.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal

from apps.common.errors import BillingError, InvalidInput
from apps.pricing import unit_prices
from apps.pricing.charge_models.base import NotRatable, Tier, Usage, UsageGroup
from apps.pricing.charge_models.matrix import Matrix, values_in_words
from apps.pricing.charge_models.package import Package
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charges import Charge, RatedCharge, rate_lines
from apps.pricing.explain import Explanation, explain_charge
from apps.pricing.invoice_pipeline import add_lines
from apps.pricing.money import EXACT, settle, sum_exactly

ONE = Decimal(1)


class UsageNotPriced(BillingError):
    """The price says nothing about this usage, such as a quantity above its last tier."""

    code = "usage_not_priced"


@dataclass(frozen=True, slots=True)
class EstimatedLine:
    """One line as an invoice would show it: ``label`` names a matrix row or a bound, and is empty otherwise."""

    label: str
    rated: RatedCharge
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class Estimate:
    """The lines that usage would make. ``amount`` is the sum of the rounded lines, ``exact`` that of the unrounded."""

    lines: tuple[EstimatedLine, ...]
    currency: str
    amount: Decimal
    exact: Decimal


def estimate(
    charge: Charge, usage: Usage, *, currency: str, unit_singular: str = "unit", unit_plural: str = "units"
) -> Estimate:
    """Rate usage under a charge, and explain each line.

    Raises UsageNotPriced for usage that the price says nothing about, InvalidInput for an amount beyond exact
    arithmetic, ValueError for an unknown currency.
    """
    try:
        rated_lines = rate_lines(charge, usage, currency)
    except NotRatable as fault:
        raise UsageNotPriced(str(fault), field="quantity") from fault
    except decimal.InvalidOperation as fault:
        raise InvalidInput("The amount is too large to be computed. Estimate less.", field="quantity") from fault
    lines = tuple(
        EstimatedLine(
            label=label_of(rated),
            rated=rated,
            explanation=explain_charge(rated, charge, unit_singular=unit_singular, unit_plural=unit_plural, share=None),
        )
        for rated in rated_lines
    )
    return Estimate(
        lines=lines,
        currency=currency,
        amount=add_lines([rated.amount for rated in rated_lines], currency),
        exact=sum_exactly(rated.exact_amount for rated in rated_lines),
    )


def label_of(rated: RatedCharge) -> str:
    """What tells a line from the others of its price: a matrix row's values, or the bound that it states."""
    if rated.bound:
        return rated.bound.capitalize()
    return "" if rated.values is None else values_in_words(rated.values)


def effective_unit_price(exact: Decimal, quantity: Decimal, per_units: Decimal = ONE) -> Decimal | None:
    """What ``per_units`` units cost on average; None where nothing was used."""
    if quantity <= 0:
        return None
    return settle(unit_prices.effective_unit_price(exact, quantity, per_units))


# --- Curves ----------------------------------------------------------------------------------------------------------

CURVE_STEPS = 32
REPEATS_OF_CURVE = 12
MOST_TRANSACTIONS_OF_CURVE = 400
PACKAGES_OF_CURVE = 24
ONE_TRANSACTION = Usage(Decimal(100), count=1, transactions=(Decimal(100),))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What a quantity costs: the rounded ``amount``, and the price of a unit on average, None where nothing is used."""

    quantity: Decimal
    amount: Decimal
    unit_price: Decimal | None


def curve(
    charge: Charge, currency: str, *, up_to: Decimal | None = None, like: Usage | None = None
) -> tuple[CurvePoint, ...]:
    """The total and the unit price over the quantity, from 0 on: even steps, and both sides of each jump.

    ``like`` is usage to be made smaller and larger: its parts by dimension and its failed units keep their shares, its
    transactions are repeated. ``up_to`` defaults to somewhat beyond the last bound, or twice the usage. The curve ends
    where the price says nothing about more usage.
    """
    points = []
    for usage in _usages_of_curve(charge, up_to, like):
        try:
            rated = rate_lines(charge, usage, currency)
        except NotRatable:
            break
        points.append(
            CurvePoint(
                quantity=usage.quantity,
                amount=add_lines([line.amount for line in rated], currency),
                unit_price=effective_unit_price(sum_exactly(line.exact_amount for line in rated), usage.quantity),
            )
        )
    return tuple(points)


def _usages_of_curve(charge: Charge, up_to: Decimal | None, like: Usage | None) -> Iterator[Usage]:
    if isinstance(charge.model, Percentage):
        yield from _repeated(like if like is not None and like.transactions else ONE_TRANSACTION, up_to)
        return
    reach = up_to or _reach(charge, like)
    steps = {
        EXACT.divide(EXACT.multiply(reach, Decimal(step)), Decimal(CURVE_STEPS)) for step in range(CURVE_STEPS + 1)
    }
    steps |= {place for bound in _jumps(charge, reach) for place in (bound, _just_above(bound)) if place <= reach}
    for quantity in sorted(steps):
        yield _scaled(charge, quantity, like)


def _repeated(like: Usage, up_to: Decimal | None) -> Iterator[Usage]:
    transactions = like.transactions or ()
    times = min(REPEATS_OF_CURVE, max(2, MOST_TRANSACTIONS_OF_CURVE // len(transactions)))
    for number in range(times + 1):
        repeated = transactions * number
        usage = Usage(sum_exactly(repeated), count=len(repeated), transactions=repeated)
        if up_to is not None and usage.quantity > up_to:
            return
        yield usage


def _scaled(charge: Charge, quantity: Decimal, like: Usage | None) -> Usage:
    """Usage of this quantity with the shares of ``like``; a matrix without one spreads it evenly over its rows."""
    groups = like.groups if like is not None else ()
    whole = like.quantity if like is not None else Decimal(0)
    if isinstance(charge.model, Matrix) and not whole:
        groups = tuple(UsageGroup(row.values, ONE) for row in charge.model.rows)
        whole = Decimal(len(groups))
    failed = like.failed if like is not None else Decimal(0)
    if not whole:
        return Usage(quantity)
    return Usage(
        quantity,
        failed=_share(failed, quantity, whole),
        groups=tuple(
            replace(
                group,
                quantity=_share(group.quantity, quantity, whole),
                failed=_share(group.failed, quantity, whole),
            )
            for group in groups
        ),
    )


def _share(part: Decimal, quantity: Decimal, whole: Decimal) -> Decimal:
    return settle(EXACT.divide(EXACT.multiply(part, quantity), whole))


def bounds_of(charge: Charge) -> tuple[Decimal, ...]:
    """The quantities, as they are used, at which the price changes: where the allowance ends, and the tiers."""
    ends = [charge.included_units] if charge.included_units else []
    tiers: tuple[Tier, ...] = getattr(charge.model, "tiers", ())
    ends += [EXACT.add(charge.included_units, tier.up_to) for tier in tiers if tier.up_to is not None]
    divisor = charge.conversion.divide_by if charge.conversion is not None else ONE
    return tuple(EXACT.multiply(end, divisor) for end in ends)


def _jumps(charge: Charge, reach: Decimal) -> tuple[Decimal, ...]:
    """The bounds, and the ends of packages while they can be told apart on a curve that goes so far."""
    bounds = bounds_of(charge)
    if not isinstance(charge.model, Package):
        return bounds
    divisor = charge.conversion.divide_by if charge.conversion is not None else ONE
    first = EXACT.multiply(charge.included_units, divisor)
    size = EXACT.multiply(charge.model.package_size, divisor)
    count = int(max(Decimal(0), (reach - first) / size))
    if count > PACKAGES_OF_CURVE:
        return bounds
    return bounds + tuple(EXACT.add(first, EXACT.multiply(size, Decimal(number))) for number in range(1, count + 1))


def _reach(charge: Charge, like: Usage | None) -> Decimal:
    """How far a curve goes: half as far again as the last bound, twice what is used, and to a round number."""
    used = like.quantity if like is not None else Decimal(0)
    wanted = max(
        [EXACT.multiply(used, Decimal(2)), *(EXACT.multiply(end, Decimal("1.5")) for end in bounds_of(charge))]
    )
    if wanted <= 0:
        return Decimal(1000)
    return wanted.quantize(Decimal(1).scaleb(wanted.adjusted() - 1), rounding=ROUND_CEILING, context=EXACT)


def _just_above(bound: Decimal) -> Decimal:
    """A little more than a bound: where a jump lands."""
    return EXACT.add(bound, Decimal(1).scaleb(bound.adjusted() - 3))
