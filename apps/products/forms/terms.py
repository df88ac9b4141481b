"""The part of a price form that says how usage becomes an amount: the charge model, and the fields that it has."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from apps.billable_metrics.forms import TextListField
from apps.billable_metrics.models import BillableMetric
from apps.common.admin import add_refusal
from apps.common.errors import InvalidInput
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.forms.tables import (
    CellFault,
    MatrixWidget,
    NumberField,
    TableField,
    TiersWidget,
    amount_field,
    quantity_field,
    read_matrix_rows,
    read_tiers,
)
from apps.products.models import (
    TIERED_MODELS,
    ChargeModelName,
    FailurePolicy,
    PricingUnit,
    QuantityRounding,
    models_with,
)
from apps.products.terms import AMOUNT_COLUMNS, COLUMNS, PriceTerms, check_terms

FLAT, PACKAGE, SEATS, MATRIX = (
    ChargeModelName.FLAT,
    ChargeModelName.PACKAGE,
    ChargeModelName.SEATS,
    ChargeModelName.MATRIX,
)
PERCENTAGE, GRADUATED_PERCENTAGE, AMOUNT_IN_EVENT = (
    ChargeModelName.PERCENTAGE,
    ChargeModelName.GRADUATED_PERCENTAGE,
    ChargeModelName.AMOUNT_IN_EVENT,
)
METERED = [model for model in ChargeModelName if model != FLAT]

# What the page's script reads to show only the fields that a charge model has.
SHOWN_FOR = "data-ch-shown-for-model"
MODELS_OF: Mapping[str, Collection[ChargeModelName]] = {
    **{column: models_with(column) for column in AMOUNT_COLUMNS},
    "prorates_included": models_with("included_units"),
    "flat_fee_at_zero_usage": TIERED_MODELS,
    "prorates_added": [SEATS],
    "prorates_removed": [SEATS],
    "failures": models_with("free_failures"),
    "tiers": TIERED_MODELS,
    "dimensions": [MATRIX],
    "rows": [MATRIX],
    "metric": METERED,
    "recurrence": [FLAT],
    "timing": [FLAT],
}
"""The charge models that a field is shown for; one that is not named is shown for all."""

_MONEY_FREE = ("Free amount", "So much of the amounts is free in each billing period.")
WORDS_BY_MODEL: Mapping[str, Mapping[ChargeModelName, tuple[str, str]]] = {
    "unit_amount": {
        PACKAGE: ("Price of a package", "For each started package."),
        SEATS: ("Price of a seat", "For one seat over a full billing period."),
    },
    "included_units": {
        SEATS: ("Included seats", "So many seats are free on each day."),
        PERCENTAGE: (
            "Free amount",
            "Transactions are free up to this running total. Together with free transactions: until either is used up.",
        ),
        GRADUATED_PERCENTAGE: _MONEY_FREE,
        AMOUNT_IN_EVENT: _MONEY_FREE,
    },
}
"""The label and the help of a field, where a charge model calls it by another name."""

AMOUNT_FIELDS = [
    "currency",
    "pricing_unit_rate",
    "flat_amount",
    "unit_amount",
    "per_units",
    "package_size",
    "rate_percent",
    "fixed_amount",
    "multiplier",
    "tiers",
    "dimensions",
    "rows",
]
BOUND_FIELDS = [
    "included_units",
    "prorates_included",
    "free_transactions",
    "transaction_minimum",
    "transaction_maximum",
    "minimum",
    "maximum",
]
MORE_FIELDS = [
    "flat_fee_at_zero_usage",
    "prorates_added",
    "prorates_removed",
    "divide_by",
    "quantity_rounding",
    "failures",
    "free_failures",
]


def _either_way(label: str, by_days: str, whole: str) -> forms.TypedChoiceField:
    """A switch whose usual position comes first, so that a field which was hidden keeps it."""
    return forms.TypedChoiceField(
        label=label,
        required=False,
        choices=[("yes", by_days), ("no", whole)],
        coerce=lambda text: text == "yes",
        empty_value=True,  # type: ignore[arg-type]  # as hidden as it is usual
        widget=UnfoldAdminSelectWidget,
    )


class TermsForm(forms.Form):
    """All fields of PriceTerms, and the currency. The page shows those of the charge model, and sends no others."""

    charge_model = forms.ChoiceField(
        choices=ChargeModelName.choices,
        widget=UnfoldAdminSelectWidget(attrs={"data-ch-controls": "model"}),
        help_text="How a quantity becomes an amount.",
    )
    currency = forms.ChoiceField(
        required=False, widget=UnfoldAdminSelectWidget, help_text="What the amounts below are in. Nothing is converted."
    )
    pricing_unit_rate = amount_field(
        label="Worth of one",
        help_text="What one pricing unit, such as a credit, is worth in the currency. Invoices show both.",
    )
    flat_amount = amount_field(label="Fee", help_text="For a full billing period, or once if it is charged once.")
    unit_amount = amount_field(label="Unit price", help_text="For as many units as stated below.")
    per_units = quantity_field(
        label="Price is for",
        help_text="Units, such as 1, 1,000 or 1,000,000. Charged exactly, not by started thousands.",
    )
    package_size = quantity_field(
        label="Units in a package", help_text="Each started package is charged whole, after free units come off."
    )
    rate_percent = amount_field(label="Rate in %", help_text="Of the amount of each transaction.")
    fixed_amount = amount_field(label="Fee per transaction", help_text="Charged once for each, beside the rate.")
    multiplier = amount_field(
        label="Multiplier", help_text="1 passes on the amounts that events state as they are, 1.2 with 20% on top."
    )
    tiers = TableField(
        required=False,
        widget=TiersWidget,
        help_text="From small to large. Leave the end of the last tier empty. Rows can be pasted from a spreadsheet.",
    )
    dimensions = TextListField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "placeholder": "model, direction"}),
        help_text="What the unit price depends on: dimensions of the metric, with commas between.",
    )
    rows = TableField(
        label="Unit prices",
        required=False,
        widget=MatrixWidget,
        help_text="An empty cell stands for any value; a row of empty cells prices all other usage. The row that names "
        "most wins. Rows can be pasted from a spreadsheet.",
    )
    included_units = quantity_field(
        label="Included units", help_text="Free in each billing period, before anything is charged."
    )
    prorates_included = _either_way(
        "In part of a period", "What is free shrinks by share of days", "All that is free stays free"
    )
    free_transactions = NumberField(
        label="Free transactions",
        required=False,
        max_digits=9,
        decimal_places=0,
        help_text="So many transactions are free at the start of each billing period.",
    )
    transaction_minimum = amount_field(label="Least per transaction", help_text="No transaction costs less.")
    transaction_maximum = amount_field(label="Most per transaction", help_text="No transaction costs more.")
    minimum = amount_field(label="Minimum", help_text="The least that a full period costs, even without usage.")
    maximum = amount_field(label="Maximum", help_text="The most that a full period costs.")
    flat_fee_at_zero_usage = forms.BooleanField(
        label="Fee without usage",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Charge the first tier's flat fee also in a period without usage.",
    )
    prorates_added = _either_way(
        "Seats that are added", "Charged from their day on", "Charged for the whole billing period"
    )
    prorates_removed = _either_way(
        "Seats that are removed", "Charged up to their day", "Charged to the end of the billing period"
    )
    divide_by = quantity_field(
        label="Divide quantity by",
        help_text="Turns what is measured into billing units before anything else: 60 makes minutes of seconds.",
    )
    quantity_rounding = forms.ChoiceField(
        label="and round it",
        required=False,
        choices=QuantityRounding.choices,
        widget=UnfoldAdminSelectWidget,
    )
    failures = forms.ChoiceField(
        label="Failed outcomes",
        required=False,
        choices=FailurePolicy.choices,
        widget=UnfoldAdminSelectWidget(attrs={"data-ch-controls": "failures"}),
        help_text="The metric says which outcomes count as failed.",
    )
    free_failures = quantity_field(
        label="Free failed units", help_text="So many failed units are free in each period; more are charged."
    )

    entered: PriceTerms | None = None
    """The terms as they can be read, which may be incomplete or not fit the metric yet."""
    terms: PriceTerms | None = None
    """The terms, once ``check_terms`` has nothing against them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._show_for_models()
        dimensions = self.fields["rows"].widget
        if isinstance(dimensions, MatrixWidget):
            dimensions.dimensions = self._dimensions_shown()

    # --- What is charged, which each page knows in its own way ---------------------------------------------------

    @property
    def charged_metric(self) -> BillableMetric | None:
        raise NotImplementedError

    @property
    def charged_unit(self) -> PricingUnit | None:
        raise NotImplementedError

    @property
    def charged_currency(self) -> str:
        """The currency of the amounts; empty while it is not known."""
        raise NotImplementedError

    # --- Reading -------------------------------------------------------------------------------------------------

    def clean_tiers(self) -> tuple[Tier, ...]:
        model = self._model
        if model not in TIERED_MODELS:
            return ()
        tiers, faults = read_tiers(self.cleaned_data["tiers"], model)
        self._show_cell_faults("tiers", "Tier", faults)
        return tiers

    def clean_dimensions(self) -> tuple[str, ...]:
        return tuple(self.cleaned_data["dimensions"]) if self._model == MATRIX else ()

    def clean_rows(self) -> tuple[MatrixRow, ...]:
        if self._model != MATRIX or "dimensions" not in self.cleaned_data:
            return ()
        rows, faults = read_matrix_rows(self.cleaned_data["rows"], self.cleaned_data["dimensions"])
        self._show_cell_faults("rows", "Row", faults)
        return rows

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        # An amount that cannot be read is at fault once: it is not missing as well.
        if any(name in self.errors for name in ("charge_model", *TERMS_FIELDS)):
            return cleaned
        entered = self.entered = self._read(cleaned)
        if any(name in self.errors for name in ("metric", "pricing_unit")):
            return cleaned
        try:
            check_terms(entered, self.charged_metric, self.charged_unit)
        except InvalidInput as refusal:
            add_refusal(self, refusal)
        else:
            self.terms = entered
        return cleaned

    @property
    def _model(self) -> ChargeModelName | None:
        chosen = self.cleaned_data.get("charge_model")
        return ChargeModelName(chosen) if chosen else None

    def _read(self, cleaned: Mapping[str, Any]) -> PriceTerms:
        """What was entered. A switch that the model does not have stands as it does by default."""
        model = ChargeModelName(cleaned["charge_model"])
        given: dict[str, Any] = {
            name: cleaned.get(name)
            for name in COLUMNS
            if name in AMOUNT_COLUMNS or (name in SWITCHES and model in MODELS_OF[name])
        }
        if given.get("free_transactions") is not None:
            given["free_transactions"] = int(given["free_transactions"])
        rounding = cleaned.get("quantity_rounding") or ""
        has_conversion = cleaned.get("divide_by") is not None or rounding
        given["quantity_rounding"] = QuantityRounding(rounding) if has_conversion else None
        return PriceTerms(
            charge_model=model,
            **given,
            failures=FailurePolicy(cleaned.get("failures") or FailurePolicy.CHARGED),
            pricing_unit_rate=cleaned.get("pricing_unit_rate"),
            dimensions=cleaned["dimensions"],
            tiers=cleaned["tiers"],
            rows=cleaned["rows"],
        )

    def _show_cell_faults(self, name: str, what: str, faults: Sequence[CellFault]) -> None:
        """The faults at their rows, and the first of them at the field, so that nobody has to look for it."""
        if not faults:
            return
        self.fields[name].widget.faults = faults
        first = faults[0]
        begins_with_row = first.sentence.startswith(what)
        sentence = first.sentence if begins_with_row else f"{what} {first.row + 1}: {first.sentence}"
        more = f" ({len(faults) - 1} more below.)" if len(faults) > 1 else ""
        raise forms.ValidationError(f"{sentence}{more}")

    # --- Showing -------------------------------------------------------------------------------------------------

    def offer(self, name: str, choices: Sequence[tuple[str, Any]]) -> None:
        """Have a select offer these choices only."""
        field = self.fields[name]
        if not isinstance(field, forms.ChoiceField):
            raise TypeError(f"{name} is no choice")
        field.choices = choices

    def _show_for_models(self) -> None:
        for name, models in MODELS_OF.items():
            if name not in self.fields:
                continue
            widget = self.fields[name].widget
            # A foreign key's select is wrapped in the links that add and change its rows.
            inner: Any = getattr(widget, "widget", widget)
            inner.attrs[SHOWN_FOR] = " ".join(model for model in ChargeModelName if model in models)
            words = WORDS_BY_MODEL.get(name)
            if words:
                usual = self.base_fields[name]
                inner.attrs["data-ch-words"] = json.dumps(words)
                inner.attrs["data-ch-usual-words"] = json.dumps([usual.label, usual.help_text])
                self._word(name, words)
        if "free_failures" in self.fields:
            self.fields["free_failures"].widget.attrs["data-ch-shown-for-failures"] = FailurePolicy.FREE_UP_TO.value
        if "per_units" in self.fields:
            self.fields["per_units"].widget.attrs |= {"list": "ch-per-units", "placeholder": "1"}

    def _word(self, name: str, words: Mapping[ChargeModelName, tuple[str, str]]) -> None:
        chosen = self.data.get("charge_model") or self.initial.get("charge_model")
        for model, (label, help_text) in words.items():
            if model == chosen:
                self.fields[name].label, self.fields[name].help_text = label, help_text

    def _dimensions_shown(self) -> Sequence[str]:
        """The columns of the matrix: what was sent, or what is stored."""
        if not self.is_bound:
            return self.initial.get("dimensions") or ()
        try:
            typed: tuple[str, ...] = TextListField().to_python(self.data.get("dimensions", ""))
        except forms.ValidationError:
            return ()
        return tuple(dict.fromkeys(typed))


SWITCHES = ("prorates_included", "flat_fee_at_zero_usage", "prorates_added", "prorates_removed")
TERMS_FIELDS = tuple(name for name in TermsForm.base_fields if name not in {"charge_model", "currency"})


def initial_of(terms: PriceTerms) -> dict[str, Any]:
    """What a form begins with that shows these terms."""
    shown = {name: getattr(terms, name) for name in TERMS_FIELDS}
    for name in ("prorates_included", "prorates_added", "prorates_removed"):
        shown[name] = "yes" if shown[name] else "no"
    shown["quantity_rounding"] = shown["quantity_rounding"] or ""
    if isinstance(terms.free_transactions, int):
        shown["free_transactions"] = Decimal(terms.free_transactions)
    return {"charge_model": terms.charge_model.value, **shown}
