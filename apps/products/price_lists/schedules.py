"""Scheduling the amounts of a price list on published versions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from apps.products.models import PlanVersion, Price
from apps.products.price_lists.building import Key
from apps.products.price_lists.changes import (
    Kind,
    changed_fields,
    charged_in_fields,
    terms_in_fields,
)
from apps.products.price_lists.document import ListedAmounts, ListedPlan
from apps.products.price_lists.exporting import standing_versions
from apps.products.price_lists.referring import fault_at
from apps.products.price_lists.taking import (
    Line,
    Taking,
    day_in_words,
    fields_of,
    named,
    named_base,
)
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.services import (
    ChargedFor,
    schedule_price_version,
)
from apps.products.terms import terms_of


def schedule_dated(taking: Taking, price: Price, line: Line, amounts: ListedAmounts) -> None:
    """Schedule what the file states for a day, unless it is scheduled already."""
    standing = {one.effective_from: one for one in standing_versions(price.versions.all(), amounts.currency)}
    known = standing.get(amounts.effective_from)
    before = None if known is None else terms_of(known)
    if before != amounts.terms and amounts.effective_from is not None:
        _schedule(taking, price, amounts, amounts.effective_from)
    was = {} if before is None else charged_in_fields(line.charged) | terms_in_fields(before)
    changes = changed_fields(was, fields_of(line, amounts))
    kind = Kind.NEW if before is None else Kind.CHANGED if before != amounts.terms else Kind.UNCHANGED
    taking.note(kind, "price", named(line, amounts), changes)


def schedule_plan(
    taking: Taking,
    published: PlanVersion | None,
    listed: ListedPlan,
    lines: Sequence[Line],
    key: Key,
    day: dt.date,
) -> None:
    if published is None:
        detail = "This plan has no published version to schedule amounts on. Import it without a day."
        fault_at(taking.faults, taking.read, key, "code", detail)
        return
    _refuse_other_terms(taking, published, listed, key)
    prices = {price.name: price for price in prices_by_plan_version([published.pk]).get(published.pk, [])}
    for line in lines:
        price = prices.get(line.listed.line)
        if price is None or ChargedFor.of(price) != line.charged:
            what = "is new in this plan" if price is None else "is charged for something else in this plan"
            detail = (
                f"“{line.listed.line}” {what}, and only amounts are scheduled. Import it without a day, as a new "
                "version of the plan."
            )
            fault_at(taking.faults, taking.read, line.key, "line", detail)
            continue
        with taking.refusals(line.key):
            _schedule_price(taking, price, line, day)
    for name in prices:
        if name not in {line.listed.line for line in lines}:
            taking.note(Kind.MISSING, "price", name, note="The file does not state it. It stays.")


def _refuse_other_terms(taking: Taking, published: PlanVersion, listed: ListedPlan, key: Key) -> None:
    others = [currency for currency in listed.currencies if currency not in published.currencies]
    for name, differs in (
        ("currencies", bool(others)),
        ("billing", listed.billing_months not in (None, published.billing_months)),
    ):
        if differs:
            detail = f"{published} keeps its {name}. Import the file without a day, as a new version of the plan."
            fault_at(taking.faults, taking.read, key, name, detail)


def _schedule_price(taking: Taking, price: Price, line: Line, day: dt.date) -> None:
    for currency in line.currencies:
        amounts = line.listed.in_force(currency, day)
        if amounts is None:
            continue
        current = version_in_force(price.versions.all(), currency=currency, on=day, known_at=taking.now)
        before = None if current is None else terms_of(current)
        if before != amounts.terms:
            _schedule(taking, price, amounts, day)
        was = {} if before is None else charged_in_fields(line.charged) | terms_in_fields(before)
        changes = changed_fields(was, fields_of(line, amounts))
        kind = Kind.NEW if before is None else Kind.CHANGED if before != amounts.terms else Kind.UNCHANGED
        since = "" if kind == Kind.UNCHANGED else f"Scheduled from {day_in_words(day)}."
        taking.note(kind, "price", named_base(line, amounts), changes, since)


def _schedule(taking: Taking, price: Price, amounts: ListedAmounts, day: dt.date) -> None:
    schedule_price_version(
        price=price,
        effective_from=day,
        currency=amounts.currency,
        terms=amounts.terms,
        now=taking.now,
        note="From a price list",
        actor=taking.actor,
    )
