"""Pages of usage that no model has: exporting events and usage, and the partitions of the log."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.http import content_disposition_header

from apps.billable_metrics.models import BillableMetric
from apps.common.admin import add_refusal
from apps.common.errors import BillingError
from apps.usage.admin.searching import NoWindow, asked_window
from apps.usage.export_filters import EventFilter, WindowSize, usage_windows
from apps.usage.exporting import BOM, CONTENT_TYPES, ExportFormat, export_events, export_usage
from apps.usage.partitions import partitions, retention_problem

WHAT_EVENTS, WHAT_USAGE = "events", "usage"
FORMATS = [(ExportFormat.CSV, "CSV, for spreadsheets"), (ExportFormat.NDJSON, "NDJSON, for data warehouses")]
WINDOWS = [
    (WindowSize.MONTH, "Month"),
    (WindowSize.DAY, "Day"),
    (WindowSize.HOUR, "Hour"),
    (WindowSize.WHOLE, "The whole time at once"),
]


_DAY = forms.DateInput(attrs={"type": "date"})


class ExportForm(forms.Form):
    """What to export. Days are in UTC and both are included."""

    first_date = forms.DateField(label="From", widget=_DAY)
    last_date = forms.DateField(label="Through", widget=_DAY)
    customer = forms.CharField(
        label="Customer", required=False, widget=forms.TextInput(attrs={"placeholder": "All, or an external ID"})
    )
    file_format = forms.ChoiceField(label="File", choices=FORMATS)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        first, last = cleaned.get("first_date"), cleaned.get("last_date")
        if first and last and last < first:
            self.add_error("last_date", "The last day is the first one or later.")
        return cleaned

    def bounds(self) -> tuple[dt.datetime, dt.datetime]:
        first, last = self.cleaned_data["first_date"], self.cleaned_data["last_date"]
        return _midnight(first), _midnight(last) + dt.timedelta(days=1)


class EventExportForm(ExportForm):
    field_order = ["first_date", "last_date", "customer", "type", "file_format"]

    type = forms.CharField(
        label="Event type", required=False, widget=forms.TextInput(attrs={"placeholder": "All, or one type"})
    )

    def pieces(self, file_format: ExportFormat) -> Iterator[str]:
        start_at, end_at = self.bounds()
        asked = self.cleaned_data
        return export_events(
            EventFilter(start_at, end_at, customer=asked["customer"], type=asked["type"]).events(), file_format
        )


class UsageExportForm(ExportForm):
    field_order = ["first_date", "last_date", "customer", "metric", "window", "file_format"]

    metric = forms.ChoiceField(label="Metric", required=False)
    window = forms.ChoiceField(label="A row for each", choices=WINDOWS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        metrics = BillableMetric.objects.order_by("name").values_list("code", "name")
        self.fields["metric"].choices = [("", "All metrics"), *metrics]  # type: ignore[attr-defined]

    def pieces(self, file_format: ExportFormat) -> Iterator[str]:
        start_at, end_at = self.bounds()
        asked = self.cleaned_data
        windows = usage_windows(
            start_at=start_at,
            end_at=end_at,
            size=WindowSize(asked["window"]),
            customer=asked["customer"],
            metric=asked["metric"],
        )
        return export_usage(windows, file_format)


FORMS: dict[str, type[EventExportForm | UsageExportForm]] = {WHAT_EVENTS: EventExportForm, WHAT_USAGE: UsageExportForm}


def export_page(request: HttpRequest) -> HttpResponseBase:
    """Two forms; each answers with the file, streamed."""
    _require(request, "usage.view_usageevent")
    what = request.GET.get("what", "")
    today = timezone.localdate()
    initial = {"first_date": today.replace(day=1), "last_date": today, "window": WindowSize.DAY}
    shown: dict[str, ExportForm] = {}
    for name, form_class in FORMS.items():
        form = form_class(request.GET if name == what else None, initial=initial, prefix=None, auto_id=f"{name}_%s")
        if name == what and form.is_valid():
            try:
                file_format = ExportFormat(form.cleaned_data["file_format"])
                return _download(form.pieces(file_format), file_format, name=_file_name(name, form))
            except BillingError as refusal:
                add_refusal(form, refusal)
        shown[name] = form
    return _page(request, "Export usage", "admin/usage/export.html", {"forms": shown})


def window_export(request: HttpRequest) -> HttpResponseBase:
    """Exactly the events behind a figure, such as an invoice line, as the list of events shows them."""
    _require(request, "usage.view_usageevent")
    try:
        asked = asked_window(request.GET)
    except NoWindow as error:
        raise Http404("This link names no whole window of usage.") from error
    if asked is None:
        raise Http404("This link names no window of usage.")
    first = asked.window.start_at.astimezone(dt.UTC)
    name = f"events-{asked.customer.external_id}-{asked.window.version.metric.code}-{first:%Y-%m-%d}"
    return _download(export_events(asked.events(), ExportFormat.CSV), ExportFormat.CSV, name=name)


def partitions_page(request: HttpRequest) -> HttpResponseBase:
    """How large each month of the log is, and what is kept."""
    _require(request, "usage.view_usageevent")
    months = partitions()
    context = {
        "partitions": months,
        "total_bytes": sum(one.size_bytes for one in months),
        "kept_months": settings.EVENTS_KEEP_MONTHS,
        "problem": retention_problem(),
    }
    return _page(request, "Usage storage", "admin/usage/partitions.html", context)


def _file_name(what: str, form: ExportForm) -> str:
    asked = form.cleaned_data
    return f"usage-{what}-{asked['first_date']}-{asked['last_date']}".replace("usage-usage", "usage")


def _download(pieces: Iterator[str], file_format: ExportFormat, *, name: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        itertools.chain([BOM], pieces) if file_format == ExportFormat.CSV else pieces,
        content_type=CONTENT_TYPES[file_format],
        headers={"Content-Disposition": content_disposition_header(True, f"{name}.{file_format}") or "attachment"},
    )


def _require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _page(request: HttpRequest, title: str, template: str, context: dict[str, Any]) -> TemplateResponse:
    return TemplateResponse(request, template, {**admin.site.each_context(request), "title": title, **context})


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _for_staff(page: Callable[[HttpRequest], HttpResponseBase]) -> Any:
    return admin.site.admin_view(page)


urlpatterns = [
    path("export/", _for_staff(export_page), name="usage-export"),
    path("export/window/", _for_staff(window_export), name="usage-export-window"),
    path("partitions/", _for_staff(partitions_page), name="usage-partitions"),
]
