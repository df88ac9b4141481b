"""Usage for staff: find any event, see why it counts, and what is still to be matched."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.dateparse import parse_datetime
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import display

from apps.billable_metrics.models import MetricVersion
from apps.common.admin import BillingAdmin, M, Panel, ReadOnlyMixin, register_panel
from apps.common.formatting import format_instant
from apps.common.history import HistoryScope
from apps.customers.models import Customer
from apps.customers.selectors import customers_by_subject
from apps.usage.events import readable_json
from apps.usage.models import EventType, Unattributed, UsageConflict, UsageEvent
from apps.usage.selectors import (
    MeasuredUsage,
    UsageWindow,
    events_of,
    events_with_id,
    measure_usage,
    measurements_of,
    unattributed_groups,
    unmeasured_types,
)
from apps.usage.services import attribute_events

MOST_COUNTED = 10_000
SUBJECTS_PER_PAGE = 50
MOST_TYPES = 100


class LogRowAdmin(ReadOnlyMixin, BillingAdmin[M]):
    """Pages of rows that are written once. They have no history, since they do not change."""

    actions = None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})

    def history_scopes(self, obj: M) -> list[HistoryScope]:
        return []


class BoundedPaginator(Paginator[Any]):
    """Counts no further than pages are worth turning: counting a whole event log takes minutes."""

    @cached_property
    def count(self) -> int:
        events = cast("QuerySet[Any]", self.object_list)
        return events.order_by()[:MOST_COUNTED].count()


@dataclass(frozen=True, slots=True)
class AskedWindow:
    """The events behind a figure, as the address of the list names them."""

    customer: Customer
    window: UsageWindow
    stored_before: dt.datetime | None

    def events(self) -> QuerySet[UsageEvent]:
        return events_of(self.window, stored_before=self.stored_before)

    def measured(self) -> MeasuredUsage:
        [usage] = measure_usage([self.window], stored_before=self.stored_before)
        return usage


class WindowFilter(admin.ListFilter):
    """Takes a usage window from the address, so that an invoice line can link to exactly its events."""

    title = "window"
    template = "admin/usage/window_filter.html"
    PARAMETERS = ("customer", "metric_version", "window_start", "window_end", "stored_before")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[UsageEvent], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        given = {name: params.pop(name)[-1] for name in self.PARAMETERS if name in params}
        self.used_parameters = given
        self.asked = asked_window(given) if given else None

    def has_output(self) -> bool:
        return self.asked is not None

    def choices(self, changelist: ChangeList) -> Any:
        return iter(())

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        if self.asked is None:
            return queryset
        return self.asked.events().select_related("source", "customer")

    def expected_parameters(self) -> list[str | None]:
        return list(self.PARAMETERS)


def asked_window(given: dict[str, str]) -> AskedWindow:
    """Read a window from an address. Raises IncorrectLookupParameters when it is not a whole one."""
    try:
        customer = Customer.objects.get(pk=int(given["customer"]))
        version = MetricVersion.objects.select_related("metric").get(pk=int(given["metric_version"]))
        start_at, end_at = _instant(given["window_start"]), _instant(given["window_end"])
        stored_before = _instant(given["stored_before"]) if given.get("stored_before") else None
    except (KeyError, ValueError, Customer.DoesNotExist, MetricVersion.DoesNotExist) as error:
        raise IncorrectLookupParameters(error) from error
    return AskedWindow(customer, UsageWindow(customer.pk, version, start_at, end_at), stored_before)


def _instant(text: str) -> dt.datetime:
    instant = parse_datetime(text)
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"{text} is no instant with a zone")
    return instant


class TypeFilter(admin.SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in EventType.objects.values_list("name", flat=True)[:MOST_TYPES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class AttributedFilter(admin.SimpleListFilter):
    title = "attribution"
    parameter_name = "attributed"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Has a customer"), ("no", "Unattributed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[UsageEvent]) -> QuerySet[UsageEvent]:
        if self.value() is None:
            return queryset
        return queryset.filter(customer__isnull=self.value() == "no")


@admin.register(UsageEvent)
class UsageEventAdmin(LogRowAdmin[UsageEvent]):
    list_display = [
        "event_id_shown",
        "occurred_at_shown",
        "type_shown",
        "customer_shown",
        "source_shown",
        "stored_at_shown",
    ]
    list_filter = [WindowFilter, ("customer", AutocompleteSelectFilter), TypeFilter, AttributedFilter]
    list_select_related = ["source", "customer"]
    list_before_template = "admin/usage/window_banner.html"
    # Counting each choice of each filter would read the whole log.
    show_facets = admin.ShowFacets.NEVER
    search_fields = ["event_id", "subject"]
    search_help_text = "Whole event ID or subject"
    paginator = BoundedPaginator
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("event_id", "source"),
                    ("type", "subject"),
                    ("customer", "attributed_at_shown"),
                    ("occurred_at_shown", "stored_at_shown"),
                    ("api_key", "conflicts_shown"),
                ]
            },
        ),
        ("Data", {"fields": ["data_shown"]}),
    ]
    readonly_fields = [
        "attributed_at_shown",
        "occurred_at_shown",
        "stored_at_shown",
        "data_shown",
        "conflicts_shown",
    ]
    empty_state = (
        "No usage events yet",
        "Programs send them to /api/v1/events with an API key that may send usage events. They show up here at once.",
        "admin:access_apikey_add",
        "Make an API key",
    )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[UsageEvent], search_term: str
    ) -> tuple[QuerySet[UsageEvent], bool]:
        """Find by the whole ID or subject: both go through an index, at any size of the log."""
        term = search_term.strip()
        if not term:
            return queryset, False
        by_id = Q(pk__in=events_with_id(term))
        by_subject = Q(customer_id=customers_by_subject([term]).get(term), subject=term)
        return queryset.filter(by_id | by_subject), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        given = {name: request.GET[name] for name in WindowFilter.PARAMETERS if name in request.GET}
        context = dict(extra_context or {})
        if given:
            try:
                context["asked"] = asked = asked_window(given)
            except IncorrectLookupParameters:
                messages.error(request, "This link names no whole window of usage, so all events are shown.")
                return HttpResponseRedirect(request.path)
            context["measured"] = asked.measured()
            context["most_counted"] = MOST_COUNTED
        return super().changelist_view(request, context)  # type: ignore[no-any-return]

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Event ID")
    def event_id_shown(self, event: UsageEvent) -> SafeString:
        return format_html('<span class="ch-code ch-nowrap">{}</span>', event.event_id)

    @display(description="Occurred at")
    def occurred_at_shown(self, event: UsageEvent) -> SafeString:
        return _instant_cell(event.occurred_at)

    @display(description="Type")
    def type_shown(self, event: UsageEvent) -> str:
        return event.type

    @display(description="Customer")
    def customer_shown(self, event: UsageEvent) -> SafeString:
        if event.customer is None:
            return format_html('<span class="ch-badge ch-badge-warning">Unattributed</span> {}', event.subject)
        return format_html("{}", event.customer.name)

    @display(description="Source")
    def source_shown(self, event: UsageEvent) -> str:
        return event.source.name

    @display(description="Stored at")
    def stored_at_shown(self, event: UsageEvent) -> SafeString:
        return _instant_cell(event.stored_at)

    @display(description="Attributed at")
    def attributed_at_shown(self, event: UsageEvent) -> str:
        return format_instant(event.attributed_at) if event.attributed_at else "Not yet: the subject is no customer."

    @display(description="Data")
    def data_shown(self, event: UsageEvent) -> SafeString:
        return _data_block(event.data)

    @display(description="Conflicts")
    def conflicts_shown(self, event: UsageEvent) -> SafeString:
        count = UsageConflict.objects.filter(first_event_id=event.pk).count()
        if not count:
            return format_html("{}", "None")
        url = reverse("admin:usage_usageconflict_changelist")
        return format_html('<a class="ch-link" href="{}?first_event_id={}">{}</a>', url, event.pk, count)


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


@admin.register(UsageConflict)
class UsageConflictAdmin(LogRowAdmin[UsageConflict]):
    list_display = ["event_id_shown", "source", "type", "subject", "times_received", "last_received_shown"]
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

    @display(description="Occurred at")
    def occurred_at_shown(self, conflict: UsageConflict) -> str:
        return format_instant(conflict.occurred_at)

    @display(description="First received")
    def received_shown(self, conflict: UsageConflict) -> str:
        return format_instant(conflict.received_at)

    @display(description="Last received", ordering="last_received_at")
    def last_received_shown(self, conflict: UsageConflict) -> SafeString:
        return _instant_cell(conflict.last_received_at)

    @display(description="Kept event")
    def first_event_shown(self, conflict: UsageConflict) -> SafeString:
        url = reverse("admin:usage_usageevent_change", args=[conflict.first_event_id])
        return format_html('<a class="ch-link" href="{}">Open the event that stays</a>', url)

    @display(description="Refused")
    def data_shown(self, conflict: UsageConflict) -> SafeString:
        return _data_block(conflict.data)

    @display(description="Kept")
    def first_data_shown(self, conflict: UsageConflict) -> SafeString:
        first = UsageEvent.objects.filter(pk=conflict.first_event_id).first()
        return _data_block(first.data) if first else format_html("{}", "No longer kept")


def _instant_cell(instant: dt.datetime) -> SafeString:
    return format_html('<span class="ch-nowrap">{}</span>', format_instant(instant))


def _data_block(data: Any) -> SafeString:
    return format_html('<pre class="ch-code">{}</pre>', readable_json(data))


def render_measurements(request: HttpRequest, event: UsageEvent) -> str:
    context = {"event": event, "measurements": measurements_of(event)}
    return render_to_string("admin/usage/measurements.html", context, request=request)


register_panel("usage.UsageEvent", Panel(title="Measured by", render=render_measurements, order=10))
