"""Contracts for sales ops: draft the terms, see what they will bill, activate, end."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.dataclasses import ActionDialog
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from apps.common.admin import (
    BillingAdmin,
    acting_user,
    add_refusal,
    badge,
    dialog_done,
    refusals_as_messages,
    show_dialog_again,
)
from apps.common.errors import BillingError
from apps.common.formatting import format_day, format_days
from apps.common.history import HistoryScope
from apps.contracts import payers_admin
from apps.contracts.contract_panels import STATUS_COLOURS
from apps.contracts.forms import ONE_DAY, ContractForm, EndContractForm, KeepPricesForm, ReasonForm
from apps.contracts.grandfathering import follow_list_prices, grandfather_contract
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.contracts.payers import prices_of_phase_in_words
from apps.contracts.services import activate_contract, change_draft_contract, create_contract, end_contract
from apps.pricing.periods import local_date
from apps.products.models import BillingTiming

END_DIALOG: ActionDialog = {
    "title": "End this contract",
    "description": "Usage up to the last day is still billed. Periods that are closed stay as they are.",
    "form_class": EndContractForm,
    "form_submit_text": "End the contract",
}


KEEP_DIALOG: ActionDialog = {
    "title": "Keep the prices of a day",
    "description": "From this day on the contract no longer follows the list prices of its plan. Periods that are "
    "closed stay as they were billed.",
    "form_class": KeepPricesForm,
    "form_submit_text": "Keep these prices",
}
FOLLOW_DIALOG: ActionDialog = {
    "title": "Follow the list prices again",
    "description": "From the open period on, this contract pays the list prices of its plan as they change. What was "
    "billed stands.",
    "form_class": ReasonForm,
    "form_submit_text": "Follow the list prices",
}


class ActivateForm(BaseDialogForm):
    form_before_template = "admin/contracts/activate_summary.html"

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        contract = Contract.objects.select_related("customer").get(pk=str(object_id))
        phase = contract.phases.select_related("plan_version__plan").first()
        return {
            "contract": contract,
            "plan_version": phase.plan_version if phase else None,
            "first_period": contract.period_at(contract.starts_at),
            "begins_in_the_past": contract.starts_at < timezone.now(),
            "bills_in_advance": phase is not None
            and phase.plan_version.prices.filter(timing=BillingTiming.ADVANCE).exists(),
        }


@admin.register(Contract)
class ContractAdmin(BillingAdmin[Contract]):
    list_display = ["name", "customer", "plan_shown", "currency", "term_shown", "billed_through_shown", "status_shown"]
    list_filter = [
        ("status", ChoicesDropdownFilter),
        ("currency", ChoicesDropdownFilter),
        ("customer", AutocompleteSelectFilter),
        ("phases__plan_version__plan", AutocompleteSelectFilter),
    ]
    list_select_related = ["customer"]
    search_fields = ["name", "customer__name", "customer__external_id", "purchase_order"]
    search_help_text = "Contract, customer or purchase order"
    ordering = ["customer__name", "-start_date", "id"]
    actions_detail = ["activate", "keep_prices", "follow_prices", "end"]
    refusal_fields = {"end_date": "last_date", "at": "day", "currency": "billing_currency"}
    empty_state = (
        "No contracts yet",
        "A contract puts a customer on a plan, from a first day on. Once it is active, its usage is billed period by "
        "period.",
        "admin:contracts_contract_add",
        "Make a contract",
    )
    form_fieldsets = [
        (None, {"fields": ["customer", "name", "plan_version", "billing_currency"]}),
        ("Term", {"fields": ["start_date", "last_date", "billing_anchor_day", "timezone"]}),
        ("Invoicing", {"fields": ["payment_terms_days", "grace_period_hours", "purchase_order"]}),
    ]
    shown_fieldsets = [
        (
            None,
            {
                "fields": [
                    ("status_shown", "customer_shown"),
                    ("name", "plan_linked"),
                    ("term_shown", "billed_through_shown"),
                ]
            },
        ),
        (
            "Terms",
            {
                "fields": [
                    ("currency", "prices_shown"),
                    ("rhythm_shown", "timezone"),
                    ("payment_terms_shown", "grace_period_shown"),
                    ("purchase_order", "activated_shown"),
                ]
            },
        ),
    ]
    readonly_fields = [
        "status_shown",
        "customer_shown",
        "plan_linked",
        "term_shown",
        "billed_through_shown",
        "currency",
        "prices_shown",
        "rhythm_shown",
        "payment_terms_shown",
        "grace_period_shown",
        "activated_shown",
    ]

    class Media:
        js = ["countinghouse/contract_form.js"]

    def get_urls(self) -> list[Any]:
        return [*payers_admin.urls(self.admin_site), *super().get_urls()]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Contract]:
        contracts: QuerySet[Contract] = super().get_queryset(request)
        phases = ContractPhase.objects.select_related("plan_version__plan").order_by("start_date")
        return contracts.select_related("customer__billing_entity").prefetch_related(
            Prefetch("phases", queryset=phases)
        )

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        return ["customer", "plan_version"]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.form_fieldsets if self._is_editable(request, obj) else self.shown_fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        if not self._is_editable(request, obj):
            return super().get_form(request, obj, change=change, form=forms.ModelForm, **kwargs)
        form = super().get_form(request, obj, change=change, form=ContractForm, **kwargs)
        offered = self.formfield_for_dbfield(ContractPhase._meta.get_field("plan_version"), request)
        declared = ContractForm.base_fields["plan_version"]
        offered.label, offered.help_text = declared.label, declared.help_text
        form.base_fields["plan_version"] = offered
        if obj is None:
            zone: Any = form.base_fields["timezone"]
            zone.choices, zone.initial = [("", ""), *zone.choices], ""
            zone.help_text = "Days and periods begin at midnight here. Empty: the customer's time zone."
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        initial.setdefault("start_date", timezone.now().date().replace(day=1))
        return initial

    def _is_editable(self, request: HttpRequest, contract: Contract | None) -> bool:
        if contract is None:
            return bool(self.has_add_permission(request))
        return self.has_change_permission(request, contract)

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        # Terms are a draft's to change; an active contract has buttons of its own.
        return super().has_change_permission(request, obj) and (obj is None or obj.status == ContractStatus.DRAFT)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.status == ContractStatus.DRAFT)

    def has_activate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_move(request, object_id, ContractStatus.DRAFT)

    def has_end_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_move(request, object_id, ContractStatus.ACTIVE)

    def has_keep_prices_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_price(request, object_id, grandfathered_at=None)

    def has_follow_prices_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return self._may_price(request, object_id, grandfathered_at__isnull=False)

    def _may_price(self, request: HttpRequest, object_id: str | None, **phases: Any) -> bool:
        if not request.user.has_perm("contracts.change_contract"):
            return False
        if object_id is None:
            return True
        last = ContractPhase.objects.filter(contract=int(object_id)).exclude(contract__status=ContractStatus.ENDED)
        newest = last.order_by("-start_date").values("pk")[:1]
        return ContractPhase.objects.filter(pk__in=newest, **phases).exists()

    def _may_move(self, request: HttpRequest, object_id: str | None, status: ContractStatus) -> bool:
        return bool(request.user.has_perm("contracts.change_contract")) and (
            object_id is None or Contract.objects.filter(pk=object_id, status=status).exists()
        )

    # --- Saving ------------------------------------------------------------------------------------------------------

    def save_model(self, request: HttpRequest, obj: Contract, form: ContractForm, change: bool) -> None:
        entered = form.cleaned_data
        terms = {
            "name": entered["name"],
            "plan_version": entered["plan_version"],
            "start_date": entered["start_date"],
            "end_date": form.end_date,
            "billing_anchor_day": entered["billing_anchor_day"],
            "timezone": entered["timezone"],
            "payment_terms_days": entered["payment_terms_days"],
            "grace_period_hours": entered["grace_period_hours"],
            "purchase_order": entered["purchase_order"],
            "currency": form.chosen_currency,
            "actor": acting_user(request),
        }
        if change:
            change_draft_contract(contract_id=obj.pk, **terms)
        else:
            obj.pk = create_contract(customer=entered["customer"], **terms).pk

    def response_post_save_add(self, request: HttpRequest, obj: Contract) -> HttpResponse:
        """On to the contract's page, with its preview and the button that activates it."""
        return HttpResponseRedirect(reverse("admin:contracts_contract_change", args=[obj.pk]))

    response_post_save_change = response_post_save_add

    def history_scopes(self, obj: Contract) -> list[HistoryScope]:
        return [*super().history_scopes(obj), HistoryScope(ContractPhase, {"contract_id": obj.pk})]

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Status", ordering="status")
    def status_shown(self, contract: Contract) -> SafeString:
        return badge(contract.get_status_display(), STATUS_COLOURS[ContractStatus(contract.status)])

    @display(description="Customer", ordering="customer__name")
    def customer_shown(self, contract: Contract) -> SafeString:
        url = reverse("admin:customers_customer_change", args=[contract.customer_id])
        return format_html('<a class="ch-link" href="{}">{}</a>', url, contract.customer.name)

    @display(description="Plan")
    def plan_shown(self, contract: Contract) -> str:
        return ", then ".join(_plan_name(phase) for phase in _phases_by_plan(contract))

    @display(description="Plan")
    def plan_linked(self, contract: Contract) -> SafeString:
        # The address of a plan version leads on to its part of the plan's page.
        links = (
            (reverse("admin:products_planversion_change", args=[phase.plan_version_id]), _plan_name(phase))
            for phase in _phases_by_plan(contract)
        )
        return format_html_join(", then ", '<a class="ch-link" href="{}">{}</a>', links)

    @display(description="Term", ordering="start_date")
    def term_shown(self, contract: Contract) -> str:
        if contract.last_date is None:
            return f"From {format_day(contract.start_date)}"
        return format_days(contract.start_date, contract.last_date)

    @display(description="Billed through", ordering="closed_through")
    def billed_through_shown(self, contract: Contract) -> str:
        if contract.closed_through is None:
            return "–"
        if contract.closed_through <= contract.starts_at:
            return "Nothing yet"
        return format_day(local_date(contract.closed_through, contract.timezone) - ONE_DAY)

    @display(description="Prices")
    def prices_shown(self, contract: Contract) -> str:
        phases = contract.phases.all()
        open_from = contract.closed_through and local_date(contract.closed_through, contract.timezone)
        to_come = [phase for phase in phases if not (open_from and phase.end_date and phase.end_date <= open_from)]
        words = [prices_of_phase_in_words(phase, contract.timezone) for phase in to_come or phases]
        return ", then ".join(dict.fromkeys(words))

    @display(description="Billing periods")
    def rhythm_shown(self, contract: Contract) -> str:
        return f"{contract.get_billing_months_display()}, beginning on day {contract.billing_anchor_day} of the month"

    @display(description="Payment terms")
    def payment_terms_shown(self, contract: Contract) -> str:
        source = "" if contract.payment_terms_days is not None else f", as {contract.customer.billing_entity} says"
        return f"{contract.payment_terms.days} days{source}"

    @display(description="Grace period")
    def grace_period_shown(self, contract: Contract) -> str:
        source = "" if contract.grace_period_hours is not None else f", as {contract.customer.billing_entity} says"
        return f"{int(contract.grace_period / dt.timedelta(hours=1))} hours{source}"

    @display(description="Activated")
    def activated_shown(self, contract: Contract) -> str:
        return f"{timezone.localtime(contract.activated_at):%-d %b %Y, %H:%M} UTC" if contract.activated_at else "–"

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(
        description="Activate",
        permissions=["activate"],
        icon="play_arrow",
        variant=ActionVariant.PRIMARY,
        dialog={
            "title": "Activate this contract?",
            "description": "",
            "form_class": ActivateForm,
            "form_submit_text": "Activate",
        },
    )
    def activate(self, request: HttpRequest, form: ActivateForm, object_id: str) -> HttpResponse:
        with refusals_as_messages(request):
            contract = activate_contract(contract_id=int(object_id), now=timezone.now(), actor=acting_user(request))
            messages.success(
                request, f"{contract} is active. Its usage is billed from {format_day(contract.start_date)} on."
            )
        return dialog_done(request, reverse("admin:contracts_contract_change", args=[object_id]))

    @action(
        description="End",
        permissions=["end"],
        icon="event_busy",
        dialog=END_DIALOG,
    )
    def end(self, request: HttpRequest, form: EndContractForm, object_id: str) -> HttpResponse:
        last_date: dt.date = form.cleaned_data["last_date"]
        try:
            contract = end_contract(
                contract_id=int(object_id), end_date=last_date + ONE_DAY, actor=acting_user(request)
            )
        except BillingError as refusal:
            add_refusal(form, refusal, self.refusal_fields)
            return show_dialog_again(request, form, END_DIALOG)
        messages.success(request, f"{contract} ends on {format_day(last_date)}.")
        return dialog_done(request, reverse("admin:contracts_contract_change", args=[object_id]))

    @action(
        description="Keep prices",
        permissions=["keep_prices"],
        icon="lock",
        dialog=KEEP_DIALOG,
    )
    def keep_prices(self, request: HttpRequest, form: KeepPricesForm, object_id: str) -> HttpResponse:
        now = timezone.now()
        try:
            contract = grandfather_contract(
                contract_id=int(object_id),
                at=form.kept_at(now),
                now=now,
                reason=form.cleaned_data["reason"],
                actor=acting_user(request),
            )
        except BillingError as refusal:
            add_refusal(form, refusal, self.refusal_fields)
            return show_dialog_again(request, form, KEEP_DIALOG)
        messages.success(request, f"{contract} keeps the prices of {format_day(form.cleaned_data['day'])}.")
        return dialog_done(request, reverse("admin:contracts_contract_change", args=[object_id]))

    @action(
        description="Follow list prices",
        permissions=["follow_prices"],
        icon="lock_open",
        dialog=FOLLOW_DIALOG,
    )
    def follow_prices(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        try:
            contract = follow_list_prices(
                contract_id=int(object_id), reason=form.cleaned_data["reason"], actor=acting_user(request)
            )
        except BillingError as refusal:
            add_refusal(form, refusal, self.refusal_fields)
            return show_dialog_again(request, form, FOLLOW_DIALOG)
        messages.success(request, f"{contract} follows the list prices of its plan.")
        return dialog_done(request, reverse("admin:contracts_contract_change", args=[object_id]))


def _phases_by_plan(contract: Contract) -> list[ContractPhase]:
    """The phases that begin another plan: one that only changes which prices are kept goes on with the same."""
    phases = list(contract.phases.all())
    return [
        phase
        for before, phase in zip([None, *phases], phases, strict=False)
        if before is None or before.plan_version_id != phase.plan_version_id
    ]


def _plan_name(phase: ContractPhase) -> str:
    return f"{phase.plan_version.plan.name} v{phase.plan_version.number}"
