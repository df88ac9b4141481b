"""Burn tables: what each kind of usage takes from credits that were bought, and what the credits are worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from apps.pricing.charge_models.base import ZERO, NotRatable, check_amounts
from apps.pricing.money import EXACT, check_decimal, round_money


@dataclass(frozen=True, slots=True)
class CreditBurn:
    """Credits asked for by usage, against those that were bought.

    ``used`` were there and are gone, ``left`` are still there, ``short`` were asked for and not there: numbers of
    credits. ``value_used`` and ``overage_amount`` are what the used and the short ones cost: rounded money.
    """

    used: Decimal
    left: Decimal
    short: Decimal
    value_used: Decimal
    overage_amount: Decimal


def credits_for(usage: Mapping[str, Decimal], burn_table: Mapping[str, Decimal]) -> Decimal:
    """The credits that usage asks for: its units, each kind at its number of credits, parts of a unit in proportion.

    Raises NotRatable for a kind of usage that the table does not name.
    """
    asked = ZERO
    for kind, units in usage.items():
        check_decimal(units)
        credits_of_unit = burn_table.get(kind)
        if credits_of_unit is None:
            raise NotRatable(f"The burn table does not say how many credits “{kind}” takes. Add a row for it.")
        asked = EXACT.add(asked, EXACT.multiply(units, credits_of_unit))
    return asked


def burn_credits(asked: Decimal, *, bought: Decimal, price: Decimal, currency: str) -> CreditBurn:
    """Take credits from those bought together for a price; what is short costs as much for each as was paid.

    That overage has the price paid is our choice: no list of credits says otherwise. Raises InvalidPrice for a number
    or a price below zero, ValueError if no credits were bought.
    """
    check_amounts(credits_asked_for=asked, credits_bought=bought, price=price)
    if not bought:
        raise ValueError("No credits were bought, so that none has a price.")
    used = min(asked, bought)
    short = EXACT.subtract(asked, used)
    return CreditBurn(
        used=used,
        left=EXACT.subtract(bought, used),
        short=short,
        value_used=_value(used, bought, price, currency),
        overage_amount=_value(short, bought, price, currency),
    )


def _value(credits_: Decimal, bought: Decimal, price: Decimal, currency: str) -> Decimal:
    return round_money(EXACT.divide(EXACT.multiply(credits_, price), bought), currency)
