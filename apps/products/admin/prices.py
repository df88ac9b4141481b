"""The admin pages of prices: a price and its amounts on one page."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from apps.common.admin import (
    BillingAdmin,
    BillingInline,
    acting_user,
)
from apps.common.history import HistoryScope
from apps.products.admin.base import MODEL_WORDS, plan_url, status_badge
from apps.products.forms import PriceForm, ScheduleForm, TierForm, TierFormSet
from apps.products.models import (
    ChargeModelName,
    PlanStatus,
    Price,
    PriceTier,
    PriceVersion,
)
from apps.products.selectors import version_in_force
from apps.products.services import (
    ChargedFor,
    add_price,
    change_draft_price,
    remove_draft_price,
    schedule_price_version,
)
from apps.products.terms import terms_of
from apps.products.wording import effective_in_words, included_in_words, price_in_a_sentence, price_in_words


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
        "charge_model",
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
            if _current(price).charge_model != ChargeModelName.GRADUATED:
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
            entered: dict[str, Any] = {
                "charged": ChargedFor(
                    product=form.cleaned_data["product"],
                    metric=form.cleaned_data["metric"],
                    name=form.cleaned_data["name"],
                ),
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
        return HttpResponseRedirect(plan_url(obj.price.plan_version))

    def response_post_save_change(self, request: HttpRequest, obj: PriceVersion) -> HttpResponse:
        return HttpResponseRedirect(plan_url(obj.price.plan_version))

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
        return status_badge(version.price.plan_version)

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
    return type("PriceScheduleForm", (ScheduleForm,), {"price": price, "charge_model": _current(price).charge_model})


def _current(price: Price) -> PriceVersion:
    """The amounts in force now, or the first ones when none is yet."""
    now = timezone.now()
    versions = list(price.versions.prefetch_related("tiers"))
    for version in versions:
        version.price = price
    currency = price.plan_version.currencies[0]
    return version_in_force(versions, currency=currency, on=now.date(), known_at=now) or versions[-1]
