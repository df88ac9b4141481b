"""The form of a contract: its terms with inclusive days, as people write them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from django.urls import reverse_lazy
from django.utils import timezone
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDateWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.common.fields import currency_choices
from apps.contracts.grandfathering import LONGEST_REASON
from apps.contracts.models import Contract
from apps.pricing.periods import TICK, local_date, start_of_day
from apps.products.models import PlanStatus, PlanVersion

ONE_DAY = dt.timedelta(days=1)


class ContractForm(forms.ModelForm[Contract]):
    """The terms of a draft contract. The last day is inclusive here; the model stores the day after it."""

    plan_version = forms.ModelChoiceField(
        PlanVersion.objects.select_related("plan"),
        label="Plan",
        help_text="Only published plan versions can be chosen. It sets the billing interval.",
    )
    # Not the model's own field: that one holds what follows from this choice and the plan.
    billing_currency = forms.ChoiceField(
        label="Currency",
        choices=lambda: [("", "Choose one"), *currency_choices()],
        required=False,
        # The page's script offers only the currencies of the plan, and hides the choice where there is none.
        widget=UnfoldAdminSelectWidget(
            attrs={
                "data-ch-currency-of-plan": "plan_version",
                "data-ch-currencies-url": reverse_lazy("admin:contracts_contract_currencies"),
            }
        ),
        help_text="The plan is sold in several. The contract is billed in this one; nothing is ever converted.",
    )
    last_date = forms.DateField(
        label="Last day",
        required=False,
        widget=UnfoldAdminDateWidget,
        help_text="The last day that is billed. Empty: until the contract is ended.",
    )

    class Meta:
        model = Contract
        fields = [
            "customer",
            "name",
            "start_date",
            "billing_anchor_day",
            "timezone",
            "payment_terms_days",
            "grace_period_hours",
            "purchase_order",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "timezone" in self.fields:
            self.fields["timezone"].required = self.instance.pk is not None
        if self.instance.pk is not None and "plan_version" in self.fields:
            self.initial.setdefault("last_date", self.instance.last_date)
            phase = self.instance.phases.first()
            self.initial.setdefault("plan_version", phase.plan_version_id if phase else None)
            self.initial.setdefault("billing_currency", self.instance.currency)
            # A contract stays its customer's; for another one a new contract is made.
            self.fields["customer"].disabled = True

    def clean_plan_version(self) -> PlanVersion:
        version: PlanVersion = self.cleaned_data["plan_version"]
        if version.status != PlanStatus.PUBLISHED:
            raise forms.ValidationError(
                f"{version} is {version.get_status_display().lower()}. Choose a published version."
            )
        return version

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        first, last = cleaned.get("start_date"), cleaned.get("last_date")
        if first and last and last < first:
            self.add_error("last_date", "The last day cannot lie before the first day.")
        if not cleaned.get("timezone") and cleaned.get("customer"):
            cleaned["timezone"] = cleaned["customer"].timezone
        self._check_currency(cleaned.get("plan_version"), cleaned.get("billing_currency"))
        return cleaned

    def _check_currency(self, plan_version: PlanVersion | None, currency: str | None) -> None:
        if plan_version is None or currency in plan_version.currencies or len(plan_version.currencies) == 1:
            return
        offered = " and ".join(plan_version.currencies)
        self.add_error("billing_currency", f"{plan_version.plan} is sold in {offered}. Choose one of them.")

    @property
    def chosen_currency(self) -> str:
        """The currency to bill in; empty where the plan has only one, so that there is nothing to choose."""
        chosen: str = self.cleaned_data["billing_currency"]
        return chosen if len(self.cleaned_data["plan_version"].currencies) > 1 else ""

    @property
    def end_date(self) -> dt.date | None:
        """The first day outside the contract."""
        last: dt.date | None = self.cleaned_data["last_date"]
        return last + ONE_DAY if last else None


class EndContractForm(BaseDialogForm):
    last_date = forms.DateField(
        label="Last day",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="The last day that is billed. Usage up to its end still is; the last invoice covers the rest.",
    )


class ReasonForm(BaseDialogForm):
    """Asks why, for the history and for whoever reads the contract later."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "loyalty agreement", "autocomplete": "off"}),
        help_text="Shown wherever these prices are, and kept in the history.",
    )


class KeepPricesForm(ReasonForm):
    """Which day's prices a contract keeps."""

    day = forms.DateField(
        label="Prices of",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="The prices in force on this day are kept, as they were known then.",
    )
    field_order = ["_form_submitted", "day", "reason"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["day"].initial = local_date(timezone.now(), self._zone())

    def kept_at(self, now: dt.datetime) -> dt.datetime:
        """The instant whose prices are kept: now for today, the last one of an earlier or later day."""
        day: dt.date = self.cleaned_data["day"]
        zone = self._zone()
        return now if day == local_date(now, zone) else start_of_day(day + ONE_DAY, zone) - TICK

    def _zone(self) -> str:
        return Contract.objects.values_list("timezone", flat=True).get(pk=str(self.object_id))
