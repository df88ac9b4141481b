"""Several bills of one period: each is the rounded running total, less what the others charged for the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal

from apps.pricing.charge_models.base import ZERO
from apps.pricing.charges import RatedCharge
from apps.pricing.money import EXACT, sum_exactly
from apps.pricing.progressive import next_bill
from apps.products.models import BillingTiming
from apps.products.terms import charge_of
from apps.rating.values import Billed, BillKind, PeriodToRate, RatedLine

_Key = tuple[int, tuple[str | None, ...] | None, str, bool]
"""Price, matrix values, bound, and whether the window lies in the next period."""


def less_billed(request: PeriodToRate, lines: Sequence[RatedLine]) -> tuple[RatedLine, ...]:
    """Take what is billed already off the lines, so that all bills together charge what the lines say.

    What was billed for the very window of a line comes off that line. The rest of a price, whose windows were cut
    otherwise, comes off its lines in their order, off each up to its amount and off the last whatever is left. A price
    without a line gets one that gives everything back.
    """
    if not request.billed:
        return tuple(lines)
    end_at = request.contract.billing_cycle.period_containing(request.period.start_at).end_at
    billed: defaultdict[_Key, list[Billed]] = defaultdict(list)
    for one in request.billed:
        is_next = one.window.start_at >= end_at
        if _concerns(request.kind, one, is_next):
            version = one.price_version
            billed[version.price_id, one.values, one.bound, is_next].append(one)
    places: defaultdict[_Key, list[int]] = defaultdict(list)
    for place, line in enumerate(lines):
        key = (line.price.pk, line.rated.values, line.rated.bound, line.window.start_at >= end_at)
        places[key].append(place)
    left = list(lines)
    reversals: list[RatedLine] = []
    for key, some in billed.items():
        if key not in places:
            reversals.extend(_reversal(request, one) for one in some if one.amount)
            continue
        for place, line in zip(places[key], _take_off([lines[place] for place in places[key]], some), strict=True):
            left[place] = line
    return (*(line for line in left if not _is_settled(line)), *reversals)


def _concerns(kind: BillKind, billed: Billed, is_next: bool) -> bool:
    """Whether a bill of this kind charges for what was billed, and so has to count it."""
    price = billed.price_version.price
    if kind == BillKind.INTERIM:
        return price.metric_id is not None and not is_next
    is_in_advance = price.timing == BillingTiming.ADVANCE
    return is_in_advance and not is_next if kind == BillKind.OPENING else is_in_advance or not is_next


def _take_off(lines: Sequence[RatedLine], billed: Sequence[Billed]) -> Iterator[RatedLine]:
    """The lines of one price, less what was billed for it."""
    windows = {line.window for line in lines}
    elsewhere = [one for one in billed if one.window not in windows]
    pool = _total(elsewhere)
    for place, line in enumerate(lines):
        here = [one for one in billed if one.window == line.window]
        before = _total(here)
        due = next_bill(line.rated.amount, before, line.rated.currency)
        is_last = place == len(lines) - 1
        moved = pool if is_last else max(ZERO, min(pool, due))
        pool = EXACT.subtract(pool, moved)
        counted = [*here, *elsewhere] if moved else here
        yield replace(
            line,
            billed_before=EXACT.add(before, moved),
            billed_on=frozenset().union(*(one.bills for one in counted)),
        )


def _total(billed: Sequence[Billed]) -> Decimal:
    return sum_exactly(one.amount for one in billed)


def _is_settled(line: RatedLine) -> bool:
    """A fee that was billed in advance and came to just that needs no line at its period's end."""
    return line.price.metric_id is None and bool(line.billed_on) and not line.amount


def _reversal(request: PeriodToRate, billed: Billed) -> RatedLine:
    version = billed.price_version
    charge = charge_of(version)
    nothing = RatedCharge(
        ZERO, ZERO, ZERO, ZERO, ZERO, request.contract.currency, values=billed.values, bound=billed.bound
    )
    return RatedLine(
        price=version.price,
        price_version=version,
        window=billed.window,
        share=billed.share,
        event_count=0,
        metric_version=None,
        charge=charge if billed.share.is_whole else charge.prorate(billed.share),
        rated=nothing,
        billed_before=billed.amount,
        billed_on=billed.bills,
        is_reversal=True,
    )
