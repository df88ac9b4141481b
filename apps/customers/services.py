"""Writes of customers."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db import transaction

from apps.common.errors import InvalidInput
from apps.common.history import acting
from apps.customers.models import Customer, CustomerAlias


@transaction.atomic
def add_alias(*, customer: Customer, alias: str, actor: User | None, reason: str = "") -> CustomerAlias | None:
    """Have usage events with this subject be the customer's. None: they are already."""
    if customer.external_id == alias or customer.aliases.filter(alias=alias).exists():
        return None
    other = CustomerAlias.objects.filter(alias=alias).select_related("customer").first()
    if other is not None:
        raise InvalidInput(f"“{alias}” is an alias of {other.customer.name}.", field="alias")
    row = CustomerAlias(customer=customer, alias=alias)
    row.full_clean()
    with acting(actor, reason=reason):
        row.save()
    return row
