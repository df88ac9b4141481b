"""The admin pages of prices: a price and its amounts on one page."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter, DropdownFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.common.admin import BillingAdmin, acting_user
from apps.common.fields import currency_choices
from apps.common.history import HistoryScope
from apps.products.admin.asked import asked_of, form_to_try
from apps.products.admin.base import MODEL_WORDS, plan_url, status_badge
from apps.products.admin.calculator import calculate
from apps.products.admin.price_cells import matrix_table, price_lines
from apps.products.forms import PriceForm, currency_form
from apps.products.forms.terms import AMOUNT_FIELDS, BOUND_FIELDS, MORE_FIELDS
from apps.products.lint import Finding, lint_price
from apps.products.lint_plans import lint_plan_version
from apps.products.models import ChargeModelName, PlanStatus, Price, PriceMatrixRow, PriceTier, PriceVersion
from apps.products.selectors import prices_by_plan_version
from apps.products.services import (
    add_currency,
    add_price,
    change_draft_price,
    remove_draft_price,
    schedule_price_version,
)
from apps.products.terms import terms_of
from apps.products.wording import (
    bounds_in_words,
    effective_in_words,
    included_in_words,
)


def _may_edit(version: PriceVersion | None) -> bool:
    return version is None or version.pk is None or version.price.plan_version.is_draft


SHOWN = [
    "plan_shown",
    "product_shown",
    "metric_shown",
    "line_shown",
    "model_shown",
    "currency",
    "whole_amounts_shown",
    "included_shown",
    "around_shown",
    "effective_shown",
    "recorded_shown",
]


class CurrencyFilter(DropdownFilter):
    title = "currency"
    parameter_name = "currency"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return currency_choices()

    def queryset(self, request: HttpRequest, queryset: QuerySet[PriceVersion]) -> QuerySet[PriceVersion]:
        return queryset.filter(currency=self.value()) if self.value() else queryset


@admin.register(PriceVersion)
class PriceVersionAdmin(BillingAdmin[PriceVersion]):
    """A price and its amounts as one page: a draft's can be changed, a published one's is scheduled anew."""

    list_display = [
        "line_shown",
        "plan_shown",
        "product_shown",
        "model_shown",
        "currency",
        "amounts_shown",
        "included_shown",
        "effective_shown",
        "status_shown",
    ]
    list_filter = [
        ("price__plan_version__plan", AutocompleteSelectFilter),
        ("price__product", AutocompleteSelectFilter),
        ("price__metric", AutocompleteSelectFilter),
        ("charge_model", ChoicesDropdownFilter),
        CurrencyFilter,
        ("price__plan_version__status", ChoicesDropdownFilter),
    ]
    search_fields = ["price__name", "price__product__name", "price__plan_version__plan__name", "price__metric__name"]
    search_help_text = "Line, product, plan or metric"
    ordering = ["price__plan_version__plan__name", "-price__plan_version__number", "price__position", "price_id"]
    actions_detail = ["schedule", "add_currency"]
    empty_state = (
        "No prices yet",
        "A price says what one line of an invoice costs: a fee each month, so much per 1,000 tokens, or tiers. Prices "
        "belong to a plan, so begin there.",
        "admin:products_plan_changelist",
        "Go to plans",
    )

    class Media:
        js = ["countinghouse/price_form.js"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[PriceVersion]:
        versions: QuerySet[PriceVersion] = super().get_queryset(request)
        return versions.select_related(
            "price__plan_version__plan", "price__product", "price__metric", "price__pricing_unit"
        ).prefetch_related("tiers", "rows")

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.calculator_view)
        return [path("calculate/", view, name="products_priceversion_calculate"), *super().get_urls()]

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

    def has_add_currency_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        if not request.user.has_perm("products.add_priceversion"):
            return False
        if object_id is None:
            return True
        price = Price.objects.filter(versions__pk=object_id, plan_version__status=PlanStatus.DRAFT).first()
        return price is not None and bool(currency_form(price)().currencies)

    # --- The form ----------------------------------------------------------------------------------------------------

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if not self._is_editable(request, obj):
            return [(None, {"fields": [*SHOWN, "note"]})]
        asked = asked_of(request)
        if obj is not None or asked is None:
            return [
                ("What is charged", {"fields": ["plan_version", "product", "name"]}),
                ("How", {"fields": ["charge_model", "metric", "pricing_unit", "recurrence", "timing"]}),
                ("Amounts", {"fields": AMOUNT_FIELDS}),
                ("Free and bounds", {"fields": BOUND_FIELDS}),
                ("More", {"fields": MORE_FIELDS}),
            ]
        amounts = [name for name in AMOUNT_FIELDS if name != "pricing_unit_rate" or asked.price.pricing_unit]
        first = ["effective_from", "charge_model"] if asked.is_scheduled else ["charge_model"]
        last = ["note", "seen_impact"] if asked.is_scheduled else []
        sections = [
            (f"{asked.price.name}, {asked.price.plan_version}", {"fields": first, "description": asked.description}),
            ("Amounts", {"fields": amounts}),
            ("Free and bounds", {"fields": BOUND_FIELDS}),
            ("More", {"fields": MORE_FIELDS}),
        ]
        return [*sections, ("Why", {"fields": last})] if last else sections

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return [] if self._is_editable(request, obj) else SHOWN

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        asked = asked_of(request)
        if obj is None and asked is not None:
            return super().get_form(request, obj, change=change, form=asked.form_class, **kwargs)
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
        asked = asked_of(request)
        context = {"calculator_url": self._calculator_url(request), **(extra_context or {})}
        if asked is not None:
            context |= {"page_title": asked.title, "show_save_and_add_another": False}
            context |= {"is_scheduling": asked.is_scheduled, "price_to_schedule": asked.price}
        return super().add_view(request, form_url, context)  # type: ignore[no-any-return]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        version = self.get_object(request, unquote(object_id))
        context = dict(extra_context or {})
        if version is not None and self._is_editable(request, version):
            context["calculator_url"] = f"{self._calculator_url(request)}?price_version={version.pk}"
        return super().change_view(request, object_id, form_url, context)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        asked = asked_of(request)
        if asked is not None:
            return asked.initial
        return super().get_changeform_initial_data(request)  # type: ignore[no-any-return]

    def _calculator_url(self, request: HttpRequest) -> str:
        kept = {name: request.GET[name] for name in ("schedule", "add_currency", "plan_version") if name in request.GET}
        query = f"?{urlencode(kept)}" if kept else ""
        return reverse("admin:products_priceversion_calculate") + query

    def calculator_view(self, request: HttpRequest) -> HttpResponse:
        """What the form that is being filled in makes of a quantity."""
        return calculate(request, form_to_try(request))

    # --- Saving ------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: PriceVersion, form: Any, change: bool) -> None:
        """By the services, which store the tiers and the rows as well."""
        written = self._write(request, form, obj if change else None)
        obj.pk, obj.price, obj.effective_from = written.pk, written.price, written.effective_from
        for finding in _findings(written):
            messages.warning(request, f"{finding.sentence} {finding.reason}")

    def _write(self, request: HttpRequest, form: Any, changed: PriceVersion | None) -> PriceVersion:
        entered: dict[str, Any] = {"terms": form.terms, "now": timezone.now(), "actor": acting_user(request)}
        asked = asked_of(request)
        if changed is not None:
            stored = PriceVersion.objects.select_related("price__plan_version__plan").get(pk=changed.pk)
            return change_draft_price(price_version=stored, charged=form.charged, **entered)
        if asked is None:
            plan_version, currency = form.cleaned_data["plan_version"], form.cleaned_data["currency"]
            return add_price(plan_version=plan_version, charged=form.charged, currency=currency, **entered)
        currency = form.cleaned_data["currency"]
        if not asked.is_scheduled:
            return add_currency(price=asked.price, currency=currency, **entered)
        return schedule_price_version(
            price=asked.price,
            currency=currency,
            effective_from=form.cleaned_data["effective_from"],
            note=form.cleaned_data["note"],
            **entered,
        )

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        return [{"added": {}}] if add else [{"changed": {"fields": []}}]

    def delete_model(self, request: HttpRequest, obj: PriceVersion) -> None:
        remove_draft_price(price=obj.price, actor=acting_user(request))

    def response_post_save_add(self, request: HttpRequest, obj: PriceVersion) -> HttpResponse:
        return HttpResponseRedirect(plan_url(obj.price.plan_version))

    def response_post_save_change(self, request: HttpRequest, obj: PriceVersion) -> HttpResponse:
        return HttpResponseRedirect(plan_url(obj.price.plan_version))

    def history_scopes(self, obj: PriceVersion) -> list[HistoryScope]:
        amounts = list(obj.price.versions.values_list("pk", flat=True))
        return [
            HistoryScope(Price, {"pgh_obj_id": obj.price_id}),
            HistoryScope(PriceVersion, {"price_id": obj.price_id}),
            HistoryScope(PriceTier, {"price_version_id__in": amounts}),
            HistoryScope(PriceMatrixRow, {"price_version_id__in": amounts}),
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
            plan_url(plan_version),
            plan_version.plan.name,
            plan_version.number,
        )

    @display(description="Product", ordering="price__product__name")
    def product_shown(self, version: PriceVersion) -> str:
        return version.price.product.name

    @display(description="Metric")
    def metric_shown(self, version: PriceVersion) -> str:
        return str(version.price.metric or "–")

    @display(description="Charge model", ordering="charge_model")
    def model_shown(self, version: PriceVersion) -> str:
        return MODEL_WORDS[ChargeModelName(version.charge_model)]

    @display(description="Price")
    def amounts_shown(self, version: PriceVersion) -> SafeString:
        if version.charge_model == ChargeModelName.MATRIX:
            return matrix_table(version, whole=False)
        return price_lines(version)

    @display(description="Price")
    def whole_amounts_shown(self, version: PriceVersion) -> SafeString:
        if version.charge_model == ChargeModelName.MATRIX:
            return matrix_table(version, whole=True)
        return price_lines(version)

    @display(description="Bounds and rules")
    def around_shown(self, version: PriceVersion) -> str:
        words = ", ".join(bounds_in_words(version))
        return f"{words[0].upper()}{words[1:]}" if words else "–"

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
        return status_badge(version.price.plan_version)

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(
        description="Schedule a new price",
        permissions=["schedule"],
        icon="event_upcoming",
        variant=ActionVariant.PRIMARY,
    )
    def schedule(self, request: HttpRequest, object_id: str) -> HttpResponse:
        version = PriceVersion.objects.get(pk=object_id)
        query = urlencode({"schedule": version.price_id, "currency": version.currency})
        return HttpResponseRedirect(f"{reverse('admin:products_priceversion_add')}?{query}")

    @action(description="Add another currency", permissions=["add_currency"], icon="add")
    def add_currency(self, request: HttpRequest, object_id: str) -> HttpResponse:
        price_id = PriceVersion.objects.values_list("price_id", flat=True).get(pk=object_id)
        return HttpResponseRedirect(f"{reverse('admin:products_priceversion_add')}?add_currency={price_id}")


def _findings(version: PriceVersion) -> list[Finding]:
    """What is odd about a price that was stored, by itself and beside the other plans."""
    plan_version = version.price.plan_version
    prices = prices_by_plan_version([plan_version.pk]).get(plan_version.pk, [])
    own = lint_price(
        terms_of(version),
        metric=version.price.metric,
        currency=version.currency,
        pricing_unit=version.price.pricing_unit,
    )
    return own + lint_plan_version(plan_version, prices)
