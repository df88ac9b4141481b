"""The forms of the import pages: a file to upload, a mapping to choose, and a mapping to write."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminSelect2Widget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from apps.common.admin import add_refusal
from apps.common.errors import BillingError
from apps.common.fields import zone_names
from apps.usage_imports.mapping import EventMapping, FileFormat, IdBy, TimeFormat, definition_of, with_fixed
from apps.usage_imports.mapping_forms import form_values, mapping_from_form
from apps.usage_imports.models import ImportMapping, OnError
from apps.usage_imports.ready import READY
from apps.usage_imports.selectors import mapping_named


class ChooseMappingForm(forms.Form):
    """A mapping by name, and what holds for all rows of the file."""

    mapping = forms.ChoiceField(
        widget=UnfoldAdminSelectWidget, help_text="Which column of the file is which part of an event."
    )
    subject = forms.CharField(
        label="Customer for all rows",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="External ID or alias. Only when no column names the customer.",
    )
    source = forms.CharField(
        label="Source for all rows",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="The system that the events come from. Empty: as the mapping says.",
    )
    type = forms.CharField(
        label="Event type for all rows",
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: as the mapping says.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["mapping"].choices = mapping_choices()  # type: ignore[attr-defined]

    def chosen(self) -> tuple[str, EventMapping]:
        """The name and the mapping. Raises InvalidInput."""
        name, mapping = mapping_named(self.cleaned_data["mapping"])
        return name, with_fixed(mapping, **{part: self.cleaned_data[part] for part in ("source", "type", "subject")})


class UploadForm(ChooseMappingForm):
    file = forms.FileField(
        widget=UnfoldAdminFileFieldWidget,
        help_text="CSV or NDJSON in UTF-8, also gzipped. Nothing is imported before you have seen its first rows.",
    )

    field_order = ["file", "mapping", "subject", "source", "type"]


def mapping_choices() -> list[tuple[str, Any]]:
    saved = [(one.code, one.name) for one in ImportMapping.objects.all()]
    ready = [(code, one.name) for code, one in READY.items()]
    return [("", "Choose a mapping"), *([("Saved", saved)] if saved else []), ("Ready-made", ready)]


class StartForm(BaseDialogForm):
    on_error = forms.ChoiceField(
        label="Rows that cannot be taken",
        choices=OnError.choices,
        widget=UnfoldAdminSelectWidget,
        help_text="What comes before it is imported either way, and every row left out is listed.",
    )


def _text(label: str, help_text: str = "") -> forms.CharField:
    return forms.CharField(
        label=label, required=False, widget=UnfoldAdminTextInputWidget, help_text=help_text, strip=False
    )


def _lines(label: str, help_text: str = "") -> forms.CharField:
    widget = UnfoldAdminTextareaWidget(attrs={"rows": 2, "class": "ch-code"})
    return forms.CharField(label=label, required=False, widget=widget, help_text=help_text)


def _switch(label: str, help_text: str = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, widget=UnfoldBooleanSwitchWidget, help_text=help_text)


def _choice(label: str, choices: list[tuple[str, str]], help_text: str = "", **options: Any) -> forms.ChoiceField:
    return forms.ChoiceField(
        label=label, choices=choices, widget=UnfoldAdminSelectWidget, help_text=help_text, **options
    )


class ImportMappingForm(forms.ModelForm[ImportMapping]):
    """A mapping, part by part. What the parts say together is stored as its definition."""

    file_format = _choice(
        "File",
        [("", "CSV or NDJSON, as the file shows"), (FileFormat.CSV, "CSV"), (FileFormat.NDJSON, "NDJSON")],
        required=False,
    )
    id_by = _choice(
        "What makes a row unique",
        [
            (IdBy.COLUMNS, "One or several columns"),
            (IdBy.ROW_HASH, "A hash of the row: equal rows are one event"),
            (IdBy.ROW_NUMBER, "Its number in the file, for files that never change"),
        ],
        "Importing a row again with the same ID is a duplicate and changes nothing.",
    )
    id_columns = _text("ID column", "Several that make one ID together: “invoice + line”.")
    id_prefix = _text("Before the row's number", "May hold {file} and {subject}.")
    source_columns = _text("Source column")
    source_fixed = _text("Else this source")
    type_columns = _text("Event type column")
    type_fixed = _text("Else this type")
    subject_columns = _text("Customer column")
    subject_fixed = _text("Else this customer")
    time_columns = _text("Time column")
    time_format = _choice(
        "Times are",
        [
            (TimeFormat.RFC3339, "Dates with a zone"),
            (TimeFormat.NAIVE, "Dates without a zone"),
            (TimeFormat.SECONDS, "Seconds since 1970"),
            (TimeFormat.MILLISECONDS, "Milliseconds since 1970"),
            (TimeFormat.NANOSECONDS, "Nanoseconds since 1970"),
        ],
    )
    time_zone = forms.ChoiceField(
        label="Time zone",
        choices=[(name, name.replace("_", " ")) for name in zone_names()],
        widget=UnfoldAdminSelect2Widget,
        help_text="For dates without a zone.",
    )
    time_pattern = _text("Pattern", "Such as %d/%m/%Y %H:%M. Empty: year first.")
    data_properties = _lines(
        "Properties", "One on each line: “input_tokens = Prompt tokens”, or “a = new name | old name”."
    )
    data_rest = _switch("Take all other columns as properties, too", "Under their own names.")
    data_json = _text("Column with a JSON object", "All of its members become properties.")
    data_prefix = _text("Take columns that begin with", "Such as “data.”; the rest is the property's name.")
    data_texts = _text("Properties that stay texts", "Though they look like numbers, such as “zip | account”.")
    ignored = _text("Columns to ignore", "Such as “note | reviewed by”.")
    is_own_export = _switch(
        "Cells are written as our export writes them", "Quoted texts, and an apostrophe before =, +, - and @."
    )

    class Meta:
        model = ImportMapping
        fields = ["name", "code"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        saved = kwargs.get("instance")
        start = saved.mapping if saved is not None and saved.definition else EventMapping()
        kwargs["initial"] = {**form_values(start), **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if code in READY:
            raise forms.ValidationError("A ready-made mapping has this code. Choose another one.")
        return code

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                self.instance.definition = definition_of(mapping_from_form(cleaned))
            except BillingError as refusal:
                add_refusal(self, refusal, _FORM_FIELDS)
        return cleaned


# Where the parts of a mapping stand in the form.
_FORM_FIELDS = {
    "id": "id_columns",
    "source": "source_columns",
    "type": "type_columns",
    "subject": "subject_columns",
    "time": "time_columns",
}
