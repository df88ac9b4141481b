"""The audit trail: complete, readable, in order, and not to be altered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from apps.audit.selectors import Change, Cursor, recent_changes
from apps.common.history import acting
from apps.contracts.models import Contract, ContractPhase
from apps.customers.models import Customer
from tests.builders import active_contract, flat_fee, published_plan
from tests.conftest import utc
from tests.factories import BillingEntityFactory, CustomerFactory, InvoiceFactory, issue

pytestmark = pytest.mark.django_db


def fields_of(change: Change) -> dict[str, tuple[str, str]]:
    return {field.label: (field.before, field.after) for field in change.fields}


def test_a_change_says_who_what_from_what_to_what_and_why(clerk: User) -> None:
    entity = BillingEntityFactory(name="Nimbus Europe")
    customer = CustomerFactory(name="Lumen")
    with acting(clerk, reason="Moved to Berlin"):
        customer.timezone, customer.billing_entity = "Europe/Berlin", entity
        customer.save()

    [change, *_] = recent_changes(tracked_model=Customer, object_id=customer.pk)

    assert (change.action, change.actor, change.reason, change.object_name) == (
        "changed",
        clerk,
        "Moved to Berlin",
        "Lumen",
    )
    fields = fields_of(change)
    assert fields["Time zone"] == ("UTC", "Europe/Berlin")
    assert fields["Billing entity"][1] == "Nimbus Europe"
    assert len(fields) == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda pk: Customer.objects.filter(pk=pk).update(name="Other"),
        lambda pk: Customer.objects.bulk_update([Customer(pk=pk, name="Other")], ["name"]),
        lambda pk: connection.cursor().execute("UPDATE customers_customer SET name = 'Other' WHERE id = %s", [pk]),
    ],
    ids=["update", "bulk_update", "sql"],
)
def test_no_way_of_writing_goes_unseen(write: Callable[[int], object]) -> None:
    customer = CustomerFactory(name="Lumen")
    write(customer.pk)
    [change, *_] = recent_changes(tracked_model=Customer, object_id=customer.pk)
    assert fields_of(change)["Name"] == ("Lumen", "Other")


def test_without_a_user_it_was_the_system_and_its_run_is_named() -> None:
    with acting(None, close_run=7):
        CustomerFactory()
    change = recent_changes(tracked_model=Customer)[0]
    assert (change.actor, change.actor_name, change.source) == (None, "System", "Close run 7")


def test_creation_and_deletion_show_what_there_was() -> None:
    customer = CustomerFactory(name="Lumen", external_id="lumen")
    key = customer.pk
    customer.delete()
    deleted, created = recent_changes(tracked_model=Customer, object_id=key)
    assert (created.action, fields_of(created)["External ID"]) == ("created", ("", "lumen"))
    assert (deleted.action, fields_of(deleted)["External ID"]) == ("deleted", ("lumen", ""))
    assert (deleted.object_name, deleted.exists) == ("Lumen", False)


def test_values_are_in_words() -> None:
    contract = active_contract(published_plan(flat_fee("500")), end=dt.date(2024, 11, 1))
    activated = next(change for change in recent_changes(tracked_model=Contract) if change.action == "changed")
    assert fields_of(activated)["Status"] == ("Draft", "Active")
    created = recent_changes(tracked_model=Contract)[-1]
    fields = fields_of(created)
    assert fields["First day"] == ("", "1 Nov 2023")
    # Stored as the first day outside, named as the last day inside.
    assert fields["Last day"] == ("", "31 Oct 2024")
    assert fields["Customer"] == ("", contract.customer.name)
    phase = recent_changes(tracked_model=ContractPhase)[0]
    assert fields_of(phase)["Plan version"] == ("", "Plan v1 (USD, monthly)")


def test_money_has_its_currency_and_a_copied_address_reads_as_one() -> None:
    invoice = issue(InvoiceFactory(), number="ACME-2023-00001", at=utc(2023, 12, 2))
    issued, drafted = recent_changes(tracked_model=type(invoice), object_id=invoice.pk)
    assert fields_of(drafted)["Total"] == ("", "$0.00")
    assert fields_of(issued)["Status"] == ("Draft", "Issued")
    assert fields_of(issued)["Seller"][1].startswith(f"{invoice.billing_entity.legal_name}, Torstraße 1, 10119, Berlin")


def test_the_log_is_filtered_by_user_and_time(clerk: User) -> None:
    with acting(clerk):
        hers = CustomerFactory(billing_entity__name="Hers")
    with acting(None):
        its = CustomerFactory(billing_entity__name="Its")

    def customers(**filters: object) -> list[int]:
        return [change.object_id for change in recent_changes(tracked_model=Customer, **filters)]  # type: ignore[arg-type]

    assert customers(user_id=clerk.pk) == [hers.pk]
    assert customers(user_id=0) == [its.pk]
    assert customers(user_id=clerk.pk + 1) == []
    assert customers(before=utc(2020, 1, 1)) == []
    assert customers(from_at=utc(2020, 1, 1)) == [its.pk, hers.pk]


@given(page_size=st.integers(1, 7))
def test_pages_join_up_without_a_gap_or_a_repeat(page_size: int) -> None:
    """All of this happens in one transaction, so every change carries the same instant."""
    customers = CustomerFactory.create_batch(3)
    for customer in customers:
        customer.name += " Inc."
        customer.save()
    whole = [change.cursor for change in recent_changes(limit=1000)]
    read: list[Cursor] = []
    place: Cursor | None = None
    while page := recent_changes(before=place, limit=page_size):
        read += [change.cursor for change in page]
        place = Cursor.from_text(page[-1].cursor.as_text())
    assert read == whole
    assert len(set(whole)) == len(whole) >= 9


@pytest.mark.parametrize("text", ["", "yesterday", "2023-01-01~x", "2023-01-01~a~b", "2023-01-01T00:00:00~a~1"])
def test_an_address_that_names_no_place_gives_none(text: str) -> None:
    assert Cursor.from_text(text) is None


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE customers_customerevent SET name = 'Other'",
        "DELETE FROM customers_customerevent",
    ],
)
def test_the_trail_refuses_to_be_altered(tamper: str) -> None:
    CustomerFactory(name="Lumen")
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(tamper)
    assert recent_changes(tracked_model=Customer)[0].object_name == "Lumen"


def test_a_page_costs_the_same_however_long_the_log_is(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in (2, 30):
        CustomerFactory.create_batch(number)
        # The places over all tables; then for customers and billing entities each: the events and their objects.
        # Also the billing entities that customers point to. Nothing was changed, so no earlier state is loaded.
        with django_assert_num_queries(6):
            assert recent_changes(limit=100)


def test_models_of_one_name_are_told_apart() -> None:
    published_plan(flat_fee("500"))
    names = {change.model_name for change in recent_changes()}
    assert {"Price", "Price version", "Plan version", "Plan"} <= names
