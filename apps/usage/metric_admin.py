"""What usage adds to the page of a metric: a preview on real events, and how far its cache is built."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone

from apps.billable_metrics.forms import DefinitionForm
from apps.billable_metrics.models import BillableMetric
from apps.common.admin import Panel, acting_user, register_panel
from apps.customers.models import Customer
from apps.customers.selectors import customers_by_subject
from apps.usage.metric_preview import MOST_EVENTS, Preview, TooSlow, preview_metric
from apps.usage.models import CacheState, EventType, UsageCache, UsageEvent

MOST_SHOWN = 20
MOST_SUGGESTED = 200
STRETCHES = {
    "hour": ("Last hour", dt.timedelta(hours=1)),
    "day": ("Last 24 hours", dt.timedelta(days=1)),
    "week": ("Last 7 days", dt.timedelta(days=7)),
    "month": ("Last 30 days", dt.timedelta(days=30)),
}
CHANGES = ("billable_metrics.add_billablemetric", "billable_metrics.change_billablemetric")


def metric_preview(request: HttpRequest) -> HttpResponse:
    """The frame of a preview (GET), and what a definition that was entered makes of recent events (POST)."""
    user = acting_user(request)
    if not any(map(user.has_perm, CHANGES)):
        raise PermissionDenied
    if request.method != "POST":
        context = {
            "stretches": [(name, label) for name, (label, _) in STRETCHES.items()],
            "customers": Customer.objects.order_by("name")[:MOST_SUGGESTED],
            "types": EventType.objects.all()[:MOST_SUGGESTED],
        }
        return render(request, "admin/usage/metric_preview.html", context)
    context = _try(request) | {"may_see_events": user.has_perm("usage.view_usageevent")}
    return render(request, "admin/usage/metric_preview_result.html", context)


def _try(request: HttpRequest) -> dict[str, Any]:
    form = DefinitionForm(request.POST)
    label, since = STRETCHES.get(request.POST.get("preview_since", ""), STRETCHES["week"])
    context: dict[str, Any] = {"stretch": label.lower(), "event_type": request.POST.get("event_type", "")}
    if not form.is_valid() or form.definition is None:
        return context | {"faults": _faults(form)}
    definition = form.definition
    context |= {"words": definition.describe(), "definition": definition, "unit": _unit(request)}
    named = request.POST.get("preview_customer", "").strip()
    customer = _customer(named) if named else None
    if named and customer is None:
        return context | {"unknown_customer": named}
    context["customer"] = customer
    try:
        preview = preview_metric(definition, customer=customer, since=since, now=timezone.now())
    except TooSlow:
        return context | {"is_too_slow": True}
    return context | _shown(preview) | {"is_known_type": EventType.objects.filter(name=definition.event_type).exists()}


def _faults(form: DefinitionForm) -> list[tuple[str, str]]:
    """What is still missing or wrong, by the label of its field."""
    return [
        # A filter that is at fault names itself.
        (str(form[name].label) if name in form.fields and name != "filters" else "", str(fault))
        for name, faults in form.errors.items()
        for fault in faults
    ]


def _unit(request: HttpRequest) -> str:
    return request.POST.get("unit_plural", "").strip()


def _customer(named: str) -> Customer | None:
    """The customer with this ID, alias or name; or the only one whose name has this in it."""
    by_subject = customers_by_subject([named]).get(named)
    if by_subject is not None:
        return Customer.objects.get(pk=by_subject)
    found = list(Customer.objects.filter(name__iexact=named)[:2]) or list(
        Customer.objects.filter(name__icontains=named)[:2]
    )
    return found[0] if len(found) == 1 else None


def _shown(preview: Preview) -> dict[str, Any]:
    total = sum(entry.usage.quantity for entry in preview.measured)
    return {
        "preview": preview,
        "counted": preview.counted[:MOST_SHOWN],
        "left_out": _by_reason(preview)[:MOST_SHOWN],
        "total": total if preview.adds_up and len(preview.measured) == preview.customer_count else None,
        "most_events": MOST_EVENTS,
        "most_shown": MOST_SHOWN,
    }


def _by_reason(preview: Preview) -> list[tuple[tuple[str, ...], int, UsageEvent]]:
    """Why events do not count, the most frequent reason first: how many there are, and the newest of them."""
    newest: dict[tuple[str, ...], UsageEvent] = {}
    for found in preview.left_out:
        newest.setdefault(found.reasons, found.event)
    counts = Counter(found.reasons for found in preview.left_out)
    return [(reasons, count, newest[reasons]) for reasons, count in counts.most_common()]


# --- The cache -------------------------------------------------------------------------------------------------------


def render_cache(request: HttpRequest, metric: BillableMetric) -> str:
    versions = sorted(metric.versions.all(), key=lambda version: -version.number)
    caches = UsageCache.objects.in_bulk([version.pk for version in versions])
    rows = []
    for version in versions:
        cache = caches.get(version.pk)
        done, total = (cache.partitions_done, cache.partitions_total) if cache else (0, 0)
        rows.append(
            {
                "version": version,
                "is_mergeable": version.definition.is_mergeable,
                "is_ready": cache is not None and cache.state == CacheState.READY,
                "finished_at": cache.finished_at if cache else None,
                "done": done,
                "total": total,
                "percent": done * 100 // total if total else 0,
            }
        )
    return render_to_string("admin/usage/metric_cache.html", {"rows": rows}, request=request)


register_panel("billable_metrics.BillableMetric", Panel(title="How it is read", render=render_cache, order=20))
