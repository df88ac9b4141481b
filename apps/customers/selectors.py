"""Reads over customers."""

from __future__ import annotations

from collections.abc import Collection

from apps.customers.models import Customer, CustomerAlias


def customers_by_subject(subjects: Collection[str]) -> dict[str, int]:
    """Return the customer's primary key for each event subject that is an external ID or an alias."""
    wanted = set(subjects)
    found = dict(CustomerAlias.objects.filter(alias__in=wanted).values_list("alias", "customer_id"))
    found.update(Customer.objects.filter(external_id__in=wanted).values_list("external_id", "id"))
    return found


def subjects_of(customer: Customer) -> list[str]:
    """Every subject under which events reach the customer."""
    return [customer.external_id, *customer.aliases.values_list("alias", flat=True)]
