"""The catalogue for sales ops: products, plans with their versions, and prices."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Count, Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget

from apps.common.admin import (
    BillingAdmin,
    BillingInline,
    Panel,
    ReadOnlyMixin,
    acting_user,
    badge,
    dialog_done,
    number_cell,
    refusals_as_messages,
    register_panel,
)
from apps.common.fields import currency_choices
from apps.common.history import HistoryScope
from apps.products.forms import NewPlanForm, PriceForm, ScheduleForm, TierForm, TierFormSet
from apps.products.models import (
    BillingInterval,
    ChargeModelName,
    Plan,
    PlanStatus,
    PlanVersion,
    Price,
    PriceTier,
    PriceVersion,
    Product,
)
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.services import (
    add_price,
    archive_plan_version,
    change_draft_price,
    copy_plan_version,
    create_plan,
    new_plan_version,
    publish_plan_version,
    remove_draft_price,
    schedule_price_version,
)
from apps.products.terms import terms_of
from apps.products.wording import effective_in_words, included_in_words, price_in_a_sentence, price_in_words

STATUS_COLOURS = {PlanStatus.DRAFT: "warning", PlanStatus.PUBLISHED: "success", PlanStatus.ARCHIVED: "default"}
MODEL_WORDS = {
    ChargeModelName.FLAT: "Flat",
    ChargeModelName.PER_UNIT: "Per unit",
    ChargeModelName.GRADUATED: "Graduated",
}


@admin.register(Product)
class ProductAdmin(BillingAdmin[Product]):
    list_display = ["name", "code", "prices_shown"]
    # Said here, for the count below makes Django forget the model's own.
    ordering = ["name", "id"]
    search_fields = ["name", "code"]
    search_help_text = "Name or code"
    fieldsets = [
        (
            None,
            {
                "fields": ["name", "code", "description"],
                "description": "What customers buy, such as “Chat API”. Invoices group their lines by product.",
            },
        )
    ]
    empty_state = (
        "No products yet",
        "A product is something your customers buy, such as “Chat API” or “Support”. Every price belongs to one, and "
        "invoices group their lines by it.",
        "admin:products_product_add",
        "Add a product",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Product]:
        products: QuerySet[Product] = super().get_queryset(request)
        return products.annotate(price_count=Count("prices"))

    @display(description="Prices", ordering="price_count")
    def prices_shown(self, product: Any) -> SafeString:
        return number_cell(f"{product.price_count:,}")


# --- Plans -----------------------------------------------------------------------------------------------------------


class NewVersionForm(BaseDialogForm):
    """What a new plan version begins with."""

    start_from = forms.ChoiceField(
        label="Begin with",
        choices=[],
        widget=UnfoldAdminSelectWidget,
        help_text="A copy takes the amounts that hold today. The version you copy stays as it is.",
    )
    currency = forms.ChoiceField(
        choices=currency_choices,
        widget=UnfoldAdminSelectWidget,
        help_text="Of an empty price list. A copy keeps its own.",
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
            *((key, f"The prices of v{version.number} ({version.currency})") for key, version in self.versions.items()),
            ("empty", "An empty price list"),
        ]
        if newest is not None:
            self.fields["currency"].initial = newest.currency
            self.fields["billing_months"].initial = newest.billing_months

    @property
    def version_to_copy(self) -> PlanVersion | None:
        return self.versions.get(self.cleaned_data["start_from"])


@admin.register(Plan)
class PlanAdmin(BillingAdmin[Plan]):
    list_display = ["name", "code", "newest_shown", "status_shown", "prices_shown"]
    search_fields = ["name", "code"]
    search_help_text = "Name or code"
    actions_detail = ["new_version"]
    fieldsets = [(None, {"fields": ["name", "code", "description"]})]
    add_fieldsets = [
        (
            None,
            {
                "fields": ["name", "code", "currency", "billing_months", "description"],
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
            currency=form.cleaned_data["currency"],
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
        ]

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Newest version")
    def newest_shown(self, plan: Plan) -> str:
        version = _newest(plan)
        if version is None:
            return "–"
        return f"v{version.number}, {version.currency}, {version.get_billing_months_display().lower()}"

    @display(description="Status")
    def status_shown(self, plan: Plan) -> str:
        version = _newest(plan)
        return _status_badge(version) if version else "–"

    @display(description="Prices")
    def prices_shown(self, plan: Plan) -> SafeString:
        return number_cell(str(getattr(_newest(plan), "price_count", 0)))

    # --- Actions -----------------------------------------------------------------------------------------------------

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
                draft = copy_plan_version(plan_version=copied, now=timezone.now(), actor=acting_user(request))
            else:
                draft = new_plan_version(
                    plan=Plan.objects.get(pk=object_id),
                    currency=form.cleaned_data["currency"],
                    billing_months=form.cleaned_data["billing_months"],
                    actor=acting_user(request),
                )
            messages.success(request, f"{draft} is ready as a draft. Change its prices, then publish it.")
        return dialog_done(request, reverse("admin:products_plan_change", args=[object_id]))


def _status_badge(version: PlanVersion) -> SafeString:
    return badge(version.get_status_display(), STATUS_COLOURS[PlanStatus(version.status)])


def _newest(plan: Plan) -> PlanVersion | None:
    return next(iter(plan.versions.all()), None)


class PublishForm(BaseDialogForm):
    form_before_template = "admin/products/publish_summary.html"

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        version = PlanVersion.objects.select_related("plan").get(pk=str(object_id))
        return {"version": version, "prices": version.prices.count()}


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
        return HttpResponseRedirect(_plan_url(version))

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
        return dialog_done(request, _plan_url(version))

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
        return dialog_done(request, _plan_url(version))


def _plan_url(version: PlanVersion) -> str:
    return f"{reverse('admin:products_plan_change', args=[version.plan_id])}#version-{version.number}"


def render_versions(request: HttpRequest, plan: Plan) -> str:
    """The plan's versions, newest first, each with its price list."""
    versions = list(plan.versions.select_related("plan").order_by("-number"))
    prices = prices_by_plan_version([version.pk for version in versions])
    now = timezone.now()
    shown = []
    for version in versions:
        for price in prices.get(version.pk, []):
            price.plan_version = version
        shown.append(
            {
                "version": version,
                "colour": STATUS_COLOURS[PlanStatus(version.status)],
                "lines": [_price_rows(price, now) for price in prices.get(version.pk, [])],
            }
        )
    permissions = {
        "add_price": request.user.has_perm("products.add_priceversion"),
        "publish": request.user.has_perm("products.change_planversion"),
    }
    return render_to_string("admin/products/versions.html", {"versions": shown, "may": permissions}, request=request)


def _price_rows(price: Price, now: dt.datetime) -> dict[str, Any]:
    """A price with its amounts: those in force first, then the scheduled ones, then those of the past."""
    recorded = list(price.versions.all())
    current = version_in_force(recorded, on=now.date(), known_at=now)
    rows = [
        {
            "version": version,
            "amounts": price_in_words(version),
            "included": included_in_words(version),
            "effective": effective_in_words(version),
            "is_scheduled": version.effective_from is not None and version.effective_from > now.date(),
            "is_current": version is current,
        }
        for version in recorded
    ]
    rows.sort(key=lambda row: (not row["is_current"], not row["is_scheduled"]))
    return {"price": price, "model": MODEL_WORDS[ChargeModelName(price.charge_model)], "rows": rows}


# --- Prices ----------------------------------------------------------------------------------------------------------


class TierInline(BillingInline):
    model = PriceTier
    form = TierForm
    formset = TierFormSet
    fields = ["up_to", "unit_amount", "flat_amount"]
    verbose_name = "tier"
    verbose_name_plural = "Tiers: each unit is charged at the price of the tier it falls into"

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return _may_edit(obj)

    has_change_permission = has_add_permission
    has_delete_permission = has_add_permission

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def get_extra(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> int:
        preset = getattr(request, "ch_preset_tiers", None)
        return len(preset) if preset is not None else 2 if obj is None else 0


class ScheduledTiers(TierFormSet):
    charge_model = ChargeModelName.GRADUATED


class ScheduledTierInline(TierInline):
    formset = ScheduledTiers


def _may_edit(version: PriceVersion | None) -> bool:
    return version is None or version.pk is None or version.price.plan_version.is_draft


@admin.register(PriceVersion)
class PriceVersionAdmin(BillingAdmin[PriceVersion]):
    """A price and its amounts as one page: a draft's can be changed, a published one's is scheduled anew."""

    list_display = [
        "line_shown",
        "plan_shown",
        "product_shown",
        "model_shown",
        "amounts_shown",
        "included_shown",
        "effective_shown",
        "status_shown",
    ]
    list_filter = [
        ("price__plan_version__plan", AutocompleteSelectFilter),
        ("price__product", AutocompleteSelectFilter),
        ("price__metric", AutocompleteSelectFilter),
        "price__charge_model",
        "price__plan_version__status",
    ]
    search_fields = ["price__name", "price__product__name", "price__plan_version__plan__name", "price__metric__name"]
    search_help_text = "Line, product, plan or metric"
    ordering = ["price__plan_version__plan__name", "-price__plan_version__number", "price__position", "price_id"]
    inlines = [TierInline]
    actions_detail = ["schedule"]
    empty_state = (
        "No prices yet",
        "A price says what one line of an invoice costs: a fee each month, so much per 1,000 tokens, or tiers. Prices "
        "belong to a plan, so begin there.",
        "admin:products_plan_changelist",
        "Go to plans",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[PriceVersion]:
        versions: QuerySet[PriceVersion] = super().get_queryset(request)
        return versions.select_related("price__plan_version__plan", "price__product", "price__metric").prefetch_related(
            "tiers"
        )

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        return ["plan_version", "product", "metric"]

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _may_edit(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _may_edit(obj)

    def _is_editable(self, request: HttpRequest, version: PriceVersion | None) -> bool:
        # The page of a new price hands an unsaved one to some hooks.
        return version is None or version.pk is None or self.has_change_permission(request, version)

    def has_schedule_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("products.add_priceversion") and (
            object_id is None
            or PriceVersion.objects.filter(pk=object_id, price__plan_version__status=PlanStatus.PUBLISHED).exists()
        )

    # --- The form ----------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not self._is_editable(request, obj):
            shown = ["plan_shown", "product_shown", "metric_shown", "line_shown", "model_shown", "amounts_shown"]
            return [
                (None, {"fields": [*shown, "included_shown", "effective_shown", "recorded_shown", "note"]}),
            ]
        price = _price_to_schedule(request)
        if obj is None and price is not None:
            amounts = [name for name in _schedule_form(price)().fields if name not in {"effective_from", "note"}]
            return [
                (
                    f"{price.name}, {price.plan_version}",
                    {
                        "fields": ["effective_from", *amounts, "note"],
                        "description": "The new amounts replace the current ones from the day you choose. "
                        f"Today's price: {price_in_a_sentence(_current(price))}.",
                    },
                )
            ]
        return [
            (None, {"fields": ["plan_version", "product", "name", "charge_model", "metric"]}),
            ("Amounts", {"fields": ["flat_amount", "unit_amount", "per_units", "included_units"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self._is_editable(request, obj):
            return []
        return [
            "plan_shown",
            "product_shown",
            "metric_shown",
            "line_shown",
            "model_shown",
            "amounts_shown",
            "included_shown",
            "effective_shown",
            "recorded_shown",
        ]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        price = _price_to_schedule(request)
        if obj is None and price is not None:
            return super().get_form(request, obj, change=change, form=_schedule_form(price), **kwargs)
        if not self._is_editable(request, obj):
            return super().get_form(request, obj, change=change, **kwargs)
        form = super().get_form(request, obj, change=change, form=PriceForm, **kwargs)
        for name in self.get_autocomplete_fields(request):
            offered = self.formfield_for_dbfield(Price._meta.get_field(name), request)
            form.base_fields[name] = offered
        return form

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = dict(extra_context or {})
        if _price_to_schedule(request) is not None:
            context |= {"page_title": "Schedule a new price", "show_save_and_add_another": False}
        return super().add_view(request, form_url, context)  # type: ignore[no-any-return]

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        price = _price_to_schedule(request)
        if price is None:
            return super().get_changeform_initial_data(request)  # type: ignore[no-any-return]
        current = _current(price)
        next_month = (timezone.now().date().replace(day=1) + dt.timedelta(days=32)).replace(day=1)
        return {
            "effective_from": next_month,
            "flat_amount": current.flat_amount,
            "unit_amount": current.unit_amount,
            "per_units": current.per_units,
            "included_units": current.included_units,
        }

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_formset_kwargs(request, obj, inline, prefix)
        preset = getattr(request, "ch_preset_tiers", None)
        if preset and request.method == "GET":
            kwargs["initial"] = preset
        return kwargs

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[type[Any]]:
        price = _price_to_schedule(request)
        if price is not None and (obj is None or obj.pk is None):
            if price.charge_model != ChargeModelName.GRADUATED:
                return []
            request.ch_preset_tiers = [  # type: ignore[attr-defined]
                {"up_to": tier.up_to, "unit_amount": tier.unit_amount, "flat_amount": tier.flat_amount}
                for tier in terms_of(_current(price)).tiers
            ]
            return [ScheduledTierInline]
        return [TierInline] if self._is_editable(request, obj) else []

    # --- Saving ------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: PriceVersion, form: Any, change: bool) -> None:
        """Left to ``save_related``, which knows the tiers too."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        terms = form.terms(tuple(tier for formset in formsets for tier in formset.tiers))
        price = _price_to_schedule(request)
        if price is not None:
            written = schedule_price_version(
                price=price,
                effective_from=form.cleaned_data["effective_from"],
                terms=terms,
                now=timezone.now(),
                note=form.cleaned_data["note"],
                actor=acting_user(request),
            )
        else:
            entered = {
                "product": form.cleaned_data["product"],
                "metric": form.cleaned_data["metric"],
                "name": form.cleaned_data["name"],
                "charge_model": ChargeModelName(form.cleaned_data["charge_model"]),
                "terms": terms,
                "now": timezone.now(),
                "actor": acting_user(request),
            }
            if change:
                stored = PriceVersion.objects.select_related("price__plan_version__plan").get(pk=form.instance.pk)
                written = change_draft_price(price_version=stored, **entered)
            else:
                written = add_price(plan_version=form.cleaned_data["plan_version"], **entered)
        form.instance.pk, form.instance.price = written.pk, written.price
        form.instance.effective_from = written.effective_from

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return [{"added": {}}] if add else [{"changed": {"fields": []}}]

    def delete_model(self, request: HttpRequest, obj: PriceVersion) -> None:
        remove_draft_price(price=obj.price, actor=acting_user(request))

    def response_post_save_add(self, request: HttpRequest, obj: PriceVersion) -> HttpResponse:
        return HttpResponseRedirect(_plan_url(obj.price.plan_version))

    def response_post_save_change(self, request: HttpRequest, obj: PriceVersion) -> HttpResponse:
        return HttpResponseRedirect(_plan_url(obj.price.plan_version))

    def history_scopes(self, obj: PriceVersion) -> list[HistoryScope]:
        amounts = list(obj.price.versions.values_list("pk", flat=True))
        return [
            HistoryScope(Price, {"pgh_obj_id": obj.price_id}),
            HistoryScope(PriceVersion, {"price_id": obj.price_id}),
            HistoryScope(PriceTier, {"price_version_id__in": amounts}),
        ]

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Line", ordering="price__name")
    def line_shown(self, version: PriceVersion) -> str:
        return version.price.name

    @display(description="Plan", ordering="price__plan_version__plan__name")
    def plan_shown(self, version: PriceVersion) -> SafeString:
        plan_version = version.price.plan_version
        return format_html(
            '<a class="ch-link" href="{}">{} v{}</a>',
            _plan_url(plan_version),
            plan_version.plan.name,
            plan_version.number,
        )

    @display(description="Product", ordering="price__product__name")
    def product_shown(self, version: PriceVersion) -> str:
        return version.price.product.name

    @display(description="Metric")
    def metric_shown(self, version: PriceVersion) -> str:
        return str(version.price.metric or "–")

    @display(description="Charge model", ordering="price__charge_model")
    def model_shown(self, version: PriceVersion) -> str:
        return MODEL_WORDS[ChargeModelName(version.price.charge_model)]

    @display(description="Price")
    def amounts_shown(self, version: PriceVersion) -> SafeString:
        lines = format_html_join("", "<div>{}</div>", ((line,) for line in price_in_words(version)))
        return format_html("<div>{}</div>", lines)

    @display(description="Included")
    def included_shown(self, version: PriceVersion) -> str:
        return included_in_words(version) or "–"

    @display(description="Effective from", ordering="effective_from")
    def effective_shown(self, version: PriceVersion) -> str:
        return effective_in_words(version)

    @display(description="Recorded", ordering="recorded_at")
    def recorded_shown(self, version: PriceVersion) -> str:
        return f"{timezone.localtime(version.recorded_at):%-d %b %Y, %H:%M} UTC"

    @display(description="Plan status", ordering="price__plan_version__status")
    def status_shown(self, version: PriceVersion) -> SafeString:
        return _status_badge(version.price.plan_version)

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(
        description="Schedule a new price",
        permissions=["schedule"],
        icon="event_upcoming",
        variant=ActionVariant.PRIMARY,
    )
    def schedule(self, request: HttpRequest, object_id: str) -> HttpResponse:
        price_id = PriceVersion.objects.values_list("price_id", flat=True).get(pk=object_id)
        return HttpResponseRedirect(f"{reverse('admin:products_priceversion_add')}?schedule={price_id}")


def _price_to_schedule(request: HttpRequest) -> Price | None:
    """The published price that the address asks new amounts for."""
    asked = request.GET.get("schedule", "")
    if not asked.isdecimal():
        return None
    if not hasattr(request, "ch_price_to_schedule"):
        request.ch_price_to_schedule = (  # type: ignore[attr-defined]
            Price.objects.filter(Q(plan_version__status=PlanStatus.PUBLISHED), pk=asked)
            .select_related("plan_version__plan", "product", "metric")
            .first()
        )
    return request.ch_price_to_schedule  # type: ignore[attr-defined, no-any-return]


def _schedule_form(price: Price) -> type[ScheduleForm]:
    return type("PriceScheduleForm", (ScheduleForm,), {"price": price})


def _current(price: Price) -> PriceVersion:
    """The amounts in force now, or the first ones when none is yet."""
    now = timezone.now()
    versions = list(price.versions.prefetch_related("tiers"))
    for version in versions:
        version.price = price
    return version_in_force(versions, on=now.date(), known_at=now) or versions[-1]


register_panel("products.Plan", Panel(title="Versions and prices", render=render_versions, order=10))
