"""A charge, a charge model with all that stands around it, and how usage becomes an amount under it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Self

from apps.pricing.charge_models.base import (
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
from apps.pricing.conversion import Conversion
from apps.pricing.money import EXACT, check_decimal, round_money, settle
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
            raise InvalidPrice(f"An allowance is zero units or more, not {self.included_units}.")
        check_amounts(minimum=self.minimum, maximum=self.maximum, free_failures=self.free_failures)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise InvalidPrice(
                f"The minimum, {self.minimum}, is above the maximum, {self.maximum}. Enter a smaller one."
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


@dataclass(frozen=True, slots=True)
class RatedCharge:
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
    if isinstance(charge.model, Matrix):
        raise TypeError("A matrix makes several lines; rate it by rate_lines.")
    if not isinstance(usage, Usage):
        usage = Usage(usage)
    check_decimal(usage.quantity)
    failures_free = free_of_failures(usage.failed, charge.free_failures) if usage.failed else ZERO
    quantity = EXACT.subtract(usage.quantity, failures_free) if failures_free else usage.quantity
    converted = None
    if charge.conversion is not None:
        quantity = converted = charge.conversion.convert(quantity)
    included_used, billable_quantity = take_allowance(quantity, charge.included_units)
    rating = apply_model(charge.model, billable_quantity, usage)
    priced = apply_bounds(rating.amount, charge.minimum, charge.maximum)
    exact = in_money(priced, charge.pricing_unit)
    return RatedCharge(
        usage.quantity,
        included_used,
        billable_quantity,
        exact,
        round_money(exact, currency),
        currency,
        rating.tiers,
        rating.components,
        failures_free,
        converted,
        None if priced is rating.amount else rating.amount,
        None if exact is priced else priced,
    )


def rate_lines(charge: Charge, usage: Usage, currency: str) -> tuple[RatedCharge, ...]:
    """Rate the usage of a period: one line, or one for each row of a matrix that was used, in the order of its rows.

    What is free in a matrix is taken by its rows in their order. A minimum or maximum that the rows miss is a line of
    its own below them, so that the lines add up. Raises NotRatable for usage that no row prices.
    """
    if not isinstance(charge.model, Matrix):
        return (rate_charge(charge, usage, currency),)
    lines = tuple(_rate_rows(charge, charge.model, usage, currency))
    return (*lines, *_bound_line(charge, lines, currency))


def _rate_rows(charge: Charge, matrix: Matrix, usage: Usage, currency: str) -> Iterator[RatedCharge]:
    included, free_failures = charge.included_units, charge.free_failures
    for place, (quantity, failed) in sorted(_by_row(matrix, usage.groups).items()):
        row = matrix.rows[place]
        line_charge = replace(
            charge,
            model=matrix.model_of(row),
            included_units=included,
            free_failures=free_failures,
            minimum=None,
            maximum=None,
        )
        line = rate_charge(line_charge, Usage(quantity, failed=failed), currency)
        included = EXACT.subtract(included, line.included_used)
        if free_failures is not None:
            free_failures = EXACT.subtract(free_failures, line.failures_free)
        yield replace(line, values=row.values)


def _by_row(matrix: Matrix, groups: tuple[UsageGroup, ...]) -> dict[int, tuple[Decimal, Decimal]]:
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for group in groups:
        if not group.quantity and not group.failed:
            continue
        place = matrix.row_for(group.values)
        quantity, failed = found.get(place, (ZERO, ZERO))
        found[place] = EXACT.add(quantity, group.quantity), EXACT.add(failed, group.failed)
    return found


def _bound_line(charge: Charge, lines: tuple[RatedCharge, ...], currency: str) -> Iterator[RatedCharge]:
    """The line that lifts a matrix to its minimum or cuts it to its maximum."""
    total = ZERO
    for line in lines:
        total = EXACT.add(total, line.amount)
    for name, bound in (("minimum", charge.minimum), ("maximum", charge.maximum)):
        if bound is None:
            continue
        target = in_money(bound, charge.pricing_unit)
        if total < target if name == "minimum" else total > target:
            missing = EXACT.subtract(target, total)
            yield RatedCharge(ZERO, ZERO, ZERO, missing, round_money(missing, currency), currency, bound=name)


def free_of_failures(failed: Decimal, free_failures: Decimal | None) -> Decimal:
    """How many failed units are free of charge: all, or up to a number."""
    check_decimal(failed)
    return max(ZERO, failed if free_failures is None else min(failed, free_failures))


def take_allowance(quantity: Decimal, included_units: Decimal) -> tuple[Decimal, Decimal]:
    """How much of a quantity is included, and how much of it is left to be charged.

    A negative quantity uses nothing of the allowance and gives nothing back to it.
    """
    check_decimal(quantity)
    if not included_units:
        return ZERO, quantity
    included_used = max(ZERO, min(quantity, included_units))
    return included_used, EXACT.subtract(quantity, included_used)


def apply_model(model: ChargeModel, billable_quantity: Decimal, usage: Usage) -> ModelRating:
    """What the units left after the allowance cost under a charge model, at full precision."""
    return model.rate(billable_quantity, usage)


def apply_bounds(amount: Decimal, minimum: Decimal | None, maximum: Decimal | None) -> Decimal:
    """The amount, lifted to the minimum or cut to the maximum of the charge. A minimum holds without usage too."""
    if minimum is not None and amount < minimum:
        return minimum
    if maximum is not None and amount > maximum:
        return maximum
    return amount


def in_money(amount: Decimal, unit: PricingUnit | None) -> Decimal:
    """An amount of a pricing unit at its rate, at full precision; money stays as it is."""
    return amount if unit is None else settle(EXACT.multiply(amount, unit.rate))
