"""An estimate as the API answers it: amounts with the currency's decimals, everything else as plain decimals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

from apps.common.api import PlainDecimalField
from apps.pricing.charge_models.base import Component, TierCharge
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charges import Charge, RatedCharge
from apps.pricing.explain import Explanation
from apps.pricing.formatting import format_unit_amount, plain_decimal
from apps.pricing.invoice_pipeline import add_lines
from apps.pricing.money import sum_exactly
from apps.products.estimates import Estimate, EstimatedLine
from apps.products.models import Price


def estimate_body(made: Estimate, charge: Charge, price: Price | None = None) -> dict[str, Any]:
    """The answer for one price."""
    lines = _lines(made, charge, price)
    return {
        "amount": _money(made.amount),
        "exact": plain_decimal(made.exact),
        "currency": made.currency,
        "lines": lines,
        "tiers": lines[0]["tiers"] if len(lines) == 1 else [],
        "explanation": _together(lines, made.amount, made.currency),
    }


def plan_body(rated: Sequence[tuple[Price, Charge, Estimate]], currency: str) -> dict[str, Any]:
    """The answer for a plan: its lines as an invoice has them, and what each price comes to."""
    lines = [line for price, charge, made in rated for line in _lines(made, charge, price)]
    amount = add_lines([made.amount for _, _, made in rated], currency)
    return {
        "amount": _money(amount),
        "exact": plain_decimal(sum_exactly(made.exact for _, _, made in rated)),
        "currency": currency,
        "prices": [_price_entry(price, made) for price, _, made in rated],
        "lines": lines,
        "tiers": lines[0]["tiers"] if len(lines) == 1 else [],
        "explanation": _together(lines, amount, currency),
    }


def _price_entry(price: Price, made: Estimate) -> dict[str, Any]:
    return {
        "price": price.pk,
        "name": price.name,
        "product": price.product.code,
        "metric": price.metric.code if price.metric else None,
        "recurrence": price.recurrence,
        "timing": price.timing,
        "amount": _money(made.amount),
        "exact": plain_decimal(made.exact),
    }


def _lines(made: Estimate, charge: Charge, price: Price | None) -> list[dict[str, Any]]:
    return [_line(line, charge, price) for line in made.lines]


def _line(line: EstimatedLine, charge: Charge, price: Price | None) -> dict[str, Any]:
    rated = line.rated
    unit = charge.pricing_unit
    return {
        "label": ": ".join(part for part in (price.name if price else "", line.label) if part),
        "price": price.pk if price else None,
        "match": _match(rated, charge),
        "amount": _money(rated.amount),
        "exact": plain_decimal(rated.exact_amount),
        "quantity": plain_decimal(rated.quantity),
        "failures_free": plain_decimal(rated.failures_free),
        "converted_quantity": _number(rated.converted),
        "included_used": plain_decimal(rated.included_used),
        "billable_quantity": plain_decimal(rated.billable_quantity),
        "tiers": [_tier(tier) for tier in rated.tiers],
        "components": [_component(component) for component in rated.components],
        "amount_before_bounds": _number(rated.model_amount),
        "pricing_unit": None if unit is None or rated.bound else {"unit": unit.plural, "amount": _in_unit(rated)},
        "explanation": _explanation(line.explanation),
    }


def _match(rated: RatedCharge, charge: Charge) -> Mapping[str, str] | None:
    if rated.values is None or not isinstance(charge.model, Matrix):
        return None
    named = zip(charge.model.dimensions, rated.values, strict=True)
    return {name: value for name, value in named if value is not None}


def _in_unit(rated: RatedCharge) -> str:
    """The amount in credits and the like."""
    return plain_decimal(rated.exact_amount if rated.priced_amount is None else rated.priced_amount)


def _tier(tier: TierCharge) -> dict[str, Any]:
    return {
        "from": plain_decimal(tier.lower),
        "up_to": _number(tier.upper),
        "quantity": plain_decimal(tier.quantity),
        "unit_amount": plain_decimal(tier.unit_amount),
        "per_units": plain_decimal(tier.per_units),
        "in_packages": tier.in_packages,
        "flat_amount": plain_decimal(tier.flat_amount),
        "amount": plain_decimal(tier.amount),
    }


def _component(component: Component) -> dict[str, str]:
    return {
        "name": component.name,
        "quantity": plain_decimal(component.quantity),
        "rate": plain_decimal(component.rate),
        "amount": plain_decimal(component.amount),
    }


def _explanation(explanation: Explanation) -> dict[str, Any]:
    return {"formula": explanation.formula, "steps": list(explanation.steps)}


def _together(lines: Sequence[Mapping[str, Any]], amount: Decimal, currency: str) -> dict[str, Any]:
    """One line explains itself; several are told by their formulas, and added up."""
    if len(lines) == 1:
        explanation: dict[str, Any] = lines[0]["explanation"]
        return explanation
    total = format_unit_amount(amount, currency)
    if not lines:
        return {"formula": total, "steps": ["Nothing was used that is charged."]}
    steps = [f"{line['label']}: {line['explanation']['formula']}." for line in lines]
    formula = f"{' + '.join(format_unit_amount(Decimal(line['amount']), currency) for line in lines)} = {total}"
    return {"formula": formula, "steps": [*steps, f"Together: {formula}."]}


def _money(amount: Decimal) -> str:
    """A rounded amount, with all the decimals of its currency: ``10.50``."""
    return format(amount, "f")


def _number(number: Decimal | None) -> str | None:
    return None if number is None else plain_decimal(number)


# --- For the description ---------------------------------------------------------------------------------------------

_AMOUNT = "With the decimals of the currency."
EXPLANATION = inline_serializer(
    "Explanation",
    {
        "formula": serializers.CharField(help_text="The way to the amount in one line."),
        "steps": serializers.ListField(child=serializers.CharField(), help_text="The same in sentences."),
    },
)
TIER = inline_serializer(
    "EstimatedTier",
    {
        "from": PlainDecimalField(help_text="Above this quantity."),
        "up_to": PlainDecimalField(allow_null=True),
        "quantity": PlainDecimalField(help_text="Units that fell into the tier."),
        "unit_amount": PlainDecimalField(help_text="A rate in percent where the model has rates."),
        "per_units": PlainDecimalField(),
        "in_packages": serializers.BooleanField(help_text="Each started `per_units` is charged whole."),
        "flat_amount": PlainDecimalField(),
        "amount": PlainDecimalField(help_text="Exact."),
    },
    many=True,
)
COMPONENT = inline_serializer(
    "EstimatedComponent",
    {
        "name": serializers.CharField(),
        "quantity": PlainDecimalField(),
        "rate": PlainDecimalField(),
        "amount": PlainDecimalField(help_text="Exact."),
    },
    many=True,
)
LINE = inline_serializer(
    "EstimatedLine",
    {
        "label": serializers.CharField(help_text="Empty for the only line of a price written out."),
        "price": serializers.IntegerField(allow_null=True, help_text="ID of the stored price."),
        "match": serializers.DictField(
            child=serializers.CharField(), allow_null=True, help_text="The values of a matrix row; `{}`: all others."
        ),
        "amount": serializers.CharField(help_text=_AMOUNT),
        "exact": PlainDecimalField(help_text="Before rounding."),
        "quantity": PlainDecimalField(),
        "failures_free": PlainDecimalField(help_text="Units that are free because they failed."),
        "converted_quantity": PlainDecimalField(allow_null=True, help_text="In billing units, after a conversion."),
        "included_used": PlainDecimalField(help_text="Units that are included."),
        "billable_quantity": PlainDecimalField(help_text="Units that are charged."),
        "tiers": TIER,
        "components": COMPONENT,
        "amount_before_bounds": PlainDecimalField(
            allow_null=True, help_text="Exact, where the minimum or the maximum of the price applied."
        ),
        "pricing_unit": inline_serializer(
            "EstimatedPricingUnit", {"unit": serializers.CharField(), "amount": PlainDecimalField()}, allow_null=True
        ),
        "explanation": EXPLANATION,
    },
    many=True,
)
PRICE_ENTRY = inline_serializer(
    "EstimatedPrice",
    {
        "price": serializers.IntegerField(help_text="Its ID."),
        "name": serializers.CharField(),
        "product": serializers.CharField(),
        "metric": serializers.CharField(allow_null=True),
        "recurrence": serializers.CharField(),
        "timing": serializers.CharField(),
        "amount": serializers.CharField(help_text=_AMOUNT),
        "exact": PlainDecimalField(),
    },
    many=True,
    required=False,
    help_text="Of a plan: what each price comes to.",
)
ESTIMATE = inline_serializer(
    "Estimate",
    {
        "price": serializers.IntegerField(required=False, help_text="Of a stored price: its ID."),
        "plan": serializers.CharField(required=False),
        "version": serializers.IntegerField(required=False),
        "on": serializers.DateField(required=False),
        "amount": serializers.CharField(help_text=f"The sum of the lines. {_AMOUNT}"),
        "exact": PlainDecimalField(help_text="The sum of the exact lines, for comparison: it is never billed."),
        "currency": serializers.CharField(),
        "prices": PRICE_ENTRY,
        "lines": LINE,
        "tiers": TIER,
        "explanation": EXPLANATION,
    },
)
