"""Invoices, read-only: the list, one with its lines, and its PDF."""

from __future__ import annotations

from django.db.models import Prefetch, QuerySet
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework.generics import GenericAPIView, ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from apps.access.models import Scope
from apps.common.api import JsonAlways, problem
from apps.invoices.api.filters import InvoiceFilter
from apps.invoices.api.serializers import InvoiceSerializer, InvoiceSummarySerializer
from apps.invoices.models import Invoice, InvoiceDocument
from apps.invoices.services.documents import DocumentPending, document_of


@extend_schema_view(
    get=extend_schema(
        operation_id="list_invoices",
        summary="List invoices, newest first",
        description="Drafts are listed too. Needs the `read` scope.",
        tags=["invoices"],
    )
)
class InvoiceList(ListAPIView[Invoice]):
    required_scope = Scope.READ
    queryset = Invoice.objects.select_related("customer")
    serializer_class = InvoiceSummarySerializer
    filterset_class = InvoiceFilter


@extend_schema_view(
    get=extend_schema(
        operation_id="get_invoice",
        summary="Get an invoice with its lines",
        description="Each line carries what explains its amount. Needs the `read` scope.",
        tags=["invoices"],
    )
)
class InvoiceDetail(RetrieveAPIView[Invoice]):
    required_scope = Scope.READ
    serializer_class = InvoiceSerializer

    def get_queryset(self) -> QuerySet[Invoice]:
        # The bytes of the PDF are not needed to tell its state.
        documents = InvoiceDocument.objects.defer("content")
        return Invoice.objects.select_related("customer", "billing_entity").prefetch_related(
            "lines", Prefetch("document", documents)
        )


class InvoicePdf(GenericAPIView[Invoice]):
    required_scope = Scope.READ
    queryset = Invoice.objects.select_related("customer", "billing_entity", "contract__customer__billing_entity")
    # A request may say that it accepts a PDF only; problems are told as JSON all the same.
    content_negotiation_class = JsonAlways
    pagination_class = None
    filter_backends = []

    @extend_schema(
        operation_id="get_invoice_pdf",
        summary="Get the PDF of an invoice",
        description="The PDF of an issued invoice is stored and never changes. A draft is printed as it stands, "
        "with a draft mark. Needs the `read` scope.",
        tags=["invoices"],
        responses={
            (200, "application/pdf"): OpenApiTypes.BINARY,
            409: problem("`document_pending`: being made, ask again after `Retry-After` seconds; `document_failed`"),
            503: problem("`pdf_unavailable`: this installation cannot print PDFs"),
        },
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        invoice = self.get_object()
        name = invoice.number or f"draft-{invoice.pk}"
        return HttpResponse(
            document_of(invoice),
            content_type="application/pdf",
            headers={"Content-Disposition": f'attachment; filename="{name}.pdf"'},
        )

    def handle_exception(self, exc: Exception) -> Response:
        response = super().handle_exception(exc)
        if isinstance(exc, DocumentPending):
            response["Retry-After"] = str(exc.retry_after_seconds)
        return response
