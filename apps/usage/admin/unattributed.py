"""Usage that nobody is billed for yet: subjects that are no customer, and types that no metric measures."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from apps.common.admin import BillingAdmin, ReadOnlyMixin
from apps.usage.admin.base import MOST_TYPES
from apps.usage.models import Unattributed
from apps.usage.selectors import unattributed_groups, unmeasured_types
from apps.usage.services import attribute_events

SUBJECTS_PER_PAGE = 50


@admin.register(Unattributed)
class UnattributedAdmin(ReadOnlyMixin, BillingAdmin[Unattributed]):
    """Usage that nobody is billed for: unknown subjects, and types that no metric measures."""

    def has_view_permission(self, request: HttpRequest, obj: Unattributed | None = None) -> bool:
        return request.user.has_perm("usage.view_usageevent")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """One page only: an event has its own."""
        page = self.admin_site.admin_view(self.changelist_view)
        return [path("", page, name="usage_unattributed_changelist")]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        may_match = request.user.has_perm("customers.change_customer")
        if request.method == "POST":
            if not may_match:
                raise PermissionDenied
            count = attribute_events()
            messages.success(request, f"{count:,} events now have a customer." if count else "Nothing new to match.")
            return HttpResponseRedirect(request.path)
        after = request.GET.get("after", "")
        groups = unattributed_groups(after=after, limit=SUBJECTS_PER_PAGE)
        subjects = {group.subject for group in groups}
        context = {
            **self.admin_site.each_context(request),
            "title": "Unattributed usage",
            "opts": self.opts,
            "groups": groups,
            "after": after,
            "next_after": groups[-1].subject if len(subjects) == SUBJECTS_PER_PAGE else None,
            "types": unmeasured_types(limit=MOST_TYPES),
            "may_match": may_match,
            "may_add_customer": request.user.has_perm("customers.add_customer"),
            "may_add_metric": request.user.has_perm("billable_metrics.add_billablemetric"),
        }
        return TemplateResponse(request, "admin/usage/unattributed.html", context)
