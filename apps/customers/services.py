"""Making customers, and changing them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from apps.common.errors import InvalidInput
from apps.common.history import acting
from apps.common.jobs import enqueue_after_commit
from apps.customers.models import BillingEntity, Customer, CustomerAlias


@transaction.atomic
def create_customer(
    *, billing_entity: BillingEntity | None = None, aliases: Sequence[str] = (), **fields: Any
) -> Customer:
    """Make a customer. Where no billing entity or time zone is named, the first entity bills it, by its own zone.

    Raises InvalidInput, and ValidationError for the fields of Customer.
    """
    entity = billing_entity or _first_billing_entity()
    customer = Customer(billing_entity=entity, **{"timezone": entity.timezone, **fields})
    customer.full_clean()
    customer.save()
    _set_aliases(customer, aliases)
    _match_events()
    return customer


@transaction.atomic
def update_customer(*, customer: Customer, aliases: Sequence[str] | None = None, **fields: Any) -> Customer:
    """Change a customer; ``aliases`` replaces all that there are. Raises InvalidInput and ValidationError."""
    for name, value in fields.items():
        setattr(customer, name, value)
    customer.full_clean()
    customer.save()
    if aliases is not None:
        _set_aliases(customer, aliases)
    _match_events()
    return customer


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


def _first_billing_entity() -> BillingEntity:
    """The company that was there first, which bills whom no other is named for."""
    entity = BillingEntity.objects.order_by("pk").first()
    if entity is None:
        raise InvalidInput(
            "There is no billing entity yet that could bill a customer. Make one in the admin.", field="billing_entity"
        )
    return entity


def _set_aliases(customer: Customer, aliases: Sequence[str]) -> None:
    known = set(customer.aliases.values_list("alias", flat=True))
    customer.aliases.exclude(alias__in=aliases).delete()
    for name in dict.fromkeys(aliases):
        if name in known:
            continue
        alias = CustomerAlias(customer=customer, alias=name)
        try:
            alias.full_clean()
        except ValidationError as refused:
            raise ValidationError({"aliases": [f"{name}: {sentence}" for sentence in refused.messages]}) from refused
        alias.save()


def _match_events() -> None:
    # By name: what keeps events is above this app. A sweeper matches them in any case.
    enqueue_after_commit("usage.attribute_events")
