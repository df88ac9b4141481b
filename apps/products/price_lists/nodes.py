"""What a file says, before it is understood: texts, lists and mappings, each with its place in the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from apps.common.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands.

    ``number`` counts the lines of a YAML file, or the rows of a table as a spreadsheet does; ``path`` is the way to it
    in YAML, such as ``plans[0].prices[2].line``, and empty in a table.
    """

    number: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.path} (line {self.number})" if self.path else f"row {self.number}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a file. A scalar is its text, true or false, or None where nothing stands."""

    value: str | bool | list[Node] | dict[str, Node] | None
    place: Place

    @property
    def is_scalar(self) -> bool:
        return not isinstance(self.value, list | dict)

    def plain(self) -> Any:
        """The same without places."""
        if isinstance(self.value, list):
            return [one.plain() for one in self.value]
        if isinstance(self.value, dict):
            return {name: one.plain() for name, one in self.value.items()}
        return self.value


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that cannot be taken: where, which field, and a sentence with the mend."""

    place: Place
    field: str
    detail: str

    def __str__(self) -> str:
        named = self.field and not self.place.path.endswith(self.field)
        return f"{self.place}{f', {self.field}' if named else ''}: {self.detail}"


class PriceListRefused(InvalidInput):
    """A price list with faults. ``faults`` are all that were found; nothing was changed."""

    code = "price_list_refused"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        shown = "; ".join(str(fault) for fault in faults[:3])
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        super().__init__(f"The price list cannot be taken: {shown}{more}")
        self.faults = faults


@dataclass
class Faults:
    """Collects what is wrong, so that everything is told at once."""

    found: list[Fault] = field(default_factory=list)

    def add(self, place: Place, field_name: str, detail: str) -> None:
        self.found.append(Fault(place, field_name, detail))

    def __len__(self) -> int:
        return len(self.found)

    def in_order(self) -> tuple[Fault, ...]:
        return tuple(sorted(self.found, key=lambda fault: fault.place.number))
