"""The form of a contract: its terms with inclusive days, as people write them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django import forms
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminDateWidget, UnfoldAdminTextInputWidget

from apps.contracts.models import Contract
from apps.products.models import PlanStatus, PlanVersion

ONE_DAY = dt.timedelta(days=1)


class ContractForm(forms.ModelForm[Contract]):
    """The terms of a draft contract. The last day is inclusive here; the model stores the day after it."""

    plan_version = forms.ModelChoiceField(
        PlanVersion.objects.select_related("plan"),
        label="Plan",
        help_text="Only published plan versions can be chosen. It sets the currency and the billing interval.",
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
        return cleaned

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
