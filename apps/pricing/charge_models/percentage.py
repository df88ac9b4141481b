"""Percentage: a part of the amounts that transactions move, and a fixed fee for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Self

from apps.pricing.charge_models.base import (
    NOTHING_USED,
    ONE,
    ZERO,
    Calculation,
    Component,
    InvalidPrice,
    ModelRating,
    NotRatable,
    Usage,
    Wording,
    check_amounts,
    price_of_units,
)
from apps.pricing.formatting import TIMES, format_decimal, format_units
from apps.pricing.money import EXACT, check_decimal, settle
from apps.pricing.periods import ShareOfDays

PERCENT = Decimal(100)


@dataclass(frozen=True, slots=True)
class Percentage:
    """``rate_percent`` of each transaction's amount and ``fixed_amount`` once for each.

    Free are the first ``free_transactions``, or the transactions up to a running total of ``free_amount``; where both
    are given, until either is used up. A transaction that the free amount ends within pays the fixed fee, and the rate
    on the rest of it. What one transaction costs is held between ``transaction_minimum`` and ``transaction_maximum``.

    A negative transaction, a correction, has neither fee nor bounds. It takes the running total back, so that what was
    free is not given back as money: of a total within the free amount nothing is charged, however it came about, and
    below zero the rate goes on in a straight line. With free transactions nobody can tell which one it corrects:
    then it takes the rate on all of it.
    """

    name: ClassVar[str] = "percentage"

    rate_percent: Decimal
    fixed_amount: Decimal = ZERO
    free_transactions: Decimal = ZERO
    free_amount: Decimal = ZERO
    transaction_minimum: Decimal | None = None
    transaction_maximum: Decimal | None = None

    def __post_init__(self) -> None:
        check_amounts(
            rate_percent=self.rate_percent,
            fixed_amount=self.fixed_amount,
            free_transactions=self.free_transactions,
            free_amount=self.free_amount,
            transaction_minimum=self.transaction_minimum,
            transaction_maximum=self.transaction_maximum,
        )
        low, high = self.transaction_minimum, self.transaction_maximum
        if low is not None and high is not None and low > high:
            raise InvalidPrice(
                f"The transaction minimum, {low}, is above the maximum, {high}. Enter a smaller one.",
                "transaction_minimum",
            )

    @property
    def needs_transactions(self) -> bool:
        """Whether the sum and the count of the transactions do not decide the amount."""
        return (
            self.transaction_minimum is not None
            or self.transaction_maximum is not None
            or bool(self.free_transactions)
            or bool(self.fixed_amount and self.free_amount)
        )

    def rate(self, quantity: Decimal, usage: Usage = NOTHING_USED) -> ModelRating:
        check_decimal(quantity)
        if self.needs_transactions:
            if usage.transactions is None:
                raise NotRatable("This price charges by transaction. Give the amount of each transaction.")
            return self._rate_transactions(usage.transactions)
        if not self.free_amount and not self.fixed_amount:
            return self._of_parts(quantity, 0)
        charged = self._beyond(quantity)
        count = self._charged_count(usage) if self.fixed_amount else 0
        return self._of_parts(charged, count, free=EXACT.subtract(quantity, charged))

    def _charged_count(self, usage: Usage) -> int:
        """How many transactions pay the fixed fee. Raises NotRatable where nobody knows."""
        if usage.transactions is not None:
            return sum(amount >= 0 for amount in usage.transactions)
        if usage.count is None:
            raise NotRatable("This price has a fee for each transaction. Give the transactions.")
        return usage.count

    def _rate_transactions(self, transactions: tuple[Decimal, ...]) -> ModelRating:
        charged = raised = lowered = free = running = ZERO
        count = free_count = 0
        for position, amount in enumerate(transactions, start=1):
            check_decimal(amount)
            free_part = self._free_part(position, amount, running)
            rest = EXACT.subtract(amount, free_part)
            free, charged = EXACT.add(free, free_part), EXACT.add(charged, rest)
            if amount >= 0 or not self.free_transactions:
                running = EXACT.add(running, amount)
            if amount < 0:
                continue
            if self._is_free(position, running):
                free_count += 1
                continue
            count += 1
            adjusted = self._adjustment(EXACT.add(price_of_units(rest, self.rate_percent, PERCENT), self.fixed_amount))
            if adjusted > 0:
                raised = EXACT.add(raised, adjusted)
            else:
                lowered = EXACT.add(lowered, adjusted)
        return self._of_parts(charged, count, raised, lowered, free, free_count)

    def _adjustment(self, cost: Decimal) -> Decimal:
        """What lifts the cost of one transaction to its minimum, or cuts it to its maximum."""
        low, high = self.transaction_minimum, self.transaction_maximum
        if low is not None and cost < low:
            return EXACT.subtract(low, cost)
        if high is not None and cost > high:
            return EXACT.subtract(high, cost)
        return ZERO

    def _is_free(self, position: int, running: Decimal) -> bool:
        within_count = not self.free_transactions or position <= self.free_transactions
        within_amount = not self.free_amount or running <= self.free_amount
        return bool(self.free_transactions or self.free_amount) and within_count and within_amount

    def _free_part(self, position: int, amount: Decimal, running: Decimal) -> Decimal:
        """How much of a transaction is free, after those before it came to a running total."""
        if not self.free_transactions:
            if not self.free_amount:
                return ZERO
            change = EXACT.subtract(self._beyond(EXACT.add(running, amount)), self._beyond(running))
            return EXACT.subtract(amount, change)
        if amount < 0 or position > self.free_transactions:
            return ZERO
        if not self.free_amount:
            return amount
        return min(amount, max(ZERO, EXACT.subtract(self.free_amount, running)))

    def _beyond(self, total: Decimal) -> Decimal:
        """What of a running total is charged: all of it below zero, and what lies above the free amount."""
        return total if total < 0 else max(ZERO, EXACT.subtract(total, self.free_amount))

    def _of_parts(
        self,
        charged: Decimal,
        count: int,
        raised: Decimal = ZERO,
        lowered: Decimal = ZERO,
        free: Decimal = ZERO,
        free_count: int = 0,
    ) -> ModelRating:
        """The sum, and its parts as far as there are any. Only the sum is of unsettled amounts."""
        total = of_rate = price_of_units(charged, self.rate_percent, PERCENT)
        parts = []
        if free:
            parts.append(Component("free", Decimal(free_count), free, ZERO))
        parts.append(Component("rate", charged, self.rate_percent, settle(of_rate)))
        if count and self.fixed_amount:
            fixed = EXACT.multiply(self.fixed_amount, count)
            parts.append(Component("fixed", Decimal(count), self.fixed_amount, settle(fixed)))
            total = EXACT.add(total, fixed)
        if raised:
            parts.append(Component("raised", ONE, self.transaction_minimum or ZERO, settle(raised)))
            total = EXACT.add(total, raised)
        if lowered:
            parts.append(Component("lowered", ONE, self.transaction_maximum or ZERO, settle(lowered)))
            total = EXACT.add(total, lowered)
        return ModelRating(parts[0].amount if len(parts) == 1 else settle(total), (), tuple(parts))

    def prorate(self, share: ShareOfDays) -> Self:
        """What is free is free by share of days; a transaction costs the same on every day."""
        return replace(
            self,
            free_transactions=share.apply(self.free_transactions),
            free_amount=share.apply(self.free_amount),
        )

    def calculation(self, rating: ModelRating, quantity: Decimal, wording: Wording) -> Calculation:
        summed = [part for part in rating.components if part.name != "free"]
        formula = " + ".join(_part_formula(part, wording) for part in summed)
        return Calculation(formula=formula, steps=tuple(_steps(rating, summed, wording)))


def _steps(rating: ModelRating, summed: list[Component], wording: Wording) -> Iterator[str]:
    for part in rating.components:
        if part.name == "free":
            transactions = f" in {_transactions(part.quantity)}" if part.quantity else ""
            yield f"{wording.money(part.rate)}{transactions} {'is' if part.rate == 1 else 'are'} free of charge."
        else:
            yield f"{_sentence(part, wording)} {wording.money(part.amount)}."
    if len(summed) > 1:
        summands = " + ".join(wording.money(part.amount) for part in summed)
        yield f"Together: {summands} = {wording.money(rating.amount)}."


def _sentence(part: Component, wording: Wording) -> str:
    if part.name == "raised":
        return f"Transactions are raised to at least {wording.money(part.rate)}:"
    if part.name == "lowered":
        return f"Transactions are lowered to at most {wording.money(part.rate)}:"
    return f"{_part_formula(part, wording)} ="


def _part_formula(part: Component, wording: Wording) -> str:
    if part.name == "rate":
        return f"{format_decimal(part.rate)}% of {wording.money(part.quantity)}"
    if part.name == "fixed":
        return f"{_transactions(part.quantity)} {TIMES} {wording.money(part.rate)}"
    return wording.money(part.amount)


def _transactions(count: Decimal) -> str:
    return format_units(count, singular="transaction", plural="transactions")
