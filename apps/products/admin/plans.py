"""The admin pages of plans: their versions and price lists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from apps.common.admin import (
    BillingAdmin,
    ReadOnlyMixin,
    acting_user,
    dialog_done,
    number_cell,
    refusals_as_messages,
)
from apps.common.fields import currency_choices
from apps.common.history import HistoryScope
from apps.products.admin.base import plan_url, status_badge
from apps.products.admin.compare import compare_page
from apps.products.admin.price_lists import PriceListsMixin
from apps.products.comparison import MOST_PLANS
from apps.products.forms import NewPlanForm
from apps.products.models import (
    BillingInterval,
    Plan,
    PlanStatus,
    PlanVersion,
    Price,
    PriceMatrixRow,
    PriceTier,
    PriceVersion,
)
from apps.products.services import (
    archive_plan_version,
    copy_plan_version,
    create_plan,
    new_plan_version,
    publish_plan_version,
)


class NewVersionForm(BaseDialogForm):
    """What a new plan version begins with."""

    start_from = forms.ChoiceField(
        label="Begin with",
        choices=[],
        widget=UnfoldAdminSelectWidget,
        help_text="A copy takes the amounts that hold today. The version you copy stays as it is.",
    )
    currencies = forms.MultipleChoiceField(
        choices=currency_choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Every price is given in each. A copy takes the amounts it has; those in other currencies are added "
        "before it is published. Nothing is converted.",
    )
    billing_months = forms.TypedChoiceField(
        label="Billing interval",
        choices=BillingInterval.choices,
        coerce=int,
        widget=UnfoldAdminSelectWidget,
        help_text="Of an empty price list. A copy keeps its own.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.versions = {
            str(version.pk): version
            for version in PlanVersion.objects.filter(plan=self.object_id).select_related("plan")
        }
        newest = next(iter(self.versions.values()), None)
        self.fields["start_from"].choices = [
            *(
                (key, f"The prices of v{version.number} ({', '.join(version.currencies)})")
                for key, version in self.versions.items()
            ),
            ("empty", "An empty price list"),
        ]
        if newest is not None:
            self.fields["currencies"].initial = newest.currencies
            self.fields["billing_months"].initial = newest.billing_months

    @property
    def version_to_copy(self) -> PlanVersion | None:
        return self.versions.get(self.cleaned_data["start_from"])


@admin.register(Plan)
class PlanAdmin(PriceListsMixin, BillingAdmin[Plan]):
    list_display = ["name", "code", "newest_shown", "status_shown", "prices_shown"]
    search_fields = ["name", "code"]
    search_help_text = "Name or code"
    actions = ["compare_selected", "export_selected_xlsx", "export_selected_csv", "export_selected_yaml"]
    actions_list = ["import_price_list"]
    actions_detail = ["new_version", "compare", "export_plan"]
    fieldsets = [(None, {"fields": ["name", "code", "description"]})]
    add_fieldsets = [
        (
            None,
            {
                "fields": ["name", "code", "currencies", "billing_months", "description"],
                "description": "A plan is a named price list. Its prices live in numbered versions: you build the "
                "first one as a draft, publish it, and then contracts can use it.",
            },
        )
    ]
    empty_state = (
        "No plans yet",
        "A plan is a named price list, such as “Pay as you go”. Build it as a draft, publish it, and put contracts "
        "on it.",
        "admin:products_plan_add",
        "Create a plan",
    )

    def get_urls(self) -> list[URLPattern]:
        compare = path("compare/", self.admin_site.admin_view(compare_page), name="products_plan_compare")
        return [compare, *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        versions = PlanVersion.objects.annotate(price_count=Count("prices")).order_by("-number")
        return plans.prefetch_related(Prefetch("versions", queryset=versions))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None:
            kwargs["form"] = NewPlanForm
        return super().get_form(request, obj, change=change, **kwargs)

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        version = create_plan(
            code=obj.code,
            name=obj.name,
            description=obj.description,
            currencies=form.cleaned_data["currencies"],
            billing_months=form.cleaned_data["billing_months"],
            actor=acting_user(request),
        )
        obj.pk = version.plan_id

    def response_post_save_add(self, request: HttpRequest, obj: Plan) -> HttpResponse:
        """On to the plan's page, where its prices are added."""
        return HttpResponseRedirect(reverse("admin:products_plan_change", args=[obj.pk]))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # A plan has versions, and those are archived.

    def has_new_version_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("products.add_planversion")

    def history_scopes(self, obj: Plan) -> list[HistoryScope]:
        versions = list(obj.versions.values_list("pk", flat=True))
        prices = list(Price.objects.filter(plan_version__in=versions).values_list("pk", flat=True))
        amounts = list(PriceVersion.objects.filter(price__in=prices).values_list("pk", flat=True))
        return [
            *super().history_scopes(obj),
            HistoryScope(PlanVersion, {"plan_id": obj.pk}),
            HistoryScope(Price, {"plan_version_id__in": versions}),
            HistoryScope(PriceVersion, {"price_id__in": prices}),
            HistoryScope(PriceTier, {"price_version_id__in": amounts}),
            HistoryScope(PriceMatrixRow, {"price_version_id__in": amounts}),
        ]

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Newest version")
    def newest_shown(self, plan: Plan) -> str:
        version = _newest(plan)
        if version is None:
            return "–"
        return f"v{version.number}, {'/'.join(version.currencies)}, {version.get_billing_months_display().lower()}"

    @display(description="Status")
    def status_shown(self, plan: Plan) -> str:
        version = _newest(plan)
        return status_badge(version) if version else "–"

    @display(description="Prices")
    def prices_shown(self, plan: Plan) -> SafeString:
        return number_cell(str(getattr(_newest(plan), "price_count", 0)))

    # --- Actions -----------------------------------------------------------------------------------------------------

    @admin.action(description="Compare side by side")
    def compare_selected(self, request: HttpRequest, queryset: QuerySet[Plan]) -> HttpResponse | None:
        """On to the comparison of the versions that are sold, or of the newest where none is."""
        plans = list(queryset[: MOST_PLANS + 1])
        if not 2 <= len(plans) <= MOST_PLANS:
            messages.error(request, f"Select from two to {MOST_PLANS} plans to compare.")
            return None
        return HttpResponseRedirect(_compare_url([version for plan in plans if (version := _to_compare(plan))]))

    @action(description="Compare", permissions=["view"], icon="compare_arrows")
    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        versions = PlanVersion.objects.filter(plan=int(object_id)).exclude(status=PlanStatus.ARCHIVED)
        return HttpResponseRedirect(_compare_url(versions.order_by("-number")[:2]))

    @action(
        description="New version",
        permissions=["new_version"],
        icon="library_add",
        dialog={
            "title": "Make a new version",
            "description": "It begins as a draft that you can change freely. Contracts stay on the version they have; "
            "a published version keeps its prices.",
            "form_class": NewVersionForm,
            "form_submit_text": "Make the draft",
        },
    )
    def new_version(self, request: HttpRequest, form: NewVersionForm, object_id: str) -> HttpResponse:
        copied = form.version_to_copy
        with refusals_as_messages(request):
            if copied is not None:
                draft = copy_plan_version(
                    plan_version=copied,
                    currencies=form.cleaned_data["currencies"],
                    now=timezone.now(),
                    actor=acting_user(request),
                )
            else:
                draft = new_plan_version(
                    plan=Plan.objects.get(pk=object_id),
                    currencies=form.cleaned_data["currencies"],
                    billing_months=form.cleaned_data["billing_months"],
                    actor=acting_user(request),
                )
            messages.success(request, f"{draft} is ready as a draft. Change its prices, then publish it.")
        return dialog_done(request, reverse("admin:products_plan_change", args=[object_id]))


def _to_compare(plan: Plan) -> PlanVersion | None:
    versions = list(plan.versions.all())
    return next((version for version in versions if version.status == PlanStatus.PUBLISHED), None) or _newest(plan)


def _compare_url(versions: Iterable[PlanVersion]) -> str:
    return f"{reverse('admin:products_plan_compare')}?{urlencode([('v', version.pk) for version in versions])}"


def _newest(plan: Plan) -> PlanVersion | None:
    return next(iter(plan.versions.all()), None)


class PublishForm(BaseDialogForm):
    form_before_template = "admin/products/publish_summary.html"

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        version = PlanVersion.objects.select_related("plan").get(pk=str(object_id))
        return {
            "version": version,
            "prices": version.prices.count(),
            "missing": [
                (price, [code for code in version.currencies if code not in price.priced_in])
                for price in version.prices.annotate(priced_in=ArrayAgg("versions__currency", distinct=True))
                if set(version.currencies) - set(price.priced_in)
            ],
        }


@admin.register(PlanVersion)
class PlanVersionAdmin(ReadOnlyMixin, BillingAdmin[PlanVersion]):
    """Plan versions live on their plan's page. This one answers searches and carries the buttons."""

    list_display = ["__str__", "status"]
    search_fields = ["plan__name", "plan__code"]
    list_select_related = ["plan"]
    actions_detail = ["publish", "archive"]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[PlanVersion]:
        versions: QuerySet[PlanVersion] = super().get_queryset(request)
        return versions.select_related("plan")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        found, may_have_duplicates = super().get_search_results(request, queryset, search_term)
        # A contract is put on a published version; a price is added to a draft.
        asked_by = request.GET.get("model_name")
        if asked_by == "contractphase":
            found = found.filter(status=PlanStatus.PUBLISHED)
        elif asked_by == "price":
            found = found.filter(status=PlanStatus.DRAFT)
        return found, may_have_duplicates

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:products_plan_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, unquote(object_id))
        if version is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        return HttpResponseRedirect(plan_url(version))

    def has_publish_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("products.change_planversion")

    @action(
        description="Publish",
        permissions=["publish"],
        dialog={
            "title": "Publish this version?",
            "description": "",
            "form_class": PublishForm,
            "form_submit_text": "Publish",
        },
    )
    def publish(self, request: HttpRequest, form: PublishForm, object_id: str) -> HttpResponse:
        version = PlanVersion.objects.get(pk=object_id)
        with refusals_as_messages(request):
            version = publish_plan_version(
                plan_version_id=int(object_id), now=timezone.now(), actor=acting_user(request)
            )
            messages.success(request, f"{version} is published. Contracts can use it now.")
        return dialog_done(request, plan_url(version))

    @action(
        description="Archive",
        permissions=["publish"],
        dialog={
            "title": "Archive this version?",
            "description": "No new contract can use it. Contracts that are on it go on unchanged and are billed as "
            "before. An archived version stays archived.",
            "form_class": None,
            "form_submit_text": "Archive",
        },
    )
    def archive(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        version = PlanVersion.objects.get(pk=object_id)
        with refusals_as_messages(request):
            version = archive_plan_version(plan_version_id=int(object_id), actor=acting_user(request))
            messages.success(request, f"{version} is archived. Its contracts go on unchanged.")
        return dialog_done(request, plan_url(version))
