"""The main job on real usage: 28,185 requests over HTTP, metered, rated, closed, invoiced, printed."""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from pytest_django.live_server_helper import LiveServer

from apps.contracts.models import Contract, ContractStatus
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.invoices.pdf import pdf_support
from apps.invoices.selectors import explain_line, usage_window_of
from apps.usage.models import UsageEvent
from apps.usage.selectors import events_of

TRACES = Path(__file__).resolve().parents[2] / "fixtures" / "traces"

pytestmark = pytest.mark.django_db(transaction=True)


def load(live_server: LiveServer, pdf_dir: Path) -> str:
    out = io.StringIO()
    call_command("load_traces", TRACES, base_url=live_server.url, pdf_dir=pdf_dir, stdout=out)
    return out.getvalue()


def everything_invoiced() -> list[tuple[object, ...]]:
    invoices = Invoice.objects.order_by("pk").values_list("pk", "number", "status", "total", "stored_before")
    lines = InvoiceLine.objects.order_by("pk").values_list("pk", "quantity", "amount", "event_count")
    return [*invoices, *lines]


def test_the_azure_traces_are_billed_to_the_cent_and_a_repeat_changes_nothing(
    live_server: LiveServer, tmp_path: Path
) -> None:
    printed = load(live_server, tmp_path)

    amounts = {
        invoice.customer.external_id: [line.amount.amount for line in invoice.lines.all()] + [invoice.total.amount]
        for invoice in Invoice.objects.prefetch_related("lines").select_related("customer")
    }
    assert amounts == {
        "azure-code": [Decimal("180.60"), Decimal("7.38"), Decimal("187.98")],
        "azure-conv": [Decimal("223.62"), Decimal("122.66"), Decimal("346.28")],
    }
    quantities = set(InvoiceLine.objects.values_list("quantity", "event_count", "exact_amount"))
    assert quantities == {
        (Decimal(18_059_974), 8_819, Decimal("180.59974")),
        (Decimal(245_896), 8_819, Decimal("7.37688")),
        (Decimal(22_361_870), 19_366, Decimal("223.6187")),
        (Decimal(4_088_665), 19_366, Decimal("122.65995")),
    }
    assert set(Invoice.objects.values_list("status", flat=True)) == {InvoiceStatus.ISSUED}
    assert set(Contract.objects.values_list("status", flat=True)) == {ContractStatus.ENDED}
    assert "$187.98" in printed
    assert "$346.28" in printed

    before = everything_invoiced()
    repeated = load(live_server, tmp_path)

    assert everything_invoiced() == before
    assert UsageEvent.objects.count() == 28_185
    assert "0 events accepted, 8,819 known already" in repeated
    assert "0 events accepted, 19,366 known already" in repeated

    assert_every_line_names_exactly_its_events()
    if pdf_support() is None:
        assert sorted(path.name for path in tmp_path.glob("*.pdf")) == [
            f"{number}.pdf" for number in Invoice.objects.order_by("number").values_list("number", flat=True)
        ]


def assert_every_line_names_exactly_its_events() -> None:
    for line in InvoiceLine.objects.select_related("invoice__customer", "price_version__price__metric"):
        window = usage_window_of(line)
        assert window is not None
        events = events_of(window, stored_before=line.stored_before)
        assert events.count() == line.event_count
        key = window.version.value_property
        assert sum(event.data[key] for event in events) == line.quantity
        assert f"{line.exact_amount.normalize():f}" in explain_line(line).formula


def test_a_folder_without_the_traces_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"has no AzureLLMInferenceTrace_code\.csv"):
        call_command("load_traces", tmp_path, base_url="http://127.0.0.1:1")


def test_a_site_that_does_not_answer_is_named() -> None:
    with pytest.raises(CommandError, match=r"Nothing answers at http://127\.0\.0\.1:1"):
        call_command("load_traces", TRACES, base_url="http://127.0.0.1:1")

    assert UsageEvent.objects.count() == 0
