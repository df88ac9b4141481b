"""Stored PDFs: each is a job while it is pending, and bytes that never change once it is ready."""

from __future__ import annotations

import datetime as dt
import hashlib
import logging

from django.db import transaction

from apps.common.errors import BillingError
from apps.common.jobs import enqueue_after_commit
from apps.invoices.models import DocumentState, Invoice, InvoiceDocument
from apps.invoices.pdf import pdf_support, render_pdf

logger = logging.getLogger(__name__)

RENDER_TASK = "invoices.render_documents"
MOST_ATTEMPTS = 5
FIRST_PAUSE = dt.timedelta(minutes=1)
CUT_OFF = "The worker stopped while it was at it, each time."


class DocumentPending(BillingError):
    """The PDF is not there yet; ask again after ``retry_after_seconds``."""

    code = "document_pending"
    retry_after_seconds = 10

    def __init__(self, invoice: Invoice, reason: str) -> None:
        super().__init__(f"The PDF of {invoice} is being made. Try again in a moment. {reason}".strip())


class DocumentFailed(BillingError):
    code = "document_failed"

    def __init__(self, invoice: Invoice, reason: str) -> None:
        super().__init__(f"The PDF of {invoice} could not be made: {reason} Mend the cause and render it again.")


class DocumentStands(BillingError):
    code = "document_stands"

    def __init__(self, invoice: Invoice) -> None:
        super().__init__(f"The PDF of {invoice} is stored already and never changes.")


def request_document(*, invoice: Invoice, now: dt.datetime) -> InvoiceDocument:
    """Ask for the PDF of an issued invoice, in the caller's transaction. Asking twice changes nothing."""
    document, _ = InvoiceDocument.objects.get_or_create(invoice=invoice, defaults={"next_attempt_at": now})
    enqueue_after_commit(RENDER_TASK)
    return document


@transaction.atomic
def retry_document(*, invoice: Invoice, now: dt.datetime) -> InvoiceDocument:
    """Render at once, with a fresh count of attempts. Raises DocumentStands when the PDF is there already."""
    document = request_document(invoice=invoice, now=now)
    document = InvoiceDocument.objects.select_for_update(of=("self",)).get(pk=document.pk)
    if document.state == DocumentState.READY:
        raise DocumentStands(invoice)
    document.state, document.attempts, document.next_attempt_at = DocumentState.PENDING, 0, now
    document.save(update_fields=["state", "attempts", "next_attempt_at"])
    return document


def document_of(invoice: Invoice) -> bytes:
    """The stored PDF of an issued invoice; a draft is printed as it stands now and not kept.

    Raises DocumentPending or DocumentFailed while there is none.
    """
    if invoice.is_draft:
        return render_pdf(invoice)
    document = InvoiceDocument.objects.filter(invoice=invoice).first()
    if document is None:
        raise DocumentFailed(invoice, "it was never asked for.")
    if document.state == DocumentState.FAILED:
        raise DocumentFailed(invoice, document.error)
    if document.content is None:
        raise DocumentPending(invoice, document.error)
    return bytes(document.content)


def render_pending_documents(*, now: dt.datetime, limit: int) -> int:
    """Try up to ``limit`` PDFs that are due at ``now``; return how many were tried.

    Any number of workers may run this at once. Each PDF is committed by itself, so a worker that dies loses no
    more than the one it was at, which stays pending and is tried again after its pause.
    """
    if missing_library := pdf_support():
        # Nothing is wrong with the invoices, so they keep their attempts and wait for the library.
        waiting = InvoiceDocument.objects.filter(state=DocumentState.PENDING, next_attempt_at__lte=now)
        waiting.exclude(error=missing_library).update(error=missing_library)
        return 0
    for tried in range(limit):
        document = _claim(now=now)
        if document is None:
            return tried
        _render(document, now=now)
    return limit


@transaction.atomic
def _claim(*, now: dt.datetime) -> InvoiceDocument | None:
    """Take the next due PDF: count the attempt and set the time of the next one before the work begins.

    So no second worker takes it meanwhile, and an invoice that brings its worker down each time (out of memory,
    a crash in a font library) ends as failed and does not stand in the way of the others.
    """
    document = (
        InvoiceDocument.objects.select_for_update(of=("self",), skip_locked=True)
        .filter(state=DocumentState.PENDING, next_attempt_at__lte=now)
        .select_related("invoice")
        .order_by("next_attempt_at", "id")
        .first()
    )
    if document is None:
        return None
    if document.attempts >= MOST_ATTEMPTS:
        document.state, document.error = DocumentState.FAILED, document.error or CUT_OFF
        document.save(update_fields=["state", "error"])
        return _claim(now=now)
    document.attempts += 1
    document.next_attempt_at = now + FIRST_PAUSE * 2 ** (document.attempts - 1)
    document.error = ""
    document.save(update_fields=["attempts", "next_attempt_at", "error"])
    return document


def _render(document: InvoiceDocument, *, now: dt.datetime) -> None:
    """Print one claimed PDF and store it, or why it could not be printed."""
    # A row that is no longer as it was claimed belongs to another worker by now.
    claimed = InvoiceDocument.objects.filter(pk=document.pk, state=DocumentState.PENDING, attempts=document.attempts)
    try:
        content = render_pdf(document.invoice)
    except Exception as error:
        logger.exception("rendering invoice %s failed", document.invoice_id)
        reason = error.detail if isinstance(error, BillingError) else f"{type(error).__name__}: {error}"
        is_last = document.attempts >= MOST_ATTEMPTS
        claimed.update(error=reason, state=DocumentState.FAILED if is_last else DocumentState.PENDING)
        return
    claimed.update(
        state=DocumentState.READY,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        rendered_at=now,
        error="",
    )
