"""From what a file says to a price list, with every fault there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeVar

from django.conf import settings

from apps.billable_metrics.definitions import (
    Aggregation,
    MetricDefinition,
    OutcomePolicy,
    PropertyFilter,
    TimeUnit,
    ValuesAre,
)
from apps.common.errors import InvalidInput
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import (
    BillingInterval,
    BillingTiming,
    ChargeModelName,
    FailurePolicy,
    QuantityRounding,
    Recurrence,
)
from apps.products.price_lists.document import (
    ListedAmounts,
    ListedMetric,
    ListedPlan,
    ListedPrice,
    ListedPricingUnit,
    ListedProduct,
    PriceList,
)
from apps.products.price_lists.entries import QUANTITY_DIGITS, Entries
from apps.products.price_lists.nodes import Fault, Faults, Node
from apps.products.terms import AMOUNT_COLUMNS, PriceTerms

FORMAT_VERSION = "1"
BILLING = {"monthly": BillingInterval.MONTH, "quarterly": BillingInterval.QUARTER, "yearly": BillingInterval.YEAR}
ROUNDING = {one.value or "none": one for one in QuantityRounding}
MODELS = {one.value: one for one in ChargeModelName}
ALL_FAILURES = "all"

QUANTITIES = frozenset(["per_units", "package_size", "included_units", "divide_by", "free_failures"])
NO_NUMBERS = frozenset(["free_failures", "free_transactions", "quantity_rounding"])
FLAGS = {
    "prorates_included": True,
    "flat_fee_at_zero_usage": False,
    "prorates_added": True,
    "prorates_removed": True,
}
NUMBERS = (*(name for name in AMOUNT_COLUMNS if name not in NO_NUMBERS), "pricing_unit_rate")
"""The entries of terms that are amounts or quantities."""

Key = tuple[str | int, ...]
_Listed = TypeVar("_Listed")


@dataclass(frozen=True, slots=True)
class ReadPriceList:
    """What was read: a price list of all that could be understood, the faults, and remarks on how it was read.

    ``nodes`` leads from a part of the price list, such as ``("plans", 0, 2, 1)`` for the second amounts of the third
    price of the first plan, back to its place in the file.
    """

    document: PriceList
    faults: tuple[Fault, ...] = ()
    remarks: tuple[str, ...] = ()
    nodes: Mapping[Key, Node] = field(default_factory=dict)


def build_price_list(root: Node, *, faults: Faults, remarks: tuple[str, ...] = ()) -> ReadPriceList:
    """Understand a file as a price list. What is faulty is left out, and told in ``faults``."""
    nodes: dict[Key, Node] = {}
    document = _Builder(faults, nodes).price_list(root)
    return ReadPriceList(document, faults.in_order(), remarks, nodes)


class _Builder:
    def __init__(self, faults: Faults, nodes: dict[Key, Node]) -> None:
        self.faults = faults
        self.nodes = nodes

    def price_list(self, root: Node) -> PriceList:
        top = Entries(root, self.faults)
        version = top.text("price_list")
        if isinstance(root.value, dict) and version != FORMAT_VERSION:
            top.refuse("price_list", f"Begin the file with “price_list: {FORMAT_VERSION}”, which names its format.")
        document = PriceList(
            vendor=top.text("vendor") or "",
            source=top.text("source") or "",
            as_of=top.day("as_of"),
            note=top.text("note") or "",
            pricing_units=self._each(top, "pricing_units", self._pricing_unit, "code"),
            products=self._each(top, "products", self._product, "code"),
            metrics=self._each(top, "metrics", self._metric, "code"),
            plans=self._each(top, "plans", self._plan, "code", needed="A price list has at least one plan."),
        )
        top.refuse_unknown()
        return document

    def _each(
        self,
        entries: Entries,
        name: str,
        build: Callable[[Entries, Key], _Listed | None],
        unique: str,
        *,
        key: Key | None = None,
        needed: str = "",
    ) -> tuple[_Listed, ...]:
        """Build each item of a list; two with the same ``unique`` attribute are a fault of the second."""
        built: list[_Listed] = []
        seen: dict[Any, Node] = {}
        for node in entries.items(name, needed=needed):
            item_key = (*(key if key is not None else (name,)), len(built))
            item = build(Entries(node, self.faults), item_key)
            if item is None:
                continue
            known_by = getattr(item, unique)
            if known_by in seen:
                self._refuse_again(node, unique, known_by, seen[known_by])
                continue
            seen[known_by] = node
            self.nodes[item_key] = node
            built.append(item)
        return tuple(built)

    def _refuse_again(self, node: Node, name: str, value: Any, first: Node) -> None:
        place = node.value[name].place if isinstance(node.value, dict) and name in node.value else node.place
        self.faults.add(place, name, f"“{value}” is there already, at {first.place}. Remove one of the two.")

    # --- Definitions -------------------------------------------------------------------------------------------------

    def _pricing_unit(self, entries: Entries, key: Key) -> ListedPricingUnit | None:
        code, singular, plural = (
            entries.text(name, needed=f"Enter the {name} of the pricing unit.", longest=longest)
            for name, longest in (("code", 64), ("singular", 40), ("plural", 40))
        )
        entries.refuse_unknown()
        return ListedPricingUnit(code, singular, plural) if code and singular and plural else None

    def _product(self, entries: Entries, key: Key) -> ListedProduct | None:
        code = entries.text("code", needed="Enter the code of the product.", longest=64)
        name = entries.text("name", needed="Enter the name of the product.", longest=100)
        description = entries.text("description") or ""
        entries.refuse_unknown()
        return ListedProduct(code, name, description) if code and name else None

    def _metric(self, entries: Entries, key: Key) -> ListedMetric | None:
        before = len(self.faults)
        code = entries.text("code", needed="Enter the code of the metric.", longest=64)
        name = entries.text("name", needed="Enter the name of the metric.", longest=100)
        singular = entries.text("unit_singular", longest=40) or "unit"
        plural = entries.text("unit_plural", longest=40) or "units"
        definition = self._definition(entries)
        entries.refuse_unknown()
        if len(self.faults) > before or not code or not name or definition is None:
            return None
        return ListedMetric(code, name, definition, singular, plural)

    def _definition(self, entries: Entries) -> MetricDefinition | None:
        before = len(self.faults)
        aggregation = entries.choice("aggregation", {one.value: one for one in Aggregation})
        if aggregation is None and len(self.faults) == before:
            entries.refuse("aggregation", "Say how events become a quantity, such as sum or count.")
        stated = {
            "event_type": entries.text("event_type") or "",
            "value_property": entries.text("value_property") or "",
            "value_expression": entries.text("value_expression") or "",
            "filters": self._filters(entries),
            "group_by": entries.texts("group_by"),
            "outcome_property": entries.text("outcome_property") or "",
            "outcome_policy": entries.choice(
                "outcome_policy", {one.value: one for one in OutcomePolicy}, OutcomePolicy.ALL
            ),
            "outcome_values": entries.texts("outcome_values"),
            "carries_over": entries.flag("carries_over", False),
            "values_are": entries.choice("values_are", {one.value: one for one in ValuesAre}, ValuesAre.CHANGES),
            "time_unit": entries.choice("time_unit", {one.value: one for one in TimeUnit}, TimeUnit.HOUR),
            "percentile_rank": entries.number("percentile_rank"),
        }
        if len(self.faults) > before or aggregation is None:
            return None
        definition = MetricDefinition(aggregation=aggregation, **stated)  # type: ignore[arg-type]
        try:
            definition.check()
        except InvalidInput as fault:
            entries.refuse(fault.field or "", fault.detail)
            return None
        return definition

    def _filters(self, entries: Entries) -> tuple[PropertyFilter, ...]:
        found = []
        for node in entries.items("filters"):
            try:
                found.append(PropertyFilter.read(node.plain()))
            except InvalidInput as fault:
                self.faults.add(node.place, "filters", fault.detail)
        return tuple(found)

    # --- Plans -------------------------------------------------------------------------------------------------------

    def _plan(self, entries: Entries, key: Key) -> ListedPlan | None:
        code = entries.text("code", needed="Enter the code of the plan.", longest=64)
        name = entries.text("name", longest=100)
        description = entries.text("description")
        billing = entries.choice("billing", BILLING)
        currencies = self._currencies(entries)
        prices = self._each(entries, "prices", self._price, "line", key=key)
        entries.refuse_unknown()
        if not code:
            return None
        if currencies is None:
            currencies = tuple(dict.fromkeys(amounts.currency for price in prices for amounts in price.amounts))
        return ListedPlan(code, currencies, prices, name, description, None if billing is None else int(billing))

    def _currencies(self, entries: Entries) -> tuple[str, ...] | None:
        stated = entries.texts("currencies")
        if not stated:
            return None
        for currency in stated:
            if currency not in settings.CURRENCIES:
                entries.refuse("currencies", _unknown_currency(currency))
        if len(set(stated)) < len(stated):
            entries.refuse("currencies", "A currency is named twice. Name each one once.")
        return tuple(dict.fromkeys(currency for currency in stated if currency in settings.CURRENCIES))

    def _price(self, entries: Entries, key: Key) -> ListedPrice | None:
        before = len(self.faults)
        line = entries.text("line", needed="Enter the line: the name of the price on the invoice.", longest=100)
        product = entries.text("product", needed="Enter the code of the product.", longest=64)
        metric = entries.text("metric", longest=64) or None
        pricing_unit = entries.text("pricing_unit", longest=64) or None
        recurrence = entries.choice("recurrence", {one.value: one for one in Recurrence}, Recurrence.RECURRING)
        timing = entries.choice("timing", {one.value: one for one in BillingTiming}, BillingTiming.ARREARS)
        model = entries.choice("model", MODELS)
        amounts = self._amounts_of(entries, model, key)
        entries.refuse_unknown()
        if metric is not None and (recurrence != Recurrence.RECURRING or timing != BillingTiming.ARREARS):
            name = "recurrence" if recurrence != Recurrence.RECURRING else "timing"
            entries.refuse(name, "Usage is billed after each period. Only a fee is one-off or in advance.")
        if not line or not product or (len(self.faults) > before and not amounts):
            return None
        return ListedPrice(line, product, amounts, metric, pricing_unit, recurrence, timing)  # type: ignore[arg-type]

    def _amounts_of(self, entries: Entries, model: ChargeModelName | None, key: Key) -> tuple[ListedAmounts, ...]:
        built: list[ListedAmounts] = []
        seen: dict[Any, Node] = {}
        for node in entries.items("amounts", needed="Enter the amounts, at least in one currency."):
            # Where the price names a model that is not known, that has been told once.
            amounts = self._amounts(Entries(node, self.faults), model, asks_for_model="model" not in entries.values)
            if amounts is None:
                continue
            stated_for = (amounts.currency, amounts.effective_from)
            if stated_for in seen:
                since = f" from {amounts.effective_from}" if amounts.effective_from else ""
                detail = f"{amounts.currency}{since} is there already, at {seen[stated_for].place}. Remove one."
                self.faults.add(node.place, "currency", detail)
                continue
            seen[stated_for] = node
            self.nodes[(*key, len(built))] = node
            built.append(amounts)
        return tuple(built)

    def _amounts(
        self, entries: Entries, price_model: ChargeModelName | None, *, asks_for_model: bool
    ) -> ListedAmounts | None:
        before = len(self.faults)
        currency = entries.text("currency", needed="Enter the currency, such as USD.")
        if currency and currency not in settings.CURRENCIES:
            entries.refuse("currency", _unknown_currency(currency))
        effective_from = entries.day("effective_from")
        model = entries.choice("model", MODELS, price_model)
        if model is None and asks_for_model and len(self.faults) == before:
            entries.refuse("model", f"Enter the charge model: {', '.join(MODELS)}.")
        terms = self._terms(entries, model)
        entries.refuse_unknown()
        if len(self.faults) > before or terms is None or not currency:
            return None
        return ListedAmounts(currency, terms, effective_from)

    def _terms(self, entries: Entries, model: ChargeModelName | None) -> PriceTerms | None:
        stated: dict[str, Any] = {name: entries.number(name, digits=_digits(name)) for name in NUMBERS}
        stated |= {name: entries.flag(name, default) for name, default in FLAGS.items()}
        stated["free_transactions"] = entries.count("free_transactions")
        stated["quantity_rounding"] = entries.choice("quantity_rounding", ROUNDING)
        stated["failures"], stated["free_failures"] = self._failures(entries)
        stated["dimensions"] = entries.texts("dimensions")
        stated["tiers"] = tuple(
            self._tier(Entries(node, self.faults), is_percentage=model == ChargeModelName.GRADUATED_PERCENTAGE)
            for node in entries.items("tiers")
        )
        stated["rows"] = tuple(
            self._row(Entries(node, self.faults), stated["dimensions"]) for node in entries.items("rows")
        )
        return None if model is None else PriceTerms(model, **stated)

    def _failures(self, entries: Entries) -> tuple[FailurePolicy, Decimal | None]:
        if entries.scalar("free_failures") == ALL_FAILURES:
            return FailurePolicy.FREE, None
        number = entries.number("free_failures", digits=QUANTITY_DIGITS)
        return (FailurePolicy.CHARGED, None) if number is None else (FailurePolicy.FREE_UP_TO, number)

    def _tier(self, entries: Entries, *, is_percentage: bool) -> Tier:
        rate = entries.number("rate_percent") if is_percentage else None
        tier = Tier(
            up_to=entries.number("up_to", digits=QUANTITY_DIGITS),
            unit_amount=(rate if is_percentage else entries.number("unit_amount")) or Decimal(0),
            flat_amount=entries.number("flat_amount") or Decimal(0),
            package_size=None if is_percentage else entries.number("package_size", digits=QUANTITY_DIGITS),
        )
        entries.refuse_unknown()
        return tier

    def _row(self, entries: Entries, dimensions: tuple[str, ...]) -> MatrixRow:
        before = len(self.faults)
        match: dict[str, str | None] = {}
        entries.known.add("match")
        if "match" in entries.values:
            matching = Entries(entries.values["match"], self.faults)
            match = {name: matching.text(name) for name in dimensions}
            matching.refuse_unknown()
        amount = entries.number("unit_amount")
        if amount is None and len(self.faults) == before:
            entries.refuse("unit_amount", "Enter the amount of this row; 0 is allowed.")
        entries.refuse_unknown()
        return MatrixRow(tuple(match.get(name) for name in dimensions), amount or Decimal(0))


def _digits(name: str) -> int:
    return QUANTITY_DIGITS if name in QUANTITIES else 12


def _unknown_currency(currency: str) -> str:
    return f"“{currency}” is no currency that is billed here. Use {', '.join(settings.CURRENCIES)}."
