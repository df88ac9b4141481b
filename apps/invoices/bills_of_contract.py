"""The contract page's parts about its bills: the running period, and the usage so far that staff may bill."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from apps.common.admin import acting_user
from apps.common.errors import BillingError
from apps.common.formatting import format_money
from apps.contracts.models import Contract
from apps.invoices.models import Invoice
from apps.invoices.running_period import period_to_show, rate_running_period
from apps.invoices.services.interim import bill_so_far, usage_so_far


def render_running_period(request: HttpRequest, contract: Contract) -> str:
    now = timezone.now()
    period = period_to_show(contract, now)
    if period is None:
        return ""
    context: dict[str, object] = {"contract": contract, "period": period, "now": now}
    try:
        running = rate_running_period(contract, period, as_of=now)
        context |= {"rated": running.rated, "in_advance": running.in_advance}
    except BillingError as refusal:
        context["refusal"] = refusal.detail
    return render_to_string("admin/invoices/running_period.html", context, request=request)


def bill_so_far_view(request: HttpRequest, contract_id: int, *, site_context: dict[str, object]) -> HttpResponse:
    """Show what the usage so far would bill, and draft that invoice once it is asked for."""
    contract = get_object_or_404(Contract.objects.select_related("customer__billing_entity"), pk=contract_id)
    contract_url = reverse("admin:contracts_contract_change", args=[contract_id])
    now = timezone.now()
    try:
        if request.method == "POST":
            draft = bill_so_far(contract_id=contract_id, as_of=now, actor=acting_user(request))
            messages.success(request, f"{draft} is made: {format_money(draft.total)}. Review it, then issue it.")
            return HttpResponseRedirect(reverse("admin:invoices_invoice_change", args=[draft.pk]))
        rated = usage_so_far(contract, as_of=now)
    except BillingError as refusal:
        messages.error(request, refusal.detail)
        return HttpResponseRedirect(contract_url)
    context = {
        **site_context,
        "title": "Bill usage so far",
        "subtitle": str(contract),
        "opts": Invoice._meta,
        "contract": contract,
        "contract_url": contract_url,
        "rated": rated,
        "now": now,
    }
    return TemplateResponse(request, "admin/invoices/bill_so_far.html", context)
