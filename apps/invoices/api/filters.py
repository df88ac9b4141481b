"""Which invoices a list request asks for."""

from __future__ import annotations

import datetime as dt

import django_filters
from django.db.models import DateField, DateTimeField, F, Func, QuerySet, Value
from django.db.models.functions import Cast

from apps.invoices.models import Invoice, InvoiceStatus


class InvoiceFilter(django_filters.FilterSet):
    """Filters of the invoice list. Days are days in the time zone of each invoice, both ends inclusive."""

    status = django_filters.MultipleChoiceFilter(choices=InvoiceStatus.choices)
    customer = django_filters.CharFilter(field_name="customer__external_id", label="External ID of the customer.")
    contract = django_filters.NumberFilter(field_name="contract_id", label="ID of the contract.")
    number = django_filters.CharFilter(field_name="number", label="The whole invoice number.")
    period_from = django_filters.DateFilter(
        method="ending_on_or_after", label="Only invoices whose service period has days on or after this one."
    )
    period_to = django_filters.DateFilter(
        method="starting_on_or_before", label="Only invoices whose service period has days on or before this one."
    )

    class Meta:
        model = Invoice
        fields = ["status", "customer", "contract", "number"]

    def ending_on_or_after(self, queryset: QuerySet[Invoice], name: str, day: dt.date) -> QuerySet[Invoice]:
        # Periods are half-open, so the last day is that of the instant just before the end.
        last_instant = F("period_end_at") - Value(dt.timedelta(microseconds=1))
        return queryset.alias(last_date=_local_date(last_instant)).filter(last_date__gte=day)

    def starting_on_or_before(self, queryset: QuerySet[Invoice], name: str, day: dt.date) -> QuerySet[Invoice]:
        return queryset.alias(first_date=_local_date(F("period_start_at"))).filter(first_date__lte=day)


def _local_date(instant: F | object) -> Cast:
    """The day of an instant in the time zone of the invoice's row."""
    return Cast(
        Func(F("timezone"), instant, function="timezone", output_field=DateTimeField()), output_field=DateField()
    )
