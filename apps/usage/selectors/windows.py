"""What is asked for and what is told: windows of usage, and quantities."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from apps.billable_metrics.formulas import EXACT
from apps.billable_metrics.measuring import Dimensions
from apps.billable_metrics.models import MetricVersion
from apps.usage.deltas import EPOCH

# Quantities are exact to this many decimals, which is what an invoice line stores. What is added up is added up
# exactly and rounded once, half away from zero, so numbers with more decimals lose nothing on the way.
QUANTITY_DECIMALS = 12

_MICROSECOND = dt.timedelta(microseconds=1)
_QUANTITY = Decimal(1).scaleb(-QUANTITY_DECIMALS)


@dataclass(frozen=True, slots=True)
class UsageWindow:
    """One metric version of one customer over a half-open stretch of event time."""

    customer_id: int
    version: MetricVersion
    start_at: dt.datetime
    end_at: dt.datetime


@dataclass(frozen=True, slots=True)
class GroupUsage:
    """The part of a quantity with these values of the dimensions, None where an event has no such property."""

    dimensions: Dimensions
    quantity: Decimal
    event_count: int


@dataclass(frozen=True, slots=True)
class MeasuredUsage:
    """What a window measured: the quantity in the metric's unit, and how many events it was formed of.

    ``groups`` are its parts by dimension, in order; for a largest value, a distinct count and the like they do not
    add up to the quantity.
    """

    quantity: Decimal
    event_count: int
    groups: tuple[GroupUsage, ...] = ()


def micros(instant: dt.datetime) -> int:
    """Microseconds since 2000, in which PostgreSQL keeps instants."""
    return (instant - EPOCH) // _MICROSECOND


def instant(microseconds: int) -> dt.datetime:
    return EPOCH + dt.timedelta(microseconds=microseconds)


def rounded(quantity: Decimal) -> Decimal:
    """A quantity to its decimals, half away from zero."""
    return quantity.quantize(_QUANTITY, rounding=ROUND_HALF_UP, context=EXACT)


def divided(dividend: Decimal, divisor: Decimal) -> Decimal:
    """A quotient to a quantity's decimals, rounded once."""
    return rounded(EXACT.divide(dividend, divisor))


def in_order(dimensions: Dimensions) -> tuple[tuple[bool, str], ...]:
    """A sort key for dimensions: a missing one comes last."""
    return tuple((text is None, text or "") for text in dimensions)
