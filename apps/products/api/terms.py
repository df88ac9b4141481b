"""The terms of a price as the API takes and shows them: the names are those of ``PriceTerms``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

from django.db import models
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.common.api import PlainDecimalField, StrictSerializer
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.pricing.formatting import plain_decimal
from apps.pricing.written_fields import DIGITS_OF_AMOUNT, DIGITS_OF_QUANTITY, InvalidWrittenPrice, read_number
from apps.products.models import (
    ChargeModelName,
    FailurePolicy,
    PriceMatrixRow,
    PriceTier,
    PriceVersion,
    QuantityRounding,
    in_tier_order,
)
from apps.products.terms import PriceTerms

TERMS = tuple(field.name for field in fields(PriceTerms))
ZERO = Decimal(0)


@extend_schema_field({"type": "string", "format": "decimal", "example": "0.0025"})
class ExactNumberField(serializers.Field[Decimal, Any, str, Any]):
    """A number of zero or more with up to 12 decimals, as text or as a number of JSON; no digit is lost."""

    def __init__(self, *, digits: int, **kwargs: Any) -> None:
        self.digits = digits
        super().__init__(**kwargs)

    def to_internal_value(self, data: Any) -> Decimal:
        try:
            return read_number(data, "", self.digits)
        except InvalidWrittenPrice as fault:
            raise serializers.ValidationError(fault.detail) from None

    def to_representation(self, value: Decimal) -> str:
        return plain_decimal(value)


def amount(help_text: str = "") -> ExactNumberField:
    """An amount of money or of the pricing unit, a rate or a multiplier."""
    return ExactNumberField(digits=DIGITS_OF_AMOUNT, required=False, allow_null=True, help_text=help_text)


def quantity(help_text: str = "") -> ExactNumberField:
    """A number of units."""
    return ExactNumberField(digits=DIGITS_OF_QUANTITY, required=False, allow_null=True, help_text=help_text)


# --- What is sent ----------------------------------------------------------------------------------------------------


class PriceTierInput(StrictSerializer):
    """A range of quantities: above the tier before, up to and including `up_to`. A rate takes the place of prices."""

    up_to = quantity("Last unit of the tier; null in the last one: without end.")
    unit_amount = amount("For `per_units` units or, with a package size, for each started package.")
    flat_amount = amount("Charged once when the tier is reached; the amount of a step.")
    package_size = quantity("Units in a package.")
    rate_percent = amount("For graduated percentages only.")


class MatrixRowInput(StrictSerializer):
    """The unit price of usage with these values of the dimensions."""

    match = serializers.DictField(
        child=serializers.CharField(max_length=500, trim_whitespace=False),
        required=False,
        help_text="Value by dimension; one that is left out may have any value. `{}` is the default row.",
    )
    unit_amount = ExactNumberField(digits=DIGITS_OF_AMOUNT)


class TermsInput(StrictSerializer):
    """A charge model with its amounts. Which of them there are follows from the model; the rest is left out."""

    charge_model = serializers.ChoiceField(ChargeModelName.choices)
    flat_amount = amount("The fee for one full period, or once.")
    unit_amount = amount("For `per_units` units, for a package, or for a seat and period.")
    per_units = quantity("How many units a unit price is for; 1 if left out.")
    package_size = quantity("Units in a package; each started one is charged whole.")
    rate_percent = amount("Of each transaction's amount.")
    fixed_amount = amount("Charged once for each transaction.")
    free_transactions = serializers.IntegerField(
        required=False, allow_null=True, min_value=0, max_value=2_147_483_647, help_text="The first ones of a period."
    )
    transaction_minimum = amount("The least that one transaction costs.")
    transaction_maximum = amount("The most that one transaction costs.")
    multiplier = amount("What the amounts in events are multiplied by.")
    included_units = quantity("What is free in each period: units, seats, or an amount of money.")
    prorates_included = serializers.BooleanField(required=False, help_text="In a part of a period: by share of days.")
    minimum = amount("The least that a full period costs, even without usage.")
    maximum = amount("The most that a full period costs.")
    flat_fee_at_zero_usage = serializers.BooleanField(
        required=False, help_text="Charge the first tier's flat fee in a period without usage."
    )
    divide_by = quantity("Turns the measured quantity into billing units, such as 60 for minutes.")
    quantity_rounding = serializers.ChoiceField(
        [choice for choice in QuantityRounding.choices if choice[0]],
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="Of the quantity after it is divided; left out or empty: fractions stay.",
    )
    failures = serializers.ChoiceField(FailurePolicy.choices, required=False)
    free_failures = quantity("Units of failed outcomes that are free, with `free_up_to`.")
    prorates_added = serializers.BooleanField(required=False, help_text="A seat is charged from the day it is added.")
    prorates_removed = serializers.BooleanField(required=False, help_text="A seat is charged to the day it is removed.")
    pricing_unit_rate = amount("What one of the pricing unit is worth in money.")
    dimensions = serializers.ListField(
        child=serializers.CharField(max_length=200, trim_whitespace=False),
        required=False,
        max_length=20,
        help_text="The metric's dimensions that a matrix prices by.",
    )
    tiers = PriceTierInput(many=True, required=False)
    rows = MatrixRowInput(many=True, required=False)

    def terms(self, base: PriceTerms | None = None) -> PriceTerms | None:
        """What was sent; None when no term was sent.

        With a charge model the terms are those that were sent and no others. Without one they change ``base``.
        """
        sent: dict[str, Any] = {name: self.validated_data[name] for name in TERMS if name in self.validated_data}
        if not sent:
            return None
        if "charge_model" in sent:
            base, sent["charge_model"] = None, ChargeModelName(sent["charge_model"])
        elif base is None:
            raise serializers.ValidationError({"charge_model": "Say how the usage is charged."})
        model = sent.get("charge_model") or (base.charge_model if base else ChargeModelName.FLAT)
        _read_choices(sent)
        if "tiers" in sent:
            sent["tiers"] = tuple(_tier(tier, model) for tier in sent["tiers"])
        if "dimensions" in sent:
            sent["dimensions"] = tuple(sent["dimensions"])
        if "rows" in sent:
            dimensions = sent.get("dimensions", base.dimensions if base else ())
            sent["rows"] = tuple(_row(number, row, dimensions) for number, row in enumerate(sent["rows"], start=1))
        return PriceTerms(**sent) if base is None else replace(base, **sent)


def _read_choices(sent: dict[str, Any]) -> None:
    if sent.get("failures") is not None:
        sent["failures"] = FailurePolicy(sent["failures"])
    if sent.get("quantity_rounding") is not None:
        sent["quantity_rounding"] = QuantityRounding(sent["quantity_rounding"])
    elif sent.get("divide_by") is not None and "quantity_rounding" not in sent:
        sent["quantity_rounding"] = QuantityRounding.NONE


def _tier(sent: Mapping[str, Any], model: ChargeModelName) -> Tier:
    is_rate = model == ChargeModelName.GRADUATED_PERCENTAGE
    price, other = ("rate_percent", "unit_amount") if is_rate else ("unit_amount", "rate_percent")
    if sent.get(other) is not None:
        sentence = f"A tier of this model has no {other}. Use {price}."
        raise serializers.ValidationError({"tiers": {other: sentence}})
    return Tier(
        up_to=sent.get("up_to"),
        unit_amount=sent.get(price) or ZERO,
        flat_amount=sent.get("flat_amount") or ZERO,
        package_size=sent.get("package_size"),
    )


def _row(number: int, sent: Mapping[str, Any], dimensions: Sequence[str]) -> MatrixRow:
    match = sent.get("match", {})
    unknown = [name for name in match if name not in dimensions]
    if unknown:
        sentence = f"Row {number} names “{unknown[0]}”, which is none of the dimensions. Add it there, or leave it out."
        raise serializers.ValidationError({"rows": sentence})
    if "unit_amount" not in sent:  # A change may leave fields out, but not those of its rows.
        raise serializers.ValidationError({"rows": f"Row {number} has no unit amount. Enter it; 0 is allowed."})
    return MatrixRow(values=tuple(match.get(name) for name in dimensions), unit_amount=sent["unit_amount"])


# --- What is shown ---------------------------------------------------------------------------------------------------


class ExactModelSerializer(serializers.ModelSerializer[Any]):
    """Shows the decimals of a model as plain text."""

    def build_standard_field(self, field_name: str, model_field: Any) -> Any:
        if isinstance(model_field, models.DecimalField):
            shown = {"read_only": True, "allow_null": model_field.null, "help_text": str(model_field.help_text)}
            return PlainDecimalField, shown
        return super().build_standard_field(field_name, model_field)


class PriceTierSerializer(serializers.Serializer[PriceTier]):
    up_to = PlainDecimalField(allow_null=True, help_text="Last unit of the tier; null: without end.")
    unit_amount = serializers.SerializerMethodField(help_text="null in a tier of rates.")
    flat_amount = PlainDecimalField()
    package_size = PlainDecimalField(allow_null=True)
    rate_percent = PlainDecimalField(allow_null=True)

    @extend_schema_field({"type": "string", "format": "decimal", "nullable": True})
    def get_unit_amount(self, tier: PriceTier) -> str | None:
        return None if tier.rate_percent is not None else plain_decimal(tier.unit_amount)


class MatrixRowSerializer(serializers.Serializer[PriceMatrixRow]):
    match = serializers.SerializerMethodField()
    unit_amount = PlainDecimalField()

    @extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
    def get_match(self, row: PriceMatrixRow) -> dict[str, str]:
        named = zip(self.context["dimensions"], row.values, strict=True)
        return {name: value for name, value in named if value is not None}


class PriceVersionSerializer(ExactModelSerializer):
    """How a price is charged in one currency from one day on. What its charge model does not have is null."""

    tiers = serializers.SerializerMethodField()
    rows = serializers.SerializerMethodField()

    class Meta:
        model = PriceVersion
        fields = ["id", "currency", "effective_from", "recorded_at", "note", *TERMS]
        read_only_fields = fields
        extra_kwargs = {
            "effective_from": {
                "help_text": "First day of these amounts in the customer's time zone; null: ever since."
            },
            "recorded_at": {"help_text": "Of two versions with the same day, the later recorded one holds."},
        }

    @extend_schema_field(PriceTierSerializer(many=True))
    def get_tiers(self, version: PriceVersion) -> Any:
        return [PriceTierSerializer(tier).data for tier in in_tier_order(version.tiers.all())]

    @extend_schema_field(MatrixRowSerializer(many=True))
    def get_rows(self, version: PriceVersion) -> Any:
        context = {"dimensions": version.dimensions}
        return [MatrixRowSerializer(row, context=context).data for row in version.rows.all()]
