"""Events that were refused since their source and ID were used before, beside the ones that stay."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from apps.common.admin import number_cell
from apps.common.formatting import format_instant
from apps.usage.admin.base import BoundedPaginator, LogRowAdmin, data_block, instant_cell
from apps.usage.models import UsageConflict, UsageEvent


@admin.register(UsageConflict)
class UsageConflictAdmin(LogRowAdmin[UsageConflict]):
    list_display = ["event_id_shown", "source", "type", "subject", "times_shown", "last_received_shown"]
    list_select_related = ["source"]
    list_filter = ["source"]
    search_fields = ["=event_id", "=subject"]
    search_help_text = "Whole event ID or subject"
    paginator = BoundedPaginator
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("event_id", "source"),
                    ("type", "subject"),
                    ("occurred_at_shown", "api_key"),
                    ("received_shown", "last_received_shown"),
                    ("times_received", "first_event_shown"),
                ]
            },
        ),
        ("What was refused, and what was kept", {"fields": ["data_shown", "first_data_shown"]}),
    ]
    readonly_fields = [
        "occurred_at_shown",
        "received_shown",
        "last_received_shown",
        "first_event_shown",
        "data_shown",
        "first_data_shown",
    ]
    empty_state = (
        "No conflicts",
        "A conflict is an event whose source and ID were used before with other content. The first one stays and is "
        "billed; the other is kept here.",
        None,
        None,
    )

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup == "first_event_id" or super().lookup_allowed(lookup, value, request)

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Event ID", ordering="event_id")
    def event_id_shown(self, conflict: UsageConflict) -> SafeString:
        return format_html('<span class="ch-code">{}</span>', conflict.event_id)

    @display(description="Times received", ordering="times_received")
    def times_shown(self, conflict: UsageConflict) -> SafeString:
        return number_cell(f"{conflict.times_received:,}")

    @display(description="Occurred at")
    def occurred_at_shown(self, conflict: UsageConflict) -> str:
        return format_instant(conflict.occurred_at)

    @display(description="First received")
    def received_shown(self, conflict: UsageConflict) -> str:
        return format_instant(conflict.received_at)

    @display(description="Last received", ordering="last_received_at")
    def last_received_shown(self, conflict: UsageConflict) -> SafeString:
        return instant_cell(conflict.last_received_at)

    @display(description="Kept event")
    def first_event_shown(self, conflict: UsageConflict) -> SafeString:
        url = reverse("admin:usage_usageevent_change", args=[conflict.first_event_id])
        return format_html('<a class="ch-link" href="{}">Open the event that stays</a>', url)

    @display(description="Refused")
    def data_shown(self, conflict: UsageConflict) -> SafeString:
        return data_block(conflict.data)

    @display(description="Kept")
    def first_data_shown(self, conflict: UsageConflict) -> SafeString:
        first = UsageEvent.objects.filter(pk=conflict.first_event_id).first()
        return data_block(first.data) if first else format_html("{}", "No longer kept")
