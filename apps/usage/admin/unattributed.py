"""Usage that nobody is billed for yet: subjects that are no customer, and types that no metric measures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from apps.common.admin import BillingAdmin, ReadOnlyMixin, acting_user, refusals_as_messages
from apps.common.formatting import format_money
from apps.customers.models import Customer
from apps.pricing.money import round_money
from apps.usage.admin.base import MOST_TYPES
from apps.usage.admin.searching import customer_named
from apps.usage.events import readable_json
from apps.usage.models import EventType, IgnoredKind, IgnoredUsage, Unattributed
from apps.usage.selectors import (
    UnattributedGroup,
    groups_of,
    looked_into,
    unattributed_groups,
    unmeasured_types,
)
from apps.usage.services import attribute_events, attribute_subject, heed_usage, ignore_usage

SUBJECTS_PER_PAGE = 50
TYPES_LOOKED_INTO = 20
MOST_CUSTOMERS_OFFERED = 500
MOST_IGNORED_SHOWN = 100

# What customers paid for one unit of each metric lately, by currency.
Rates = Mapping[int, Mapping[str, Decimal]]
_rates_of: list[Callable[[Collection[int]], Rates]] = []


def estimate_with(rates_of: Callable[[Collection[int]], Rates]) -> None:
    """Have the list estimate missing revenue by these rates. Invoices call this, which this app may not know."""
    _rates_of[:] = [rates_of]


def estimates_of(groups: Collection[UnattributedGroup]) -> list[str]:
    """What each group would have cost, in each currency that customers paid; an empty text where nobody can tell."""
    metrics = {metric.pk for group in groups for metric in group.quantities}
    rates = _rates_of[0](metrics) if _rates_of and metrics else {}
    return [_estimate(group, rates) for group in groups]


def _estimate(group: UnattributedGroup, rates: Rates) -> str:
    amounts: defaultdict[str, Decimal] = defaultdict(Decimal)
    for metric, quantity in group.quantities.items():
        for currency, rate in rates.get(metric.pk, {}).items():
            amounts[currency] += quantity * rate
    shown = (format_money(round_money(amount, currency), currency) for currency, amount in sorted(amounts.items()))
    return " or ".join(shown)


@admin.register(Unattributed)
class UnattributedAdmin(ReadOnlyMixin, BillingAdmin[Unattributed]):
    """One list, and a page for each subject or type on it."""

    def has_view_permission(self, request: HttpRequest, obj: Unattributed | None = None) -> bool:
        return request.user.has_perm("usage.view_usageevent")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """One address only: an event has its own page."""
        page = self.admin_site.admin_view(self.changelist_view)
        return [path("", page, name="usage_unattributed_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method == "POST":
            return self._act(request)
        context = {
            **self.admin_site.each_context(request),
            "title": "Unattributed usage",
            "opts": self.opts,
            **_rights(request),
        }
        if subject := request.GET.get("subject"):
            return self._subject_page(request, subject, context)
        if name := request.GET.get("type"):
            return self._type_page(request, name, context)
        return self._list_page(request, context)

    # --- Pages -------------------------------------------------------------------------------------------------------

    def _list_page(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        after = request.GET.get("after", "")
        groups = unattributed_groups(after=after, limit=SUBJECTS_PER_PAGE)
        subjects = {group.subject for group in groups}
        types = unmeasured_types(limit=MOST_TYPES)
        context |= {
            "groups": groups,
            "rows": list(zip(groups, estimates_of(groups), strict=True)),
            "after": after,
            "next_after": groups[-1].subject if len(subjects) == SUBJECTS_PER_PAGE else None,
            "types": looked_into(types[:TYPES_LOOKED_INTO], now=timezone.now()),
            "further_types": types[TYPES_LOOKED_INTO:],
            "ignored": IgnoredUsage.objects.select_related("actor")[:MOST_IGNORED_SHOWN],
        }
        return TemplateResponse(request, "admin/usage/unattributed.html", context)

    def _subject_page(self, request: HttpRequest, subject: str, context: dict[str, Any]) -> HttpResponse:
        groups = groups_of([subject])
        context |= {
            "title": f"Unattributed subject {subject}",
            "page_title": "Subject",
            "subject": subject,
            "rows": list(zip(groups, estimates_of(groups), strict=True)),
            "customers": Customer.objects.order_by("name").values_list("external_id", "name")[:MOST_CUSTOMERS_OFFERED],
            "ignored": IgnoredUsage.objects.filter(kind=IgnoredKind.SUBJECT, name=subject).first(),
        }
        return TemplateResponse(request, "admin/usage/unattributed_subject.html", context)

    def _type_page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        kinds = looked_into(list(EventType.objects.filter(name=name)), now=timezone.now())
        if not kinds:
            return HttpResponseRedirect(request.path)
        [kind] = kinds
        context |= {
            "title": f"Type {name}, which no metric measures",
            "page_title": "Type",
            "type": kind,
            "sample": readable_json(kind.newest.data) if kind.newest else "",
            "ignored": IgnoredUsage.objects.filter(kind=IgnoredKind.TYPE, name=name).first(),
        }
        return TemplateResponse(request, "admin/usage/unmeasured_type.html", context)

    # --- Actions -----------------------------------------------------------------------------------------------------

    def _act(self, request: HttpRequest) -> HttpResponse:
        rights, wanted = _rights(request), request.POST.get("action", "match_all")
        if not rights["may_match"] and wanted in ("match_all", "attribute"):
            raise PermissionDenied
        if not rights["may_ignore"] and wanted in ("ignore", "heed"):
            raise PermissionDenied
        try:
            with refusals_as_messages(request):
                return self._done(request, wanted)
        except ValueError as error:
            raise PermissionDenied from error
        return HttpResponseRedirect(request.get_full_path())

    def _done(self, request: HttpRequest, wanted: str) -> HttpResponse:
        actor, name = acting_user(request), request.POST.get("name", "")
        if wanted == "match_all":
            count = attribute_events()
            messages.success(request, f"{count:,} events now have a customer." if count else "Nothing new to match.")
        elif wanted == "attribute":
            customer = customer_named(request.POST.get("customer", ""))
            count, is_all = attribute_subject(subject=name, customer=customer, actor=actor)
            rest = "" if is_all else " The rest follows in the background."
            messages.success(request, f"{count:,} events of “{name}” now belong to {customer.name}.{rest}")
        elif wanted == "ignore":
            kind = IgnoredKind(request.POST.get("kind", ""))
            ignore_usage(kind=kind, name=name, reason=request.POST.get("reason", ""), actor=actor, now=timezone.now())
            messages.success(request, f"“{name}” is set aside.")
        elif wanted == "heed":
            heed_usage(kind=IgnoredKind(request.POST.get("kind", "")), name=name, actor=actor)
            messages.success(request, f"“{name}” is on the list again.")
        else:
            raise ValueError(f"there is no action {wanted}")
        return HttpResponseRedirect(request.path)


def _rights(request: HttpRequest) -> dict[str, bool]:
    return {
        "may_match": request.user.has_perm("customers.change_customer"),
        "may_ignore": request.user.has_perm("usage.add_ignoredusage"),
        "may_add_customer": request.user.has_perm("customers.add_customer"),
        "may_add_metric": request.user.has_perm("billable_metrics.add_billablemetric"),
    }
