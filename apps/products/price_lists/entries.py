"""Reading the entries of one mapping of a file: each by its kind, with a fault for what cannot be taken."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

from apps.products.price_lists.nodes import Faults, Node

DECIMALS = 12
# What the columns of amounts and of quantities can hold before the point.
AMOUNT_DIGITS = 12
QUANTITY_DIGITS = 18
MOST_TRANSACTIONS = 2_147_483_647
LONGEST_TEXT = 10_000

_is_number = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII).fullmatch
_is_day = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII).fullmatch
_Choice = TypeVar("_Choice")
YES = {"yes": True, "true": True, "no": False, "false": False}


class Entries:
    """The entries of a mapping, taken out one by one. What is left over at the end is unknown.

    Each method returns None for an entry that is missing, empty or faulty; a faulty one is added to ``faults``.
    """

    def __init__(self, node: Node, faults: Faults) -> None:
        self.node = node
        self.faults = faults
        self.values: Mapping[str, Node] = node.value if isinstance(node.value, dict) else {}
        self.known: set[str] = set()
        if not isinstance(node.value, dict):
            faults.add(node.place, "", "Write the entries by name, each as “name: value”.")

    def refuse(self, name: str, detail: str) -> None:
        node = self.values.get(name)
        self.faults.add(node.place if node else self.node.place, name, detail)

    def scalar(self, name: str) -> str | bool | None:
        self.known.add(name)
        node = self.values.get(name)
        if node is None:
            return None
        if not node.is_scalar:
            self.refuse(name, "One value stands here, not a list or a mapping.")
            return None
        return node.value  # type: ignore[return-value]

    def text(self, name: str, *, needed: str = "", longest: int = LONGEST_TEXT) -> str | None:
        """A text; ``needed`` is what to say where there is none."""
        before = len(self.faults)
        value = self.scalar(name)
        if isinstance(value, bool):
            value = "true" if value else "false"
        if needed and not value and len(self.faults) == before:
            self.refuse(name, needed)
        if value is not None and len(value) > longest:
            self.refuse(name, f"This has {len(value):,} characters. Shorten it to {longest:,}.")
            return None
        if value is not None and "\x00" in value:
            self.refuse(name, "This holds a null character. Take it out.")
            return None
        return value

    def number(self, name: str, *, digits: int = AMOUNT_DIGITS) -> Decimal | None:
        value = self.scalar(name)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not _is_number(value.strip()):
            self.refuse(name, _no_number(str(value)))
            return None
        text = value.strip()
        whole, _, fraction = text.lstrip("-").partition(".")
        if len(fraction.rstrip("0")) > DECIMALS:
            self.refuse(name, f"{text} has more than {DECIMALS} decimals. Round it, or state the price of more units.")
            return None
        if len(whole.lstrip("0")) > digits:
            self.refuse(name, f"{text} has more than {digits} digits before the point.")
            return None
        return Decimal(text)

    def count(self, name: str) -> int | None:
        number = self.number(name)
        if number is None:
            return None
        if number != int(number) or not 0 <= number <= MOST_TRANSACTIONS:
            self.refuse(name, f"{number} is no number of transactions. Enter a whole number from 0 on.")
            return None
        return int(number)

    def flag(self, name: str, default: bool) -> bool:
        value = self.scalar(name)
        if value is None or value == "":
            return default
        if isinstance(value, bool):
            return value
        if value.strip().lower() not in YES:
            self.refuse(name, f"“{value}” is neither yes nor no.")
            return default
        return YES[value.strip().lower()]

    def day(self, name: str) -> dt.date | None:
        value = self.scalar(name)
        if value is None or value == "":
            return None
        text = str(value).strip()
        try:
            if _is_day(text):
                return dt.date.fromisoformat(text)
        except ValueError:
            pass
        self.refuse(name, f"“{text}” is no day. Write it as 2026-01-31, year first.")
        return None

    def choice(self, name: str, choices: Mapping[str, _Choice], default: _Choice | None = None) -> _Choice | None:
        """One of several words."""
        value = self.scalar(name)
        if value is None or value == "":
            return default
        text = str(value).strip()
        if text not in choices:
            self.refuse(name, f"“{text}” is not known here. {did_you_mean(text, choices)}")
            return default
        return choices[text]

    def items(self, name: str, *, needed: str = "") -> list[Node]:
        self.known.add(name)
        node = self.values.get(name)
        if node is None or node.value is None:
            if needed:
                self.refuse(name, needed)
            return []
        if not isinstance(node.value, list):
            self.refuse(name, "A list stands here: one entry on each line, each after a hyphen.")
            return []
        if needed and not node.value:
            self.refuse(name, needed)
        return node.value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = []
        for item in self.items(name):
            if isinstance(item.value, str) and item.value and "\x00" not in item.value:
                found.append(item.value)
            elif isinstance(item.value, bool):
                found.append("true" if item.value else "false")
            else:
                self.faults.add(item.place, name, "Each entry of this list is a text.")
        return tuple(found)

    def refuse_unknown(self) -> None:
        for name in self.values:
            if name not in self.known:
                self.refuse(name, f"“{name}” is not known here. {did_you_mean(name, self.known)}")


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A sentence that offers the nearest word, or all of a few."""
    known: Collection[str] = [choice for choice in choices if choice]
    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f"Did you mean “{near[0]}”?"
    return f"Use {', '.join(known)}." if 0 < len(known) <= 12 else "Take it out, or correct its name."


def _no_number(text: str) -> str:
    if re.fullmatch(r"-?[0-9.]+[eE][+-]?[0-9]+", text.strip()):
        return f"“{text}” was shortened by a spreadsheet and may have lost digits. Write the number out, as text."
    if re.fullmatch(r"[0-9.,' ]*[0-9]", text.strip()):
        return f"“{text}” is no plain number. Write a decimal point and no separators, such as 1000.50."
    return f"“{text}” is no number. Write it with digits and a decimal point, such as 0.25."
