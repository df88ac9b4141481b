"""Invoices as the API shows them. Decimals are strings and carry every digit."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypedDict

from djmoney.money import Money
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from apps.common.api import PlainDecimalField
from apps.invoices.models import Invoice, InvoiceDocument, InvoiceLine
from apps.pricing.money import minor_units
from apps.pricing.periods import Period


@extend_schema_field({"type": "string", "format": "decimal", "example": "187.98"})
class AmountField(serializers.Field[Money, Any, str, Any]):
    """A billed amount as text with the decimals of its currency; the currency stands beside it."""

    def to_representation(self, value: Money) -> str:
        digits = max(minor_units(value.currency.code), -int(value.amount.normalize().as_tuple().exponent))
        return f"{value.amount:.{digits}f}"


class PeriodSerializer(serializers.Serializer[Period]):
    """A half-open stretch of time, and its first and last day in the zone, both inclusive."""

    start_at = serializers.DateTimeField()
    end_at = serializers.DateTimeField()
    timezone = serializers.CharField(source="zone")
    first_date = serializers.DateField()
    last_date = serializers.DateField()


class PartySerializer(serializers.Serializer[Any]):
    """A seller or buyer; on an issued invoice the copy that was made at issue."""

    name = serializers.CharField()
    line1 = serializers.CharField()
    line2 = serializers.CharField()
    postal_code = serializers.CharField()
    city = serializers.CharField()
    region = serializers.CharField()
    country = serializers.CharField()
    tax_id = serializers.CharField()
    email = serializers.CharField()


class TierSerializer(serializers.Serializer[Any]):
    """The part of a quantity above ``lower`` up to and including ``upper``; a null upper bound is open."""

    lower = serializers.CharField()
    upper = serializers.CharField(allow_null=True)
    quantity = serializers.CharField()
    unit_amount = serializers.CharField()
    per_units = serializers.CharField()
    flat_amount = serializers.CharField()
    amount = serializers.CharField()
    in_packages = serializers.SerializerMethodField(help_text="Whether each started `per_units` is charged whole.")

    def get_in_packages(self, tier: dict[str, Any]) -> bool:
        return "in_packages" in tier


class ComponentSerializer(serializers.Serializer[Any]):
    """A part of an amount that is not made of tiers.

    Of a percentage: `free` (transactions, and their amount), `rate` (amount, and percent of it), `fixed` (transactions,
    and the fee of each), and what bounds `raised` and `lowered`. Of seats: `seats` (how many, and for how many days),
    and `of_days` (days of the whole period, and the price of a seat for it).
    """

    name = serializers.CharField()
    quantity = serializers.CharField()
    rate = serializers.CharField()
    amount = serializers.CharField()


class PricingUnitSerializer(serializers.Serializer[InvoiceLine]):
    """What the price is stated in when that is not money, and what one of it is worth in the invoice's currency."""

    singular = serializers.CharField(source="pricing_unit_singular")
    plural = serializers.CharField(source="pricing_unit_plural")
    rate = PlainDecimalField(source="pricing_unit_rate")
    amount = PlainDecimalField(
        source="priced_amount", allow_null=True, help_text="The line's amount in this unit; null for a bound."
    )


class InvoiceLineSerializer(serializers.ModelSerializer[InvoiceLine]):
    product = serializers.CharField(source="product_name")
    metric = serializers.CharField(source="metric_code")
    price_version = serializers.IntegerField(source="price_version_id")
    window = PeriodSerializer()
    quantity = PlainDecimalField()
    included_units = PlainDecimalField()
    billable_quantity = PlainDecimalField()
    unit_amount = PlainDecimalField(allow_null=True)
    per_units = PlainDecimalField()
    tiers = TierSerializer(many=True)
    components = ComponentSerializer(many=True)
    failures_free = PlainDecimalField(help_text="Units that were free because their outcome failed.")
    converted_quantity = PlainDecimalField(
        allow_null=True, help_text="The quantity in billing units, where the price has a conversion."
    )
    model_amount = PlainDecimalField(
        allow_null=True, help_text="The amount before the price's minimum or maximum, where one of them applied."
    )
    pricing_unit = serializers.SerializerMethodField()
    dimensions = serializers.SerializerMethodField(
        help_text="The values that the line's row of a matrix prices, by dimension; null stands for any value."
    )
    bound = serializers.CharField(
        help_text="`minimum` or `maximum` on a line that brings the lines of a matrix to it, else empty."
    )
    exact_amount = PlainDecimalField()
    billed_before = PlainDecimalField()
    amount = AmountField()

    class Meta:
        model = InvoiceLine
        fields = [
            "position",
            "product",
            "description",
            "charge_model",
            "metric",
            "price_version",
            "window",
            "stored_before",
            "share_days",
            "share_of_days",
            "event_count",
            "quantity",
            "included_units",
            "billable_quantity",
            "unit_singular",
            "unit_plural",
            "unit_amount",
            "per_units",
            "tiers",
            "components",
            "failures_free",
            "converted_quantity",
            "model_amount",
            "pricing_unit",
            "dimensions",
            "bound",
            "exact_amount",
            "billed_before",
            "is_reversal",
            "amount",
        ]

    @extend_schema_field(PricingUnitSerializer(allow_null=True))
    def get_pricing_unit(self, line: InvoiceLine) -> dict[str, Any] | None:
        return PricingUnitSerializer(line).data if line.pricing_unit_singular else None

    def get_dimensions(self, line: InvoiceLine) -> dict[str, str | None]:
        return dict(zip(line.dimensions, line.dimension_values, strict=True))


class InvoiceSummarySerializer(serializers.ModelSerializer[Invoice]):
    """An invoice in a list. A draft has no number and no dates yet."""

    customer = serializers.CharField(source="customer.external_id")
    contract = serializers.IntegerField(source="contract_id")
    period = PeriodSerializer()
    currency = serializers.CharField(source="total.currency.code")
    subtotal = AmountField()
    total = AmountField()

    class Meta:
        model = Invoice
        fields = [
            "id",
            "number",
            "kind",
            "status",
            "customer",
            "contract",
            "period",
            "currency",
            "subtotal",
            "total",
            "invoice_date",
            "due_date",
            "issued_at",
            "paid_at",
            "voided_at",
        ]


class DocumentInfo(TypedDict):
    state: str
    sha256: str
    rendered_at: dt.datetime | None
    error: str


class InvoiceSerializer(InvoiceSummarySerializer):
    """A whole invoice. ``document`` is null while the invoice is a draft."""

    seller = PartySerializer(source="seller_party")
    buyer = PartySerializer(source="buyer_party")
    lines = InvoiceLineSerializer(many=True)
    document = serializers.SerializerMethodField()

    class Meta(InvoiceSummarySerializer.Meta):
        fields = [
            *InvoiceSummarySerializer.Meta.fields,
            "stored_before",
            "rated_at",
            "purchase_order",
            "payment_terms_days",
            "payment_instructions",
            "footer",
            "seller",
            "buyer",
            "lines",
            "document",
        ]

    @extend_schema_field(OpenApiTypes.OBJECT)
    def get_document(self, invoice: Invoice) -> DocumentInfo | None:
        document: InvoiceDocument | None = getattr(invoice, "document", None)
        if document is None:
            return None
        return {
            "state": document.state,
            "sha256": document.sha256,
            "rendered_at": document.rendered_at,
            "error": document.error,
        }
