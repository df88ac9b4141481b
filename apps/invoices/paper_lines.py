"""How one line of an invoice reads on paper: quantity, price, amount, and the steps between them.

The steps are printed where one row of quantity and price does not tell it all. Every figure is one that the line
stores; nothing is rated or rounded here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from apps.common.formatting import format_days, format_money
from apps.invoices.models import InvoiceLine
from apps.invoices.wording import billed_before_in_words
from apps.pricing.charge_models.base import started_packages
from apps.pricing.formatting import TIMES, format_quantity, format_units
from apps.pricing.money import exact_arithmetic
from apps.pricing.periods import Period
from apps.products.models import TIERED_MODELS, ChargeModelName

# A number with a longer tail (the third of an allowance) is cut and marked as cut, never rounded.
MOST_DECIMALS = 8
DECIMALS_OF_AVERAGE = 3
TRUE_MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class PaperStep:
    """One step of a line's calculation: units, times price, equals exact amount."""

    label: str
    quantity: str
    price: str
    result: str


@dataclass(frozen=True, slots=True)
class PaperLine:
    description: str
    notes: tuple[str, ...]
    quantity: str
    unit_price: str
    amount: str
    steps: tuple[PaperStep, ...]
    is_quiet: bool
    in_pricing_unit: str = ""


def paper_line(line: InvoiceLine, period: Period, bills: Mapping[int, str]) -> PaperLine:
    """A line of the invoice of a period, in words. ``bills`` names other bills that charge for the same."""
    has_quantity = bool(line.metric_code) and not line.bound
    is_quiet = not line.quantity and not line.amount.amount
    return PaperLine(
        description=in_reading_order(line.description),
        notes=tuple(_notes(line, period, bills)),
        quantity=_measured(line) if has_quantity else "",
        unit_price=_unit_price(line),
        amount=print_money(line.amount.amount, line.amount.currency.code),
        steps=() if is_quiet or line.bound else tuple(_steps(line)),
        is_quiet=is_quiet,
        in_pricing_unit=_used_in_pricing_unit(line),
    )


def _used_in_pricing_unit(line: InvoiceLine) -> str:
    """What the line takes of its pricing unit, such as “14,500 credits”; nothing where the price is in money."""
    if line.priced_amount is None:
        return ""
    return _cut(line.priced_amount, lambda amount: _in_pricing_unit(line, amount))


def _measured(line: InvoiceLine) -> str:
    """The quantity with its unit; of seats that changed over the days, the average, which the steps below make."""
    if sum(part["name"] == "seats" for part in line.components) > 1:
        average = _cut(line.quantity, print_quantity, decimals=DECIMALS_OF_AVERAGE)
        return f"{average} {_unit_name(line, line.quantity)} on average"
    return f"{print_quantity(line.quantity)} {_unit_name(line, line.quantity)}"


def _notes(line: InvoiceLine, period: Period, bills: Mapping[int, str]) -> Iterable[str]:
    """What is special about the line: other days than the invoice's, a share, a bound, what was billed before."""
    window = Period(start_at=line.window_start_at, end_at=line.window_end_at, zone=period.zone)
    is_whole = line.share_days == line.share_of_days
    if window != period or not is_whole:
        days = format_days(window.first_date, window.last_date)
        share = "" if is_whole else f", {line.share_days} of {line.share_of_days} days"
        in_advance = ", in advance" if line.is_in_advance and window.start_at >= period.end_at else ""
        yield f"{days}{share}{in_advance}"
    if before := billed_before_in_words(line, bills):
        yield before
    if line.bound:
        verb = "Lifts" if line.bound == "minimum" else "Cuts"
        yield f"{verb} the sum of the lines above to the {line.bound} of this price"


# --- The price in one cell -------------------------------------------------------------------------------------------


def _unit_price(line: InvoiceLine) -> str:
    model = line.charge_model
    if line.bound:
        return ""
    if model in TIERED_MODELS:
        return "by step" if model == ChargeModelName.STAIRSTEP else "by tier"
    if model == ChargeModelName.PERCENTAGE:
        return _percentage(line)
    if line.unit_amount is None:
        return ""
    if model == ChargeModelName.AMOUNT_IN_EVENT:
        return f"{TIMES} {print_quantity(line.unit_amount)}" if line.unit_amount != 1 else "as stated"
    if model == ChargeModelName.FLAT:
        return _stated(line, line.unit_amount)
    started = "started " if model == ChargeModelName.PACKAGE else ""
    per = "" if line.per_units == 1 else f"{format_quantity(line.per_units)} "
    return f"{_stated(line, line.unit_amount)} per {started}{per}{_charged_unit(line, line.per_units)}"


def _percentage(line: InvoiceLine) -> str:
    """The rate where it is all there is to it; fees and bounds of transactions are steps."""
    parts = {part["name"]: part for part in line.components}
    if "rate" not in parts or parts.keys() & {"fixed", "raised", "lowered"}:
        return "by transaction"
    return f"{print_quantity(Decimal(parts['rate']['rate']))}%"


# --- The steps -------------------------------------------------------------------------------------------------------


def _steps(line: InvoiceLine) -> Iterator[PaperStep]:
    """The calculation in the order in which it was made."""
    if line.failures_free:
        yield PaperStep("Failed", _units(line, line.failures_free), "no charge", "")
    if line.converted_quantity is not None:
        yield PaperStep("Billed as", _charged_units(line, line.converted_quantity), "", "")
    if line.included_units:
        yield PaperStep("Included", _charged_units(line, line.included_units), "no charge", "")
    yield from _model_steps(line)
    if line.model_amount is not None:
        stated = line.exact_amount if line.priced_amount is None else line.priced_amount
        bound = "Minimum" if line.model_amount < stated else "Maximum"
        yield PaperStep(bound, "", "applies", _result(line, stated))
    if line.priced_amount is not None and line.pricing_unit_rate is not None:
        rate = print_money(line.pricing_unit_rate, line.amount.currency.code)
        yield PaperStep(
            f"{line.pricing_unit_plural.capitalize()} in money",
            _cut(line.priced_amount, lambda amount: _in_pricing_unit(line, amount)),
            f"{TIMES} {rate}",
            _equals(_cut(line.exact_amount, lambda amount: print_money(amount, line.amount.currency.code))),
        )


def _model_steps(line: InvoiceLine) -> Iterator[PaperStep]:
    """What the charge model made of the units that were charged."""
    is_told = not (line.failures_free or line.converted_quantity is not None or line.included_units)
    is_told = is_told and line.model_amount is None and line.priced_amount is None
    if line.charge_model in TIERED_MODELS or (line.tiers and not is_told):
        tiers = [tier for tier in line.tiers if Decimal(tier["quantity"]) or Decimal(tier["amount"])]
        yield from (_tier_step(tier, line) for tier in tiers)
    elif line.charge_model == ChargeModelName.PERCENTAGE:
        yield from _transaction_steps(line, is_told=is_told)
    elif line.charge_model == ChargeModelName.SEATS:
        yield from _seat_steps(line, is_told=is_told)
    elif line.charge_model == ChargeModelName.PACKAGE:
        if line.billable_quantity > 0:
            packages = started_packages(line.billable_quantity, line.per_units)
            count = format_units(packages, singular="package", plural="packages")
            price = f"{TIMES} {_stated(line, line.unit_amount or Decimal(0))}"
            yield PaperStep("Started", count, price, _result(line, _model_amount(line)))
    elif not is_told and line.billable_quantity and line.unit_amount is not None:
        per = "" if line.per_units == 1 else f" per {format_quantity(line.per_units)}"
        price = print_quantity(line.unit_amount) if _is_amount(line) else f"{_stated(line, line.unit_amount)}{per}"
        yield PaperStep(
            "Charged",
            _charged_units(line, line.billable_quantity),
            f"{TIMES} {price}",
            _result(line, _model_amount(line)),
        )


def _tier_step(tier: dict[str, Any], line: InvoiceLine) -> PaperStep:
    unit_amount, per_units, flat = (Decimal(tier[name]) for name in ("unit_amount", "per_units", "flat_amount"))
    is_percentage = line.charge_model == ChargeModelName.GRADUATED_PERCENTAGE
    if is_percentage:
        prices = [f"{print_quantity(unit_amount)}%"]
    elif line.charge_model == ChargeModelName.STAIRSTEP:
        prices = []
    else:
        started = "started " if "in_packages" in tier else ""
        per = f" per {started}{format_quantity(per_units)}" if started or per_units != 1 else ""
        prices = [f"{_stated(line, unit_amount)}{per}"]
    fee = [_cut(flat, lambda amount: _stated(line, amount)) + (" fee" if prices else "")] if flat else []
    amount_or_units = _stated if is_percentage else _charged_units
    return PaperStep(
        _tier_range(tier, lambda bound: _stated(line, bound) if is_percentage else print_quantity(bound)),
        _cut(Decimal(tier["quantity"]), lambda quantity: amount_or_units(line, quantity)),
        (f"{TIMES} " if prices else "") + " + ".join([*prices, *fee]),
        _result(line, Decimal(tier["amount"])),
    )


def _tier_range(tier: dict[str, Any], as_text: Callable[[Decimal], str]) -> str:
    lower = Decimal(tier["lower"])
    if tier["upper"] is None:
        return f"Above {_cut(lower, as_text)}" if lower else "Charged"
    upper = _cut(Decimal(tier["upper"]), as_text)
    return f"Above {_cut(lower, as_text)}, up to {upper}" if lower else f"Up to {upper}"


def _transaction_steps(line: InvoiceLine, *, is_told: bool) -> Iterator[PaperStep]:
    if is_told and {part["name"] for part in line.components} == {"rate"}:
        return
    for part in line.components:
        quantity, rate, amount = (Decimal(part[name]) for name in ("quantity", "rate", "amount"))
        stated = _cut(rate, lambda figure: _stated(line, figure))
        match part["name"]:
            case "free":
                count = f" in {_transactions(quantity)}" if quantity else ""
                yield PaperStep("Included", f"{stated}{count}", "no charge", "")
            case "rate":
                charged = _cut(quantity, lambda figure: _stated(line, figure))
                yield PaperStep("Charged", charged, f"{TIMES} {print_quantity(rate)}%", _result(line, amount))
            case "fixed":
                yield PaperStep("Fee", _transactions(quantity), f"{TIMES} {stated}", _result(line, amount))
            case "raised":
                yield PaperStep("Raised to the least", "", f"{stated} each", _result(line, amount))
            case "lowered":
                yield PaperStep("Lowered to the most", "", f"{stated} each", _result(line, amount))


def _seat_steps(line: InvoiceLine, *, is_told: bool) -> Iterator[PaperStep]:
    """One step for each stretch of days with as many seats."""
    *parts, whole = line.components
    stretches = [part for part in parts if part["name"] == "seats"]
    held = [part for part in stretches if Decimal(part["quantity"])]
    is_one_row = is_told and len(parts) == 1 and stretches[0]["rate"] == whole["quantity"]
    if is_one_row and Decimal(stretches[0]["quantity"]) == line.quantity:
        return
    for part in parts:
        if part["name"] == "included":
            yield PaperStep("Included", _units(line, Decimal(part["quantity"])), "no charge", "")
    for part in held:
        yield PaperStep(
            f"{part['rate']} of {whole['quantity']} days",
            _units(line, Decimal(part["quantity"])),
            f"{TIMES} {_stated(line, Decimal(whole['rate']))}",
            _result(line, Decimal(part["amount"])),
        )


# --- Figures ---------------------------------------------------------------------------------------------------------


def _model_amount(line: InvoiceLine) -> Decimal:
    """What the charge model made of it, before a bound and before money."""
    known = (line.model_amount, line.priced_amount, line.exact_amount)
    return next(amount for amount in known if amount is not None)


def _stated(line: InvoiceLine, amount: Decimal) -> str:
    """An amount in what the price is stated in: money, or a unit such as credits."""
    if line.pricing_unit_singular:
        return _in_pricing_unit(line, amount)
    return print_money(amount, line.amount.currency.code)


def _in_pricing_unit(line: InvoiceLine, amount: Decimal) -> str:
    name = line.pricing_unit_singular if amount == 1 else line.pricing_unit_plural
    return f"{print_quantity(amount)} {name}"


def _result(line: InvoiceLine, amount: Decimal) -> str:
    return _equals(_cut(amount, lambda figure: _stated(line, figure)))


def _equals(text: str) -> str:
    return f"={NO_BREAK}{text}"


def _is_amount(line: InvoiceLine) -> bool:
    return line.charge_model == ChargeModelName.AMOUNT_IN_EVENT


def _units(line: InvoiceLine, quantity: Decimal) -> str:
    return f"{_cut(quantity, print_quantity)} {_unit_name(line, quantity)}".strip()


def _charged_units(line: InvoiceLine, quantity: Decimal) -> str:
    return f"{_cut(quantity, print_quantity)} {_charged_unit(line, quantity)}".strip()


def _charged_unit(line: InvoiceLine, quantity: Decimal) -> str:
    """The name of what is charged: a conversion turns the metric's units into others, which have no name."""
    if line.converted_quantity is None:
        return _unit_name(line, quantity)
    return "billing unit" if quantity == 1 else "billing units"


def _unit_name(line: InvoiceLine, quantity: Decimal) -> str:
    return line.unit_singular if quantity == 1 else line.unit_plural


def _transactions(count: Decimal) -> str:
    return format_units(count, singular="transaction", plural="transactions")


def _cut(number: Decimal, as_text: Callable[[Decimal], str], *, decimals: int = MOST_DECIMALS) -> str:
    with exact_arithmetic():
        cut = number.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_DOWN)
    if cut == number:
        return as_text(cut)
    # The mark stands behind the number and before its unit.
    figure = print_quantity(cut)
    return as_text(cut).replace(figure, f"{figure}…", 1)


def print_quantity(number: Decimal) -> str:
    return format_quantity(number).replace("-", TRUE_MINUS)


def print_money(amount: Decimal, currency: str) -> str:
    """An amount with its currency sign and a true minus."""
    return format_money(amount, currency).replace("-", TRUE_MINUS)


def in_reading_order(text: str) -> str:
    """Let a text that begins in a right-to-left script run that way as a whole, digits and Latin words included."""
    first_strong = next((kind for kind in map(unicodedata.bidirectional, text) if kind in {"L", "R", "AL"}), "L")
    return text if first_strong == "L" else f"\N{RIGHT-TO-LEFT ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}"
