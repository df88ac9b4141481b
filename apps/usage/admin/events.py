"""The explorer: find any event, follow its whole way, void or replace it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from apps.billable_metrics.models import MetricVersion
from apps.common.admin import (
    Panel,
    acting_user,
    badge,
    dialog_done,
    refusals_as_messages,
    register_panel,
    show_dialog_again,
)
from apps.common.database import TookTooLong, time_limit
from apps.common.errors import BillingError
from apps.common.formatting import format_instant
from apps.usage.admin.base import MOST_COUNTED, MOST_TYPES, LogRowAdmin, data_block
from apps.usage.admin.searching import RANGES, AskedWindow, SearchForm, asked_window
from apps.usage.cloudevents import NotJson, decode_json
from apps.usage.events import readable_json
from apps.usage.models import EventType, UsageEvent, UsageSource
from apps.usage.selectors import EventQuery, place_of
from apps.usage.selectors.explorer import ListPosition, newest_events
from apps.usage.selectors.way import way_of
from apps.usage.services import EventChanges, correct_matching, replace_event, void_events
from apps.usage.services.corrections import MOST_CORRECTED

ROWS_PER_PAGE = 50
SECONDS_FOR_ROWS = 10
SECONDS_FOR_COUNTING = 3
SECONDS_FOR_CORRECTING = 60


class VoidForm(BaseDialogForm):
    reason = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 2}), help_text="Stays with the event, beside your name."
    )


class ReplaceForm(BaseDialogForm):
    type = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    subject = forms.CharField(max_length=256, widget=UnfoldAdminTextInputWidget)
    time = forms.DateTimeField(
        label="Event time (UTC)",
        input_formats=["%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"],
        widget=UnfoldAdminTextInputWidget,
    )
    data = forms.CharField(
        label="Data (JSON)", widget=UnfoldAdminTextareaWidget({"rows": 7, "class": "ch-code", "spellcheck": "false"})
    )
    reason = forms.CharField(
        widget=UnfoldAdminTextareaWidget({"rows": 2}), help_text="Stays with both events, beside your name."
    )

    def __init__(self, request: HttpRequest, object_id: int | str | None = None, *args: Any, **kwargs: Any) -> None:
        event = UsageEvent.objects.filter(pk=object_id or 0).first()
        if event is not None:
            kwargs["initial"] = {
                "type": event.type,
                "subject": event.subject,
                "time": f"{event.occurred_at:%Y-%m-%d %H:%M:%S.%f}",
                "data": readable_json(event.data),
            }
        super().__init__(request, object_id, *args, **kwargs)

    def clean_data(self) -> Any:
        try:
            data = decode_json(self.cleaned_data["data"].encode())
        except NotJson as refusal:
            raise forms.ValidationError("This is not valid JSON.") from refusal
        if not isinstance(data, dict):
            raise forms.ValidationError('The data is a JSON object, such as {"tokens": 100}.')
        return data


VOID_DIALOG = {
    "title": "Void this event?",
    "description": "It stays in the log and counts no more, from now on. Usage and drafts follow at once; what was "
    "invoiced already is listed for adjustment.",
    "form_class": VoidForm,
    "form_submit_text": "Void",
}
REPLACE_DIALOG = {
    "title": "Replace this event",
    "description": "The event is voided, and one with the same source and ID counts in its place.",
    "form_class": ReplaceForm,
    "form_submit_text": "Replace",
}


@admin.register(UsageEvent)
class UsageEventAdmin(LogRowAdmin[UsageEvent]):
    search_fields = ["event_id"]
    actions_detail = ["void", "replace"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("event_id", "source"),
                    ("type", "subject"),
                    ("occurred_at_shown", "state_shown"),
                    "data_shown",
                ]
            },
        ),
    ]
    readonly_fields = ["occurred_at_shown", "state_shown", "data_shown"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[UsageEvent]:
        events: QuerySet[UsageEvent] = super().get_queryset(request)
        return events.select_related("source", "customer", "api_key", "correction__actor")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("correct/", wrap(self.correct_view), name="usage_usageevent_correct"),
            *super().get_urls(),
        ]

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_correct_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether the user may correct; on an event's page, whether it still counts."""
        return request.user.has_perm("usage.add_usagecorrection") and (
            object_id is None or UsageEvent.objects.filter(pk=object_id, voided_at=None).exists()
        )

    # --- The list ----------------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            asked = asked_window(request.GET)
        except BillingError as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(request.path)
        given = request.GET.copy()
        if asked is not None:
            given.pop("customer")
        form = SearchForm(given)
        context = {
            **self.admin_site.each_context(request),
            "title": "Events",
            "opts": self.opts,
            "form": form,
            "asked": asked,
            "most_counted": MOST_COUNTED,
            "ranges": [
                (label, _address(request, range=name), given.get("range") == name)
                for name, (label, _) in RANGES.items()
            ],
            "types": EventType.objects.values_list("name", flat=True)[:MOST_TYPES],
            "sources": UsageSource.objects.values_list("name", flat=True)[:MOST_TYPES],
            "may_correct": self.has_correct_permission(request),
        }
        if form.is_valid():
            try:
                context |= self._found(request, form, asked)
            except TookTooLong as refusal:
                context["refusal"] = refusal.detail
        return TemplateResponse(request, "admin/usage/events.html", context)

    def _found(self, request: HttpRequest, form: SearchForm, asked: AskedWindow | None) -> dict[str, Any]:
        query = form.query
        if query is None:
            return {}
        after = ListPosition.from_text(request.GET.get("after", ""))
        with time_limit(SECONDS_FOR_ROWS):
            events, start_at, end_at = _within(query, asked)
            rows = newest_events(
                events.select_related("source", "customer"),
                start_at=start_at,
                end_at=end_at,
                after=after,
                limit=ROWS_PER_PAGE + 1,
            )
        shown = rows[:ROWS_PER_PAGE]
        is_first = after is None
        count: int | None = len(shown)
        if len(rows) > ROWS_PER_PAGE or not is_first:
            count = _count(events)
        return {
            "query": query,
            "events": shown,
            "count": count,
            "is_further_page": not is_first,
            "first_page_url": _address(request, after=None),
            "next_page_url": (
                _address(request, after=ListPosition.of(shown[-1]).as_text()) if len(rows) > ROWS_PER_PAGE else None
            ),
            "correct_url": _correct_url(request, query),
            "measured": asked.measured() if asked else None,
            "log_is_empty": not shown and not form.is_filtered and not UsageEvent.objects.order_by().exists(),
        }

    # --- Correcting all that a search finds --------------------------------------------------------------------------

    def correct_view(self, request: HttpRequest) -> HttpResponse:
        """Void, or give another subject or type, all that the explorer's current filter finds."""
        if not self.has_correct_permission(request):
            raise PermissionDenied
        form = SearchForm(request.GET)
        back = f"{reverse('admin:usage_usageevent_changelist')}?{request.GET.urlencode()}"
        if not form.is_valid() or form.query is None:
            return HttpResponseRedirect(back)
        query = form.query
        if request.method == "POST":
            with refusals_as_messages(request):
                changes = EventChanges(
                    type=request.POST.get("new_type", "").strip() or None,
                    subject=request.POST.get("new_subject", "").strip() or None,
                )
                correction = correct_matching(
                    query=query,
                    expected=int(request.POST.get("expected", "0") or 0),
                    changes=changes if request.POST.get("kind") == "replace" else None,
                    reason=request.POST.get("reason", ""),
                    actor=acting_user(request),
                )
                messages.success(request, f"{correction.event_count:,} events are corrected.")
                return HttpResponseRedirect(reverse("admin:usage_usagecorrection_change", args=[correction.pk]))
        return self._ask_to_correct(request, query, back)

    def _ask_to_correct(self, request: HttpRequest, query: EventQuery, back: str) -> HttpResponse:
        context: dict[str, Any] = {
            **self.admin_site.each_context(request),
            "title": "Correct events",
            "page_title": "Correct",
            "opts": self.opts,
            "query": query,
            "back": back,
            "most": MOST_CORRECTED,
            "posted": request.POST,
        }
        try:
            with time_limit(SECONDS_FOR_CORRECTING):
                context["count"] = query.events().filter(voided_at=None)[: MOST_CORRECTED + 1].count()
        except TookTooLong as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(back)
        return TemplateResponse(request, "admin/usage/correct_events.html", context)

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Event time")
    def occurred_at_shown(self, event: UsageEvent) -> str:
        return format_instant(event.occurred_at, with_seconds=True)

    @display(description="Status")
    def state_shown(self, event: UsageEvent) -> SafeString:
        if event.voided_at is not None:
            return badge("Voided", "danger")
        if event.customer is None:
            return badge("Unattributed", "warning")
        if not MetricVersion.objects.filter(event_type=event.type).exists():
            return badge("No metric measures it", "warning")
        return badge("Counts", "success")

    @display(description="Data")
    def data_shown(self, event: UsageEvent) -> SafeString:
        return data_block(event.data)

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(description="Void", permissions=["correct"], icon="block", variant=ActionVariant.DANGER, dialog=VOID_DIALOG)
    def void(self, request: HttpRequest, form: VoidForm, object_id: str) -> HttpResponse:
        event = get_object_or_404(UsageEvent, pk=object_id)
        with refusals_as_messages(request):
            void_events(events=[place_of(event)], reason=form.cleaned_data["reason"], actor=acting_user(request))
            messages.success(request, "The event is voided and counts no more.")
        return dialog_done(request, reverse("admin:usage_usageevent_change", args=[object_id]))

    @action(description="Replace", permissions=["correct"], icon="swap_horiz", dialog=REPLACE_DIALOG)
    def replace(self, request: HttpRequest, form: ReplaceForm, object_id: str) -> HttpResponse:
        event = get_object_or_404(UsageEvent, pk=object_id)
        given = form.cleaned_data
        try:
            correction = replace_event(
                event=place_of(event),
                changes=EventChanges(given["type"], given["subject"], given["time"], given["data"]),
                reason=given["reason"],
                actor=acting_user(request),
            )
        except BillingError as refusal:
            # The dialog shows errors beside fields only.
            form.add_error(refusal.field if refusal.field in form.fields else "reason", refusal.detail)
            return show_dialog_again(request, form, REPLACE_DIALOG)
        new = UsageEvent.objects.filter(replaces_id=event.pk).get()
        messages.success(request, f"This event counts now, in place of the one that was sent. {correction.reason}")
        return dialog_done(request, reverse("admin:usage_usageevent_change", args=[new.pk]))


def _within(query: EventQuery, asked: AskedWindow | None) -> tuple[QuerySet[UsageEvent], Any, Any]:
    """The events to list, and the range that bounds them; a window and an ID bound them by themselves."""
    if asked is None:
        events = query.events()
        return (events, None, None) if query.event_id else (events, query.start_at, query.end_at)
    events = asked.events()
    if query.event_id:
        events = events.filter(
            pk__in=EventQuery(query.start_at, query.end_at, event_id=query.event_id).events().values("pk")
        )
    return events, None, None


def _count(events: QuerySet[UsageEvent]) -> int | None:
    """How many there are, no further than it is worth; None when even that takes too long."""
    try:
        with time_limit(SECONDS_FOR_COUNTING):
            return events.order_by()[: MOST_COUNTED + 1].count()
    except TookTooLong:
        return None


def _address(request: HttpRequest, *, after: str | None = None, range: str = "") -> str:
    """The same search, on another page or in another of the ready ranges."""
    query = request.GET.copy()
    query.pop("after", None)
    if after:
        query["after"] = after
    if range:
        query["range"] = range
        query.pop("start", None)
        query.pop("end", None)
    return f"{request.path}?{query.urlencode()}"


def _correct_url(request: HttpRequest, query: EventQuery) -> str:
    """The same search with its range written out, so that it means the same events a minute later."""
    given = request.GET.copy()
    given.pop("after", None)
    given["range"] = "custom"
    given["start"], given["end"] = (f"{instant:%Y-%m-%dT%H:%M:%S.%f}" for instant in (query.start_at, query.end_at))
    return f"{reverse('admin:usage_usageevent_correct')}?{given.urlencode()}"


def render_way(request: HttpRequest, event: UsageEvent) -> str:
    return render_to_string("admin/usage/way.html", {"way": way_of(event), "event": event}, request=request)


register_panel("usage.UsageEvent", Panel(title="What became of it", render=render_way, order=10))
