"""Price lists as files, on the pages of plans: export, and an import that shows what it would do before it does it."""

from __future__ import annotations

import base64
from itertools import groupby
from typing import Any

from django import forms
from django.contrib import messages
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.decorators import action
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.common.admin import acting_user, add_refusal
from apps.common.errors import BillingError
from apps.products.models import BillingTiming, Plan, PlanVersion, Recurrence
from apps.products.price_lists.applying import apply_price_list, plan_import
from apps.products.price_lists.building import ReadPriceList
from apps.products.price_lists.changes import CHANGING, ImportPlan, Item, Kind
from apps.products.price_lists.exporting import price_list_of
from apps.products.price_lists.files import CONTENT_TYPES, MOST_BYTES, FileForm, read_file, write_file
from apps.products.price_lists.nodes import PriceListRefused
from apps.products.price_lists.taking import ImportOptions

AS_DRAFT, SCHEDULED = "draft", "schedule"
FAULTS_SHOWN = 200
FIELDS_SHOWN = 12
GOES_WITHOUT_SAYING = frozenset([Recurrence.RECURRING.value, BillingTiming.ARREARS.value])
_SALT = "products.price_list"
KIND_COLOURS = {
    Kind.NEW: "success",
    Kind.CHANGED: "info",
    Kind.REMOVED: "danger",
    Kind.MISSING: "warning",
    Kind.WAITS: "warning",
    Kind.UNCHANGED: "default",
}
KIND_WORDS = {
    Kind.NEW: "New",
    Kind.CHANGED: "Changed",
    Kind.REMOVED: "Removed",
    Kind.MISSING: "Not in the file",
    Kind.WAITS: "Waits",
    Kind.UNCHANGED: "Unchanged",
}


class ImportForm(forms.Form):
    """A file, and how it is taken in."""

    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget,
        help_text="CSV, XLSX or YAML, as an export writes it. You see what would change before anything does.",
    )
    how = forms.ChoiceField(
        label="Amounts of published plans that differ",
        choices=[
            (AS_DRAFT, "Make a new version of the plan, as a draft"),
            (SCHEDULED, "Schedule them on the published version"),
        ],
        initial=AS_DRAFT,
        widget=UnfoldAdminRadioSelectWidget,
        help_text="A published version itself never changes. A new plan becomes a draft either way.",
    )
    schedule_from = forms.DateField(
        label="Scheduled from",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="The first day of the new amounts. Only when they are scheduled.",
    )
    remove_missing = forms.BooleanField(
        label="Remove what the file does not state",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Lines and currencies of the plans in the file. Otherwise they stay as they are.",
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        wants_day = cleaned.get("how") == SCHEDULED
        if wants_day and not cleaned.get("schedule_from") and "schedule_from" not in self.errors:
            self.add_error("schedule_from", "Enter the day from which on the new amounts hold.")
        if not wants_day:
            cleaned["schedule_from"] = None
        return cleaned

    @property
    def options(self) -> ImportOptions:
        return ImportOptions(
            schedule_from=self.cleaned_data["schedule_from"], remove_missing=self.cleaned_data["remove_missing"]
        )


class PriceListsMixin:
    """Adds “Import price list” to the list of plans, and exports to a plan and to selected plans.

    Name ``import_price_list`` in ``actions_list``, ``export_plan`` in ``actions_detail``, and the three
    ``export_selected_…`` in ``actions``.
    """

    admin_site: Any
    opts: Any

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("import/", view(self.import_view), name="products_plan_import"),
            path("<int:plan_id>/export/", view(self.export_view), name="products_plan_export"),
            *super().get_urls(),  # type: ignore[misc]
        ]

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_import_price_list_permission(self, request: HttpRequest) -> bool:
        """Whoever may add plans, their versions and prices, and change them."""
        return all(
            request.user.has_perm(f"products.{permission}")
            for permission in ("add_plan", "change_plan", "add_planversion", "add_priceversion", "change_priceversion")
        )

    def has_export_price_list_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("products.view_priceversion")

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(description="Import price list", permissions=["import_price_list"], icon="upload_file")
    def import_price_list(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:products_plan_import"))

    @action(description="Export", permissions=["export_price_list"], icon="download")
    def export_plan(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:products_plan_export", args=[object_id]))

    @action(description="Export as XLSX", permissions=["export_price_list"])
    def export_selected_xlsx(self, request: HttpRequest, queryset: QuerySet[Plan]) -> HttpResponse:
        return self._exported(request, _newest_versions(queryset), FileForm.XLSX)

    @action(description="Export as CSV", permissions=["export_price_list"])
    def export_selected_csv(self, request: HttpRequest, queryset: QuerySet[Plan]) -> HttpResponse:
        return self._exported(request, _newest_versions(queryset), FileForm.CSV)

    @action(description="Export as YAML", permissions=["export_price_list"])
    def export_selected_yaml(self, request: HttpRequest, queryset: QuerySet[Plan]) -> HttpResponse:
        return self._exported(request, _newest_versions(queryset), FileForm.YAML)

    # --- Pages -------------------------------------------------------------------------------------------------------

    def export_view(self, request: HttpRequest, plan_id: int) -> HttpResponse:
        """Choose the version and the format; with both chosen, the file."""
        if not self.has_export_price_list_permission(request):
            raise PermissionDenied
        versions = list(PlanVersion.objects.filter(plan=plan_id).select_related("plan").order_by("-number"))
        if not versions:
            messages.error(request, "This plan has no versions to export.")
            return HttpResponseRedirect(reverse("admin:products_plan_changelist"))
        chosen = [version for version in versions if str(version.pk) == request.GET.get("version")]
        asked = request.GET.get("format", "")
        if chosen and asked in set(FileForm):
            return self._exported(request, chosen, FileForm(asked))
        context = {"plan": versions[0].plan, "versions": versions, "forms": list(FileForm)}
        return self._page(request, f"Export {versions[0].plan}", "admin/products/price_list_export.html", context)

    def import_view(self, request: HttpRequest) -> HttpResponse:
        """Upload a file, look at what it would do, and have it done."""
        if not self.has_import_price_list_permission(request):
            raise PermissionDenied
        if request.method == "POST" and "kept" in request.POST:
            return self._confirmed(request)
        form = ImportForm(request.POST or None, request.FILES or None)
        if request.method != "POST" or not form.is_valid():
            return self._upload_page(request, form)
        upload = form.cleaned_data["file"]
        if upload.size > MOST_BYTES:
            form.add_error("file", f"The file is larger than {MOST_BYTES // 1024 // 1024} MiB. Split it by plan.")
            return self._upload_page(request, form)
        kept = _keep(upload.name, upload.read(), form.options)
        try:
            return self._dry_run_page(request, kept)
        except PriceListRefused as refusal:
            return self._faults_page(request, upload.name, refusal)
        except BillingError as refusal:
            add_refusal(form, refusal)
            return self._upload_page(request, form)

    def _confirmed(self, request: HttpRequest) -> HttpResponse:
        """Do what was shown. What changed in the meantime is shown first."""
        try:
            name, read, options = _take_out(request.POST["kept"])
            shown_before = request.POST.get("fingerprint", "")
            planned = plan_import(read, options=options, now=timezone.now(), actor=acting_user(request))
            if planned.fingerprint != shown_before:
                messages.warning(request, "The catalogue has changed since you looked. This is what would change now.")
                return self._dry_run_page(request, request.POST["kept"])
            done = apply_price_list(read, options=options, now=timezone.now(), actor=acting_user(request))
        except signing.BadSignature:
            messages.error(request, "The upload is too old. Upload the file again.")
            return HttpResponseRedirect(reverse("admin:products_plan_import"))
        except PriceListRefused as refusal:
            return self._faults_page(request, "The file", refusal)
        except BillingError as refusal:
            messages.error(request, refusal.detail)
            return HttpResponseRedirect(reverse("admin:products_plan_import"))
        messages.success(request, f"{name} is imported: {_counted(done)}.")
        return HttpResponseRedirect(reverse("admin:products_plan_changelist"))

    def _upload_page(self, request: HttpRequest, form: ImportForm) -> HttpResponse:
        return self._page(request, "Import price list", "admin/products/price_list_upload.html", {"form": form})

    def _dry_run_page(self, request: HttpRequest, kept: str) -> HttpResponse:
        name, read, options = _take_out(kept)
        planned = plan_import(read, options=options, now=timezone.now(), actor=acting_user(request))
        context = {
            "name": name,
            "planned": planned,
            "options": options,
            "groups": _grouped(planned),
            "unchanged": len(planned.of(Kind.UNCHANGED)),
            "counted": _counted(planned),
            "kept": kept,
        }
        return self._page(request, "What the import would do", "admin/products/price_list_dry_run.html", context)

    def _faults_page(self, request: HttpRequest, name: str, refusal: PriceListRefused) -> HttpResponse:
        more = len(refusal.faults) - FAULTS_SHOWN
        context = {"name": name, "faults": refusal.faults[:FAULTS_SHOWN], "count": len(refusal.faults), "more": more}
        return self._page(request, "The price list has faults", "admin/products/price_list_faults.html", context)

    def _page(self, request: HttpRequest, title: str, template: str, context: dict[str, Any]) -> TemplateResponse:
        shared = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(request, template, {**shared, **context})

    def _exported(self, request: HttpRequest, versions: list[PlanVersion], form: FileForm) -> HttpResponse:
        if not versions:
            messages.error(request, "The selected plans have no versions to export.")
            return HttpResponseRedirect(reverse("admin:products_plan_changelist"))
        today = timezone.now().date()
        document = price_list_of(versions, as_of=today)
        name = f"{versions[0].plan.code}-v{versions[0].number}" if len(versions) == 1 else f"price-list-{today}"
        return HttpResponse(
            write_file(document, form),
            content_type=CONTENT_TYPES[form],
            headers={"Content-Disposition": f'attachment; filename="{name}.{form}"'},
        )


def _newest_versions(plans: QuerySet[Plan]) -> list[PlanVersion]:
    """The newest version of each plan, which is what the list of plans shows."""
    versions = PlanVersion.objects.filter(plan__in=plans.order_by().values("pk")).select_related("plan")
    newest = versions.order_by("plan_id", "-number").distinct("plan_id")
    return sorted(newest, key=lambda version: version.plan.code)


# --- The upload between the two pages --------------------------------------------------------------------------------


def _keep(name: str, content: bytes, options: ImportOptions) -> str:
    """The upload as a signed text, so that what is confirmed is what was shown."""
    kept = {
        "name": name,
        "content": base64.b64encode(content).decode(),
        "schedule_from": options.schedule_from.isoformat() if options.schedule_from else "",
        "remove_missing": options.remove_missing,
    }
    return signing.dumps(kept, salt=_SALT, compress=True)


def _take_out(kept: str) -> tuple[str, ReadPriceList, ImportOptions]:
    upload = signing.loads(kept, salt=_SALT, max_age=24 * 3600)
    day = forms.DateField(required=False).clean(upload["schedule_from"])
    options = ImportOptions(schedule_from=day, remove_missing=upload["remove_missing"])
    return upload["name"], read_file(base64.b64decode(upload["content"]), upload["name"]), options


# --- What is shown ---------------------------------------------------------------------------------------------------


def _grouped(planned: ImportPlan) -> list[dict[str, Any]]:
    """The items that are worth a look, by plan."""
    shown = [item for item in planned.items if item.kind != Kind.UNCHANGED]
    return [
        {
            "plan": code,
            "rows": [
                {
                    "item": item,
                    "word": KIND_WORDS[item.kind],
                    "colour": KIND_COLOURS[item.kind],
                    "told": _new_in_words(item),
                }
                for item in items
            ],
        }
        for code, items in groupby(shown, key=lambda item: item.plan)
    ]


def _new_in_words(item: Item) -> str:
    """``product chat; model flat; flat_amount 99``: what a new price states, but for what goes without saying."""
    told = [f"{change.field} {change.after}" for change in item.changes if change.after not in GOES_WITHOUT_SAYING]
    more = [f"and {len(told) - FIELDS_SHOWN} more"] if len(told) > FIELDS_SHOWN else []
    return "; ".join([*told[:FIELDS_SHOWN], *more])


def _counted(planned: ImportPlan) -> str:
    """``2 new, 1 changed``."""
    kinds = [kind for kind in Kind if kind in CHANGING and planned.of(kind)]
    return ", ".join(f"{len(planned.of(kind)):,} {kind.value}" for kind in kinds) or "nothing to change"
