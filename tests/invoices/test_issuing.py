"""Issuing: numbers without gaps, copies of both parties, and a database that refuses every later change."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, connections, transaction

from apps.customers.models import BillingEntity, Customer
from apps.invoices.models import IllegalTransition, Invoice, InvoiceLine, InvoiceStatus, NumberSeries
from apps.invoices.services.issuing import PrefixBelongsToAnother, issue_invoice, issue_invoices
from tests.conftest import utc
from tests.factories import BillingEntityFactory, ContractFactory, CustomerFactory, InvoiceFactory, InvoiceLineFactory

NOON = utc(2023, 12, 4, 12)

pytestmark = pytest.mark.django_db


def draft_with_a_line(**invoice: object) -> Invoice:
    draft: Invoice = InvoiceFactory(**invoice)
    InvoiceLineFactory(invoice=draft)
    return draft


def test_an_issued_invoice_carries_number_dates_terms_and_parties(clerk: User) -> None:
    draft = draft_with_a_line(contract__customer__billing_entity__invoice_prefix="ACME")

    issued = issue_invoice(invoice_id=draft.pk, issued_at=NOON, actor=clerk)

    assert (issued.status, issued.number, issued.issued_at) == (InvoiceStatus.ISSUED, "ACME-2023-00001", NOON)
    assert (issued.invoice_date, issued.due_date) == (dt.date(2023, 12, 4), dt.date(2024, 1, 3))
    assert issued.seller_party == issued.billing_entity.as_party()
    assert issued.buyer_party == issued.customer.as_party()


def test_the_invoice_date_is_the_seller_s_day() -> None:
    draft = draft_with_a_line(contract__customer__billing_entity__timezone="Pacific/Auckland")

    issued = issue_invoice(invoice_id=draft.pk, issued_at=NOON)

    assert issued.invoice_date == dt.date(2023, 12, 5)


def test_a_customer_that_moves_later_leaves_the_issued_invoice_as_it_was() -> None:
    issued = issue_invoice(invoice_id=draft_with_a_line().pk, issued_at=NOON)

    Customer.objects.update(name="Renamed", legal_name="Renamed Ltd.", city="Elsewhere")

    assert Invoice.objects.get(pk=issued.pk).buyer_party.city == "Paris"


def test_an_issued_invoice_is_refused_and_left_as_it_was() -> None:
    issued = issue_invoice(invoice_id=draft_with_a_line().pk, issued_at=NOON)

    with pytest.raises(IllegalTransition, match="is issued and cannot become issued"):
        issue_invoice(invoice_id=issued.pk, issued_at=NOON + dt.timedelta(days=1))

    assert Invoice.objects.get(pk=issued.pk).issued_at == NOON
    assert NumberSeries.objects.get().next_number == 2


def test_numbers_run_per_billing_entity_and_year() -> None:
    seller = BillingEntityFactory(invoice_prefix="ACME")
    other = BillingEntityFactory(invoice_prefix="BETA")
    drafts = [
        draft_with_a_line(contract=ContractFactory(customer=CustomerFactory(billing_entity=entity)))
        for entity in (seller, seller, other, seller)
    ]
    days = [NOON, NOON, NOON, utc(2024, 1, 2)]

    numbers = [
        issue_invoice(invoice_id=draft.pk, issued_at=day).number for draft, day in zip(drafts, days, strict=True)
    ]

    assert numbers == ["ACME-2023-00001", "ACME-2023-00002", "BETA-2023-00001", "ACME-2024-00001"]


def test_one_refused_invoice_does_not_stop_the_others_and_takes_no_number() -> None:
    seller = BillingEntityFactory(invoice_prefix="ACME")
    drafts = [
        draft_with_a_line(contract=ContractFactory(customer=CustomerFactory(billing_entity=seller))) for _ in range(3)
    ]
    issue_invoice(invoice_id=drafts[1].pk, issued_at=NOON)

    issued, refused = issue_invoices(invoice_ids=[draft.pk for draft in drafts], issued_at=NOON)

    assert [invoice.number for invoice in issued] == ["ACME-2023-00002", "ACME-2023-00003"]
    assert len(refused) == 1


def sql(statement: str) -> Callable[[], object]:
    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return run


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(sql("UPDATE invoices_invoiceline SET amount = 0"), id="line by SQL"),
        pytest.param(sql("DELETE FROM invoices_invoiceline"), id="delete a line by SQL"),
        pytest.param(sql("UPDATE invoices_invoice SET total = 0"), id="total by SQL"),
        pytest.param(sql("UPDATE invoices_invoice SET number = 'X-1'"), id="number by SQL"),
        pytest.param(sql("UPDATE invoices_invoice SET status = 'draft'"), id="back to draft by SQL"),
        pytest.param(sql("UPDATE invoices_invoice SET buyer = '{}'"), id="buyer by SQL"),
        pytest.param(sql("DELETE FROM invoices_invoice"), id="delete by SQL"),
        pytest.param(lambda: InvoiceLine.objects.update(quantity=Decimal(1)), id="line by update()"),
        pytest.param(lambda: Invoice.objects.update(due_date=dt.date(2030, 1, 1)), id="due date by update()"),
        pytest.param(lambda: InvoiceLineFactory(invoice=Invoice.objects.get(), totals=None), id="one more line"),
        pytest.param(lambda: Invoice.objects.get().delete(), id="delete()"),
    ],
)
def test_the_database_refuses_to_change_an_issued_invoice(change: Callable[[], object]) -> None:
    issued = issue_invoice(invoice_id=draft_with_a_line().pk, issued_at=NOON)
    invoice_before = Invoice.objects.filter(pk=issued.pk).values().get()
    lines_before = list(InvoiceLine.objects.values())

    with pytest.raises(DatabaseError), transaction.atomic():
        change()

    assert Invoice.objects.filter(pk=issued.pk).values().get() == invoice_before
    assert list(InvoiceLine.objects.values()) == lines_before


def test_what_happens_to_an_issued_invoice_may_still_be_noted() -> None:
    issued = issue_invoice(invoice_id=draft_with_a_line().pk, issued_at=NOON)

    Invoice.objects.filter(pk=issued.pk).update(status=InvoiceStatus.PAID, paid_at=NOON)

    assert Invoice.objects.get(pk=issued.pk).status == InvoiceStatus.PAID


def test_a_second_live_invoice_for_the_same_period_is_refused() -> None:
    draft = draft_with_a_line()

    with pytest.raises(DatabaseError, match="one_live_invoice_per_contract_and_period"), transaction.atomic():
        InvoiceFactory(contract=draft.contract)

    assert Invoice.objects.count() == 1


def test_live_invoices_of_a_contract_never_overlap() -> None:
    draft = draft_with_a_line()
    inside = {"period_start_at": utc(2023, 11, 15), "period_end_at": utc(2023, 12, 15)}

    with pytest.raises(DatabaseError, match="live_invoices_of_a_contract_never_overlap"), transaction.atomic():
        InvoiceFactory(contract=draft.contract, **inside)
    InvoiceFactory(contract=draft.contract, period_start_at=utc(2023, 12, 1), period_end_at=utc(2024, 1, 1))

    assert Invoice.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_numbers_have_no_gap_when_many_are_issued_at_once_and_some_fail() -> None:
    seller = BillingEntityFactory(invoice_prefix="ACME")
    drafts = [
        draft_with_a_line(contract=ContractFactory(customer=CustomerFactory(billing_entity=seller))) for _ in range(24)
    ]

    def issue(own: list[Invoice], spoil: bool) -> None:
        for draft in own:
            try:
                with transaction.atomic():
                    issue_invoice(invoice_id=draft.pk, issued_at=NOON)
                    if spoil and draft.pk % 2:
                        raise ValueError("something fails after the number was taken")
            except ValueError:
                pass
        connections.close_all()

    threads = [threading.Thread(target=issue, args=(drafts[part::4], part == 0)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    numbers = list(Invoice.objects.exclude(number=None).order_by("number").values_list("number", flat=True))
    spoiled = sum(1 for draft in drafts[0::4] if draft.pk % 2)
    assert numbers == [f"ACME-2023-{position:05d}" for position in range(1, 25 - spoiled)]


def test_a_prefix_that_another_entity_has_numbered_by_is_refused() -> None:
    first = draft_with_a_line(contract__customer__billing_entity__invoice_prefix="ACME")
    issue_invoice(invoice_id=first.pk, issued_at=NOON)
    BillingEntity.objects.filter(pk=first.billing_entity_id).update(invoice_prefix="OTHER")
    second = draft_with_a_line(contract__customer__billing_entity__invoice_prefix="ACME")

    with pytest.raises(PrefixBelongsToAnother, match="another invoice prefix"):
        issue_invoice(invoice_id=second.pk, issued_at=NOON)

    assert NumberSeries.objects.get(prefix="ACME-2023").next_number == 2
