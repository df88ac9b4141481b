"""Products, pricing units, plans and prices as the API shows and takes them."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from apps.billable_metrics.models import BillableMetric
from apps.common.api import NamedField, StrictSerializer
from apps.common.days import check_day
from apps.products.api.terms import PriceVersionSerializer, TermsInput
from apps.products.models import (
    BillingInterval,
    BillingTiming,
    Plan,
    PlanVersion,
    Price,
    PricingUnit,
    Product,
    Recurrence,
)
from apps.products.services import ChargedFor

Slug = serializers.SlugRelatedField[Any]


def currency_field(**kwargs: Any) -> serializers.ChoiceField:
    return serializers.ChoiceField([(code, code) for code in settings.CURRENCIES], **kwargs)


# --- What is shown ---------------------------------------------------------------------------------------------------


class ProductSerializer(serializers.ModelSerializer[Product]):
    class Meta:
        model = Product
        fields = ["code", "name", "description"]
        read_only_fields = fields


class PricingUnitSerializer(serializers.ModelSerializer[PricingUnit]):
    class Meta:
        model = PricingUnit
        fields = ["code", "singular", "plural"]
        read_only_fields = fields


class PriceSerializer(serializers.ModelSerializer[Price]):
    """One charge of a plan version, and how it is charged: in each currency, from each day on."""

    plan: Slug = serializers.SlugRelatedField("code", source="plan_version.plan", read_only=True)
    plan_version = serializers.IntegerField(source="plan_version.number", read_only=True)
    product: Slug = serializers.SlugRelatedField("code", read_only=True)
    metric: Slug = serializers.SlugRelatedField("code", read_only=True)
    pricing_unit: Slug = serializers.SlugRelatedField("code", read_only=True)
    versions = PriceVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Price
        fields = [
            "id",
            "plan",
            "plan_version",
            "name",
            "product",
            "metric",
            "pricing_unit",
            "recurrence",
            "timing",
            "position",
            "versions",
        ]
        read_only_fields = fields


class PlanVersionSerializer(serializers.ModelSerializer[PlanVersion]):
    prices = PriceSerializer(many=True, read_only=True)

    class Meta:
        model = PlanVersion
        fields = ["number", "status", "currencies", "billing_months", "published_at", "prices"]
        read_only_fields = fields


class PlanSerializer(serializers.ModelSerializer[Plan]):
    versions = PlanVersionSerializer(many=True, read_only=True)

    class Meta:
        model = Plan
        fields = ["code", "name", "description", "versions"]
        read_only_fields = fields


# --- What is sent ----------------------------------------------------------------------------------------------------


class ProductInput(StrictSerializer):
    code = serializers.CharField(max_length=64, help_text="How the API and exports name it, such as chat.")
    name = serializers.CharField(max_length=100, help_text="Printed on invoices.")
    description = serializers.CharField(required=False, allow_blank=True)


@extend_schema_serializer(component_name="ChangedProductInput")
class ChangedProductInput(ProductInput):
    code = None  # type: ignore[assignment]  # the code is how everyone names the product, and stands


class PricingUnitInput(StrictSerializer):
    code = serializers.CharField(max_length=64, help_text="How the API and exports name it, such as credit.")
    singular = serializers.CharField(max_length=40, help_text="Plain word for one, such as credit.")
    plural = serializers.CharField(max_length=40, help_text="For several, such as credits.")


@extend_schema_serializer(component_name="ChangedPricingUnitInput")
class ChangedPricingUnitInput(PricingUnitInput):
    code = None  # type: ignore[assignment]


class VersionTermsInput(StrictSerializer):
    currencies = serializers.ListField(
        child=currency_field(),
        required=False,
        min_length=1,
        help_text="Every charge is priced in each of them. Your default currency if it is left out.",
    )
    billing_months = serializers.ChoiceField(
        BillingInterval.choices, required=False, help_text="Length of a billing period."
    )


class PlanInput(VersionTermsInput):
    """A plan, with its first version: a draft without prices."""

    code = serializers.CharField(max_length=64, help_text="How the API and exports name it, such as pro.")
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(required=False, allow_blank=True)


class ChangedPlanInput(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    description = serializers.CharField(required=False, allow_blank=True)


class NewVersionInput(VersionTermsInput):
    """A further version of a plan: a draft, empty or a copy."""

    copy_of = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=2_147_483_647,
        help_text="Number of the version whose charges are copied, at the amounts that hold now.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "copy_of" in attrs:
            for name in ("currencies", "billing_months"):
                if name in attrs:
                    raise serializers.ValidationError({name: "A copy has those of its original. Leave it out."})
        return attrs


class PriceInput(TermsInput):
    """A charge to add to a draft, with its amounts in one currency."""

    product = NamedField("code", queryset=Product.objects.all(), help_text="Its code.")
    name = serializers.CharField(max_length=120, help_text="The line on the invoice, such as Input tokens.")
    metric = NamedField(
        "code",
        queryset=BillableMetric.objects.all(),
        required=False,
        allow_null=True,
        help_text="Code of the metric that measures the usage; none for a fee.",
    )
    pricing_unit = NamedField(
        "code",
        queryset=PricingUnit.objects.all(),
        required=False,
        allow_null=True,
        help_text="Code of the unit that the amounts are in; none for money.",
    )
    recurrence = serializers.ChoiceField(Recurrence.choices, required=False)
    timing = serializers.ChoiceField(BillingTiming.choices, required=False)
    position = serializers.IntegerField(
        required=False, min_value=0, max_value=32_767, help_text="Order on the invoice; last if it is left out."
    )
    currency = currency_field(required=False, help_text="The plan version's first if it is left out.")

    CHARGED_FOR = ("product", "name", "metric", "pricing_unit", "recurrence", "timing")

    def charged(self, base: ChargedFor | None = None) -> ChargedFor:
        """What was sent, on top of ``base``."""
        sent = {name: self.validated_data[name] for name in self.CHARGED_FOR if name in self.validated_data}
        for name, kind in (("recurrence", Recurrence), ("timing", BillingTiming)):
            if name in sent:
                sent[name] = kind(sent[name])
        known = {} if base is None else {name: getattr(base, name) for name in self.CHARGED_FOR}
        return ChargedFor(**{**known, **sent})


class PriceVersionInput(TermsInput):
    """New amounts of a price: from a day on or, for a draft, in one more currency."""

    currency = currency_field(required=False, help_text="The plan version's first if it is left out.")
    effective_from = serializers.DateField(
        required=False,
        help_text="First day of the amounts in the customer's time zone. A published price needs it; a draft has none.",
    )
    note = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="Why the price changes, for colleagues."
    )
    acknowledge_backdating = serializers.BooleanField(
        required=False, help_text="Needed for a day that is past: usage of open periods is rated anew from then on."
    )

    def validate_effective_from(self, day: Any) -> Any:
        check_day(day, field="effective_from")
        return day
