"""Stored PDFs as jobs: asked for once, rendered once, kept as they are; nothing is lost when a worker dies."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import celery
import pytest
from django.db import DatabaseError, connection, transaction

from apps.common.errors import BillingError
from apps.invoices.models import DocumentState, Invoice, InvoiceDocument
from apps.invoices.pdf import PdfUnavailable, pdf_support
from apps.invoices.services import documents
from apps.invoices.services.documents import (
    DocumentFailed,
    DocumentPending,
    DocumentStands,
    document_of,
    render_pending_documents,
    request_document,
    retry_document,
)
from apps.invoices.tasks import render_documents
from tests.conftest import ROOT, database_url, wait_until
from tests.factories import ISSUED_AT, InvoiceFactory, InvoiceLineFactory, issue

needs_pango = pytest.mark.skipif(pdf_support() is not None, reason=str(pdf_support()))
ONE_MINUTE = dt.timedelta(minutes=1)


def issued_invoice() -> Invoice:
    return issue(InvoiceLineFactory().invoice)


def requested_document() -> InvoiceDocument:
    return request_document(invoice=issued_invoice(), now=ISSUED_AT)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Print at once and without Pango; gives the numbers of the invoices in the order of printing."""
    numbers: list[str] = []

    def print_quickly(invoice: Invoice) -> bytes:
        numbers.append(str(invoice))
        return f"PDF of {invoice}".encode()

    monkeypatch.setattr(documents, "pdf_support", lambda: None)
    monkeypatch.setattr(documents, "render_pdf", print_quickly)
    return numbers


def refuse_to_print(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(invoice: Invoice) -> bytes:
        raise error

    monkeypatch.setattr(documents, "pdf_support", lambda: None)
    monkeypatch.setattr(documents, "render_pdf", fail)


@pytest.mark.django_db
def test_asking_twice_makes_one_job_and_wakes_a_worker(
    monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(celery.current_app, "send_task", lambda name, **_: sent.append(name))
    invoice = issued_invoice()

    with django_capture_on_commit_callbacks(execute=True):
        first = request_document(invoice=invoice, now=ISSUED_AT)
        second = request_document(invoice=invoice, now=ISSUED_AT + ONE_MINUTE)

    assert first.pk == second.pk
    assert InvoiceDocument.objects.get().next_attempt_at == ISSUED_AT
    assert set(sent) == {"invoices.render_documents"}


@needs_pango
@pytest.mark.django_db
def test_a_pending_document_is_rendered_and_stored_with_its_hash() -> None:
    document = requested_document()

    assert render_pending_documents(now=ISSUED_AT, limit=10) == 1

    document.refresh_from_db()
    assert document.content is not None
    content = bytes(document.content)
    assert content.startswith(b"%PDF-1.7")
    assert (document.state, document.sha256, document.rendered_at, document.attempts, document.error) == (
        DocumentState.READY,
        hashlib.sha256(content).hexdigest(),
        ISSUED_AT,
        1,
        "",
    )
    assert document_of(document.invoice) == content


@pytest.mark.django_db
def test_a_stored_document_never_changes(printed: list[str]) -> None:
    document = requested_document()
    render_pending_documents(now=ISSUED_AT, limit=10)

    with pytest.raises(DatabaseError), transaction.atomic():
        InvoiceDocument.objects.update(content=b"other")
    with pytest.raises(DatabaseError), transaction.atomic():
        InvoiceDocument.objects.all().delete()
    with pytest.raises(DocumentStands, match="never changes"):
        retry_document(invoice=document.invoice, now=ISSUED_AT)

    assert render_pending_documents(now=ISSUED_AT + ONE_MINUTE * 60, limit=10) == 0
    assert document_of(document.invoice) == f"PDF of {document.invoice}".encode()
    assert printed == [document.invoice.number]


@pytest.mark.django_db
def test_no_more_than_the_limit_and_the_longest_waiting_first(printed: list[str]) -> None:
    invoices = [issued_invoice() for _ in range(3)]
    for minutes, invoice in zip((2, 0, 1), invoices, strict=True):
        request_document(invoice=invoice, now=ISSUED_AT + ONE_MINUTE * minutes)

    assert render_pending_documents(now=ISSUED_AT + ONE_MINUTE * 2, limit=2) == 2

    assert printed == [invoices[1].number, invoices[2].number]


@pytest.mark.django_db
def test_the_task_works_off_what_is_due(printed: list[str]) -> None:
    for _ in range(3):
        requested_document()

    render_documents()

    assert len(printed) == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (PdfUnavailable("No installed font has it."), "No installed font has it."),
        (RuntimeError("broken layout"), "RuntimeError: broken layout"),
    ],
)
def test_a_failure_is_kept_and_tried_again_after_growing_pauses_until_given_up(
    monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    document = requested_document()
    refuse_to_print(monkeypatch, error)
    tried_at, now = [], ISSUED_AT
    while now < ISSUED_AT + ONE_MINUTE * 40:
        if render_pending_documents(now=now, limit=10):
            tried_at.append((now - ISSUED_AT) // ONE_MINUTE)
        now += ONE_MINUTE

    document.refresh_from_db()
    assert tried_at == [0, 1, 3, 7, 15]
    assert (document.state, document.attempts, document.error) == (DocumentState.FAILED, 5, sentence)
    with pytest.raises(DocumentFailed, match=sentence):
        document_of(document.invoice)


@pytest.mark.django_db
def test_a_failed_document_can_be_tried_again(printed: list[str]) -> None:
    document = requested_document()
    InvoiceDocument.objects.update(state=DocumentState.FAILED, attempts=5, error="broken")

    retry_document(invoice=document.invoice, now=ISSUED_AT)

    assert InvoiceDocument.objects.get().state == DocumentState.PENDING
    assert render_pending_documents(now=ISSUED_AT, limit=10) == 1
    document.refresh_from_db()
    assert (document.state, document.attempts, document.error) == (DocumentState.READY, 1, "")


@pytest.mark.django_db
@pytest.mark.usefixtures("without_pango")
def test_without_pango_documents_wait_and_lose_no_attempt() -> None:
    document = requested_document()

    for minutes in range(10):
        assert render_pending_documents(now=ISSUED_AT + ONE_MINUTE * minutes, limit=10) == 0

    document.refresh_from_db()
    assert (document.state, document.attempts) == (DocumentState.PENDING, 0)
    assert "apt-get install libpango-1.0-0" in document.error
    with pytest.raises(DocumentPending, match="PDFs need the Pango text library"):
        document_of(document.invoice)


@pytest.mark.django_db
def test_a_draft_is_printed_on_the_fly_and_not_kept(printed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    draft = InvoiceFactory()

    assert document_of(draft).startswith(b"PDF of Draft for")
    assert InvoiceDocument.objects.count() == 0


@pytest.mark.django_db
def test_an_invoice_whose_document_nobody_asked_for_says_so() -> None:
    with pytest.raises(DocumentFailed, match="never asked for"):
        document_of(issued_invoice())


@pytest.mark.django_db
def test_an_invoice_that_kills_its_worker_each_time_is_given_up_and_lets_the_others_pass(printed: list[str]) -> None:
    """Five attempts were begun and none came to an end: the worker died over it each time."""
    deadly, other = requested_document(), requested_document()
    InvoiceDocument.objects.filter(pk=deadly.pk).update(attempts=5)

    assert render_pending_documents(now=ISSUED_AT, limit=10) == 1

    deadly.refresh_from_db()
    assert (deadly.state, deadly.error) == (DocumentState.FAILED, "The worker stopped while it was at it, each time.")
    assert printed == [other.invoice.number]


@pytest.mark.django_db
@pytest.mark.parametrize("slow_one_fails", [False, True])
def test_a_worker_that_was_overtaken_changes_nothing(slow_one_fails: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one worker is slow its pause runs out, and a second one renders; the first comes back too late."""
    document = requested_document()

    def slow(invoice: Invoice) -> bytes:
        monkeypatch.setattr(documents, "render_pdf", lambda invoice: b"from the second worker")
        assert render_pending_documents(now=ISSUED_AT + ONE_MINUTE, limit=1) == 1
        if slow_one_fails:
            raise BillingError("too late")
        return b"from the first worker"

    monkeypatch.setattr(documents, "pdf_support", lambda: None)
    monkeypatch.setattr(documents, "render_pdf", slow)

    render_pending_documents(now=ISSUED_AT, limit=1)

    document.refresh_from_db()
    assert document.state == DocumentState.READY
    assert document.error == ""
    assert document_of(document.invoice) == b"from the second worker"


@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_worker_holds_is_passed_by(printed: list[str]) -> None:
    held, free = requested_document(), requested_document()
    is_locked, may_release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                InvoiceDocument.objects.select_for_update().get(pk=held.pk)
                is_locked.set()
                may_release.wait(timeout=20)
        finally:
            connection.close()

    other_worker = threading.Thread(target=hold)
    other_worker.start()
    assert is_locked.wait(timeout=20)
    try:
        assert render_pending_documents(now=ISSUED_AT, limit=10) == 1
    finally:
        may_release.set()
        other_worker.join()
    assert printed == [free.invoice.number]
    assert render_pending_documents(now=ISSUED_AT, limit=10) == 1
    assert printed == [free.invoice.number, held.invoice.number]


@pytest.mark.django_db(transaction=True)
def test_two_workers_render_each_invoice_once(printed: list[str]) -> None:
    invoices = [requested_document().invoice for _ in range(20)]
    start_together = threading.Barrier(2)

    def work() -> None:
        try:
            start_together.wait(timeout=20)
            render_pending_documents(now=ISSUED_AT, limit=50)
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert sorted(printed) == sorted(str(invoice.number) for invoice in invoices)
    assert InvoiceDocument.objects.filter(state=DocumentState.READY, attempts=1).count() == 20


HANG_WHILE_PRINTING = """
import datetime as dt, pathlib, sys, time
import django
django.setup()
from apps.invoices.services import documents
def hang(invoice):
    pathlib.Path(sys.argv[1]).touch()
    time.sleep(60)
documents.pdf_support = lambda: None
documents.render_pdf = hang
documents.render_pending_documents(now=dt.datetime.fromisoformat(sys.argv[2]), limit=1)
"""


@pytest.mark.django_db(transaction=True)
def test_a_worker_killed_while_printing_loses_nothing(tmp_path: Path, printed: list[str]) -> None:
    document = requested_document()
    is_printing = tmp_path / "is-printing"
    worker = subprocess.Popen(
        [sys.executable, "-c", HANG_WHILE_PRINTING, str(is_printing), ISSUED_AT.isoformat()],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), "COUNTINGHOUSE_VAR": str(tmp_path)},
    )
    try:
        wait_until(is_printing.exists, what="the worker to print")
        assert render_pending_documents(now=ISSUED_AT, limit=10) == 0  # it is taken
    finally:
        worker.kill()
        worker.wait()

    document.refresh_from_db()
    assert (document.state, document.attempts) == (DocumentState.PENDING, 1)
    assert render_pending_documents(now=ISSUED_AT + ONE_MINUTE, limit=10) == 1
    assert printed == [document.invoice.number]
    assert document_of(document.invoice) == f"PDF of {document.invoice}".encode()
