"""What the steps of an import share: its options, what it has done so far, and what was refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.common.errors import BillingError
from apps.products.price_lists.building import BILLING, Key, ReadPriceList
from apps.products.price_lists.changes import (
    Change,
    Item,
    Kind,
    charged_in_fields,
    terms_in_fields,
)
from apps.products.price_lists.document import ListedAmounts, ListedPrice
from apps.products.price_lists.nodes import Faults
from apps.products.price_lists.referring import add_refusals
from apps.products.services import ChargedFor


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


class Taking:
    """One import under way."""

    def __init__(self, read: ReadPriceList, options: ImportOptions, now: dt.datetime, actor: User | None) -> None:
        self.read = read
        self.options = options
        self.now = now
        self.actor = actor
        self.faults = Faults(list(read.faults))
        self.items: list[Item] = []
        self.plan_code = ""

    def note(self, kind: Kind, subject: str, name: str, changes: Sequence[Change] = (), note: str = "") -> None:
        self.items.append(Item(kind, subject, name, self.plan_code, tuple(changes), note))

    @contextmanager
    def refusals(self, key: Key) -> Iterator[None]:
        """Turn what a service refuses into faults at that part of the file, and go on with the next."""
        try:
            with transaction.atomic():
                yield
        except (BillingError, ValidationError) as refusal:
            add_refusals(self.faults, self.read, key, refusal)


@dataclass(frozen=True, slots=True)
class Line:
    """A listed price with what its codes refer to."""

    listed: ListedPrice
    charged: ChargedFor
    key: Key

    @property
    def currencies(self) -> list[str]:
        return list(dict.fromkeys(amounts.currency for amounts in self.listed.amounts))

    def key_of(self, amounts: ListedAmounts) -> Key:
        return (*self.key, self.listed.amounts.index(amounts))


def named_base(line: Line, amounts: ListedAmounts) -> str:
    return f"{line.listed.line}, {amounts.currency}"


def named(line: Line, amounts: ListedAmounts) -> str:
    since = f", from {day_in_words(amounts.effective_from)}" if amounts.effective_from else ""
    return named_base(line, amounts) + since


def day_in_words(day: dt.date) -> str:
    return f"{day:%-d %B %Y}"


def fields_of(line: Line, amounts: ListedAmounts) -> dict[str, str]:
    return charged_in_fields(line.charged) | terms_in_fields(amounts.terms)


def billing_in_words(months: int) -> str:
    return next(word for word, interval in BILLING.items() if interval == months)
