"""The calculator beside a price form: what the price that is being typed makes of a quantity, and what is odd about it.

It answers the form's fields with a piece of HTML. Nothing is stored, and nothing that is incomplete is an error: what
is missing is said in words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render

from apps.common.formatting import format_money
from apps.pricing.charge_models.base import InvalidPrice, TierCharge, Usage, Wording
from apps.pricing.charge_models.percentage import Percentage
from apps.pricing.charge_models.tiers import range_of
from apps.pricing.charges import Charge
from apps.pricing.formatting import format_decimal, format_quantity
from apps.products.admin.drawing import Curve, draw
from apps.products.admin.trial import BY_AMOUNTS, Trial, read_trial
from apps.products.estimates import (
    CurvePoint,
    Estimate,
    EstimatedLine,
    UsageNotPriced,
    bounds_of,
    curve,
    effective_unit_price,
    estimate,
)
from apps.products.forms.terms import TermsForm
from apps.products.lint import lint_price
from apps.products.models import ChargeModelName
from apps.products.terms import PriceTerms, charge_of_terms

CHANGES = ("products.add_priceversion", "products.change_priceversion")
ONE = Decimal(1)


def calculate(request: HttpRequest, form: TermsForm) -> HttpResponse:
    """What the form's terms make of the usage that was typed beside it, as a piece of HTML."""
    if not any(request.user.has_perm(change) for change in CHANGES):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    form.is_valid()
    context: dict[str, Any] = {"group_by": _group_by(form), "currencies": _currencies(form), "faults": _faults(form)}
    terms, currency = form.entered, form.charged_currency
    if terms is None or not currency:
        return _answer(request, context)
    try:
        charge = charge_of_terms(terms, form.charged_unit)
    except InvalidPrice as fault:
        context["faults"] = context["faults"] or [("", str(fault))]
        return _answer(request, context)
    context["findings"] = lint_price(
        terms, metric=form.charged_metric, currency=currency, pricing_unit=form.charged_unit
    )
    sheet = _Sheet(terms, charge, currency, *_unit_words(form, terms))
    return _answer(request, context | _calculated(sheet, request))


def _answer(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    return render(request, "admin/products/price_calculator.html", context)


def _faults(form: TermsForm) -> list[tuple[str, str]]:
    """What is missing or wrong in the price itself, by the label of its field; a name may come later."""
    return [
        (str(form[name].label) if name in form.fields else "", str(fault))
        for name, faults in form.errors.items()
        if name not in {"name", "product", "plan_version", "effective_from", "seen_impact", "note"}
        for fault in faults
    ]


def _group_by(form: TermsForm) -> str:
    """The dimensions that the metric offers, for the script that offers them."""
    metric = form.charged_metric
    return "\n".join(metric.current_version.definition.group_by) if metric is not None else ""


def _currencies(form: TermsForm) -> str:
    version = form.cleaned_data.get("plan_version")
    return " ".join(version.currencies) if version is not None else ""


def _unit_words(form: TermsForm, terms: PriceTerms) -> tuple[str, str]:
    metric = form.charged_metric
    if metric is not None:
        return metric.unit_singular, metric.unit_plural
    return ("seat", "seats") if terms.charge_model == ChargeModelName.SEATS else ("unit", "units")


@dataclass(frozen=True, slots=True)
class _Sheet:
    """A price to calculate with, and the words for what it counts."""

    terms: PriceTerms
    charge: Charge
    currency: str
    unit_singular: str
    unit_plural: str

    @property
    def per(self) -> Decimal:
        """The number of units that an effective price is told for: the one that the price itself is for."""
        return self.terms.per_units or ONE

    @property
    def is_of_amounts(self) -> bool:
        return self.terms.charge_model in BY_AMOUNTS

    def quantity(self, quantity: Decimal) -> str:
        if self.is_of_amounts:
            return format_money(quantity, self.currency)
        return f"{format_quantity(quantity)} {self.unit_singular if quantity == 1 else self.unit_plural}"

    def unit_price(self, unit_price: Decimal) -> str:
        """``$1.35 per 1,000 tokens``, or in percent where money is what is counted."""
        if self.is_of_amounts:
            return f"{_short(unit_price * 100)}% of the amounts"
        per = self.unit_singular if self.per == 1 else f"{format_quantity(self.per)} {self.unit_plural}"
        return f"{format_money(_shortened(unit_price * self.per), self.currency)} per {per}"

    @property
    def wording(self) -> Wording:
        unit = self.charge.pricing_unit
        return Wording(
            currency=self.currency,
            unit_singular=self.unit_singular,
            unit_plural=self.unit_plural,
            share=None,
            priced_in=None if unit is None else (unit.singular, unit.plural),
        )


def _shortened(number: Decimal) -> Decimal:
    """To six digits that count: this is to look at, and not charged."""
    return Decimal(f"{number:.6g}")


def _short(number: Decimal) -> str:
    return format_decimal(_shortened(number))


def _calculated(sheet: _Sheet, request: HttpRequest) -> dict[str, Any]:
    trial = read_trial(sheet.terms, sheet.charge, request.POST, unit_plural=sheet.unit_plural)
    context: dict[str, Any] = {
        "currency": sheet.currency,
        "inputs": trial.inputs,
        "is_matrix": sheet.terms.charge_model == ChargeModelName.MATRIX,
        "trial_faults": trial.faults,
    }
    if trial.usage is None:
        return context
    try:
        found = estimate(
            sheet.charge,
            trial.usage,
            currency=sheet.currency,
            unit_singular=sheet.unit_singular,
            unit_plural=sheet.unit_plural,
        )
    except UsageNotPriced as refusal:
        return context | {"trial_faults": [refusal.detail]} | _curves(sheet, trial, None)
    return context | _shown(sheet, found, trial.usage) | _curves(sheet, trial, found)


def _shown(sheet: _Sheet, found: Estimate, usage: Usage) -> dict[str, Any]:
    effective = effective_unit_price(found.exact, usage.quantity)
    return {
        "estimate": found,
        "effective": None if effective is None else sheet.unit_price(effective),
        "lines": [
            {
                "label": line.label,
                "amount": line.rated.amount,
                "steps": line.explanation.steps,
                "tiers": list(_tiers(sheet, line)),
                "has_fees": any(tier.flat_amount for tier in line.rated.tiers),
            }
            for line in found.lines
        ],
    }


def _tiers(sheet: _Sheet, line: EstimatedLine) -> Iterator[dict[str, str]]:
    model, wording = sheet.terms.charge_model, sheet.wording
    for tier in line.rated.tiers:
        yield {
            "range": range_of(tier),
            "quantity": format_quantity(tier.quantity),
            "price": _tier_price(model, tier, wording),
            "fee": wording.money(tier.flat_amount) if tier.flat_amount else "",
            "amount": wording.money(tier.amount),
        }


def _tier_price(model: ChargeModelName, tier: TierCharge, wording: Wording) -> str:
    if model == ChargeModelName.GRADUATED_PERCENTAGE:
        return f"{format_decimal(tier.unit_amount)}%"
    if model == ChargeModelName.STAIRSTEP:
        return ""
    if tier.in_packages:
        return wording.package_price(tier.unit_amount, tier.per_units)
    return wording.unit_price(tier.unit_amount, tier.per_units)


# --- Curves ----------------------------------------------------------------------------------------------------------

FIGURES_OF_CURVE = 8


def _curves(sheet: _Sheet, trial: Trial, found: Estimate | None) -> dict[str, Any]:
    """The total and the unit price over the quantity; a fee has no quantity to draw it over."""
    usage = trial.usage
    if usage is None or sheet.terms.charge_model == ChargeModelName.FLAT:
        return {}
    points = curve(sheet.charge, sheet.currency, like=usage if found is not None else None)
    priced = [(point.quantity, point.unit_price) for point in points if point.unit_price is not None]
    if len(priced) < 2:
        return {}
    bounds = () if isinstance(sheet.charge.model, Percentage) else bounds_of(sheet.charge)
    effective = effective_unit_price(found.exact, usage.quantity) if found is not None else None
    total = draw(
        [(point.quantity, point.amount) for point in points],
        marked=(usage.quantity, found.amount) if found is not None else None,
        bounds=bounds,
    )
    unit_price = draw(priced, marked=None if effective is None else (usage.quantity, effective), bounds=bounds)
    return {"curves": list(_told(sheet, points, total, unit_price)), "figures": _figures(sheet, points)}


def _told(
    sheet: _Sheet, points: tuple[CurvePoint, ...], total: Curve | None, unit_price: Curve | None
) -> Iterator[dict[str, Any]]:
    first, last = points[0], points[-1]
    reach = sheet.quantity(last.quantity)
    prices = [point.unit_price for point in points if point.unit_price is not None]
    if total is not None:
        yield {
            "title": "Total",
            "curve": total,
            "top": format_money(total.highest, sheet.currency),
            "reach": reach,
            "words": f"The total goes from {format_money(first.amount, sheet.currency)} without usage to "
            f"{format_money(last.amount, sheet.currency)} at {reach}.",
        }
    if unit_price is not None:
        yield {
            "title": "Effective rate" if sheet.is_of_amounts else "Effective unit price",
            "curve": unit_price,
            "top": sheet.unit_price(unit_price.highest),
            "reach": reach,
            "words": f"On average it goes from {sheet.unit_price(prices[0])} to {sheet.unit_price(prices[-1])}.",
        }


def _figures(sheet: _Sheet, points: tuple[CurvePoint, ...]) -> list[tuple[str, Decimal, str]]:
    """Some points of the curve as a table, for those who do not see it."""
    step = max(1, len(points) // FIGURES_OF_CURVE)
    chosen = [*points[step::step]]
    if chosen[-1] is not points[-1]:
        chosen.append(points[-1])
    return [
        (sheet.quantity(point.quantity), point.amount, sheet.unit_price(point.unit_price))
        for point in chosen
        if point.unit_price is not None
    ]
