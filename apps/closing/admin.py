"""Close runs for finance: start one, watch it, mend and retry what failed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDateWidget, UnfoldBooleanSwitchWidget

from apps.closing.models import CloseItem, CloseRun, ItemState, RunState
from apps.closing.selectors import run_progress
from apps.closing.services import retry_failed_items, start_close_run
from apps.common.admin import (
    BillingAdmin,
    Panel,
    ReadOnlyMixin,
    acting_user,
    dialog_done,
    refusals_as_messages,
    register_panel,
)
from apps.common.formatting import format_day, format_instant


class StartRunForm(BaseDialogForm):
    through_date = forms.DateField(
        label="Through",
        required=False,
        widget=UnfoldAdminDateWidget,
        help_text="Close periods whose last day is this day or earlier. Empty: every period that has ended.",
    )
    wait_for_grace = forms.BooleanField(
        label="Wait for the grace period",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Leave out periods that may still receive late events. Turn off to close them now.",
    )


@admin.register(CloseRun)
class CloseRunAdmin(ReadOnlyMixin, BillingAdmin[CloseRun]):
    list_display = [
        "name_shown",
        "started_at_shown",
        "started_by_shown",
        "through_shown",
        "state_shown",
        "progress_shown",
    ]
    list_select_related = ["started_by"]
    list_filter = ["state"]
    actions_list = ["start_run"]
    actions_detail = ["retry_failed"]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    ("state_text", "started_by_shown"),
                    ("started_at_shown", "finished_at_shown"),
                    ("through_shown", "cutoff_shown"),
                    "retry_of",
                ]
            },
        )
    ]
    readonly_fields = [
        "state_text",
        "started_at_shown",
        "finished_at_shown",
        "started_by_shown",
        "through_shown",
        "cutoff_shown",
    ]
    empty_state = (
        "No close runs yet",
        "Periods close by themselves once their grace period is over. To close the ended ones now, start a run above.",
        None,
        None,
    )

    class Media:
        js = ["countinghouse/close_run.js"]

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                "<int:run_id>/progress/",
                self.admin_site.admin_view(self.progress_view),
                name="closing_closerun_progress",
            ),
            *super().get_urls(),
        ]

    def has_start_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("closing.add_closerun")

    def has_retry_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Whether the user may retry; on a run's page, whether something failed and no later run retried it."""
        return self.has_start_permission(request) and (
            object_id is None
            or CloseItem.objects.filter(
                run_id=int(object_id), run__state=RunState.FINISHED, run__retries=None, state=ItemState.FAILED
            ).exists()
        )

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Run", ordering="pk")
    def name_shown(self, run: CloseRun) -> str:
        return str(run)

    @display(description="Started", ordering="started_at")
    def started_at_shown(self, run: CloseRun) -> str:
        return format_instant(run.started_at)

    @display(description="Finished")
    def finished_at_shown(self, run: CloseRun) -> str:
        return format_instant(run.finished_at) if run.finished_at else "–"

    @display(description="Started by", ordering="started_by")
    def started_by_shown(self, run: CloseRun) -> str:
        return str(run.started_by) if run.started_by else "Schedule"

    @display(description="Through", ordering="through_date")
    def through_shown(self, run: CloseRun) -> str:
        return format_day(run.through_date) if run.through_date else "All ended periods"

    @display(description="Usage received before")
    def cutoff_shown(self, run: CloseRun) -> str:
        return format_instant(run.stored_before)

    @display(description="State", ordering="state", label={RunState.RUNNING: "info", RunState.FINISHED: "success"})
    def state_shown(self, run: CloseRun) -> tuple[str, str]:
        return run.state, run.get_state_display()

    @display(description="State")
    def state_text(self, run: CloseRun) -> str:
        return run.get_state_display()

    @display(description="Progress")
    def progress_shown(self, run: CloseRun) -> SafeString:
        return render_to_string("admin/closing/progress_bar.html", {"progress": run_progress(run)})

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(
        description="Start a close run",
        permissions=["start"],
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Start a close run",
            "description": "Every period that is due becomes a draft invoice for you to review. Nothing is sent.",
            "form_class": StartRunForm,
            "form_submit_text": "Start",
        },
    )
    def start_run(self, request: HttpRequest, form: StartRunForm) -> HttpResponse:
        with refusals_as_messages(request):
            run = start_close_run(
                as_of=timezone.now(),
                through_date=form.cleaned_data["through_date"],
                wait_for_grace=form.cleaned_data["wait_for_grace"],
                actor=acting_user(request),
            )
            return dialog_done(request, reverse("admin:closing_closerun_change", args=[run.pk]))
        return dialog_done(request, reverse("admin:closing_closerun_changelist"))

    @action(
        description="Retry what failed",
        permissions=["retry"],
        icon="restart_alt",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Retry what failed?",
            "description": "A new run closes the failed periods with what is known now.",
            "form_class": None,
            "form_submit_text": "Retry",
        },
    )
    def retry_failed(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            run = retry_failed_items(run_id=int(object_id), as_of=timezone.now(), actor=acting_user(request))
            return dialog_done(request, reverse("admin:closing_closerun_change", args=[run.pk]))
        return dialog_done(request, reverse("admin:closing_closerun_change", args=[object_id]))

    # --- Views -------------------------------------------------------------------------------------------------------

    def progress_view(self, request: HttpRequest, run_id: int) -> HttpResponse:
        """The progress of a run, for the bar on its page."""
        run = get_object_or_404(CloseRun, pk=run_id)
        if not self.has_view_permission(request, run):
            return HttpResponse(status=403)
        return JsonResponse(
            {
                "finished": run.state == RunState.FINISHED,
                "html": render_to_string("admin/closing/progress.html", {"progress": run_progress(run), "run": run}),
            }
        )


def failed_items(run: CloseRun) -> QuerySet[CloseItem]:
    return run.items.filter(state=ItemState.FAILED).select_related("contract__customer")


def render_progress(request: HttpRequest, run: CloseRun) -> str:
    return render_to_string("admin/closing/run.html", {"run": run, "progress": run_progress(run)}, request=request)


def render_failures(request: HttpRequest, run: CloseRun) -> str:
    failures = list(failed_items(run)[:200])
    if not failures:
        return ""
    return render_to_string(
        "admin/closing/failures.html",
        {"failures": failures, "retry": run.retries.order_by("-pk").first()},
        request=request,
    )


def render_drafts(request: HttpRequest, run: CloseRun) -> str:
    if not request.user.has_perm("invoices.view_invoice"):
        return ""
    items = (
        run.items.filter(state=ItemState.INVOICED, invoice__isnull=False)
        .select_related("invoice__customer", "contract__customer")
        .order_by("pk")
    )
    return render_to_string(
        "admin/closing/drafts.html",
        {"items": items[:200], "more": max(0, items.count() - 200)},
        request=request,
    )


register_panel("closing.CloseRun", Panel(title="Progress", render=render_progress, order=10))
register_panel("closing.CloseRun", Panel(title="Failed", render=render_failures, order=20))
register_panel("closing.CloseRun", Panel(title="Invoices of this run", render=render_drafts, order=30))
