"""The order in which an invoice is computed: each stage, and the reason for its place.

The quantities come first, and from outside: usage is measured for each charge and window, and a period is split into
windows wherever its terms change. From there on every amount is decided here. The stages up
to the line rounding make one line, and ``charges.rate_charge`` runs those that a charge has; of a matrix each row is
such a line, and its minimum and maximum are a line below them.

A later stage takes its place in this list together with the code that runs it: discounts, commitments, lots and tax
belong between the subtotal and the total.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charges import apply_bounds, apply_model, free_of_failures, in_money, take_allowance
from apps.pricing.conversion import Conversion
from apps.pricing.money import round_money, sum_exactly


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the computation: its name, the function that does it, and why it stands where it does."""

    name: str
    function: Callable[..., object]
    reason: str


@dataclass(frozen=True, slots=True)
class InvoiceTotals:
    """What stands below the lines of an invoice, in the currency of its lines."""

    subtotal: Decimal
    total: Decimal


def invoice_totals(amounts: Sequence[Decimal], currency: str) -> InvoiceTotals:
    """Add up the rounded amounts of an invoice's lines.

    Raises ValueError for an amount with more decimals than the currency: a line is rounded before it is added.
    """
    subtotal = add_lines(amounts, currency)
    return InvoiceTotals(subtotal=subtotal, total=subtotal)


def add_lines(amounts: Sequence[Decimal], currency: str) -> Decimal:
    """The sum of rounded line amounts, with the currency's decimals; no lines make zero."""
    for amount in amounts:
        if round_money(amount, currency) != amount:
            raise ValueError(f"A line of {amount} {currency} is not rounded; round each line once, then add.")
    return round_money(sum_exactly(amounts), currency)


INVOICE_STAGES: tuple[Stage, ...] = (
    Stage(
        name="Failures",
        function=free_of_failures,
        reason="First, because what is free as a failure uses up nothing of an allowance and starts no billing unit.",
    ),
    Stage(
        name="Conversion",
        function=Conversion.convert,
        reason="Before the allowance, because allowances and tiers are agreed in billing units.",
    ),
    Stage(
        name="Allowance",
        function=take_allowance,
        reason="Before the model, because included units must not fill its tiers.",
    ),
    Stage(
        name="Charge model",
        function=apply_model,
        reason="At full precision, because rounding parts of a line would round it more than once.",
    ),
    Stage(
        name="Minimum and maximum",
        function=apply_bounds,
        reason="After the model, whose amount they bound; before money, because they are agreed in the price's unit.",
    ),
    Stage(
        name="Money",
        function=in_money,
        reason="As late as can be, because amounts of a pricing unit such as credits are not rounded to its parts.",
    ),
    Stage(
        name="Line rounding",
        function=round_money,
        reason="Once, and before anything is added, so that the printed lines add up to the printed sums.",
    ),
    Stage(
        name="Subtotal",
        function=add_lines,
        reason="From rounded lines only, because what is printed below must be the sum of what is printed above.",
    ),
    Stage(
        name="Total",
        function=invoice_totals,
        reason="Last, because it decides nothing of its own: it sums what the stages before it have decided.",
    ),
)
