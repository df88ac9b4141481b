"""Making a draft of a plan state what a price list states."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from apps.common.history import acting
from apps.products.models import PlanVersion, Price, PriceVersion
from apps.products.price_lists.changes import (
    Change,
    Kind,
    changed_fields,
    charged_in_fields,
    terms_in_fields,
)
from apps.products.price_lists.document import ListedAmounts, ListedPlan
from apps.products.price_lists.taking import (
    Line,
    Taking,
    billing_in_words,
    fields_of,
    named_base,
)
from apps.products.selectors import prices_by_plan_version
from apps.products.services import (
    ChargedFor,
    add_currency,
    add_price_in_currencies,
    change_draft_price,
    remove_draft_price,
)
from apps.products.terms import PriceTerms, terms_of


def sync_draft(
    taking: Taking, draft: PlanVersion, listed: ListedPlan, lines: Sequence[Line], *, on: dt.date, reorders: bool = True
) -> None:
    """Make a draft state what the file states for a day."""
    stored = {price.name: price for price in prices_by_plan_version([draft.pk]).get(draft.pk, [])}
    for price in stored.values():
        price.plan_version = draft
    _sync_version(taking, draft, listed)
    for line in lines:
        with taking.refusals(line.key):
            _sync_price(taking, draft, stored.get(line.listed.line), line, on=on)
    stated = [line.listed.line for line in lines]
    for name, price in stored.items():
        if name not in stated:
            if taking.options.remove_missing:
                remove_draft_price(price=price, actor=taking.actor)
            _note_missing(taking, "price", name)
    if reorders:
        _reorder(taking, draft, stated)


def _sync_version(taking: Taking, draft: PlanVersion, listed: ListedPlan) -> None:
    before = {"billing": billing_in_words(draft.billing_months), "currencies": ", ".join(draft.currencies)}
    kept = [one for one in draft.currencies if one in listed.currencies or not taking.options.remove_missing]
    draft.currencies = [*kept, *(one for one in listed.currencies if one not in kept)]
    draft.billing_months = listed.billing_months or draft.billing_months
    after = {"billing": billing_in_words(draft.billing_months), "currencies": ", ".join(draft.currencies)}
    changes = changed_fields(before, after)
    if changes:
        draft.full_clean()
        with acting(taking.actor):
            draft.save(update_fields=["currencies", "billing_months"])
        taking.note(Kind.CHANGED, "version", str(draft), changes)


def _sync_price(taking: Taking, draft: PlanVersion, price: Price | None, line: Line, *, on: dt.date) -> None:
    stated = {currency: line.listed.in_force(currency, on) for currency in line.currencies}
    amounts_of = {currency: amounts for currency, amounts in stated.items() if amounts is not None}
    if price is None:
        _add(taking, draft, line, {currency: amounts.terms for currency, amounts in amounts_of.items()})
        for amounts in amounts_of.values():
            taking.note(Kind.NEW, "price", named_base(line, amounts), changed_fields({}, fields_of(line, amounts)))
        return
    versions = {version.currency: version for version in price.versions.all()}
    charged = ChargedFor.of(price)
    before = {currency: terms_of(version) for currency, version in versions.items()}
    if charged != line.charged:
        kept = {} if taking.options.remove_missing else before
        remove_draft_price(price=price, actor=taking.actor)
        after = kept | {currency: amounts.terms for currency, amounts in amounts_of.items()}
        _add(taking, draft, line, after, position=price.position)
    for currency, amounts in amounts_of.items():
        if charged == line.charged:
            _sync_amounts(taking, price, versions.get(currency), line, amounts)
        _note_amounts(taking, line, amounts, charged, before.get(currency))
    _drop_currencies(taking, line, versions, drops=charged == line.charged)


def _add(
    taking: Taking,
    draft: PlanVersion,
    line: Line,
    terms_of_currency: dict[str, PriceTerms],
    position: int | None = None,
) -> None:
    add_price_in_currencies(
        plan_version=draft,
        charged=line.charged,
        terms_by_currency=terms_of_currency,
        position=position,
        now=taking.now,
        actor=taking.actor,
    )


def _sync_amounts(
    taking: Taking, price: Price, version: PriceVersion | None, line: Line, amounts: ListedAmounts
) -> None:
    if version is None:
        add_currency(price=price, currency=amounts.currency, terms=amounts.terms, now=taking.now, actor=taking.actor)
    elif terms_of(version) != amounts.terms:
        change_draft_price(
            price_version=version, charged=line.charged, terms=amounts.terms, now=taking.now, actor=taking.actor
        )


def _note_amounts(
    taking: Taking, line: Line, amounts: ListedAmounts, charged: ChargedFor, before: PriceTerms | None
) -> None:
    name = named_base(line, amounts)
    if before is None:
        taking.note(Kind.NEW, "price", name, changed_fields({}, fields_of(line, amounts)))
        return
    was = charged_in_fields(charged) | terms_in_fields(before)
    changes = changed_fields(was, fields_of(line, amounts))
    # Rows in another order state another price where several fit; then no field tells.
    if not changes and before != amounts.terms:
        changes = (Change("rows", "", "in another order"),)
    taking.note(Kind.CHANGED if changes else Kind.UNCHANGED, "price", name, changes)


def _drop_currencies(taking: Taking, line: Line, versions: dict[str, PriceVersion], *, drops: bool) -> None:
    for currency, version in versions.items():
        if currency in line.currencies:
            continue
        if taking.options.remove_missing and drops:
            with acting(taking.actor):
                version.delete()
        _note_missing(taking, "price", f"{line.listed.line}, {currency}")


def _note_missing(taking: Taking, subject: str, name: str) -> None:
    if taking.options.remove_missing:
        taking.note(Kind.REMOVED, subject, name)
    else:
        taking.note(Kind.MISSING, subject, name, note="The file does not state it. It stays.")


def _reorder(taking: Taking, draft: PlanVersion, stated: Sequence[str]) -> None:
    """Put the lines in the order of the file; what the file does not state stands after them."""
    prices = list(draft.prices.order_by("position", "id"))
    place = {name: number for number, name in enumerate(stated)}
    now = [price.name for price in prices if price.name in place]
    if now == sorted(now, key=lambda name: place[name]):
        return
    with acting(taking.actor):
        for number, price in enumerate(sorted(prices, key=lambda one: place.get(one.name, len(place))), start=1):
            price.position = number * 10
            price.save(update_fields=["position"])
    order = sorted(now, key=lambda name: place[name])
    taking.note(Kind.CHANGED, "version", str(draft), [Change("order", ", ".join(now), ", ".join(order))])
