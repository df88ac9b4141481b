"""The forms of the catalogue's admin pages: a plan with its first version, a price with its first amounts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.models import BaseInlineFormSet
from unfold.widgets import UnfoldAdminSelectMultipleWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from apps.billable_metrics.models import BillableMetric
from apps.common.fields import currency_choices
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.tiers import InvalidTiers, check_tiers
from apps.products.models import (
    BillingInterval,
    ChargeModelName,
    Plan,
    PlanVersion,
    Price,
    PriceTier,
    PriceVersion,
    Product,
)
from apps.products.terms import PriceTerms

# What the page's script reads to show only the fields that a charge model has.
SHOWN_FOR = "data-ch-shown-for-model"
METERED = f"{ChargeModelName.PER_UNIT} {ChargeModelName.GRADUATED}"


class NewPlanForm(forms.ModelForm[Plan]):
    """A plan and the terms of its first version."""

    currencies = forms.MultipleChoiceField(
        choices=currency_choices,
        initial=["USD"],
        widget=UnfoldAdminSelectMultipleWidget,
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


class AmountsForm(forms.ModelForm[PriceVersion]):
    """The amounts of a price. Which of them there are follows from the charge model."""

    class Meta:
        model = PriceVersion
        fields = ["flat_amount", "unit_amount", "per_units", "included_units"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shown_for = {
            "flat_amount": ChargeModelName.FLAT,
            "unit_amount": ChargeModelName.PER_UNIT,
            "per_units": METERED,
            "included_units": METERED,
            "metric": METERED,
        }
        for name, models in shown_for.items():
            if name in self.fields:
                widget = self.fields[name].widget
                # A foreign key's select is wrapped in the links that add and change its rows.
                inner: Any = getattr(widget, "widget", widget)
                inner.attrs[SHOWN_FOR] = models
        if "per_units" in self.fields:
            self.fields["per_units"].required = False
            self.fields["included_units"].required = False

    def add_error(self, field: str | None, error: Any) -> None:
        """An amount that cannot be read is at fault once: it is not missing as well."""
        if isinstance(error, ValidationError) and hasattr(error, "error_dict"):
            new = {name: faults for name, faults in error.error_dict.items() if name not in self.errors}
            error = ValidationError(new)
        super().add_error(field, error)

    def terms(self, tiers: tuple[Tier, ...]) -> PriceTerms:
        """The terms that were entered, together with the tiers of the table below the form."""
        return PriceTerms(
            ChargeModelName(self.cleaned_data.get("charge_model") or self.instance.charge_model),
            flat_amount=self.cleaned_data.get("flat_amount"),
            unit_amount=self.cleaned_data.get("unit_amount"),
            per_units=self.cleaned_data.get("per_units"),
            included_units=self.cleaned_data.get("included_units"),
            tiers=tiers,
        )


class PriceForm(AmountsForm):
    """A price of a draft plan version: what is charged, by which model, and the amounts, on one page."""

    plan_version = forms.ModelChoiceField(PlanVersion.objects.select_related("plan"))
    product = forms.ModelChoiceField(Product.objects.all())
    metric = forms.ModelChoiceField(BillableMetric.objects.all(), required=False)
    name = forms.CharField(
        label="Line",
        max_length=120,
        widget=UnfoldAdminTextInputWidget,
        help_text="The line on the invoice, such as “Input tokens”.",
    )
    charge_model = forms.ChoiceField(
        choices=ChargeModelName.choices,
        widget=UnfoldAdminSelectWidget(attrs={"data-ch-controls": "model"}),
        help_text="How a quantity becomes an amount.",
    )

    class Meta(AmountsForm.Meta):
        pass

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            price = self.instance.price
            for name in ("plan_version", "product", "metric"):
                self.initial.setdefault(name, getattr(price, f"{name}_id"))
            self.initial.setdefault("name", price.name)
            self.initial.setdefault("charge_model", self.instance.charge_model)
            # A charge stays in its version; one that belongs elsewhere is removed here and added there.
            self.fields["plan_version"].disabled = True

    def clean_plan_version(self) -> PlanVersion:
        version: PlanVersion = self.cleaned_data["plan_version"]
        if not version.is_draft:
            raise ValidationError(
                f"{version} is {version.get_status_display().lower()}, so its charges stand. "
                "Choose a draft, or make a new version of the plan first."
            )
        return version

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        model, metric = cleaned.get("charge_model"), cleaned.get("metric")
        if model == ChargeModelName.FLAT and metric:
            self.add_error("metric", "A flat price has no metric. Clear it, or choose another charge model.")
        if model and model != ChargeModelName.FLAT and not metric and "metric" not in self.errors:
            self.add_error("metric", "Choose the metric whose units are charged.")
        self._check_name(cleaned)
        return cleaned

    def _check_name(self, cleaned: dict[str, Any]) -> None:
        version, name = cleaned.get("plan_version"), cleaned.get("name")
        if version is None or not name:
            return
        if version.prices.filter(name=name).exclude(versions=self.instance.pk).exists():
            self.add_error("name", f"{version} already has a price with this name. Choose another one.")


class ScheduleForm(AmountsForm):
    """New amounts of a published price, from a day on."""

    class Meta(AmountsForm.Meta):
        fields = ["effective_from", *AmountsForm.Meta.fields, "note"]

    # Set by the page, which knows the price that is scheduled.
    price: Price
    charge_model: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.price, self.instance.charge_model = self.price, self.charge_model
        day = self.fields["effective_from"]
        day.required = True
        day.label = "Effective from"
        day.help_text = "First day of the new amounts, in each customer's time zone. What was billed before stands."
        for name in ("flat_amount", "unit_amount", "per_units", "included_units"):
            if name in self.fields and self.charge_model not in self.fields[name].widget.attrs[SHOWN_FOR].split():
                del self.fields[name]

    def clean(self) -> dict[str, Any]:
        return super().clean() or self.cleaned_data


class TierForm(forms.ModelForm[PriceTier]):
    """One tier. The tiers are checked together, in the order they stand."""

    class Meta:
        model = PriceTier
        fields = ["up_to", "unit_amount", "flat_amount"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        marker = {"data-ch-group-for-model": ChargeModelName.GRADUATED.value}
        self.fields["up_to"].widget.attrs |= {**marker, "placeholder": "no end"}
        self.fields["flat_amount"].required = False
        if self.instance.pk is None and "unit_amount" not in self.initial:
            # With no preset price, a last tier that is free of charge differs from an empty row.
            self.fields["unit_amount"].initial = None
            self.initial["unit_amount"] = None

    def has_changed(self) -> bool:
        """Whether the row holds a tier. One that was emptied by hand is as empty as a new one."""
        is_emptied = not self["up_to"].data and not self["unit_amount"].data and self["flat_amount"].data in ("", "0")
        return super().has_changed() and not (is_emptied and self.instance.pk is None)

    def clean_flat_amount(self) -> Decimal:
        return self.cleaned_data["flat_amount"] or Decimal(0)

    def clean_up_to(self) -> Decimal | None:
        up_to: Decimal | None = self.cleaned_data["up_to"]
        if up_to is not None and up_to <= 0:
            raise ValidationError("Enter a number above 0.")
        return up_to

    def validate_unique(self) -> None:
        """Left to ``check_tiers``: the stored rows are all replaced."""

    @property
    def tier(self) -> Tier:
        return Tier(
            up_to=self.cleaned_data.get("up_to"),
            unit_amount=self.cleaned_data["unit_amount"],
            flat_amount=self.cleaned_data["flat_amount"],
        )


class TierFormSet(BaseInlineFormSet[PriceTier, PriceVersion, TierForm]):
    """The tiers of a graduated price; ignored for every other model."""

    charge_model: str | None = None  # Set by the page where the form has no such field.

    @property
    def is_wanted(self) -> bool:
        return (self.charge_model or self.data.get("charge_model")) == ChargeModelName.GRADUATED

    @property
    def filled(self) -> list[TierForm]:
        """The rows that count: neither empty nor to be removed."""
        return [form for form in self.forms if form not in self.deleted_forms and _is_filled(form)]

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return tuple(form.tier for form in self.filled) if self.is_wanted else ()

    def is_valid(self) -> bool:
        return not self.is_wanted or super().is_valid()

    def clean(self) -> None:
        # No super(): it compares with the stored rows, and these are all replaced.
        if not self.is_wanted or any(self.errors):
            return
        try:
            check_tiers(self.tiers)
        except InvalidTiers as fault:
            row = self._row_at_fault()
            if row is None:
                raise ValidationError(str(fault)) from fault
            row.add_error("up_to", str(fault))

    def _row_at_fault(self) -> TierForm | None:
        """The first row with which the tiers before it, and an open end after it, no longer follow one another."""
        rows = self.filled
        open_end = Tier(up_to=None, unit_amount=Decimal(0))
        for number in range(1, len(rows)):
            try:
                check_tiers([*(row.tier for row in rows[:number]), open_end])
            except InvalidTiers:
                return rows[number - 1]
        return rows[-1] if rows else None


def _is_filled(form: TierForm) -> bool:
    return form.has_changed() or form.instance.pk is not None
