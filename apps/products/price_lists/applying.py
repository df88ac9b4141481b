"""Taking a price list into the catalogue. A dry run does the very same and takes it back, so it shows what will be.

A new plan becomes a draft. Of a plan with a draft the draft is changed. Of one with a published version only, a new
draft is made, or the amounts that differ are scheduled from a day on. A published version never changes.

A first version states all the dated amounts of the file: those from the beginning as a draft, the others once it is
published. A later version begins with what holds today, and only days to come are scheduled on it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.common.errors import BillingError, InvalidInput
from apps.common.history import acting
from apps.products.models import BillingInterval, Plan, PlanStatus, PlanVersion, Price, PriceVersion
from apps.products.price_lists.building import BILLING, Key, ReadPriceList
from apps.products.price_lists.changes import (
    CHANGING,
    Change,
    ImportPlan,
    Item,
    Kind,
    changed_fields,
    charged_in_fields,
    terms_in_fields,
)
from apps.products.price_lists.document import ListedAmounts, ListedPlan, ListedPrice
from apps.products.price_lists.exporting import standing_versions
from apps.products.price_lists.nodes import Faults, PriceListRefused
from apps.products.price_lists.referring import References, add_refusals, fault_at
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.services import (
    ChargedFor,
    add_currency,
    add_price,
    change_draft_price,
    copy_plan_version,
    create_plan,
    new_plan_version,
    publish_plan_version,
    remove_draft_price,
    schedule_price_version,
)
from apps.products.terms import PriceTerms, check_terms, terms_of

FIRST_DAY = dt.date.min


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How a file is taken in.

    ``schedule_from``: amounts of published plans that differ hold from that day on, instead of making a draft.
    ``remove_missing``: what the file does not state leaves the draft; otherwise it stays. ``publish``: drafts are
    published at the end.
    """

    schedule_from: dt.date | None = None
    remove_missing: bool = False
    publish: bool = False


def plan_import(
    read: ReadPriceList, *, options: ImportOptions, now: dt.datetime, actor: User | None = None
) -> ImportPlan:
    """What ``apply_price_list`` would do now. Nothing is stored. Raises PriceListRefused with every fault."""
    with transaction.atomic():
        planned = _Import(read, options, now, actor).run()
        transaction.set_rollback(True)
    return planned


@transaction.atomic
def apply_price_list(
    read: ReadPriceList, *, options: ImportOptions, now: dt.datetime, actor: User | None = None
) -> ImportPlan:
    """Take a price list in, whole or not at all. Doing so twice changes nothing the second time.

    Raises PriceListRefused with every fault of the file.
    """
    return _Import(read, options, now, actor).run()


@dataclass(frozen=True, slots=True)
class _Line:
    """A listed price with what its codes refer to."""

    listed: ListedPrice
    charged: ChargedFor
    key: Key

    @property
    def currencies(self) -> list[str]:
        return list(dict.fromkeys(amounts.currency for amounts in self.listed.amounts))

    def key_of(self, amounts: ListedAmounts) -> Key:
        return (*self.key, self.listed.amounts.index(amounts))


class _Import:
    def __init__(self, read: ReadPriceList, options: ImportOptions, now: dt.datetime, actor: User | None) -> None:
        self.read = read
        self.options = options
        self.now = now
        self.today = now.date()
        self.actor = actor
        self.faults = Faults(list(read.faults))
        self.items: list[Item] = []
        self.plan_code = ""

    def run(self) -> ImportPlan:
        if self.options.schedule_from is not None and self.options.schedule_from < self.today:
            raise InvalidInput(
                "Amounts are scheduled from today on. A backdated price is recorded on its own page, where you see "
                "which bills it changes.",
                field="schedule_from",
            )
        self.references = References(self.read, self.faults, now=self.now, actor=self.actor)
        for code, subject in self.references.create_missing():
            self._note(Kind.NEW, subject, code)
        for number, listed in enumerate(self.read.document.plans):
            self.plan_code = listed.code
            key: Key = ("plans", number)
            lines = self._lines(listed, key)
            if lines is not None:
                with self._refusals(key):
                    self._take(listed, lines, key)
        if self.faults:
            raise PriceListRefused(self.faults.in_order())
        return ImportPlan(tuple(self.items), self.read.remarks)

    def _note(self, kind: Kind, subject: str, name: str, changes: Sequence[Change] = (), note: str = "") -> None:
        self.items.append(Item(kind, subject, name, self.plan_code, tuple(changes), note))

    @contextmanager
    def _refusals(self, key: Key) -> Iterator[None]:
        """Turn what a service refuses into faults at that part of the file, and go on with the next."""
        try:
            with transaction.atomic():
                yield
        except (BillingError, ValidationError) as refusal:
            add_refusals(self.faults, self.read, key, refusal)

    def _lines(self, listed: ListedPlan, key: Key) -> list[_Line] | None:
        """The plan's prices with what they refer to; None if any is at fault, with all faults told."""
        before = len(self.faults)
        lines = []
        for number, price in enumerate(listed.prices):
            price_key: Key = (*key, number)
            charged = self.references.charged_for(price, price_key)
            if charged is None:
                continue
            lines.append(_Line(price, charged, price_key))
            for amounts_number, amounts in enumerate(price.amounts):
                try:
                    check_terms(amounts.terms, charged.metric, charged.pricing_unit)
                except InvalidInput as fault:
                    add_refusals(self.faults, self.read, (*price_key, amounts_number), fault)
        return lines if len(self.faults) == before else None

    # --- Plans and versions ------------------------------------------------------------------------------------------

    def _take(self, listed: ListedPlan, lines: Sequence[_Line], key: Key) -> None:
        plan = Plan.objects.select_for_update().filter(code=listed.code).first()
        if plan is None:
            self._take_new(listed, lines, key)
            return
        self._name(plan, listed)
        versions = list(plan.versions.select_related("plan").order_by("-number"))
        draft = next((version for version in versions if version.is_draft), None)
        published = next((version for version in versions if version.status == PlanStatus.PUBLISHED), None)
        was_sold = any(not version.is_draft for version in versions)
        if self.options.schedule_from is not None:
            self._schedule_plan(published, listed, lines, key, self.options.schedule_from)
        elif draft is not None:
            self._sync(draft, listed, lines, on=self.today if was_sold else FIRST_DAY)
            self._finish(draft, lines, after=self.today if was_sold else FIRST_DAY)
        elif published is not None:
            self._finish(self._successor(published, listed, lines), lines, after=self.today)
        else:
            version = new_plan_version(
                plan=plan,
                currencies=listed.currencies,
                billing_months=listed.billing_months or BillingInterval.MONTH,
                actor=self.actor,
            )
            self._note(Kind.NEW, "version", str(version))
            self._sync(version, listed, lines, on=self.today)
            self._finish(version, lines, after=self.today)

    def _take_new(self, listed: ListedPlan, lines: Sequence[_Line], key: Key) -> None:
        if not listed.name:
            fault_at(self.faults, self.read, key, "name", f"“{listed.code}” is a new plan. Enter its name.")
            return
        version = create_plan(
            code=listed.code,
            name=listed.name,
            description=listed.description or "",
            currencies=listed.currencies,
            billing_months=listed.billing_months or BillingInterval.MONTH,
            actor=self.actor,
        )
        self._note(Kind.NEW, "plan", listed.name)
        self._sync(version, listed, lines, on=FIRST_DAY)
        self._finish(version, lines, after=FIRST_DAY)

    def _name(self, plan: Plan, listed: ListedPlan) -> None:
        before = {"name": plan.name, "description": plan.description}
        stated = {"name": listed.name or None, "description": listed.description}
        after = before | {name: text for name, text in stated.items() if text is not None}
        changes = changed_fields(before, after)
        if changes:
            plan.name, plan.description = after["name"], after["description"]
            plan.full_clean()
            with acting(self.actor):
                plan.save()
        self._note(Kind.CHANGED if changes else Kind.UNCHANGED, "plan", plan.name, changes)

    def _successor(self, published: PlanVersion, listed: ListedPlan, lines: Sequence[_Line]) -> PlanVersion:
        """A draft after a published version with what the file states; the version itself if that is the same."""
        mark = len(self.items)
        with transaction.atomic():
            draft = copy_plan_version(plan_version=published, now=self.now, actor=self.actor)
            self._sync(draft, listed, lines, on=self.today, reorders=False)
            differs = any(item.kind in CHANGING for item in self.items[mark:])
            if not differs:
                transaction.set_rollback(True)
        if not differs:
            return published
        made = Item(Kind.NEW, "version", str(draft), self.plan_code, note=f"A draft after v{published.number}.")
        self.items.insert(mark, made)
        return draft

    def _finish(self, version: PlanVersion, lines: Sequence[_Line], *, after: dt.date) -> None:
        """Publish a draft if asked to, and schedule the amounts of days after ``after``."""
        if version.is_draft and self.options.publish:
            version = publish_plan_version(plan_version_id=version.pk, now=self.now, actor=self.actor)
            self._note(Kind.CHANGED, "version", str(version), [Change("status", "draft", "published")])
        dated = [
            (line, amounts)
            for line in lines
            for amounts in line.listed.amounts
            if amounts.effective_from is not None and amounts.effective_from > after
        ]
        if version.is_draft:
            for line, amounts in dated:
                if amounts is line.listed.in_force(amounts.currency, after):
                    continue  # The draft begins with it.
                note = "Import the file again once the draft is published; then it is scheduled."
                self._note(Kind.WAITS, "price", _named(line, amounts), note=note)
            return
        prices = {price.name: price for price in prices_by_plan_version([version.pk])[version.pk]}
        for line, amounts in dated:
            if amounts is not line.listed.in_force(amounts.currency, after):
                self._schedule_dated(prices[line.listed.line], line, amounts)

    # --- Drafts ------------------------------------------------------------------------------------------------------

    def _sync(
        self, draft: PlanVersion, listed: ListedPlan, lines: Sequence[_Line], *, on: dt.date, reorders: bool = True
    ) -> None:
        """Make a draft state what the file states for a day."""
        stored = {price.name: price for price in prices_by_plan_version([draft.pk]).get(draft.pk, [])}
        for price in stored.values():
            price.plan_version = draft
        self._sync_version(draft, listed)
        for line in lines:
            with self._refusals(line.key):
                self._sync_price(draft, stored.get(line.listed.line), line, on=on)
        stated = [line.listed.line for line in lines]
        for name, price in stored.items():
            if name not in stated:
                if self.options.remove_missing:
                    remove_draft_price(price=price, actor=self.actor)
                self._note_missing("price", name)
        if reorders:
            self._reorder(draft, stated)

    def _sync_version(self, draft: PlanVersion, listed: ListedPlan) -> None:
        before = {"billing": _billing(draft.billing_months), "currencies": ", ".join(draft.currencies)}
        kept = [one for one in draft.currencies if one in listed.currencies or not self.options.remove_missing]
        draft.currencies = [*kept, *(one for one in listed.currencies if one not in kept)]
        draft.billing_months = listed.billing_months or draft.billing_months
        after = {"billing": _billing(draft.billing_months), "currencies": ", ".join(draft.currencies)}
        changes = changed_fields(before, after)
        if changes:
            draft.full_clean()
            with acting(self.actor):
                draft.save(update_fields=["currencies", "billing_months"])
            self._note(Kind.CHANGED, "version", str(draft), changes)

    def _sync_price(self, draft: PlanVersion, price: Price | None, line: _Line, *, on: dt.date) -> None:
        stated = {currency: line.listed.in_force(currency, on) for currency in line.currencies}
        amounts_of = {currency: amounts for currency, amounts in stated.items() if amounts is not None}
        if price is None:
            self._add(draft, line, {currency: amounts.terms for currency, amounts in amounts_of.items()})
            for amounts in amounts_of.values():
                self._note(Kind.NEW, "price", _named_base(line, amounts), changed_fields({}, _fields(line, amounts)))
            return
        versions = {version.currency: version for version in price.versions.all()}
        charged = ChargedFor.of(price)
        before = {currency: terms_of(version) for currency, version in versions.items()}
        if charged != line.charged:
            kept = {} if self.options.remove_missing else before
            remove_draft_price(price=price, actor=self.actor)
            after = kept | {currency: amounts.terms for currency, amounts in amounts_of.items()}
            self._add(draft, line, after, position=price.position)
        for currency, amounts in amounts_of.items():
            if charged == line.charged:
                self._sync_amounts(price, versions.get(currency), line, amounts)
            self._note_amounts(line, amounts, charged, before.get(currency))
        self._drop_currencies(line, versions, drops=charged == line.charged)

    def _add(
        self, draft: PlanVersion, line: _Line, terms_of_currency: dict[str, PriceTerms], position: int | None = None
    ) -> None:
        added: Price | None = None
        for currency, terms in terms_of_currency.items():
            if added is None:
                added = add_price(
                    plan_version=draft,
                    charged=line.charged,
                    terms=terms,
                    currency=currency,
                    position=position,
                    now=self.now,
                    actor=self.actor,
                ).price
            else:
                add_currency(price=added, currency=currency, terms=terms, now=self.now, actor=self.actor)

    def _sync_amounts(self, price: Price, version: PriceVersion | None, line: _Line, amounts: ListedAmounts) -> None:
        if version is None:
            add_currency(price=price, currency=amounts.currency, terms=amounts.terms, now=self.now, actor=self.actor)
        elif terms_of(version) != amounts.terms:
            change_draft_price(
                price_version=version, charged=line.charged, terms=amounts.terms, now=self.now, actor=self.actor
            )

    def _note_amounts(
        self, line: _Line, amounts: ListedAmounts, charged: ChargedFor, before: PriceTerms | None
    ) -> None:
        name = _named_base(line, amounts)
        if before is None:
            self._note(Kind.NEW, "price", name, changed_fields({}, _fields(line, amounts)))
            return
        was = charged_in_fields(charged) | terms_in_fields(before)
        changes = changed_fields(was, _fields(line, amounts))
        # Rows in another order state another price where several fit; then no field tells.
        if not changes and before != amounts.terms:
            changes = (Change("rows", "", "in another order"),)
        self._note(Kind.CHANGED if changes else Kind.UNCHANGED, "price", name, changes)

    def _drop_currencies(self, line: _Line, versions: dict[str, PriceVersion], *, drops: bool) -> None:
        for currency, version in versions.items():
            if currency in line.currencies:
                continue
            if self.options.remove_missing and drops:
                with acting(self.actor):
                    version.delete()
            self._note_missing("price", f"{line.listed.line}, {currency}")

    def _note_missing(self, subject: str, name: str) -> None:
        if self.options.remove_missing:
            self._note(Kind.REMOVED, subject, name)
        else:
            self._note(Kind.MISSING, subject, name, note="The file does not state it. It stays.")

    def _reorder(self, draft: PlanVersion, stated: Sequence[str]) -> None:
        """Put the lines in the order of the file; what the file does not state stands after them."""
        prices = list(draft.prices.order_by("position", "id"))
        place = {name: number for number, name in enumerate(stated)}
        now = [price.name for price in prices if price.name in place]
        if now == sorted(now, key=lambda name: place[name]):
            return
        with acting(self.actor):
            for number, price in enumerate(sorted(prices, key=lambda one: place.get(one.name, len(place))), start=1):
                price.position = number * 10
                price.save(update_fields=["position"])
        order = sorted(now, key=lambda name: place[name])
        self._note(Kind.CHANGED, "version", str(draft), [Change("order", ", ".join(now), ", ".join(order))])

    # --- Scheduled amounts -------------------------------------------------------------------------------------------

    def _schedule_dated(self, price: Price, line: _Line, amounts: ListedAmounts) -> None:
        """Schedule what the file states for a day, unless it is scheduled already."""
        standing = {one.effective_from: one for one in standing_versions(price.versions.all(), amounts.currency)}
        known = standing.get(amounts.effective_from)
        before = None if known is None else terms_of(known)
        if before != amounts.terms and amounts.effective_from is not None:
            self._schedule(price, amounts, amounts.effective_from)
        was = {} if before is None else charged_in_fields(line.charged) | terms_in_fields(before)
        changes = changed_fields(was, _fields(line, amounts))
        kind = Kind.NEW if before is None else Kind.CHANGED if before != amounts.terms else Kind.UNCHANGED
        self._note(kind, "price", _named(line, amounts), changes)

    def _schedule_plan(
        self,
        published: PlanVersion | None,
        listed: ListedPlan,
        lines: Sequence[_Line],
        key: Key,
        day: dt.date,
    ) -> None:
        if published is None:
            detail = "This plan has no published version to schedule amounts on. Import it without a day."
            fault_at(self.faults, self.read, key, "code", detail)
            return
        self._refuse_other_terms(published, listed, key)
        prices = {price.name: price for price in prices_by_plan_version([published.pk]).get(published.pk, [])}
        for line in lines:
            price = prices.get(line.listed.line)
            if price is None or ChargedFor.of(price) != line.charged:
                what = "is new in this plan" if price is None else "is charged for something else in this plan"
                detail = (
                    f"“{line.listed.line}” {what}, and only amounts are scheduled. Import it without a day, as a new "
                    "version of the plan."
                )
                fault_at(self.faults, self.read, line.key, "line", detail)
                continue
            with self._refusals(line.key):
                self._schedule_price(price, line, day)
        for name in prices:
            if name not in {line.listed.line for line in lines}:
                self._note(Kind.MISSING, "price", name, note="The file does not state it. It stays.")

    def _refuse_other_terms(self, published: PlanVersion, listed: ListedPlan, key: Key) -> None:
        others = [currency for currency in listed.currencies if currency not in published.currencies]
        for name, differs in (
            ("currencies", bool(others)),
            ("billing", listed.billing_months not in (None, published.billing_months)),
        ):
            if differs:
                detail = f"{published} keeps its {name}. Import the file without a day, as a new version of the plan."
                fault_at(self.faults, self.read, key, name, detail)

    def _schedule_price(self, price: Price, line: _Line, day: dt.date) -> None:
        for currency in line.currencies:
            amounts = line.listed.in_force(currency, day)
            if amounts is None:
                continue
            current = version_in_force(price.versions.all(), currency=currency, on=day, known_at=self.now)
            before = None if current is None else terms_of(current)
            if before != amounts.terms:
                self._schedule(price, amounts, day)
            was = {} if before is None else charged_in_fields(line.charged) | terms_in_fields(before)
            changes = changed_fields(was, _fields(line, amounts))
            kind = Kind.NEW if before is None else Kind.CHANGED if before != amounts.terms else Kind.UNCHANGED
            since = "" if kind == Kind.UNCHANGED else f"Scheduled from {_day(day)}."
            self._note(kind, "price", _named_base(line, amounts), changes, since)

    def _schedule(self, price: Price, amounts: ListedAmounts, day: dt.date) -> None:
        schedule_price_version(
            price=price,
            effective_from=day,
            currency=amounts.currency,
            terms=amounts.terms,
            now=self.now,
            note="From a price list",
            actor=self.actor,
        )


def _named_base(line: _Line, amounts: ListedAmounts) -> str:
    return f"{line.listed.line}, {amounts.currency}"


def _named(line: _Line, amounts: ListedAmounts) -> str:
    since = f", from {_day(amounts.effective_from)}" if amounts.effective_from else ""
    return _named_base(line, amounts) + since


def _day(day: dt.date) -> str:
    return f"{day:%-d %B %Y}"


def _fields(line: _Line, amounts: ListedAmounts) -> dict[str, str]:
    return charged_in_fields(line.charged) | terms_in_fields(amounts.terms)


def _billing(months: int) -> str:
    return next(word for word, interval in BILLING.items() if interval == months)
