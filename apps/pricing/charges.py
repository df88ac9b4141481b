"""A charge, a charge model with all that stands around it, and how usage becomes an amount under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    ZERO,
    ChargeModel,
    Component,
    InvalidPrice,
    ModelRating,
    TierCharge,
    Usage,
    UsageGroup,
    check_amounts,
)
from apps.pricing.charge_models.matrix import Matrix, Values
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.seats import Seats
from apps.pricing.conversion import Conversion
from apps.pricing.money import EXACT, check_decimal, round_money, settle, sum_exactly
from apps.pricing.periods import ShareOfDays


@dataclass(frozen=True, slots=True)
class PricingUnit:
    """What amounts are in when they are not money, such as credits: its names, and the money that one is worth."""

    singular: str
    plural: str
    rate: Decimal

    def __post_init__(self) -> None:
        check_amounts(rate=self.rate)


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge model, and what stands around it. Raises InvalidPrice for what cannot be.

    - ``free_failures`` units of failed outcomes are free of charge; None: all of them. By default none are.
    - ``conversion`` turns what is left into billing units.
    - ``included_units`` of these are free in each period, by share of days unless ``prorates_included`` is false.
    - ``minimum`` and ``maximum`` bound the amount of a period.
    - With ``pricing_unit`` every amount of the charge is in that unit, and turned into money at its rate.
    """

    model: ChargeModel | Matrix
    included_units: Decimal = ZERO
    prorates_included: bool = True
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    conversion: Conversion | None = None
    free_failures: Decimal | None = ZERO
    pricing_unit: PricingUnit | None = None

    def __post_init__(self) -> None:
        check_decimal(self.included_units)
        if self.included_units < 0:
            raise InvalidPrice(f"An allowance is zero units or more, not {self.included_units}.", "included_units")
        check_amounts(minimum=self.minimum, maximum=self.maximum, free_failures=self.free_failures)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise InvalidPrice(
                f"The minimum, {self.minimum}, is above the maximum, {self.maximum}. Enter a smaller one.",
                "minimum",
            )
        if (self.included_units or self.conversion is not None) and not _charges_quantity(self.model):
            raise InvalidPrice(
                "This price is not for units but for single transactions or days. Leave out the allowance and the "
                "conversion; what is free has a place of its own in the price.",
                "included_units" if self.included_units else "conversion",
            )

    def prorate(self, share: ShareOfDays) -> Self:
        """The charge for a part of a period: allowances, minimum and maximum by share of days, the model as it does."""
        return replace(
            self,
            model=self.model.prorate(share),
            included_units=share.apply(self.included_units) if self.prorates_included else self.included_units,
            minimum=None if self.minimum is None else share.apply(self.minimum),
            maximum=None if self.maximum is None else share.apply(self.maximum),
            free_failures=None if self.free_failures is None else share.apply(self.free_failures),
        )


def _charges_quantity(model: ChargeModel | Matrix) -> bool:
    """Whether what comes off the quantity changes the amount: seats go by days, some percentages by transaction."""
    return not (isinstance(model, Seats) or (isinstance(model, Percentage) and model.needs_transactions))


class RatedCharge(NamedTuple):
    """Usage, and what it costs under a charge: the figures of one line.

    Of ``quantity``, ``failures_free`` units were free because they failed. The rest, turned into billing units
    (``converted``, where the charge does that), is ``included_used`` units free and ``billable_quantity`` charged.
    ``exact_amount`` is the amount at full precision, ``amount`` the same rounded once; both are in ``currency``.

    ``tiers`` and ``components`` add up to what the model made of it. That is ``model_amount`` where the charge's
    minimum or maximum applied after it, and ``priced_amount`` is what stood before the pricing unit was turned into
    money; otherwise both are None, and the exact amount is the same. ``values`` are those of a matrix's row.
    ``bound`` is ``minimum`` or ``maximum`` on the line that a bound adds below the rows of a matrix.
    """

    quantity: Decimal
    included_used: Decimal
    billable_quantity: Decimal
    exact_amount: Decimal
    amount: Decimal
    currency: str
    tiers: tuple[TierCharge, ...] = ()
    components: tuple[Component, ...] = ()
    failures_free: Decimal = ZERO
    converted: Decimal | None = None
    model_amount: Decimal | None = None
    priced_amount: Decimal | None = None
    values: Values | None = None
    bound: str = ""


def rate_charge(charge: Charge, usage: Usage | Decimal, currency: str) -> RatedCharge:
    """Rate the usage of a period as one line: failures, conversion, allowance, model, bounds, money, one rounding.

    Raises TypeError unless the quantity is a Decimal or if the charge is a matrix, whose rows are lines of their own;
    ValueError for an unknown currency; NotRatable for usage that the price says nothing about.
    """
    model = charge.model
    if isinstance(model, Matrix):
        raise TypeError("A matrix makes several lines; rate it by rate_lines.")
    if isinstance(usage, Usage):
        return _rate_line(charge, model, usage.quantity, usage, currency, charge.included_units, charge.free_failures)
    return _rate_line(charge, model, usage, NOTHING_USED, currency, charge.included_units, ZERO)


def _rate_line(
    charge: Charge,
    model: ChargeModel,
    measured: Decimal,
    usage: Usage,
    currency: str,
    included_units: Decimal,
    free_failures: Decimal | None,
    values: Values | None = None,
) -> RatedCharge:
    """One line: of a whole charge, or of the row of a matrix with these values and what is still free for it.

    A stage that a charge does not have is not called: most charges have two or three of them.
    """
    failures_free, converted, quantity = ZERO, None, measured
    if usage.failed:
        failures_free = free_of_failures(usage.failed, free_failures)
        quantity = EXACT.subtract(measured, failures_free)
    if charge.conversion is not None:
        quantity = converted = charge.conversion.convert(quantity)
    included_used, billable_quantity = take_allowance(quantity, included_units) if included_units else (ZERO, quantity)
    amount, tiers, components = apply_model(model, billable_quantity, usage)
    if billable_quantity is not measured:
        # What is left of a part without end has none either, and its price shows that far behind the point.
        amount = settle(amount)
    priced = amount
    # The minimum and maximum of a matrix are for its rows together: see _bound_line.
    if values is None and (charge.minimum is not None or charge.maximum is not None):
        priced = apply_bounds(amount, charge.minimum, charge.maximum)
    exact = priced if charge.pricing_unit is None else in_money(priced, charge.pricing_unit)
    return RatedCharge(
        measured,
        included_used,
        billable_quantity,
        exact,
        round_money(exact, currency),
        currency,
        tiers,
        components,
        failures_free,
        converted,
        None if priced is amount else amount,
        None if exact is priced else priced,
        values,
    )


def rate_lines(charge: Charge, usage: Usage, currency: str) -> tuple[RatedCharge, ...]:
    """Rate the usage of a period: one line, or one for each row of a matrix that was used, in the order of its rows.

    What is free in a matrix is taken by its rows in their order; a conversion rounds each row by itself. A minimum or
    maximum that the rows miss is a line of its own below them, so that the lines add up. Raises NotRatable for usage
    that no row prices.
    """
    if not isinstance(charge.model, Matrix):
        return (rate_charge(charge, usage, currency),)
    lines = _rate_rows(charge, charge.model, usage, currency)
    if charge.minimum is not None or charge.maximum is not None:
        lines.extend(_bound_line(charge, lines, currency))
    return tuple(lines)


def _rate_rows(charge: Charge, matrix: Matrix, usage: Usage, currency: str) -> list[RatedCharge]:
    included, free_failures = charge.included_units, charge.free_failures
    lines = []
    for place, (quantity, failed) in sorted(_by_row(matrix, usage.groups).items()):
        row = matrix.rows[place]
        row_usage = Usage(quantity, failed) if failed else NOTHING_USED
        line = _rate_line(
            charge, matrix.model_of(row), quantity, row_usage, currency, included, free_failures, row.values
        )
        if included:
            included = EXACT.subtract(included, line.included_used)
        if free_failures:
            free_failures = EXACT.subtract(free_failures, line.failures_free)
        lines.append(line)
    return lines


def _by_row(matrix: Matrix, groups: tuple[UsageGroup, ...]) -> dict[int, tuple[Decimal, Decimal]]:
    """The quantity that each row prices, and how much of it failed, by the row's place."""
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for group in groups:
        if not group.quantity and not group.failed:
            continue
        place = matrix.row_for(group.values)
        known = found.get(place)
        found[place] = (
            (group.quantity, group.failed)
            if known is None
            else (EXACT.add(known[0], group.quantity), EXACT.add(known[1], group.failed))
        )
    return found


def _bound_line(charge: Charge, lines: Sequence[RatedCharge], currency: str) -> Iterator[RatedCharge]:
    """The line that lifts a matrix to its minimum or cuts it to its maximum.

    The bound is rounded, not the difference: so the lines add up to the bound as it would stand on a line of its own.
    """
    total = sum_exactly(line.amount for line in lines)
    for name, bound in (("minimum", charge.minimum), ("maximum", charge.maximum)):
        if bound is None:
            continue
        target = round_money(in_money(bound, charge.pricing_unit), currency)
        if total < target if name == "minimum" else total > target:
            missing = EXACT.subtract(target, total)
            yield RatedCharge(ZERO, ZERO, ZERO, missing, missing, currency, bound=name)


def free_of_failures(failed: Decimal, free_failures: Decimal | None) -> Decimal:
    """How many failed units are free of charge: all, or up to a number; none where corrections outweigh failures."""
    check_decimal(failed)
    return max(ZERO, failed if free_failures is None else min(failed, free_failures))


def take_allowance(quantity: Decimal, included_units: Decimal) -> tuple[Decimal, Decimal]:
    """How much of a quantity is included, and how much of it is left to be charged.

    A negative quantity uses nothing of the allowance and gives nothing back to it.
    """
    check_decimal(quantity)
    if not included_units or quantity <= 0:
        return ZERO, quantity
    if quantity <= included_units:
        return quantity, ZERO
    return included_units, EXACT.subtract(quantity, included_units)


def apply_model(model: ChargeModel, billable_quantity: Decimal, usage: Usage) -> ModelRating:
    """What the units left after the allowance cost under a charge model, at full precision."""
    return model.rate(billable_quantity, usage)


def apply_bounds(amount: Decimal, minimum: Decimal | None, maximum: Decimal | None) -> Decimal:
    """The amount, lifted to the minimum or cut to the maximum of the charge. A minimum holds without usage too."""
    if minimum is not None and amount < minimum:
        return settle(minimum)
    if maximum is not None and amount > maximum:
        return settle(maximum)
    return amount


def in_money(amount: Decimal, unit: PricingUnit | None) -> Decimal:
    """An amount of a pricing unit at its rate, at full precision; money stays as it is."""
    return amount if unit is None else settle(EXACT.multiply(amount, unit.rate))
