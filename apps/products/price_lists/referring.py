"""What the codes of a price list refer to, and faults told at the part of the file that they are about."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from typing import TypeVar

from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import models

from apps.billable_metrics.models import BillableMetric
from apps.billable_metrics.services import create_metric
from apps.common.errors import BillingError
from apps.common.history import acting
from apps.products.models import PricingUnit, Product
from apps.products.price_lists.building import Key, ReadPriceList
from apps.products.price_lists.document import ListedMetric, ListedPrice
from apps.products.price_lists.entries import did_you_mean
from apps.products.price_lists.nodes import Faults, Node, Place
from apps.products.services import ChargedFor

_Row = TypeVar("_Row", Product, BillableMetric, PricingUnit)
_is_about_item = re.compile(r"(Tier|Row) (\d+)").match


class References:
    """Products, metrics and pricing units by their codes: those there are, and those that the file defines."""

    def __init__(self, read: ReadPriceList, faults: Faults, *, now: dt.datetime, actor: User | None) -> None:
        self.read = read
        self.faults = faults
        self.now = now
        self.actor = actor
        prices = [price for plan in read.document.plans for price in plan.prices]
        document = read.document
        self.products = _stored(Product, [one.code for one in document.products], [one.product for one in prices])
        self.metrics = _stored(BillableMetric, [one.code for one in document.metrics], [one.metric for one in prices])
        self.units = _stored(
            PricingUnit, [one.code for one in document.pricing_units], [one.pricing_unit for one in prices]
        )

    def create_missing(self) -> Iterator[tuple[str, str]]:
        """Make what the file defines and is not there yet; yields names, and what they are."""
        document = self.read.document
        with acting(self.actor):
            for number, unit in enumerate(document.pricing_units):
                if unit.code not in self.units:
                    row = PricingUnit(code=unit.code, singular=unit.singular, plural=unit.plural)
                    if self._save(row, ("pricing_units", number)):
                        self.units[unit.code] = row
                        yield unit.plural, "pricing unit"
            for number, product in enumerate(document.products):
                if product.code not in self.products:
                    new = Product(code=product.code, name=product.name, description=product.description)
                    if self._save(new, ("products", number)):
                        self.products[product.code] = new
                        yield product.name, "product"
            for number, metric in enumerate(document.metrics):
                if metric.code in self.metrics:
                    self._refuse_other_definition(metric, ("metrics", number))
                elif self._create_metric(metric, ("metrics", number)):
                    yield metric.name, "metric"

    def charged_for(self, price: ListedPrice, key: Key) -> ChargedFor | None:
        """What a price is for; None if a code refers to nothing, which is told."""
        before = len(self.faults)
        product = self._find(self.products, Product, price.product, key, "product")
        metric = self._find(self.metrics, BillableMetric, price.metric, key, "metric")
        unit = self._find(self.units, PricingUnit, price.pricing_unit, key, "pricing_unit")
        if len(self.faults) > before or product is None:
            return None
        return ChargedFor(
            product=product,
            name=price.line,
            metric=metric,
            pricing_unit=unit,
            recurrence=price.recurrence,
            timing=price.timing,
        )

    def _save(self, row: models.Model, key: Key) -> bool:
        try:
            row.full_clean()
        except ValidationError as refusal:
            add_refusals(self.faults, self.read, key, refusal)
            return False
        row.save()
        return True

    def _create_metric(self, metric: ListedMetric, key: Key) -> bool:
        try:
            self.metrics[metric.code] = create_metric(
                definition=metric.definition,
                now=self.now,
                code=metric.code,
                name=metric.name,
                unit_singular=metric.unit_singular,
                unit_plural=metric.unit_plural,
            )
        except (BillingError, ValidationError) as refusal:
            add_refusals(self.faults, self.read, key, refusal)
            return False
        return True

    def _refuse_other_definition(self, metric: ListedMetric, key: Key) -> None:
        stored = self.metrics[metric.code].current_version.definition
        if stored != metric.definition:
            detail = (
                f"There is a metric “{metric.code}” that measures something else: {stored.describe()}. Give the one of "
                "the file another code, or define that one anew on its page."
            )
            fault_at(self.faults, self.read, key, "code", detail)

    def _find(self, known: dict[str, _Row], model: type[_Row], code: str | None, key: Key, name: str) -> _Row | None:
        if code is None:
            return None
        if code not in known:
            words = name.replace("_", " ")
            near = did_you_mean(code, model._default_manager.values_list("code", flat=True))
            add = f"Add the {words} first, or define it in a YAML file."
            detail = f"There is no {words} with the code “{code}”. {near if near.startswith('Did') else add}"
            fault_at(self.faults, self.read, key, name, detail)
        return known.get(code)


def _stored(model: type[_Row], defined: Iterable[str], used: Iterable[str | None]) -> dict[str, _Row]:
    rows = model._default_manager.filter(code__in={*defined, *(code for code in used if code)})
    return {row.code: row for row in rows}


# --- Faults at their part of the file --------------------------------------------------------------------------------


def fault_at(faults: Faults, read: ReadPriceList, key: Key, field: str, detail: str) -> None:
    """Tell a fault of a part of the file, at the entry that it is about where that stands there."""
    faults.add(_place(read, key, field, detail), field, detail)


def add_refusals(faults: Faults, read: ReadPriceList, key: Key, refusal: BillingError | ValidationError) -> None:
    """Tell what a service refused."""
    if isinstance(refusal, BillingError):
        fault_at(faults, read, key, refusal.field or "", refusal.detail)
    elif hasattr(refusal, "error_dict"):
        for field, sentences in refusal.message_dict.items():
            for sentence in sentences:
                fault_at(faults, read, key, "" if field == NON_FIELD_ERRORS else field, sentence)
    else:
        for sentence in refusal.messages:
            fault_at(faults, read, key, "", sentence)


def _place(read: ReadPriceList, key: Key, field: str, detail: str) -> Place:
    node = read.nodes.get(key)
    if node is None:
        return Place(1)
    found = _entry(node, "free_failures" if field == "failures" else field)
    item = _is_about_item(detail)
    if found is not None and item is not None and isinstance(found.value, list):
        number = int(item[2]) - 1
        found = found.value[number] if number < len(found.value) else found
    return (found or node).place


def _entry(node: Node, name: str) -> Node | None:
    return node.value.get(name) if isinstance(node.value, dict) else None
