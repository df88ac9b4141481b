"""The form of a new plan."""

from __future__ import annotations

from django import forms
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from apps.common.fields import currency_choices
from apps.products.models import BillingInterval, Plan


class NewPlanForm(forms.ModelForm[Plan]):
    """A plan and the terms of its first version."""

    currencies = forms.MultipleChoiceField(
        choices=currency_choices,
        initial=["USD"],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Every price of the first version is given in each of them. A contract is billed in one.",
    )
    billing_months = forms.TypedChoiceField(
        label="Billing interval",
        choices=BillingInterval.choices,
        coerce=int,
        widget=UnfoldAdminSelectWidget,
        help_text="The length of a billing period: how often contracts on this version are invoiced.",
    )

    class Meta:
        model = Plan
        fields = ["code", "name", "description"]
