"""What is tried in the calculator: the inputs that a charge model asks for, and the usage that they stand for."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.http import QueryDict

from apps.pricing.charge_models.base import LevelDays, Tier, Usage, UsageGroup
from apps.pricing.charge_models.matrix import Matrix, values_in_words
from apps.pricing.charge_models.package import Package
from apps.pricing.charges import Charge
from apps.pricing.formatting import format_decimal
from apps.pricing.money import EXACT, settle, sum_exactly
from apps.products.estimates import bounds_of
from apps.products.forms.tables import quantity_field
from apps.products.models import ChargeModelName
from apps.products.terms import PriceTerms

ZERO = Decimal(0)
ONE = Decimal(1)
BY_AMOUNTS = (
    ChargeModelName.PERCENTAGE,
    ChargeModelName.GRADUATED_PERCENTAGE,
    ChargeModelName.AMOUNT_IN_EVENT,
)
USUAL_AMOUNTS = "100, 25.50, 9.99"
MOST_TRANSACTIONS = 400
MOST_ROWS_TRIED = 50
MOST_DAYS = 366


@dataclass(frozen=True, slots=True)
class TrialInput:
    """An input beside the form. ``of`` names a row of a matrix."""

    name: str
    label: str
    value: str
    hint: str = ""
    of: str = ""
    is_wide: bool = False


@dataclass(slots=True)
class Trial:
    """The inputs with what they hold, and the usage; None while an input cannot be read, as ``faults`` say."""

    inputs: list[TrialInput] = field(default_factory=list)
    usage: Usage | None = None
    faults: list[str] = field(default_factory=list)


def read_trial(terms: PriceTerms, charge: Charge, data: QueryDict, *, unit_plural: str) -> Trial:
    """What was typed into the calculator, or what it begins with where nothing was."""
    trial = Trial()
    if terms.charge_model == ChargeModelName.FLAT:
        trial.usage = Usage(ZERO)
    elif isinstance(charge.model, Matrix):
        _read_rows(trial, charge.model, data)
    elif terms.charge_model in BY_AMOUNTS:
        _read_amounts(trial, data)
    elif terms.charge_model == ChargeModelName.SEATS:
        _read_seats(trial, data)
    else:
        _read_quantity(trial, charge, data, unit_plural)
    if trial.faults:
        trial.usage = None
    return trial


def _read_quantity(trial: Trial, charge: Charge, data: QueryDict, unit_plural: str) -> None:
    usual = format_decimal(usual_quantity(charge))
    quantity = _number(trial, data, "try_quantity", unit_plural.capitalize() or "Quantity", usual)
    failed = ZERO
    if charge.free_failures != 0:
        failed = _number(trial, data, "try_failed", "Of these failed", "0")
        if failed > quantity:
            trial.faults.append("More units failed than there are. Enter a smaller number.")
    trial.usage = Usage(quantity, failed=failed)


def usual_quantity(charge: Charge) -> Decimal:
    """A quantity that shows what a price does: beyond the last bound, or a few times what the price is for."""
    divisor = charge.conversion.divide_by if charge.conversion is not None else ONE
    if isinstance(charge.model, Package):
        packages = EXACT.multiply(charge.model.package_size, Decimal("2.5"))
        return EXACT.multiply(EXACT.add(charge.included_units, packages), divisor)
    bounds = bounds_of(charge)
    if bounds:
        tiers: tuple[Tier, ...] = getattr(charge.model, "tiers", ())
        is_closed = bool(tiers) and tiers[-1].up_to is not None
        return bounds[-1] if is_closed else EXACT.multiply(bounds[-1], Decimal("1.2")).normalize(EXACT)
    size: Decimal = getattr(charge.model, "per_units", ONE)
    return EXACT.multiply(EXACT.multiply(size, Decimal("2.5") if size > 1 else Decimal(100)), divisor)


def _read_rows(trial: Trial, matrix: Matrix, data: QueryDict) -> None:
    typed = data.getlist("try_row")
    usual = format_decimal(matrix.per_units if matrix.per_units > 1 else Decimal(100))
    groups = []
    for place, row in enumerate(matrix.rows[:MOST_ROWS_TRIED]):
        text = typed[place] if place < len(typed) else "" if typed else usual
        label = values_in_words(row.values)
        quantity = _read(trial, "try_row", label, text)
        trial.inputs.append(TrialInput("try_row", f"Quantity of {label}", text, of=label))
        groups.append(UsageGroup(row.values, quantity))
    trial.usage = Usage(sum_exactly(group.quantity for group in groups), groups=tuple(groups))


def _read_amounts(trial: Trial, data: QueryDict) -> None:
    text = data.get("try_transactions", USUAL_AMOUNTS)
    hint = "With commas or spaces between, and a dot before the decimals."
    trial.inputs.append(TrialInput("try_transactions", "Amounts of the transactions", text, hint, is_wide=True))
    amounts = [_read(trial, "try_transactions", "Amounts", part) for part in re.split(r"[,;\s]+", text) if part]
    if len(amounts) > MOST_TRANSACTIONS:
        trial.faults.append(f"Enter {MOST_TRANSACTIONS} amounts at most.")
    trial.usage = Usage(sum_exactly(amounts), count=len(amounts), transactions=tuple(amounts))


def _read_seats(trial: Trial, data: QueryDict) -> None:
    seats = _number(trial, data, "try_seats", "Seats", "10")
    of_days = int(_number(trial, data, "try_of_days", "Days of the period", "30"))
    days = int(_number(trial, data, "try_days", "Held on the last … days", str(of_days)))
    if not 1 <= of_days <= MOST_DAYS or not 0 <= days <= of_days:
        trial.faults.append(f"A period has 1 to {MOST_DAYS} days, and seats are held on as many of them at most.")
        return
    levels = [LevelDays(seats, days)] if days else []
    if days < of_days:
        levels.insert(0, LevelDays(ZERO, of_days - days))
    average = settle(EXACT.divide(EXACT.multiply(seats, Decimal(days)), Decimal(of_days)))
    trial.usage = Usage(average, levels=tuple(levels), of_days=of_days)


def _number(trial: Trial, data: QueryDict, name: str, label: str, usual: str) -> Decimal:
    text = data.get(name, usual)
    trial.inputs.append(TrialInput(name, label, text))
    return _read(trial, name, label, text)


def _read(trial: Trial, name: str, label: str, text: str) -> Decimal:
    """The number in a text, none being 0. What cannot be read is a fault, and counts as 0."""
    try:
        number: Decimal | None = quantity_field().clean(text)
    except ValidationError as error:
        trial.faults.append(f"{label}: {' '.join(error.messages)}")
        return ZERO
    if number is not None and number < 0 and name != "try_transactions":
        trial.faults.append(f"{label}: Enter 0 or more.")
    return number or ZERO
