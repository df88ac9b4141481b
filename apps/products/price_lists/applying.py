"""Taking a price list into the catalogue. A dry run does the very same and takes it back, so it shows what will be.

A new plan becomes a draft. Of a plan with a draft the draft is changed. Of one with a published version only, a new
draft is made, or the amounts that differ are scheduled from a day on. A published version never changes.

A first version states all the dated amounts of the file: those from the beginning as a draft, the others once it is
published. A later version begins with what holds today, and only days to come are scheduled on it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction

from apps.common.errors import InvalidInput
from apps.common.history import acting
from apps.products.models import BillingInterval, Plan, PlanStatus, PlanVersion
from apps.products.price_lists.building import Key, ReadPriceList
from apps.products.price_lists.changes import (
    CHANGING,
    Change,
    ImportPlan,
    Item,
    Kind,
    changed_fields,
)
from apps.products.price_lists.document import ListedPlan
from apps.products.price_lists.drafts import sync_draft
from apps.products.price_lists.nodes import PriceListRefused
from apps.products.price_lists.referring import References, add_refusals, fault_at
from apps.products.price_lists.schedules import schedule_dated, schedule_plan
from apps.products.price_lists.taking import (
    ImportOptions,
    Line,
    Taking,
    named,
)
from apps.products.selectors import prices_by_plan_version
from apps.products.services import (
    copy_plan_version,
    create_plan,
    new_plan_version,
    publish_plan_version,
)
from apps.products.terms import check_terms

FIRST_DAY = dt.date.min


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


class _Import:
    def __init__(self, read: ReadPriceList, options: ImportOptions, now: dt.datetime, actor: User | None) -> None:
        self.taking = Taking(read, options, now, actor)
        self.read = read
        self.options = options
        self.now = now
        self.today = now.date()
        self.actor = actor
        self.faults = self.taking.faults

    def run(self) -> ImportPlan:
        if self.options.schedule_from is not None and self.options.schedule_from < self.today:
            raise InvalidInput(
                "Amounts are scheduled from today on. A backdated price is recorded on its own page, where you see "
                "which bills it changes.",
                field="schedule_from",
            )
        self.references = References(self.read, self.faults, now=self.now, actor=self.actor)
        for code, subject in self.references.create_missing():
            self.taking.note(Kind.NEW, subject, code)
        for number, listed in enumerate(self.read.document.plans):
            self.taking.plan_code = listed.code
            key: Key = ("plans", number)
            lines = self._lines(listed, key)
            if lines is not None:
                with self.taking.refusals(key):
                    self._take(listed, lines, key)
        if self.faults:
            raise PriceListRefused(self.faults.in_order())
        return ImportPlan(tuple(self.taking.items), self.read.remarks)

    def _lines(self, listed: ListedPlan, key: Key) -> list[Line] | None:
        """The plan's prices with what they refer to; None if any is at fault, with all faults told."""
        before = len(self.faults)
        lines = []
        for number, price in enumerate(listed.prices):
            price_key: Key = (*key, number)
            charged = self.references.charged_for(price, price_key)
            if charged is None:
                continue
            lines.append(Line(price, charged, price_key))
            for amounts_number, amounts in enumerate(price.amounts):
                try:
                    check_terms(amounts.terms, charged.metric, charged.pricing_unit)
                except InvalidInput as fault:
                    add_refusals(self.faults, self.read, (*price_key, amounts_number), fault)
        return lines if len(self.faults) == before else None

    # --- Plans and versions ------------------------------------------------------------------------------------------

    def _take(self, listed: ListedPlan, lines: Sequence[Line], key: Key) -> None:
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
            schedule_plan(self.taking, published, listed, lines, key, self.options.schedule_from)
        elif draft is not None:
            sync_draft(self.taking, draft, listed, lines, on=self.today if was_sold else FIRST_DAY)
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
            self.taking.note(Kind.NEW, "version", str(version))
            sync_draft(self.taking, version, listed, lines, on=self.today)
            self._finish(version, lines, after=self.today)

    def _take_new(self, listed: ListedPlan, lines: Sequence[Line], key: Key) -> None:
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
        self.taking.note(Kind.NEW, "plan", listed.name)
        sync_draft(self.taking, version, listed, lines, on=FIRST_DAY)
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
        self.taking.note(Kind.CHANGED if changes else Kind.UNCHANGED, "plan", plan.name, changes)

    def _successor(self, published: PlanVersion, listed: ListedPlan, lines: Sequence[Line]) -> PlanVersion:
        """A draft after a published version with what the file states; the version itself if that is the same."""
        mark = len(self.taking.items)
        with transaction.atomic():
            draft = copy_plan_version(plan_version=published, now=self.now, actor=self.actor)
            sync_draft(self.taking, draft, listed, lines, on=self.today, reorders=False)
            differs = any(item.kind in CHANGING for item in self.taking.items[mark:])
            if not differs:
                transaction.set_rollback(True)
        if not differs:
            return published
        made = Item(Kind.NEW, "version", str(draft), self.taking.plan_code, note=f"A draft after v{published.number}.")
        self.taking.items.insert(mark, made)
        return draft

    def _finish(self, version: PlanVersion, lines: Sequence[Line], *, after: dt.date) -> None:
        """Publish a draft if asked to, and schedule the amounts of days after ``after``."""
        if self.faults:
            return  # The whole file is refused; what follows from that is not told as well.
        if version.is_draft and self.options.publish:
            version = publish_plan_version(plan_version_id=version.pk, now=self.now, actor=self.actor)
            self.taking.note(Kind.CHANGED, "version", str(version), [Change("status", "draft", "published")])
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
                self.taking.note(Kind.WAITS, "price", named(line, amounts), note=note)
            return
        prices = {price.name: price for price in prices_by_plan_version([version.pk])[version.pk]}
        for line, amounts in dated:
            if amounts is not line.listed.in_force(amounts.currency, after):
                schedule_dated(self.taking, prices[line.listed.line], line, amounts)
