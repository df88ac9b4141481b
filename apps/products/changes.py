"""What changed from one price to the next, and from one version of a plan to another: field by field, in words.

Pure: terms in, changes out. Amounts are printed as they are stored; nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from apps.common.formatting import format_money
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.formatting import format_decimal, format_quantity, format_units
from apps.products.models import ChargeModelName, FailurePolicy, QuantityRounding
from apps.products.services import ChargedFor
from apps.products.terms import PriceTerms

NOTHING = "none"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, such as “Above 1,000,000: $2.50 → $2.20”. What is added or gone has “none” on the other side."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Wording:
    """What terms need to be put into words: the currency, the unit of the metric, and the pricing unit, if any."""

    currency: str
    unit_singular: str = "unit"
    unit_plural: str = "units"
    priced_in: tuple[str, str] | None = None

    def amount(self, amount: Decimal) -> str:
        if self.priced_in is not None:
            return format_units(amount, singular=self.priced_in[0], plural=self.priced_in[1])
        return format_money(amount, self.currency)

    def money(self, amount: Decimal) -> str:
        return format_money(amount, self.currency)

    def units(self, quantity: Decimal) -> str:
        return format_units(quantity, singular=self.unit_singular, plural=self.unit_plural)


Printer = Callable[[Decimal, Wording], str]


def _amount(value: Decimal, words: Wording) -> str:
    return words.amount(value)


def _percent(value: Decimal, words: Wording) -> str:
    return f"{format_decimal(value)}%"


def _number(value: Decimal, words: Wording) -> str:
    return format_quantity(Decimal(value))


def _units(value: Decimal, words: Wording) -> str:
    return words.units(value)


# The columns of terms in the order in which a reader asks for them, each with its label and its words.
_NUMBERS: dict[str, tuple[str, Printer]] = {
    "flat_amount": ("Fee", _amount),
    "unit_amount": ("Price", _amount),
    "per_units": ("Price is for", _units),
    "package_size": ("Package", _units),
    "rate_percent": ("Rate", _percent),
    "fixed_amount": ("Fee for each transaction", _amount),
    "transaction_minimum": ("Least for each transaction", _amount),
    "transaction_maximum": ("Most for each transaction", _amount),
    "free_transactions": ("Free transactions", _number),
    "multiplier": ("Multiplier", _number),
    "included_units": ("Included", _units),
    "minimum": ("Minimum", _amount),
    "maximum": ("Maximum", _amount),
    "divide_by": ("Quantity is divided by", _number),
    "free_failures": ("Free failed units", _number),
    "pricing_unit_rate": ("One pricing unit is worth", lambda value, words: words.money(value)),
}
_FLAGS = {
    "prorates_included": "Included units by share of days",
    "flat_fee_at_zero_usage": "First tier's fee without usage",
    "prorates_added": "Added seats by day",
    "prorates_removed": "Removed seats by day",
}


def changes_between(old: PriceTerms, new: PriceTerms, words: Wording) -> list[Change]:
    """What ``new`` says otherwise than ``old``, in the currency of ``words``: model, amounts, tiers, rows, rules."""
    return [
        *_changed("Charge model", _model(old), _model(new)),
        *_numbers(old, new, words),
        *_tiers(old, new, words),
        *_changed("Dimensions", ", ".join(old.dimensions), ", ".join(new.dimensions)),
        *_rows(old, new, words),
        *_changed("Rounding of the quantity", _rounding(old), _rounding(new)),
        *_changed("Failed outcomes", FailurePolicy(old.failures).label, FailurePolicy(new.failures).label),
        *(
            change
            for name, label in _FLAGS.items()
            for change in _changed(label, _yes(getattr(old, name)), _yes(getattr(new, name)))
        ),
    ]


def _changed(label: str, before: str, after: str) -> Iterator[Change]:
    if before != after:
        yield Change(label, before or NOTHING, after or NOTHING)


def _numbers(old: PriceTerms, new: PriceTerms, words: Wording) -> Iterator[Change]:
    for name, (label, printer) in _NUMBERS.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        yield Change(label, *(NOTHING if value is None else printer(value, words) for value in (before, after)))


def _model(terms: PriceTerms) -> str:
    return ChargeModelName(terms.charge_model).label


def _rounding(terms: PriceTerms) -> str:
    return "" if terms.quantity_rounding is None else QuantityRounding(terms.quantity_rounding).label


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


# --- Tiers and rows --------------------------------------------------------------------------------------------------


def _tiers(old: PriceTerms, new: PriceTerms, words: Wording) -> Iterator[Change]:
    """Tier by tier, by the range that each covers; in the order of the ranges."""
    before, after = _by_range(old), _by_range(new)
    for reach in sorted({*before, *after}, key=_range_order):
        texts = (_tier_in_words(terms, found.get(reach), words) for terms, found in ((old, before), (new, after)))
        yield from _changed(_range_in_words(*reach), *texts)


Range = tuple[Decimal, Decimal | None]


def _by_range(terms: PriceTerms) -> dict[Range, Tier]:
    lower, found = Decimal(0), {}
    for tier in terms.tiers:
        found[(lower, tier.up_to)] = tier
        lower = tier.up_to if tier.up_to is not None else lower
    return found


def _range_order(reach: Range) -> tuple[Decimal, bool, Decimal]:
    lower, upper = reach
    return lower, upper is None, upper or Decimal(0)


def _range_in_words(lower: Decimal, upper: Decimal | None) -> str:
    if upper is None:
        return f"Above {format_quantity(lower)}" if lower else "All units"
    return f"{format_quantity(lower)} to {format_quantity(upper)}" if lower else f"Up to {format_quantity(upper)}"


def _tier_in_words(terms: PriceTerms, tier: Tier | None, words: Wording) -> str:
    if tier is None:
        return ""
    if terms.charge_model == ChargeModelName.STAIRSTEP:
        return words.amount(tier.flat_amount)
    rate = _percent if terms.charge_model == ChargeModelName.GRADUATED_PERCENTAGE else _amount
    text = rate(tier.unit_amount, words)
    if tier.package_size is not None:
        text += f" per started {words.units(tier.package_size)}"
    return f"{text} and {words.amount(tier.flat_amount)} once" if tier.flat_amount else text


def _rows(old: PriceTerms, new: PriceTerms, words: Wording) -> Iterator[Change]:
    """Row by row, by the values that each prices; those of the new price first, then those that are gone."""
    before, after = _by_values(old.rows), _by_values(new.rows)
    for values in dict.fromkeys([*after, *before]):
        texts = ("" if amount is None else words.amount(amount) for amount in (before.get(values), after.get(values)))
        yield from _changed(_values_in_words(values), *texts)


def _by_values(rows: Sequence[MatrixRow]) -> dict[tuple[str | None, ...], Decimal]:
    return {row.values: row.unit_amount for row in rows}


def _values_in_words(values: tuple[str | None, ...]) -> str:
    if not any(value is not None for value in values):
        return "All other usage"
    return ", ".join("any" if value is None else value for value in values)


# --- Plans -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedCharge:
    """A charge of a plan version with the terms in force, by currency."""

    charged: ChargedFor
    terms: Mapping[str, PriceTerms]

    def wording(self, currency: str) -> Wording:
        metric, unit = self.charged.metric, self.charged.pricing_unit
        return Wording(
            currency=currency,
            unit_singular=metric.unit_singular if metric else "unit",
            unit_plural=metric.unit_plural if metric else "units",
            priced_in=(unit.singular, unit.plural) if unit else None,
        )


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """How one plan version differs from another: charges added, removed, and changed with what changed in each."""

    added: tuple[PlannedCharge, ...] = ()
    removed: tuple[PlannedCharge, ...] = ()
    changed: tuple[tuple[PlannedCharge, tuple[Change, ...]], ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed)


def plan_changes(old: Sequence[PlannedCharge], new: Sequence[PlannedCharge]) -> PlanChanges:
    """Match the charges of two plan versions by their name, else by product and metric, and compare each pair."""
    pairs = _matched(old, new)
    matched_old = {id(before) for before, _ in pairs}
    matched_new = {id(after) for _, after in pairs}
    compared = [(after, tuple(_charge_changes(before, after))) for before, after in pairs]
    return PlanChanges(
        added=tuple(charge for charge in new if id(charge) not in matched_new),
        removed=tuple(charge for charge in old if id(charge) not in matched_old),
        changed=tuple((charge, changes) for charge, changes in compared if changes),
    )


def _matched(old: Sequence[PlannedCharge], new: Sequence[PlannedCharge]) -> list[tuple[PlannedCharge, PlannedCharge]]:
    by_name = {charge.charged.name: charge for charge in old}
    pairs = [(by_name.pop(charge.charged.name), charge) for charge in new if charge.charged.name in by_name]
    taken = {id(charge) for pair in pairs for charge in pair}
    left = [charge for charge in old if id(charge) not in taken]
    for charge in new:
        if id(charge) in taken:
            continue
        alike = [other for other in left if _key(other) == _key(charge)]
        if len(alike) == 1:  # Renamed. Where several are alike, nobody can tell which.
            left.remove(alike[0])
            pairs.append((alike[0], charge))
    order = {id(charge): place for place, charge in enumerate(new)}
    return sorted(pairs, key=lambda pair: order[id(pair[1])])


def _key(charge: PlannedCharge) -> tuple[int, int | None]:
    metric = charge.charged.metric
    return charge.charged.product.pk, metric.pk if metric else None


def _charge_changes(old: PlannedCharge, new: PlannedCharge) -> Iterator[Change]:
    before, after = old.charged, new.charged
    yield from _changed("Line", before.name, after.name)
    yield from _changed("Product", before.product.name, after.product.name)
    yield from _changed("Metric", _name(before.metric), _name(after.metric))
    yield from _changed("Priced in", _name(before.pricing_unit) or "money", _name(after.pricing_unit) or "money")
    yield from _changed("Charged", before.recurrence.label, after.recurrence.label)
    yield from _changed("Billed", before.timing.label, after.timing.label)
    several = len({*old.terms, *new.terms}) > 1
    for currency in dict.fromkeys([*new.terms, *old.terms]):
        terms_before, terms_after = old.terms.get(currency), new.terms.get(currency)
        if terms_before is None or terms_after is None:
            yield Change(
                "Currency", NOTHING if terms_before is None else currency, currency if terms_after else NOTHING
            )
            continue
        for change in changes_between(terms_before, terms_after, new.wording(currency)):
            label = f"{currency}: {change.label}" if several else change.label
            yield Change(label, change.before, change.after)


def _name(thing: object) -> str:
    return "" if thing is None else str(thing)
