"""The preview beside the form that schedules a price: which contracts it reaches, and how much."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import render
from django.utils import timezone

from apps.common.errors import BillingError
from apps.products.forms import schedule_from
from apps.products.models import PlanStatus, Price
from apps.rating.impact import MOST_CONTRACTS, preview_impact

MOST_SHOWN = 50


def price_impact(request: HttpRequest) -> HttpResponse:
    """What the sent form of a new price would change, as a part of its page. ``price`` names the published price."""
    if not request.user.has_perm("products.add_priceversion"):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    price = _price(request.GET.get("price") or request.POST.get("price", ""))
    form, terms = schedule_from(price, request.POST)
    if terms is None:
        return _shown(request, {"faults": _faults(form)})
    entered, now = form.cleaned_data, timezone.now()
    try:
        impact = preview_impact(
            price=price,
            currency=entered["currency"] or price.plan_version.currencies[0],
            effective_from=entered["effective_from"],
            terms=terms,
            now=now,
            stored_before=now,
        )
    except BillingError as refusal:
        return _shown(request, {"faults": [("", refusal.detail)]})
    except ValidationError as refusal:
        return _shown(request, {"faults": [("", fault) for fault in refusal.messages]})
    changed = impact.changed
    context = {
        "impact": impact,
        "rows": changed[:MOST_SHOWN],
        "more": max(0, len(changed) - MOST_SHOWN),
        "most_contracts": MOST_CONTRACTS,
        "may_see_contracts": request.user.has_perm("contracts.view_contract"),
    }
    return _shown(request, context)


def _price(key: str) -> Price:
    prices = Price.objects.select_related("plan_version__plan", "product", "metric", "pricing_unit")
    found = prices.filter(pk=key, plan_version__status=PlanStatus.PUBLISHED).first() if key.isdecimal() else None
    if found is None:
        raise Http404("No price of a published plan is named.")
    return found


def _faults(form: Any) -> list[tuple[str, str]]:
    """What is still missing or wrong, by the label of its field."""
    return [
        (str(form[name].label) if name in form.fields else "", str(fault))
        for name, faults in form.errors.items()
        for fault in faults
    ]


def _shown(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    return render(request, "admin/rating/price_impact.html", context)
