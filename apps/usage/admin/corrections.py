"""Corrections: what was voided or replaced, by whom and why; and many at once by a CSV file."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.common.admin import (
    BillingAdmin,
    Panel,
    ReadOnlyMixin,
    acting_user,
    number_cell,
    register_panel,
)
from apps.common.errors import BillingError
from apps.common.formatting import format_instant
from apps.usage.models import UsageCorrection, UsageEvent
from apps.usage.services.correction_files import COLUMNS, MOST_FAULTS, correct_by_file, plan_corrections

MOST_EVENTS_SHOWN = 100


@admin.register(UsageCorrection)
class UsageCorrectionAdmin(ReadOnlyMixin, BillingAdmin[UsageCorrection]):
    list_display = ["made_shown", "kind", "events_shown", "reason", "actor_shown"]
    list_filter = ["kind", ("actor", AutocompleteSelectFilter)]
    list_select_related = ["actor"]
    search_fields = ["reason", "selection"]
    search_help_text = "Words of the reason"
    actions_list = ["by_file"]
    fieldsets = [
        (None, {"fields": [("kind", "events_shown"), ("actor_shown", "made_shown"), "reason", "selection_shown"]})
    ]
    readonly_fields = ["made_shown", "events_shown", "actor_shown", "selection_shown"]
    empty_state = (
        "No corrections yet",
        "Events that were sent by mistake are voided or replaced on their pages, or many at once by a search or a CSV "
        "file. What was corrected, by whom and why, is kept here.",
        "admin:usage_usageevent_changelist",
        "Find an event",
    )

    def get_urls(self) -> list[URLPattern]:
        return [
            path("by-file/", self.admin_site.admin_view(self.by_file_view), name="usage_usagecorrection_file"),
            *super().get_urls(),
        ]

    def has_correct_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("usage.add_usagecorrection")

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Made", ordering="created_at")
    def made_shown(self, correction: UsageCorrection) -> str:
        return format_instant(correction.created_at)

    @display(description="Events", ordering="event_count")
    def events_shown(self, correction: UsageCorrection) -> SafeString:
        return number_cell(f"{correction.event_count:,}")

    @display(description="By")
    def actor_shown(self, correction: UsageCorrection) -> str:
        return str(correction.actor) if correction.actor else "The system"

    @display(description="Chosen by")
    def selection_shown(self, correction: UsageCorrection) -> str:
        return correction.selection or "One by one"

    # --- By CSV ------------------------------------------------------------------------------------------------------

    @action(description="Correct by CSV", permissions=["correct"], icon="upload_file", variant=ActionVariant.PRIMARY)
    def by_file(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:usage_usagecorrection_file"))

    def by_file_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file, say what it would do, and do it once that is confirmed."""
        if not self.has_correct_permission(request):
            raise PermissionDenied
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Correct by CSV",
            "page_title": "Correct by CSV",
            "opts": self.opts,
            "columns": COLUMNS,
            "reason": request.POST.get("reason", ""),
        }
        if request.method == "POST":
            try:
                text = _file_text(request)
                if request.POST.get("confirmed"):
                    return self._correct(request, text)
                plan = plan_corrections(text)
                context |= {
                    "plan": plan,
                    "text": text,
                    "faults": plan.faults[:MOST_FAULTS],
                    "more": max(0, len(plan.faults) - MOST_FAULTS),
                }
            except BillingError as refusal:
                context["refusal"] = refusal.detail
        return TemplateResponse(request, "admin/usage/correct_by_file.html", context)

    def _correct(self, request: HttpRequest, text: str) -> HttpResponse:
        done = correct_by_file(text=text, reason=request.POST.get("reason", ""), actor=acting_user(request))
        count = sum(correction.event_count for correction in done)
        messages.success(request, f"{count:,} event{'s are' if count != 1 else ' is'} corrected.")
        if len(done) == 1:
            return HttpResponseRedirect(reverse("admin:usage_usagecorrection_change", args=[done[0].pk]))
        return HttpResponseRedirect(reverse("admin:usage_usagecorrection_changelist"))


class NotText(BillingError):
    code = "not_text"
    status = 400

    def __init__(self) -> None:
        super().__init__("The file is no text in UTF-8. Save it as “CSV UTF-8” and choose it again.")


def _file_text(request: HttpRequest) -> str:
    upload = request.FILES.get("file")
    if upload is None or isinstance(upload, list):
        return request.POST.get("text", "")
    try:
        content: bytes = upload.read()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText from error


def render_events(request: HttpRequest, correction: UsageCorrection) -> str:
    events = list(
        UsageEvent.objects.filter(correction=correction)
        .select_related("customer", "source")
        .order_by("pk")[:MOST_EVENTS_SHOWN]
    )
    replacements = {
        found.replaces_id: found
        for found in UsageEvent.objects.filter(replaces_id__in=[event.pk for event in events]).order_by()
    }
    context = {
        "correction": correction,
        "events": [(event, replacements.get(event.pk)) for event in events],
        "more": max(0, correction.event_count - len(events)),
    }
    return render_to_string("admin/usage/corrected_events.html", context, request=request)


register_panel("usage.UsageCorrection", Panel(title="Events", render=render_events, order=10))
