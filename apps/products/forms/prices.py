"""The forms of prices: of a draft, of new amounts from a day on, and of amounts in another currency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.billable_metrics.models import BillableMetric
from apps.common.days import check_day
from apps.common.errors import InvalidInput
from apps.common.fields import currency_choices
from apps.products.forms.terms import METERED, TermsForm, initial_of
from apps.products.models import (
    BillingTiming,
    ChargeModelName,
    PlanVersion,
    Price,
    PriceVersion,
    PricingUnit,
    Product,
    Recurrence,
)
from apps.products.selectors import version_in_force
from apps.products.services import ChargedFor
from apps.products.terms import PriceTerms, terms_of


class PriceForm(TermsForm, forms.ModelForm[PriceVersion]):
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
    pricing_unit = forms.ModelChoiceField(
        PricingUnit.objects.all(),
        required=False,
        empty_label="Money",
        label="Priced in",
        widget=UnfoldAdminSelectWidget(attrs={"data-ch-controls": "unit"}),
        help_text="Money, or a unit of your own such as credits.",
    )
    recurrence = forms.ChoiceField(
        label="Charged", required=False, choices=Recurrence.choices, widget=UnfoldAdminSelectWidget
    )
    timing = forms.ChoiceField(
        label="Billed", required=False, choices=BillingTiming.choices, widget=UnfoldAdminSelectWidget
    )

    class Meta:
        model = PriceVersion
        fields: Sequence[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        units = " ".join(str(key) for key in PricingUnit.objects.values_list("pk", flat=True))
        self.fields["pricing_unit_rate"].widget.attrs["data-ch-shown-for-unit"] = units or "none"
        if self.instance.pk is not None:
            self._show_stored()
        self.offer("currency", currency_choices_of(self._plan_version_shown()))

    def _show_stored(self) -> None:
        price = self.instance.price
        stored = {
            **initial_of(terms_of(self.instance)),
            "plan_version": price.plan_version_id,
            "product": price.product_id,
            "metric": price.metric_id,
            "name": price.name,
            "pricing_unit": price.pricing_unit_id,
            "recurrence": price.recurrence,
            "timing": price.timing,
            "currency": self.instance.currency,
        }
        for name, value in stored.items():
            self.initial[name] = value
        if not self.is_bound:
            self.fields["rows"].widget.dimensions = self.initial["dimensions"]
            self._show_for_models()
        # A charge stays in its version, and its amounts in their currency; one that belongs elsewhere is added there.
        self.fields["plan_version"].disabled = True
        self.fields["currency"].disabled = True

    def _plan_version_shown(self) -> PlanVersion | None:
        asked = self.initial.get("plan_version") or self.data.get("plan_version") or ""
        return PlanVersion.objects.filter(pk=asked).first() if str(asked).isdecimal() else None

    def clean_plan_version(self) -> PlanVersion:
        version: PlanVersion = self.cleaned_data["plan_version"]
        if not version.is_draft:
            raise ValidationError(
                f"{version} is {version.get_status_display().lower()}, so its charges stand. "
                "Choose a draft, or make a new version of the plan first."
            )
        return version

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        version, name = cleaned.get("plan_version"), cleaned.get("name")
        if version is not None and name:
            others = version.prices.filter(name=name)
            if self.instance.pk is not None:
                others = others.exclude(pk=self.instance.price_id)
            if others.exists():
                self.add_error("name", f"{version} already has a price with this name. Choose another one.")
        if version is not None and cleaned.get("currency") and cleaned["currency"] not in version.currencies:
            self.add_error(
                "currency", f"{version} is priced in {' and '.join(version.currencies)}. Choose one of them."
            )
        return cleaned

    def _post_clean(self) -> None:
        """Left to the services: nothing is copied to an instance here."""

    @property
    def charged_metric(self) -> BillableMetric | None:
        return self.cleaned_data.get("metric")

    @property
    def charged_unit(self) -> PricingUnit | None:
        return self.cleaned_data.get("pricing_unit")

    @property
    def charged_currency(self) -> str:
        chosen: str = self.cleaned_data.get("currency") or ""
        version = self.cleaned_data.get("plan_version") or self._plan_version_shown()
        return chosen or (version.currencies[0] if version is not None else "")

    @property
    def charged(self) -> ChargedFor:
        """What the price is for. Only of a valid form."""
        entered = self.cleaned_data
        return ChargedFor(
            product=entered["product"],
            metric=entered["metric"],
            name=entered["name"],
            pricing_unit=entered["pricing_unit"],
            recurrence=Recurrence(entered["recurrence"] or Recurrence.RECURRING),
            timing=BillingTiming(entered["timing"] or BillingTiming.ARREARS),
        )


def currency_choices_of(version: PlanVersion | None) -> list[tuple[str, str]]:
    """The currencies of a plan version; all that there are while none is chosen."""
    return currency_choices() if version is None else [(code, code) for code in version.currencies]


class AmountsForm(TermsForm, forms.ModelForm[PriceVersion]):
    """New amounts of a price that is there already: what it charges for stands."""

    # Set by ``schedule_form`` and its like, which know the price.
    price: Price

    class Meta:
        model = PriceVersion
        fields: Sequence[str] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance.price = self.price
        offered = [ChargeModelName.FLAT] if self.price.metric is None else METERED
        self.offer("charge_model", [(model.value, model.label) for model in offered])
        if self.price.pricing_unit is None:
            del self.fields["pricing_unit_rate"]
        else:
            self.fields["pricing_unit_rate"].label = f"Worth of one {self.price.pricing_unit.singular}"
        self.offer("currency", [(code, code) for code in self.currencies])

    @property
    def currencies(self) -> Sequence[str]:
        return self.price.plan_version.currencies

    def clean_currency(self) -> str:
        return self.cleaned_data["currency"] or (self.currencies[0] if self.currencies else "")

    def _post_clean(self) -> None:
        """Left to the services: nothing is copied to an instance here."""

    @property
    def charged_metric(self) -> BillableMetric | None:
        return self.price.metric

    @property
    def charged_unit(self) -> PricingUnit | None:
        return self.price.pricing_unit

    @property
    def charged_currency(self) -> str:
        return self.cleaned_data.get("currency") or self.currencies[0]


class CurrencyForm(AmountsForm):
    """The amounts of a draft price in another currency of its plan."""

    @property
    def currencies(self) -> Sequence[str]:
        priced_in = {version.currency for version in self.price.versions.all()}
        return [code for code in self.price.plan_version.currencies if code not in priced_in]


class ScheduleForm(AmountsForm):
    """New amounts of a published price, from a day on. They may be by another charge model."""

    effective_from = forms.DateField(
        widget=UnfoldAdminSingleDateWidget,
        help_text="First day of the new amounts, in each customer's time zone. What was billed before stands.",
    )
    note = forms.CharField(
        max_length=200,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why the price changes, for colleagues.",
    )
    seen_impact = forms.BooleanField(
        label="Seen",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="I have seen what this changes. Needed for a day in the past: usage that is not billed yet is then "
        "charged by the new amounts.",
    )
    asks_for_impact = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen_impact"].widget.attrs["data-ch-shown-before"] = _today().isoformat()

    def clean_effective_from(self) -> dt.date:
        day: dt.date = self.cleaned_data["effective_from"]
        try:
            check_day(day, field="effective_from")
        except InvalidInput as refusal:
            raise ValidationError(refusal.detail) from refusal
        return day

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        day = cleaned.get("effective_from")
        if self.asks_for_impact and day is not None and day < _today() and not cleaned.get("seen_impact"):
            self.add_error(
                "seen_impact",
                "This day is past. Look at “Preview impact” first, then say here that you have seen what changes.",
            )
        return cleaned


def _today() -> dt.date:
    return timezone.now().date()


def schedule_form(price: Price) -> type[ScheduleForm]:
    """The form that schedules new amounts of a price."""
    return type("PriceScheduleForm", (ScheduleForm,), {"price": price})


def currency_form(price: Price) -> type[CurrencyForm]:
    """The form that prices a draft's charge in one more currency."""
    return type("PriceCurrencyForm", (CurrencyForm,), {"price": price})


def schedule_from(price: Price, data: QueryDict) -> tuple[ScheduleForm, PriceTerms | None]:
    """Read what the page that schedules new amounts sends, for a preview of it; the preview need not be seen yet.

    The terms are None when the form has faults. ``cleaned_data`` has ``effective_from``, ``currency`` and ``note``.
    """
    form = schedule_form(price)(data)
    form.asks_for_impact = False
    return form, form.terms if form.is_valid() else None


def version_to_begin_with(price: Price, currency: str = "") -> PriceVersion:
    """The amounts in force now in a currency, by default the plan's first; the first ones where none is yet."""
    now = timezone.now()
    versions = list(price.versions.prefetch_related("tiers", "rows"))
    for version in versions:
        version.price = price
    currency = currency or price.plan_version.currencies[0]
    return version_in_force(versions, currency=currency, on=now.date(), known_at=now) or versions[-1]
