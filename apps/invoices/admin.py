"""Invoices for finance: review drafts, issue them, open the PDF, explain any line."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection
from decimal import Decimal
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import transaction
from django.db.models import Count, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, RangeDateFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.common.admin import (
    BillingAdmin,
    Panel,
    ReadOnlyMixin,
    acting_user,
    badge,
    dialog_done,
    number_cell,
    refusals_as_messages,
    register_panel,
)
from apps.common.errors import BillingError
from apps.common.formatting import format_day, format_days, format_difference, format_money
from apps.contracts.models import Contract
from apps.customers.models import Customer
from apps.invoices.after_invoicing import ChangedLine, changed_after_invoicing, watched_since
from apps.invoices.billed import names_of_bills
from apps.invoices.billing_of_events import billing_of
from apps.invoices.bills_of_contract import bill_so_far_view, render_running_period
from apps.invoices.models import Invoice, InvoiceLine, InvoiceStatus
from apps.invoices.paper_lines import paper_line
from apps.invoices.pdf import pdf_support, render_pdf
from apps.invoices.running_period import period_to_show, rate_running_period
from apps.invoices.selectors import average_rates, explain_line, issued_periods, usage_window_of
from apps.invoices.services.documents import document_of, retry_document
from apps.invoices.services.drafts import refresh_draft, write_drafts
from apps.invoices.services.issuing import issue_invoice, issue_invoices
from apps.invoices.wording import period_in_words
from apps.products.models import TIERED_MODELS
from apps.rating.values import BillKind
from apps.usage.admin.unattributed import estimate_with
from apps.usage.models import UsageCorrection, UsageEvent
from apps.usage.selectors.late import MOST_COUNTED as MOST_LATE_COUNTED
from apps.usage.selectors.late import late_usage
from apps.usage.selectors.way import measurements_of

STATUS_COLOURS = {
    InvoiceStatus.DRAFT: "warning",
    InvoiceStatus.ISSUED: "info",
    InvoiceStatus.PAID: "success",
    InvoiceStatus.VOID: "danger",
}
KIND_COLOURS = {BillKind.PERIOD: "default", BillKind.OPENING: "info", BillKind.INTERIM: "warning"}

# Messages travel in a cookie or the session; a page with thousands of them helps nobody.
MOST_REFUSALS_SHOWN = 20
MOST_CHANGED_SHOWN = 200
MOST_CUSTOMERS_LOOKED_AT = 100
MOST_LATE_SHOWN = 15
LATE_USAGE_SHOWN = dt.timedelta(days=90)
RATES_FROM = dt.timedelta(days=90)


@admin.register(Invoice)
class InvoiceAdmin(ReadOnlyMixin, BillingAdmin[Invoice]):
    list_display = [
        "number_shown",
        "customer",
        "kind_shown",
        "period_shown",
        "status_shown",
        "invoice_date_shown",
        "due_date_shown",
        "total_shown",
    ]
    list_filter = [
        "status",
        "kind",
        ("customer", AutocompleteSelectFilter),
        "billing_entity",
        ("invoice_date", RangeDateFilter),
    ]
    search_fields = ["number", "customer__name", "customer__external_id"]
    search_help_text = "Number, customer name or customer ID"
    list_select_related = ["customer"]
    actions = ["issue_selected", "refresh_selected"]
    actions_detail = ["issue", "refresh", "pdf", "retry_pdf"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("status_text", "total_shown"),
                    ("customer", "contract"),
                    ("kind_badge", "period_in_words_shown"),
                    ("invoice_date_shown", "due_date_shown"),
                    ("usage_cutoff_shown", "purchase_order"),
                    "document_shown",
                ]
            },
        )
    ]
    readonly_fields = [
        "status_text",
        "kind_badge",
        "period_in_words_shown",
        "total_shown",
        "invoice_date_shown",
        "due_date_shown",
        "usage_cutoff_shown",
        "document_shown",
    ]
    empty_state = (
        "No invoices yet",
        "Drafts appear here when a billing period closes. Start a close run to close the periods that have ended.",
        "admin:closing_closerun_changelist",
        "Go to close runs",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Invoice]:
        invoices: QuerySet[Invoice] = super().get_queryset(request)
        return invoices.select_related("customer", "billing_entity", "contract__customer").defer(
            "seller", "buyer", "payment_instructions", "footer"
        )

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:invoice_id>/pdf/", wrap(self.pdf_view), name="invoices_invoice_pdf"),
            path("line/<int:line_id>/explain/", wrap(self.explain_view), name="invoices_line_explain"),
            path("usage-after-invoicing/", wrap(self.after_invoicing_view), name="invoices_usage_after_invoicing"),
            path("bill-so-far/<int:contract_id>/", wrap(self.bill_so_far_view), name="invoices_bill_so_far"),
            path("preview/<int:contract_id>/", wrap(self.preview_view), name="invoices_invoice_preview"),
            *super().get_urls(),
        ]

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_issue_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether the user may issue; on an invoice's page, whether it is a draft too."""
        if not request.user.has_perm("invoices.change_invoice"):
            return False
        return object_id is None or Invoice.objects.drafts().filter(pk=object_id).exists()

    def has_retry_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("invoices.change_invoice") and (
            object_id is None or Invoice.objects.filter(pk=object_id, document__state="failed").exists()
        )

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Number", ordering="number")
    def number_shown(self, invoice: Invoice) -> str:
        return invoice.number or "Draft"

    @display(description="Period", ordering="period_start_at")
    def period_shown(self, invoice: Invoice) -> str:
        return format_days(invoice.period.first_date, invoice.period.last_date)

    @display(description="Period")
    def period_in_words_shown(self, invoice: Invoice) -> str:
        return period_in_words(invoice)

    @display(description="Kind", ordering="kind", label=KIND_COLOURS)
    def kind_shown(self, invoice: Invoice) -> tuple[str, str]:
        return invoice.kind, invoice.get_kind_display()

    @display(description="Kind")
    def kind_badge(self, invoice: Invoice) -> SafeString:
        return badge(invoice.get_kind_display(), KIND_COLOURS[BillKind(invoice.kind)])

    @display(description="Status", ordering="status", label=STATUS_COLOURS)
    def status_shown(self, invoice: Invoice) -> tuple[str, str]:
        return invoice.status, invoice.get_status_display()

    @display(description="Status")
    def status_text(self, invoice: Invoice) -> str:
        return invoice.get_status_display()

    @display(description="Invoice date", ordering="invoice_date")
    def invoice_date_shown(self, invoice: Invoice) -> str:
        return format_day(invoice.invoice_date) if invoice.invoice_date else "–"

    @display(description="Due", ordering="due_date")
    def due_date_shown(self, invoice: Invoice) -> str:
        return format_day(invoice.due_date) if invoice.due_date else "–"

    @display(description="Total", ordering="total")
    def total_shown(self, invoice: Invoice) -> SafeString:
        return number_cell(format_money(invoice.total))

    @display(description="Usage received before")
    def usage_cutoff_shown(self, invoice: Invoice) -> str:
        if invoice.kind == BillKind.OPENING:
            return "No usage is billed on it"
        return f"{timezone.localtime(invoice.stored_before):%-d %b %Y, %H:%M:%S} UTC"

    @display(description="PDF")
    def document_shown(self, invoice: Invoice) -> str:
        if invoice.is_draft:
            return "Made when the invoice is issued. The PDF button shows the draft."
        document = getattr(invoice, "document", None)
        if document is None:
            return "Not requested"
        return f"{document.get_state_display()}. {document.error}".strip()

    # --- Actions -----------------------------------------------------------------------------------------------------

    @admin.action(description="Issue selected drafts", permissions=["issue"])
    def issue_selected(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> HttpResponse | None:
        """Issue what was selected, once a page has said how many drafts that is and what they come to."""
        drafts = _drafts_among(request, queryset)
        if not drafts:
            return None
        # “All” may have become more since the question was asked: then it is asked again.
        if request.POST.get("confirmed") != selection_mark(drafts):
            return self._ask_to_issue(request, drafts)
        issued, refused = issue_invoices(invoice_ids=drafts, issued_at=timezone.now(), actor=acting_user(request))
        if issued:
            numbers = number_ranges([invoice.number or "" for invoice in issued])
            messages.success(request, f"{len(issued)} invoice{'s' if len(issued) > 1 else ''} issued: {numbers}.")
        for refusal in refused[:MOST_REFUSALS_SHOWN]:
            messages.error(request, refusal.detail)
        if len(refused) > MOST_REFUSALS_SHOWN:
            messages.error(request, f"And {len(refused) - MOST_REFUSALS_SHOWN:,} more could not be issued.")
        return None

    def _ask_to_issue(self, request: HttpRequest, drafts: list[int]) -> HttpResponse:
        totals = (
            Invoice.objects.filter(pk__in=drafts)
            .order_by("currency")
            .values_list("currency")
            .annotate(Count("pk"), Sum("total"))
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "Issue drafts",
            "opts": Invoice._meta,
            "number": len(drafts),
            "mark": selection_mark(drafts),
            "totals": [(count, format_money(total, currency)) for currency, count, total in totals],
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/invoices/issue_selected.html", context)

    @admin.action(description="Refresh selected drafts with usage received since", permissions=["issue"])
    def refresh_selected(self, request: HttpRequest, queryset: QuerySet[Invoice]) -> None:
        refreshed = 0
        for invoice_id in _drafts_among(request, queryset):
            with refusals_as_messages(request):
                refresh_draft(invoice_id=invoice_id, as_of=timezone.now(), actor=acting_user(request))
                refreshed += 1
        if refreshed:
            messages.success(request, f"{refreshed} draft{'s' if refreshed > 1 else ''} refreshed.")

    @action(
        description="Issue",
        permissions=["issue"],
        icon="task_alt",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Issue this invoice?",
            "description": "It gets the next number and its date, and can never be changed afterwards.",
            "form_class": None,
            "form_submit_text": "Issue",
        },
    )
    def issue(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            issued = issue_invoice(invoice_id=int(object_id), issued_at=timezone.now(), actor=acting_user(request))
            messages.success(request, f"Invoice {issued.number} is issued. Its PDF is being made.")
        return dialog_done(request, reverse("admin:invoices_invoice_change", args=[object_id]))

    @action(
        description="Refresh",
        permissions=["issue"],
        icon="refresh",
        dialog={
            "title": "Refresh this draft?",
            "description": "It is rated anew with all usage received and all prices known by now.",
            "form_class": None,
            "form_submit_text": "Refresh",
        },
    )
    def refresh(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            draft = refresh_draft(invoice_id=int(object_id), as_of=timezone.now(), actor=acting_user(request))
            messages.success(request, f"The draft is up to date: {format_money(draft.total)}.")
        return dialog_done(request, reverse("admin:invoices_invoice_change", args=[object_id]))

    @action(description="PDF", permissions=["view"], icon="picture_as_pdf", attrs={"target": "_blank"})
    def pdf(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:invoices_invoice_pdf", args=[object_id]))

    @action(
        description="Make the PDF again",
        permissions=["retry"],
        icon="restart_alt",
        dialog={
            "title": "Make the PDF again?",
            "description": "The last attempts failed; the reason is on this page.",
            "form_class": None,
            "form_submit_text": "Try again",
        },
    )
    def retry_pdf(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            retry_document(invoice=Invoice.objects.get(pk=object_id), now=timezone.now())
            messages.success(request, "The PDF is being made.")
        return dialog_done(request, reverse("admin:invoices_invoice_change", args=[object_id]))

    # --- Views -------------------------------------------------------------------------------------------------------

    def pdf_view(self, request: HttpRequest, invoice_id: int) -> HttpResponse:
        invoice = get_object_or_404(self.get_queryset(request), pk=invoice_id)
        if not self.has_view_permission(request, invoice):
            return HttpResponse(status=403)
        try:
            content = document_of(invoice)
        except BillingError as refusal:
            messages.warning(request, refusal.detail)
            return HttpResponseRedirect(reverse("admin:invoices_invoice_change", args=[invoice_id]))
        return _pdf_response(content, f"{invoice.number or f'draft-{invoice.pk}'}.pdf")

    def explain_view(self, request: HttpRequest, line_id: int) -> HttpResponse:
        line: InvoiceLine = get_object_or_404(
            InvoiceLine.objects.select_related(
                "invoice__customer",
                "invoice__contract",
                "metric_version__metric",
                "price_version__price__plan_version__plan",
                "price_version__price__pricing_unit",
            ),
            pk=line_id,
        )
        if not self.has_view_permission(request, line.invoice):
            return HttpResponse(status=403)
        return TemplateResponse(
            request,
            "admin/invoices/explain_line.html",
            {
                **self.admin_site.each_context(request),
                "title": "Why this amount?",
                "subtitle": str(line),
                "opts": Invoice._meta,
                "object": line.invoice,
                "line": line,
                "explanation": explain_line(line),
                "paper": paper_line(line, line.invoice.period, names_of_bills([line])),
                "steps_title": "Tiers" if line.charge_model in TIERED_MODELS else "Parts of the amount",
                "dimensions": list(zip(line.dimensions, line.dimension_values, strict=True)),
                "events_url": events_url(line),
            },
        )

    def after_invoicing_view(self, request: HttpRequest) -> HttpResponse:
        """Lines whose usage changed after they were issued: what there is to adjust."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        now = timezone.now()
        customer = _asked_customer(request)
        changed = changed_after_invoicing(now=now, customer_ids=[customer.pk] if customer else None)
        context = {
            **self.admin_site.each_context(request),
            "title": "Usage after invoicing",
            "page_title": "Usage after invoicing",
            "opts": Invoice._meta,
            "customer": customer,
            "changed": changed[:MOST_CHANGED_SHOWN],
            "more": max(0, len(changed) - MOST_CHANGED_SHOWN),
            "totals": totals_by_currency(changed),
            "watched_since": watched_since(now),
        }
        return TemplateResponse(request, "admin/invoices/after_invoicing.html", context)

    def preview_view(self, request: HttpRequest, contract_id: int) -> HttpResponse:
        """The invoice of the running period as a PDF, made the very way a close makes it and then undone."""
        if not self.has_view_permission(request):
            return HttpResponse(status=403)
        contract = get_object_or_404(Contract.objects.select_related("customer__billing_entity"), pk=contract_id)
        now = timezone.now()
        period = period_to_show(contract, now)
        reason = pdf_support()
        if period is None:
            reason = "This contract has ended, so there is no running period to preview."
        if reason is not None or period is None:
            messages.warning(request, reason or "")
            return HttpResponseRedirect(reverse("admin:contracts_contract_change", args=[contract_id]))
        try:
            rated = rate_running_period(contract, period, as_of=now, stored_before=now).rated
        except BillingError as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(reverse("admin:contracts_contract_change", args=[contract_id]))
        with transaction.atomic():
            [draft] = write_drafts([rated])
            content = render_pdf(draft)
            transaction.set_rollback(True)
        return _pdf_response(content, f"preview-{contract_id}.pdf")

    def bill_so_far_view(self, request: HttpRequest, contract_id: int) -> HttpResponse:
        if not self.has_issue_permission(request):
            return HttpResponse(status=403)
        return bill_so_far_view(request, contract_id, site_context=self.admin_site.each_context(request))


def _drafts_among(request: HttpRequest, selected: QuerySet[Invoice]) -> list[int]:
    """The selected drafts, oldest period first. What else was selected is named in one message, and left alone."""
    drafts = list(selected.drafts().order_by("period_end_at", "pk").values_list("pk", flat=True))  # type: ignore[attr-defined]
    others = selected.count() - len(drafts)
    if others:
        said = "1 selected invoice is" if others == 1 else f"{others} selected invoices are"
        messages.warning(request, f"{said} issued already and cannot change.")
    return drafts


def selection_mark(invoice_ids: list[int]) -> str:
    """What tells a selection of drafts from a later one: drafts only leave it, or join it with higher IDs."""
    return f"{len(invoice_ids)}-{max(invoice_ids)}"


def number_ranges(numbers: list[str]) -> str:
    """The numbers of invoices in words, series by series: “NIM-2026-00003 to NIM-2026-00009 and EU-2026-00004”."""
    ranges = []
    for _, series in groupby(sorted(numbers), key=lambda number: number.rpartition("-")[0]):
        first, *rest = series
        ranges.append(f"{first} to {rest[-1]}" if rest else first)
    return " and ".join(ranges)


def events_url(line: InvoiceLine) -> str | None:
    """The admin page that lists exactly the events behind a line; None for a recurring charge."""
    window = usage_window_of(line)
    if window is None:
        return None
    query = {
        "customer": window.customer_id,
        "metric_version": window.version.pk,
        "window_start": window.start_at.isoformat(),
        "window_end": window.end_at.isoformat(),
        "stored_before": line.stored_before.isoformat(),
    }
    return f"{reverse('admin:usage_usageevent_changelist')}?{urlencode(query)}"


def render_lines(request: HttpRequest, invoice: Invoice) -> str:
    lines = list(invoice.lines.order_by("position"))
    names = names_of_bills(lines)
    rows = [(line, paper_line(line, invoice.period, names)) for line in lines]
    return render_to_string("admin/invoices/lines.html", {"invoice": invoice, "rows": rows}, request=request)


def render_invoices_of_contract(request: HttpRequest, contract: Contract) -> str:
    if not request.user.has_perm("invoices.view_invoice"):
        return ""
    invoices = contract.invoices.order_by("-period_end_at", "-pk")[:12]
    preview_url = reverse("admin:invoices_invoice_preview", args=[contract.pk])
    return render_to_string(
        "admin/invoices/of_contract.html",
        {
            "invoices": [(invoice, period_in_words(invoice)) for invoice in invoices],
            "contract": contract,
            "preview_url": preview_url,
            "may_bill": contract.open_period is not None
            and contract.open_period.start_at <= timezone.now()
            and request.user.has_perm("invoices.change_invoice"),
        },
        request=request,
    )


def _asked_customer(request: HttpRequest) -> Customer | None:
    text = request.GET.get("customer", "")
    return Customer.objects.filter(pk=int(text)).first() if text.isdecimal() and len(text) < 19 else None


def totals_by_currency(changed: list[ChangedLine]) -> list[tuple[int, str]]:
    """How many lines, and what they come to, in each currency."""
    by_currency: defaultdict[str, list[Decimal]] = defaultdict(list)
    for found in changed:
        by_currency[found.currency].append(found.amount_difference)
    return [
        (len(some), format_difference(sum(some, Decimal(0)), currency))
        for currency, some in sorted(by_currency.items())
    ]


def render_billing_of_event(request: HttpRequest, event: UsageEvent) -> str:
    if not request.user.has_perm("invoices.view_invoice"):
        return ""
    counted_by = {found.version.pk: found.version.metric_id for found in measurements_of(event) if found.is_counted}
    context = {"billing": billing_of(event, counted_by=counted_by, now=timezone.now()), "event": event}
    return render_to_string("admin/invoices/of_event.html", context, request=request)


def render_changed_of_customer(request: HttpRequest, customer: Customer) -> str:
    if not request.user.has_perm("invoices.view_invoice"):
        return ""
    changed = changed_after_invoicing(now=timezone.now(), customer_ids=[customer.pk])
    if not changed:
        return ""
    context = {"changed": changed, "totals": totals_by_currency(changed), "customer": customer}
    return render_to_string("admin/invoices/changed_of_customer.html", context, request=request)


def render_late_usage(request: HttpRequest, customer: Customer) -> str:
    """Events of the last 90 days that came late, by day and type."""
    if not request.user.has_perm("usage.view_usageevent"):
        return ""
    since = timezone.now() - LATE_USAGE_SHOWN
    late = late_usage(customer_id=customer.pk, since=since, invoiced=issued_periods(customer.pk, since=since))
    if not late:
        return ""
    context = {
        "late": late[:MOST_LATE_SHOWN],
        "more": max(0, len(late) - MOST_LATE_SHOWN),
        "customer": customer,
        "is_cut": sum(row.event_count for row in late) >= MOST_LATE_COUNTED,
    }
    return render_to_string("admin/usage/late.html", context, request=request)


def rates_paid(metric_ids: Collection[int]) -> dict[int, dict[str, Decimal]]:
    return average_rates(metric_ids, since=timezone.now() - RATES_FROM)


def render_changed_by_correction(request: HttpRequest, correction: UsageCorrection) -> str:
    if not request.user.has_perm("invoices.view_invoice"):
        return ""
    touched = UsageEvent.objects.filter(correction=correction, customer__isnull=False).order_by()
    customers = touched.values_list("customer_id", flat=True).distinct()[:MOST_CUSTOMERS_LOOKED_AT]
    changed = changed_after_invoicing(now=timezone.now(), customer_ids=list(customers))
    context = {"changed": changed, "totals": totals_by_currency(changed)}
    return render_to_string("admin/invoices/changed_by_correction.html", context, request=request)


def _pdf_response(content: bytes, name: str) -> HttpResponse:
    response = HttpResponse(content, content_type="application/pdf")
    response["Content-Disposition"] = f'inline; filename="{name}"'
    return response


register_panel("usage.UsageEvent", Panel(title="Priced and billed", render=render_billing_of_event, order=20))
register_panel("usage.UsageCorrection", Panel(title="Invoiced already", render=render_changed_by_correction, order=20))
estimate_with(rates_paid)
register_panel("customers.Customer", Panel(title="Late usage", render=render_late_usage, order=50))
register_panel("customers.Customer", Panel(title="Usage after invoicing", render=render_changed_of_customer, order=60))
register_panel("invoices.Invoice", Panel(title="Lines", render=render_lines, order=10))
register_panel("contracts.Contract", Panel(title="This period so far", render=render_running_period, order=10))
register_panel("contracts.Contract", Panel(title="Invoices", render=render_invoices_of_contract, order=20))
