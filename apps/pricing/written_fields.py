"""Reading fields that were written outside: each by its name, numbers without losing a digit, none left over."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, TypeVar

Value = TypeVar("Value")

# Quantities have up to 18 digits before the point and amounts up to 12, both up to 12 behind it, as they are stored.
DECIMALS = 12
DIGITS_OF_QUANTITY = 18
DIGITS_OF_AMOUNT = 12

# More than any price list or bill holds; what is longer would only keep the machine busy.
MOST_ENTRIES = 10_000
LONGEST_TEXT = 200

# fmt: off
KNOWN_FIELDS = (
    "currency", "model", "quantity", "convention", "flat_fee_at_zero_usage",
    "unit_amount", "per_units", "package_size", "package_amount", "flat_amount", "amount", "multiplier", "tiers",
    "free_units", "included_units", "minimum", "maximum", "conversion", "failed", "free_failures", "pricing_unit",
    "rate_percent", "rate", "fixed_amount", "free_transactions", "free_count", "free_amount", "transactions",
    "transaction_minimum", "per_transaction_minimum", "per_transaction_min_amount",
    "transaction_maximum", "per_transaction_maximum", "per_transaction_max_amount",
    "prices", "events", "levels", "of_days", "included_seats", "prorates_added", "prorates_removed",
)
FIELDS_OF_TIERS = (
    "up_to", "unit_amount", "flat_amount", "amount", "package_size", "package_amount", "per_units", "rate_percent",
    "rate",
)
# fmt: on

_LONGEST_NUMBER = 60
_PLAIN_NUMBER = re.compile(r"-?[0-9]{1,60}(\.[0-9]{1,60})?", re.ASCII)


class InvalidWrittenPrice(ValueError):
    """A written price that cannot be read: ``field`` is the path of the value at fault, ``detail`` names the mend.

    A path counts the entries of a list from 0, as programs do: ``tiers.1.up_to`` belongs to the second tier.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.field = field
        self.detail = detail


class WrittenFields:
    """The fields of one written object, each taken once by the name or an alias; None counts as not given.

    What is left in the end is refused by ``refuse_others``, so that no misspelt field is passed over in silence.
    Raises InvalidWrittenPrice for anything but an object with names.
    """

    def __init__(self, written: object, path: str = "") -> None:
        if not isinstance(written, Mapping) or not all(isinstance(name, str) for name in written):
            raise InvalidWrittenPrice(path, "Write an object with the names of its fields.")
        self.path = path
        self._left: dict[str, Any] = {name: value for name, value in written.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def has_in_entries(self, name: str, field: str) -> bool:
        """Whether an entry of a list that was not taken yet has a field; anything but a list of objects has none."""
        entries = self._left.get(name)
        if not isinstance(entries, list | tuple):
            return False
        return any(isinstance(entry, Mapping) and entry.get(field) is not None for entry in entries)

    def at(self, name: object) -> str:
        """The path of a field or an entry."""
        return f"{self.path}.{name}" if self.path else str(name)

    def take(self, name: str, *aliases: str) -> tuple[str, Any]:
        """A value and the path under which it was written; None if it was not."""
        written = [known for known in (name, *aliases) if known in self._left]
        if len(written) > 1:
            raise InvalidWrittenPrice(
                self.at(written[1]), f"It says the same as {written[0]}. Write only one of the two."
            )
        found = written[0] if written else name
        return self.at(found), self._left.pop(found, None)

    def amount(self, name: str, *aliases: str) -> Decimal | None:
        """An amount of money, a rate or a multiplier, of zero or more."""
        path, value = self.take(name, *aliases)
        return None if value is None else read_number(value, path, DIGITS_OF_AMOUNT)

    def quantity(self, name: str, *aliases: str) -> Decimal | None:
        """A number of units, of zero or more."""
        path, value = self.take(name, *aliases)
        return None if value is None else read_number(value, path, DIGITS_OF_QUANTITY)

    def needed_amount(self, name: str, *aliases: str) -> Decimal:
        return needed(self.amount(name, *aliases), self.at(name))

    def needed_quantity(self, name: str, *aliases: str) -> Decimal:
        return needed(self.quantity(name, *aliases), self.at(name))

    def whole_number(self, name: str) -> int:
        number = self.needed_quantity(name)
        if number != number.to_integral_value():
            raise InvalidWrittenPrice(self.at(name), f"{number} is not a whole number. Write one.")
        return int(number)

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it has to be there."""
        path, value = self.take(name)
        if value is None and default is not None:
            return default
        return read_text(needed(value, path), path)

    def flag(self, name: str) -> bool | None:
        path, value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise InvalidWrittenPrice(path, "Write true or false.")
        return value

    def inner(self, name: str) -> WrittenFields | None:
        """The fields of an object within."""
        path, value = self.take(name)
        return None if value is None else WrittenFields(value, path)

    def entries(self, name: str) -> list[tuple[str, Any]]:
        """The entries of a list with their paths; no list has none."""
        path, value = self.take(name)
        if value is None:
            return []
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise InvalidWrittenPrice(path, "Write a list.")
        if len(value) > MOST_ENTRIES:
            raise InvalidWrittenPrice(path, f"A list has up to {MOST_ENTRIES:,} entries, not {len(value):,}.")
        return [(f"{path}.{position}", entry) for position, entry in enumerate(value)]

    def objects(self, name: str) -> Iterator[WrittenFields]:
        """The entries of a list of objects."""
        for path, entry in self.entries(name):
            yield WrittenFields(entry, path)

    def names(self) -> list[str]:
        """The names of the fields that have not been taken, in the order they were written."""
        return list(self._left)

    def refuse_others(self, where: str, known: Sequence[str]) -> None:
        """Raise InvalidWrittenPrice if a field is left: it is unknown, or one of ``known`` out of its place."""
        for name in self._left:
            if name in known:
                raise InvalidWrittenPrice(self.at(name), f"It does not belong to {where}. Leave it out.")
            close = get_close_matches(name[:LONGEST_TEXT], known, n=1)
            mend = f"Did you mean {close[0]}?" if close else "Leave it out."
            raise InvalidWrittenPrice(self.at(name), f"There is no such field in {where}. {mend}")


def needed(value: Value | None, path: str) -> Value:
    """The value. Raises InvalidWrittenPrice if there is none."""
    if value is None:
        raise InvalidWrittenPrice(path, "It is missing. Write it.")
    return value


def read_number(value: object, path: str, digits: int) -> Decimal:
    """An exact number of zero or more, with up to so many digits before the point and 12 behind it."""
    if isinstance(value, float):
        raise InvalidWrittenPrice(path, f'A number with a point loses digits on its way. Write it as text: "{value}".')
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise InvalidWrittenPrice(path, 'Write a number, as text such as "12.50".')
    text = value.strip() if isinstance(value, str) else _digits(value)
    if not _PLAIN_NUMBER.fullmatch(text):
        raise InvalidWrittenPrice(path, 'Write a plain number such as "1250000.75", without separators or exponent.')
    if text.startswith("-") and text.strip("-0."):
        raise InvalidWrittenPrice(path, f"It is {text}, below zero. Write 0 or more.")
    whole, _, fraction = text.removeprefix("-").partition(".")
    if len(whole.lstrip("0")) > digits or len(fraction.rstrip("0")) > DECIMALS:
        raise InvalidWrittenPrice(path, f"Write up to {digits} digits before the point and {DECIMALS} behind it.")
    return Decimal(text.removeprefix("-"))


def read_text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise InvalidWrittenPrice(path, "Write a text.")
    if len(value) > LONGEST_TEXT:
        raise InvalidWrittenPrice(path, f"Write up to {LONGEST_TEXT} characters.")
    return value


def _digits(number: int | Decimal) -> str:
    """The number written out, unless that would take thousands of digits: then one that is too long anyway."""
    if isinstance(number, int):
        is_long = number.bit_length() > 3 * _LONGEST_NUMBER
    else:
        exponent = number.as_tuple().exponent
        is_long = isinstance(exponent, int) and not -_LONGEST_NUMBER <= exponent <= _LONGEST_NUMBER
    return "9" * _LONGEST_NUMBER if is_long else format(number, "f" if isinstance(number, Decimal) else "d")
