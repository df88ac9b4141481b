"""What an import does to the catalogue, item by item: shown before it is done, and told afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from apps.products.price_lists.table import list_cell
from apps.products.price_lists.writing import scalar_text, term_entries, tier_entries
from apps.products.services import ChargedFor
from apps.products.terms import PriceTerms


class Kind(StrEnum):
    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    MISSING = "missing"
    REMOVED = "removed"
    WAITS = "waits"


CHANGING = frozenset([Kind.NEW, Kind.CHANGED, Kind.REMOVED])


@dataclass(frozen=True, slots=True)
class Change:
    """One field: what stands now, and what will; empty is nothing."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that the file speaks of. ``subject`` says what it is, such as price; ``plan`` is the plan's code."""

    kind: Kind
    subject: str
    name: str
    plan: str = ""
    changes: tuple[Change, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """All that an import does, in the order of the file."""

    items: tuple[Item, ...]
    remarks: tuple[str, ...] = field(default=())

    @property
    def changes_anything(self) -> bool:
        return any(item.kind in CHANGING for item in self.items)

    def of(self, kind: Kind) -> list[Item]:
        return [item for item in self.items if item.kind == kind]

    @property
    def fingerprint(self) -> str:
        """The same for the same items: whether what is done is what was shown."""
        return hashlib.sha256(repr(self.items).encode()).hexdigest()


def changed_fields(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """The fields that differ, those of ``after`` first."""
    names = [*after, *(name for name in before if name not in after)]
    return tuple(
        Change(name, before.get(name, ""), after.get(name, ""))
        for name in names
        if before.get(name, "") != after.get(name, "")
    )


def terms_in_fields(terms: PriceTerms) -> dict[str, str]:
    """Terms flat: each amount, and each tier and matrix row by a name of its own."""
    fields = {"model": terms.charge_model.value}
    fields |= {name: scalar_text(value) for name, value in term_entries(terms).items()}
    if terms.dimensions:
        fields["dimensions"] = list_cell(terms.dimensions)
    for number, tier in enumerate(terms.tiers, start=1):
        for name, value in tier_entries(tier, terms.charge_model).items():
            fields[f"tier {number}: {name}"] = "without end" if value is None else scalar_text(value)
    for row in terms.rows:
        named = ", ".join("any" if value is None else value or "(empty)" for value in row.values)
        fields[f"row {named}"] = scalar_text(row.unit_amount)
    return fields


def charged_in_fields(charged: ChargedFor) -> dict[str, str]:
    """What a price is for, by the codes of a file."""
    return {
        "product": charged.product.code,
        "metric": charged.metric.code if charged.metric else "",
        "pricing_unit": charged.pricing_unit.code if charged.pricing_unit else "",
        "recurrence": charged.recurrence.value,
        "timing": charged.timing.value,
    }
