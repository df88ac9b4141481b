"""Customers for sales ops, and the companies of ours that bill them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from apps.common.admin import BillingAdmin, BillingInline, number_cell
from apps.common.history import HistoryScope
from apps.customers.models import BillingEntity, Customer, CustomerAlias

ADDRESS_FIELDS = ["line1", "line2", ("postal_code", "city"), ("region", "country")]


class AliasInline(BillingInline):
    model = CustomerAlias
    fields = ["alias"]
    verbose_name_plural = "Aliases: other names that usage events may carry as their subject"
    verbose_name = "alias"


@admin.register(Customer)
class CustomerAdmin(BillingAdmin[Customer]):
    list_display = ["name", "external_id_shown", "billing_entity", "country_shown", "timezone", "contracts_shown"]
    list_filter = [("billing_entity", AutocompleteSelectFilter), ("parent", AutocompleteSelectFilter)]
    list_select_related = ["billing_entity"]
    # Said here, for the count below makes Django forget the model's own.
    ordering = ["name", "id"]
    search_fields = ["name", "external_id", "legal_name", "aliases__alias"]
    search_help_text = "Name, external ID or alias"
    autocomplete_fields = ["billing_entity", "parent"]
    inlines = [AliasInline]
    fieldsets = [
        (None, {"fields": ["name", "external_id", "billing_entity", "timezone", "parent"]}),
        ("On invoices", {"fields": ["legal_name", "email", "tax_id", *ADDRESS_FIELDS]}),
    ]
    empty_state = (
        "No customers yet",
        "A customer is whom you bill. Give it the ID that your own systems use, for usage events name it by that.",
        "admin:customers_customer_add",
        "Add a customer",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Customer]:
        customers: QuerySet[Customer] = super().get_queryset(request)
        return customers.annotate(contract_count=Count("contracts", distinct=True))

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        only_entity = list(BillingEntity.objects.values_list("pk", "timezone")[:2])
        if len(only_entity) == 1:
            initial.setdefault("billing_entity", only_entity[0][0])
            initial.setdefault("timezone", only_entity[0][1])
        return initial

    def history_scopes(self, obj: Customer) -> list[HistoryScope]:
        return [*super().history_scopes(obj), HistoryScope(CustomerAlias, {"customer_id": obj.pk})]

    @display(description="External ID", ordering="external_id")
    def external_id_shown(self, customer: Customer) -> SafeString:
        return format_html('<span class="ch-code">{}</span>', customer.external_id)

    @display(description="Country", ordering="country")
    def country_shown(self, customer: Customer) -> str:
        return customer.country.name or "–"

    @display(description="Contracts", ordering="contract_count")
    def contracts_shown(self, customer: Any) -> SafeString:
        return number_cell(f"{customer.contract_count:,}")


@admin.register(BillingEntity)
class BillingEntityAdmin(BillingAdmin[BillingEntity]):
    list_display = ["name", "legal_name", "invoice_prefix", "default_currency", "timezone", "terms_shown"]
    search_fields = ["name", "legal_name", "invoice_prefix"]
    fieldsets = [
        (
            None,
            {
                "fields": ["name", "legal_name", "timezone", "default_currency"],
                "description": "A legal company of yours that issues invoices, with its own numbers and terms.",
            },
        ),
        ("Address on invoices", {"fields": [*ADDRESS_FIELDS, "tax_id", "email"]}),
        ("Invoicing", {"fields": ["invoice_prefix", "payment_terms_days", "grace_period_hours"]}),
        ("Text on invoices", {"fields": ["payment_instructions", "invoice_footer"]}),
    ]
    empty_state = (
        "No billing entities yet",
        "A billing entity is a legal company of yours that issues invoices. Each customer belongs to one, and each has "
        "invoice numbers of its own.",
        "admin:customers_billingentity_add",
        "Add a billing entity",
    )

    @display(description="Payment terms", ordering="payment_terms_days")
    def terms_shown(self, entity: BillingEntity) -> SafeString:
        return number_cell(f"{entity.payment_terms_days} days")
