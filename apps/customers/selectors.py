"""Reads over customers."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Value

from apps.customers.models import Customer, CustomerAlias


def customers_by_subject(subjects: Collection[str]) -> dict[str, int]:
    """Return the customer's primary key for each event subject that is an external ID or an alias."""
    wanted = list(set(subjects))
    aliases = CustomerAlias.objects.filter(alias__in=wanted).values_list(Value(0), "alias", "customer_id")
    customers = Customer.objects.filter(external_id__in=wanted).values_list(Value(1), "external_id", "id")
    # One query. Should both know a subject, the external ID wins.
    found = aliases.order_by().union(customers.order_by(), all=True)
    return {subject: customer_id for _, subject, customer_id in sorted(found)}


def subjects_of(customer: Customer) -> list[str]:
    """Every subject under which events reach the customer."""
    return [customer.external_id, *customer.aliases.values_list("alias", flat=True)]
