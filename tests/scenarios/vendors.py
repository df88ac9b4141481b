"""The vendors' price lists that come with the product, and usage with the bills that follow from it.

The bills in ``data`` were worked out by hand and by a calculator of their own, not by the code they test.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from apps.products.price_lists.applying import apply_price_list
from apps.products.price_lists.changes import ImportPlan
from apps.products.price_lists.files import read_file
from apps.products.price_lists.taking import ImportOptions

ROOT = Path(__file__).resolve().parent.parent.parent
LISTS = ROOT / "fixtures" / "price_lists"
DATA = Path(__file__).resolve().parent / "data"
VENDORS = sorted(path.stem for path in LISTS.glob("*.yaml"))
FIRST_DAY = dt.date(2026, 11, 1)
LAST_DAY = dt.date(2026, 11, 30)
LOADED_AT = dt.datetime(2026, 10, 1, 12, tzinfo=dt.UTC)


@dataclass(frozen=True)
class BilledEvent:
    type: str
    data: dict[str, Any]
    at: dt.datetime


@dataclass(frozen=True)
class Bill:
    """A customer on one plan in November 2026: what they used, and the lines and total of their invoice.

    A line is its name, what its matrix row names (``gpt-5, input``; empty for the default row), and its amount.
    """

    vendor: str
    number: int
    plan: str
    currency: str
    events: tuple[BilledEvent, ...]
    lines: tuple[tuple[str, str, Decimal], ...]
    total: Decimal

    def __str__(self) -> str:
        return f"{self.plan}-{self.currency}-{self.number}"


class _TextLoader(yaml.BaseLoader):
    """Numbers as texts: what is written is what is compared."""


def _plain(value: str) -> Any:
    """A property of an event: a number where it is one."""
    try:
        return Decimal(value)
    except ArithmeticError:
        return value


def bills() -> list[Bill]:
    found = []
    for vendor in VENDORS:
        stated = yaml.load((DATA / f"{vendor}.yaml").read_text(), Loader=_TextLoader)["bills"]  # noqa: S506
        found += [_bill(vendor, number, one) for number, one in enumerate(stated, start=1)]
    return found


def _bill(vendor: str, number: int, stated: dict[str, Any]) -> Bill:
    return Bill(
        vendor=vendor,
        number=number,
        plan=stated["plan"],
        currency=stated["currency"],
        events=tuple(
            BilledEvent(
                one["type"],
                {name: _plain(value) for name, value in one["data"].items()},
                dt.datetime(2026, 11, int(one["day"]), tzinfo=dt.UTC),
            )
            for one in stated["events"]
        ),
        lines=tuple((name, _values(row), Decimal(amount)) for name, row, amount in stated["expected"]["lines"]),
        total=Decimal(stated["expected"]["total"]),
    )


def _values(row: str) -> str:
    """``model=gpt-5, direction=input`` as the row's values alone."""
    return ", ".join(part.partition("=")[2] for part in row.split(", ")) if row else ""


def load(vendor: str, *, publish: bool = True) -> ImportPlan:
    path = LISTS / f"{vendor}.yaml"
    options = ImportOptions(publish=publish)
    return apply_price_list(read_file(path.read_bytes(), path.name), options=options, now=LOADED_AT)
