"""The admin pages of what is sold."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common.admin import (
    BillingAdmin,
    number_cell,
)
from apps.products.models import PricingUnit, Product


@admin.register(Product)
class ProductAdmin(BillingAdmin[Product]):
    list_display = ["name", "code", "prices_shown"]
    # Said here, for the count below makes Django forget the model's own.
    ordering = ["name", "id"]
    search_fields = ["name", "code"]
    search_help_text = "Name or code"
    fieldsets = [
        (
            None,
            {
                "fields": ["name", "code", "description"],
                "description": "What customers buy, such as “Chat API”. Invoices group their lines by product.",
            },
        )
    ]
    empty_state = (
        "No products yet",
        "A product is something your customers buy, such as “Chat API” or “Support”. Every price belongs to one, and "
        "invoices group their lines by it.",
        "admin:products_product_add",
        "Add a product",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        products: QuerySet[Product] = super().get_queryset(request)
        return products.annotate(price_count=Count("prices"))

    @display(description="Prices", ordering="price_count")
    def prices_shown(self, product: Any) -> SafeString:
        return number_cell(f"{product.price_count:,}")


@admin.register(PricingUnit)
class PricingUnitAdmin(BillingAdmin[PricingUnit]):
    list_display = ["plural", "code", "prices_shown"]
    ordering = ["plural", "id"]
    search_fields = ["singular", "plural", "code"]
    search_help_text = "Name or code"
    fieldsets = [
        (
            None,
            {
                "fields": ["singular", "plural", "code"],
                "description": "What prices are in when they are not in money, such as credits. The prices in one unit "
                "are its burn table: what each action takes. Each price says what one unit is worth.",
            },
        )
    ]
    empty_state = (
        "No pricing units yet",
        "A pricing unit is what you sell actions for when they are not priced in money: a call takes 1 credit, an "
        "image 10. Each price says what a credit is worth, and invoices show both.",
        "admin:products_pricingunit_add",
        "Add a pricing unit",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PricingUnit]:
        units: QuerySet[PricingUnit] = super().get_queryset(request)
        return units.annotate(price_count=Count("prices"))

    @display(description="Prices", ordering="price_count")
    def prices_shown(self, unit: Any) -> SafeString:
        return number_cell(f"{unit.price_count:,}")
