"""Imports for staff: upload a file, see its first rows as events, run it, watch it, and mend what was left out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.common.admin import (
    BillingAdmin,
    Panel,
    ReadOnlyMixin,
    acting_user,
    add_refusal,
    dialog_done,
    refusals_as_messages,
    register_panel,
)
from apps.common.errors import BillingError
from apps.common.formatting import format_instant
from apps.common.spreadsheets import escaped
from apps.usage.exporting import BOM, plain_json
from apps.usage_imports.forms import ChooseMappingForm, ImportMappingForm, StartForm, UploadForm
from apps.usage_imports.mapping_forms import form_values
from apps.usage_imports.models import ImportMapping, ImportState, OnError, UsageImport
from apps.usage_imports.reading import unpacked
from apps.usage_imports.ready import READY
from apps.usage_imports.selectors import PREVIEWED_ROWS, mapping_named, preview
from apps.usage_imports.services import (
    change_mapping,
    create_import,
    resume_import,
    source_of,
    start_import,
    stop_import,
    store_file,
)

FAULTS_SHOWN = 100
STATE_COLOURS = {
    ImportState.DRAFT: "default",
    ImportState.RUNNING: "info",
    ImportState.FINISHED: "success",
    ImportState.STOPPED: "warning",
}


@admin.register(UsageImport)
class UsageImportAdmin(ReadOnlyMixin, BillingAdmin[UsageImport]):
    list_display = [
        "file_shown",
        "kind_shown",
        "mapping_name",
        "state_shown",
        "progress_shown",
        "created_shown",
        "started_by_shown",
    ]
    list_select_related = ["file", "started_by"]
    list_filter = ["state", "is_dry_run"]
    actions_list = ["upload", "mappings"]
    actions_detail = ["dry_run", "run", "stop", "resume"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("file_shown", "mapping_name"),
                    ("kind_shown", "state_text"),
                    ("started_shown", "finished_shown"),
                    ("started_by_shown", "on_error_shown"),
                ]
            },
        )
    ]
    readonly_fields = [
        "file_shown",
        "kind_shown",
        "state_text",
        "started_shown",
        "finished_shown",
        "started_by_shown",
        "on_error_shown",
    ]
    empty_state = (
        "No imports yet",
        "Bring usage in from a CSV or NDJSON file. You see its first rows as events before anything is stored, and a "
        "row that was imported before is never counted twice.",
        "admin:usage_imports_usageimport_upload",
        "Upload a file",
    )

    class Media:
        js = ["countinghouse/import_progress.js"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        name = "usage_imports_usageimport"
        return [
            path("upload/", view(self.upload_view), name=f"{name}_upload"),
            path("<int:import_id>/mapping/", view(self.mapping_view), name=f"{name}_mapping"),
            path("<int:import_id>/progress/", view(self.progress_view), name=f"{name}_progress"),
            path("<int:import_id>/faults.csv", view(self.faults_view), name=f"{name}_faults"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_import_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("usage_imports.add_usageimport")

    def has_mappings_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("usage_imports.view_importmapping")

    def has_dry_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, object_id, ImportState.DRAFT)

    def has_run_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """A file that was looked at is imported, and so is one whose dry run is done."""
        if object_id is None:
            return self.has_import_permission(request)
        job = UsageImport.objects.filter(pk=object_id, file__isnull=False, file__content_removed_at=None).first()
        ready = job is not None and (
            job.state == ImportState.DRAFT or (job.is_dry_run and job.state != ImportState.RUNNING)
        )
        return self.has_import_permission(request) and ready

    def has_stop_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, object_id, ImportState.RUNNING)

    def has_resume_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may(request, object_id, ImportState.STOPPED)

    def _may(self, request: HttpRequest, object_id: str | None, state: ImportState) -> bool:
        return self.has_import_permission(request) and (
            object_id is None or UsageImport.objects.filter(pk=object_id, state=state, file__isnull=False).exists()
        )

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="File")
    def file_shown(self, job: UsageImport) -> str:
        return job.file_name

    @display(description="Kind")
    def kind_shown(self, job: UsageImport) -> str:
        if job.state == ImportState.DRAFT:
            return "–"
        return "Dry run" if job.is_dry_run else "Import"

    @display(description="State", ordering="state", label=STATE_COLOURS)
    def state_shown(self, job: UsageImport) -> tuple[str, str]:
        return job.state, job.get_state_display()

    @display(description="State")
    def state_text(self, job: UsageImport) -> str:
        return job.get_state_display()

    @display(description="Progress")
    def progress_shown(self, job: UsageImport) -> SafeString:
        return render_to_string("admin/usage_imports/progress_bar.html", {"job": job})

    @display(description="Uploaded", ordering="created_at")
    def created_shown(self, job: UsageImport) -> str:
        return format_instant(job.created_at)

    @display(description="Started")
    def started_shown(self, job: UsageImport) -> str:
        return format_instant(job.started_at) if job.started_at else "–"

    @display(description="Ended")
    def finished_shown(self, job: UsageImport) -> str:
        return format_instant(job.finished_at) if job.finished_at else "–"

    @display(description="By")
    def started_by_shown(self, job: UsageImport) -> str:
        return str(job.started_by) if job.started_by else "Command line"

    @display(description="Rows that cannot be taken")
    def on_error_shown(self, job: UsageImport) -> str:
        return "–" if job.state == ImportState.DRAFT else OnError(job.on_error).label

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(description="Upload a file", permissions=["import"], icon="upload_file", variant=ActionVariant.PRIMARY)
    def upload(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:usage_imports_usageimport_upload"))

    @action(description="Mappings", permissions=["mappings"], icon="schema")
    def mappings(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:usage_imports_importmapping_changelist"))

    @action(description="Dry run", permissions=["dry_run"], icon="science")
    def dry_run(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._started(request, object_id, is_dry_run=True, on_error=OnError.SKIP)

    @action(
        description="Import",
        permissions=["run"],
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Import this file?",
            "description": "Its rows become usage events, which are billed. Rows that were imported before are not "
            "counted twice.",
            "form_class": StartForm,
            "form_submit_text": "Import",
        },
    )
    def run(self, request: HttpRequest, form: StartForm, object_id: str) -> HttpResponse:
        return self._started(request, object_id, is_dry_run=False, on_error=OnError(form.cleaned_data["on_error"]))

    @action(
        description="Stop",
        permissions=["stop"],
        icon="stop_circle",
        variant=ActionVariant.DANGER,
        dialog={
            "title": "Stop the import?",
            "description": "What was imported so far stays. You can go on later.",
            "form_class": None,
            "form_submit_text": "Stop",
        },
    )
    def stop(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            stop_import(import_id=int(object_id), now=timezone.now())
        return dialog_done(request, _page_of(object_id))

    @action(
        description="Resume",
        permissions=["resume"],
        icon="resume",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Go on where it stopped?",
            "description": "The row that it stopped at is read again.",
            "form_class": StartForm,
            "form_submit_text": "Resume",
        },
    )
    def resume(self, request: HttpRequest, form: StartForm, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            resume_import(import_id=int(object_id), on_error=OnError(form.cleaned_data["on_error"]), now=timezone.now())
        return dialog_done(request, _page_of(object_id))

    def _started(self, request: HttpRequest, object_id: str, *, is_dry_run: bool, on_error: OnError) -> HttpResponse:
        with refusals_as_messages(request):
            job = start_import(
                import_id=int(object_id),
                is_dry_run=is_dry_run,
                on_error=on_error,
                now=timezone.now(),
                actor=acting_user(request),
            )
            return dialog_done(request, _page_of(job.pk))
        return dialog_done(request, _page_of(object_id))

    # --- Views -------------------------------------------------------------------------------------------------------

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Take a file and a mapping, and show its first rows. Nothing is imported yet."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = UploadForm(request.POST, request.FILES) if request.method == "POST" else UploadForm()
        if form.is_valid():
            try:
                name, mapping = form.chosen()
                upload = form.cleaned_data["file"]
                file = store_file(name=upload.name, blocks=unpacked(upload), now=timezone.now())
                job = create_import(
                    file=file, mapping=mapping, mapping_name=name, now=timezone.now(), actor=acting_user(request)
                )
                return HttpResponseRedirect(_page_of(job.pk))
            except BillingError as refusal:
                add_refusal(form, refusal)
        return self._page(
            request,
            "Import usage events",
            "admin/usage_imports/upload.html",
            {"form": form, "page_title": "Upload a file"},
        )

    def mapping_view(self, request: HttpRequest, import_id: int) -> HttpResponse:
        """Read the file by another mapping."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = ChooseMappingForm(request.POST)
        with refusals_as_messages(request):
            if form.is_valid():
                name, mapping = form.chosen()
                change_mapping(import_id=import_id, mapping=mapping, mapping_name=name)
            else:
                messages.error(request, "Choose a mapping.")
        return HttpResponseRedirect(_page_of(import_id))

    def progress_view(self, request: HttpRequest, import_id: int) -> HttpResponse:
        """The progress of an import, for the bar on its page."""
        job = get_object_or_404(UsageImport.objects.select_related("file"), pk=import_id)
        if not self.has_view_permission(request, job):
            return HttpResponse(status=403)
        html = render_to_string("admin/usage_imports/progress.html", {"job": job})
        return JsonResponse({"finished": job.state != ImportState.RUNNING, "html": html})

    def faults_view(self, request: HttpRequest, import_id: int) -> HttpResponseBase:
        """Every listed fault as CSV, to be worked off beside the file."""
        job = get_object_or_404(UsageImport, pk=import_id)
        if not self.has_view_permission(request, job):
            raise PermissionDenied
        return StreamingHttpResponse(
            _fault_rows(job),
            content_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="import-{job.pk}-faults.csv"'},
        )

    def _page(self, request: HttpRequest, title: str, template: str, context: dict[str, Any]) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(request, template, {**shared, **context})


def _page_of(import_id: int | str) -> str:
    return reverse("admin:usage_imports_usageimport_change", args=[import_id])


def _fault_rows(job: UsageImport) -> Iterator[str]:
    buffer = io.StringIO(BOM)
    buffer.seek(0, io.SEEK_END)
    write = csv.writer(buffer).writerow
    write(["row", "column", "field", "code", "what is wrong and how to mend it"])
    for fault in job.faults.iterator(chunk_size=1000):
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        write([fault.row_number, escaped(fault.column), escaped(fault.field), fault.code, escaped(fault.detail)])
    yield buffer.getvalue()


@admin.register(ImportMapping)
class ImportMappingAdmin(BillingAdmin[ImportMapping]):
    form = ImportMappingForm
    list_display = ["name", "code"]
    search_fields = ["name", "code"]
    list_before_template = "admin/usage_imports/ready_mappings.html"
    fieldsets = [
        (None, {"fields": [("name", "code"), "file_format"]}),
        ("ID", {"fields": ["id_by", ("id_columns", "id_prefix")]}),
        (
            "Customer, type and source",
            {
                "description": "The customer is an external ID or an alias. Where two columns are given, as in "
                "“customer | tenant”, the first that is filled in a row counts.",
                "fields": [
                    ("subject_columns", "subject_fixed"),
                    ("type_columns", "type_fixed"),
                    ("source_columns", "source_fixed"),
                ],
            },
        ),
        ("Time", {"fields": [("time_columns", "time_format"), ("time_zone", "time_pattern")]}),
        (
            "Data",
            {
                "fields": [
                    "data_properties",
                    "data_rest",
                    ("data_json", "data_prefix"),
                    ("data_texts", "ignored"),
                    "is_own_export",
                ]
            },
        ),
    ]
    empty_state = (
        "No mappings of your own yet",
        "A mapping says which column of a file is which part of an event. Start from a ready-made one above, or write "
        "one.",
        "admin:usage_imports_importmapping_add",
        "New mapping",
    )

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"ready": READY, "may_add": self.has_add_permission(request), **(extra_context or {})}
        return super().changelist_view(request, context)  # type: ignore[no-any-return]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """A new mapping may begin as a copy of a ready-made one."""
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        like = str(initial.pop("like", ""))
        if like in READY:
            name, mapping = mapping_named(like)
            initial = {**form_values(mapping), "name": f"{name} (changed)", "code": f"{like}-changed", **initial}
        return initial


# --- Panels ----------------------------------------------------------------------------------------------------------


def render_progress(request: HttpRequest, job: UsageImport) -> str:
    if job.state == ImportState.DRAFT:
        return ""
    return render_to_string("admin/usage_imports/job.html", {"job": job}, request=request)


def render_preview(request: HttpRequest, job: UsageImport) -> str:
    """The first rows as events, and another mapping to read them by."""
    if job.state != ImportState.DRAFT:
        return ""
    context: dict[str, Any] = {"job": job, "limit": PREVIEWED_ROWS, "form": ChooseMappingForm(auto_id="mapping_%s")}
    context["may_import"] = request.user.has_perm("usage_imports.add_usageimport")
    try:
        shown = preview(source_of(job), job.mapping, file_name=job.file_name, now=timezone.now())
        context["preview"] = shown
        context["rows"] = [(row, _shown_data(row.event["data"]) if row.event else "") for row in shown.rows]
        context["faulty"] = sum(1 for row in shown.rows if row.faults)
    except BillingError as refusal:
        context["refusal"] = refusal.detail
    return render_to_string("admin/usage_imports/preview.html", context, request=request)


def _shown_data(data: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}: {value if isinstance(value, str) else plain_json(value)}" for name, value in data.items()
    )


def render_faults(request: HttpRequest, job: UsageImport) -> str:
    faults = list(job.faults.all()[:FAULTS_SHOWN])
    if not faults:
        return ""
    context = {"job": job, "faults": faults, "more": job.faults.count() - len(faults)}
    return render_to_string("admin/usage_imports/faults.html", context, request=request)


register_panel("usage_imports.UsageImport", Panel(title="Progress", render=render_progress, order=10))
register_panel("usage_imports.UsageImport", Panel(title="First rows as events", render=render_preview, order=20))
register_panel("usage_imports.UsageImport", Panel(title="Rows to mend", render=render_faults, order=30))
