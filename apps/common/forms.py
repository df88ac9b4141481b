"""Form fields that several admin pages share: exact decimals, time zones, countries."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

from django import forms
from django.db import models
from django.utils.text import capfirst
from django_countries.fields import CountryField
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminTextInputWidget

from apps.common.fields import ZoneField, zone_names
from apps.pricing.formatting import plain_decimal


class AmountField(forms.DecimalField):
    """A decimal typed and shown in full, without trailing zeros.

    Commas are refused rather than guessed at: “1,500” is one and a half to some and fifteen hundred to others.
    """

    widget = UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal", "class": "ch-amount", "autocomplete": "off"})

    def to_python(self, value: Any) -> Decimal | None:  # type: ignore[override]  # as DecimalField itself
        if isinstance(value, str):
            value = value.strip().replace("_", "")
            if "," in value:
                raise forms.ValidationError(
                    "Leave out the commas and write a dot before the decimals, such as 1500.25.",
                    code="commas",
                )
        return super().to_python(value)

    def prepare_value(self, value: Any) -> Any:
        return plain_decimal(value) if isinstance(value, Decimal) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return super().has_changed(initial, data)
        except forms.ValidationError:
            return True

    def widget_attrs(self, widget: forms.Widget) -> dict[str, Any]:
        return {}


def billing_formfield(db_field: Any) -> forms.Field | None:
    """The form field for the kinds of model fields that need one of ours; None for all others."""
    if isinstance(db_field, ZoneField):
        return _searchable_choice(db_field, [(name, name.replace("_", " ")) for name in zone_names()])
    if isinstance(db_field, CountryField):
        return _searchable_choice(
            db_field, [(str(code), str(name)) for code, name in db_field.get_choices(include_blank=False)]
        )
    if isinstance(db_field, models.DecimalField) and not db_field.choices:
        return cast(forms.Field, db_field.formfield(form_class=AmountField, widget=AmountField.widget))
    return None


def _searchable_choice(db_field: Any, choices: list[tuple[str, str]]) -> forms.Field:
    offered = [("", ""), *choices] if db_field.blank else choices
    return forms.ChoiceField(
        choices=offered,
        required=not db_field.blank,
        label=capfirst(db_field.verbose_name),
        help_text=db_field.help_text,
        initial=None if db_field.default is models.NOT_PROVIDED else db_field.default,
        widget=UnfoldAdminSelect2Widget(attrs={"data-placeholder": "Search…"}),
    )
