"""Events that are held until staff decide."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common.admin import acting_user, badge, number_cell, refusals_as_messages
from apps.common.formatting import format_instant
from apps.usage.admin.base import BoundedPaginator, LogRowAdmin, data_block, instant_cell
from apps.usage.models import QuarantinedEvent, QuarantineState
from apps.usage.services import discard_events, release_events

STATE_COLOURS = {
    QuarantineState.WAITING: "warning",
    QuarantineState.RELEASED: "success",
    QuarantineState.DISCARDED: "default",
}


@admin.register(QuarantinedEvent)
class QuarantinedEventAdmin(LogRowAdmin[QuarantinedEvent]):
    list_display = [
        "event_id",
        "occurred_at_shown",
        "type",
        "subject",
        "source",
        "received_shown",
        "times_shown",
        "state_shown",
    ]
    list_filter = ["state", "source"]
    list_select_related = ["source", "decided_by"]
    search_fields = ["=event_id", "=subject"]
    search_help_text = "Whole event ID or subject"
    paginator = BoundedPaginator
    show_facets = admin.ShowFacets.NEVER
    actions: ClassVar[list[str] | None] = ["release", "discard"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("event_id", "source"),
                    ("type", "subject"),
                    ("occurred_at_shown", "api_key"),
                    ("received_shown", "times_received"),
                    "reason",
                    ("state_badge", "decided_shown"),
                    "data_shown",
                ]
            },
        ),
    ]
    readonly_fields = ["occurred_at_shown", "received_shown", "state_badge", "decided_shown", "data_shown"]
    empty_state = (
        "Nothing is in quarantine",
        "Events that are older than this installation takes are refused, or held here until you release or discard "
        "them when EVENTS_TOO_OLD is set to quarantine.",
        None,
        None,
    )

    def has_decide_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("usage.change_quarantinedevent")

    # --- Actions -----------------------------------------------------------------------------------------------------

    @admin.action(description="Release selected: store and bill them", permissions=["decide"])
    def release(self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> HttpResponse | None:
        if "reason" not in request.POST:
            return self._ask(request, queryset, "release")
        with refusals_as_messages(request):
            done = release_events(ids=_ids(queryset), **_decision(request))
            known = done.duplicates + done.conflicts
            messages.success(
                request,
                f"{done.stored:,} events are stored." + (f" {known:,} were stored before." if known else ""),
            )
        return None

    @admin.action(description="Discard selected", permissions=["decide"])
    def discard(self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent]) -> HttpResponse | None:
        if "reason" not in request.POST:
            return self._ask(request, queryset, "discard")
        with refusals_as_messages(request):
            count = discard_events(ids=_ids(queryset), **_decision(request))
            messages.success(request, f"{count:,} events are discarded.")
        return None

    def _ask(self, request: HttpRequest, queryset: QuerySet[QuarantinedEvent], action: str) -> HttpResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": f"{action.capitalize()} events",
            "opts": self.opts,
            "action": action,
            "count": queryset.filter(state=QuarantineState.WAITING).count(),
            "selected": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "select_across": request.POST.get("select_across", "0"),
        }
        return TemplateResponse(request, "admin/usage/quarantine_decide.html", context)

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Event time", ordering="occurred_at")
    def occurred_at_shown(self, event: QuarantinedEvent) -> SafeString:
        return instant_cell(event.occurred_at)

    @display(description="First received", ordering="received_at")
    def received_shown(self, event: QuarantinedEvent) -> SafeString:
        return instant_cell(event.received_at)

    @display(description="Times received", ordering="times_received")
    def times_shown(self, event: QuarantinedEvent) -> SafeString:
        return number_cell(f"{event.times_received:,}")

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_shown(self, event: QuarantinedEvent) -> tuple[str, str]:
        return event.state, event.get_state_display()

    @display(description="State")
    def state_badge(self, event: QuarantinedEvent) -> SafeString:
        return badge(event.get_state_display(), STATE_COLOURS[QuarantineState(event.state)])

    @display(description="Decided")
    def decided_shown(self, event: QuarantinedEvent) -> str:
        if event.decided_at is None:
            return "Not yet"
        return f"{format_instant(event.decided_at)}, {event.decided_by or 'the system'}: {event.decision_reason}"

    @display(description="Data")
    def data_shown(self, event: QuarantinedEvent) -> SafeString:
        return data_block(event.data)


def _decision(request: HttpRequest) -> dict[str, Any]:
    return {"reason": request.POST["reason"], "actor": acting_user(request), "now": timezone.now()}


def _ids(queryset: QuerySet[QuarantinedEvent]) -> list[int]:
    return list(queryset.filter(state=QuarantineState.WAITING).values_list("pk", flat=True))
