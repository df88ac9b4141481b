"""What every admin page of ours shares: who acts, refusals as messages, numbers, and panels of other apps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import urlsplit

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import User
from django.core.exceptions import NON_FIELD_ERRORS, PermissionDenied, ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin, TabularInline
from unfold.views import ChangeList

from apps.common.errors import BillingError
from apps.common.forms import billing_formfield
from apps.common.history import HistoryScope
from apps.common.references import is_in_use

M = TypeVar("M", bound=models.Model)


def acting_user(request: HttpRequest) -> User:
    """The signed-in staff member. Admin pages are never reached by anyone else."""
    user = request.user
    if not isinstance(user, User):
        raise TypeError("an admin request without a signed-in user")
    return user


@contextmanager
def refusals_as_messages(request: HttpRequest) -> Iterator[None]:
    """Show a refusal raised inside the block as an error message, with the very sentence the API would give."""
    try:
        yield
    except BillingError as refusal:
        messages.error(request, refusal.detail)


def dialog_done(request: HttpRequest, url: str) -> HttpResponse:
    """Leave a confirmation dialog for a page. Dialogs are sent by htmx, which follows a header of its own."""
    if not request.headers.get("HX-Request"):
        return HttpResponseRedirect(url)
    shown = urlsplit(request.headers.get("HX-Current-URL", ""))
    target = urlsplit(url)
    # To the browser the same address with another #part is the same page, and it would not load it again.
    if (shown.path, shown.query) == (target.path, target.query):
        return HttpResponse(headers={"HX-Refresh": "true"})
    return HttpResponse(headers={"HX-Redirect": url})


def show_dialog_again(request: HttpRequest, form: forms.Form, dialog: Mapping[str, Any]) -> HttpResponse:
    """Answer a dialog with the dialog itself, its form now showing what a service refused."""
    context = {"dialog": dialog, "form": form, "form_submit_text": dialog["form_submit_text"]}
    return render(request, "unfold/helpers/dialog.html", context)


def number_cell(text: str) -> SafeString:
    """A figure in a list: right-aligned, with digits of one width."""
    return format_html('<span class="ch-number">{}</span>', text)


def badge(text: str, colour: str = "default") -> SafeString:
    """A status as a coloured label: ``warning``, ``success``, ``info``, ``danger`` or ``default``."""
    return format_html('<span class="ch-badge ch-badge-{}">{}</span>', colour, text)


@dataclass(frozen=True, slots=True)
class Panel:
    """A part of an object's page that a higher app adds, since the lower app may not know it.

    ``render`` returns safe HTML, or an empty string to show nothing.
    """

    title: str
    render: Callable[[HttpRequest, Any], str]
    order: int = 100


_panels: defaultdict[str, list[Panel]] = defaultdict(list)


def register_panel(model_label: str, panel: Panel) -> None:
    """Add a panel to the change page of the model ``app_label.ModelName``. Call it from an ``admin`` module."""
    _panels[model_label.lower()].append(panel)


HistoryPage = Callable[[HttpRequest, "BillingAdmin[Any]", Any], HttpResponse]
_history_page: list[HistoryPage] = []


def show_history_with(page: HistoryPage) -> None:
    """Have every “History” button open ``page``. The audit app calls this, which this app may not know."""
    _history_page[:] = [page]


def add_refusal(
    form: forms.BaseForm,
    refusal: BillingError | ValidationError,
    field_names: Mapping[str, str] | None = None,
) -> None:
    """Show a service's refusal in a form, at the field it names where the form has that field.

    ``field_names`` gives the form's name of a service input where the two differ.
    """
    faults: Mapping[str, Sequence[str]]
    if isinstance(refusal, BillingError):
        faults = {refusal.field or NON_FIELD_ERRORS: [refusal.detail]}
    elif hasattr(refusal, "error_dict"):
        faults = refusal.message_dict
    else:
        faults = {NON_FIELD_ERRORS: refusal.messages}
    for name, sentences in faults.items():
        target = (field_names or {}).get(name, name)
        form.add_error(target if target in form.fields else None, list(sentences))


class BillingChangeList(ChangeList):
    """A list that counts its rows once: what is shown unfiltered is all there is."""

    full_result_count: int | None

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.full_result_count is None and not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count


class BillingAdmin(ModelAdmin, Generic[M]):
    """The base of our admin pages.

    ``empty_state`` is what an empty list says: a title, a sentence, and the name of an address with the label of
    the button to it. ``refusal_fields`` maps service inputs to form fields where their names differ.
    """

    compressed_fields = True
    warn_unsaved_form = True
    list_filter_submit = True
    show_full_result_count = False
    empty_value_display = "–"
    list_per_page = 50
    change_form_outer_after_template = "admin/panels.html"
    empty_state: ClassVar[tuple[str, str, str | None, str | None] | None] = None
    refusal_fields: ClassVar[Mapping[str, str]] = {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # Lazy: a form that is saved leads elsewhere and draws no panels.
        panels = SimpleLazyObject(lambda: self._render_panels(request, object_id))
        context = {"show_save_and_add_another": False, "panels": panels, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)  # type: ignore[no-any-return]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return BillingChangeList

    def _render_panels(self, request: HttpRequest, object_id: str) -> list[tuple[str, str]]:
        panels = sorted(_panels[self.model._meta.label_lower], key=lambda panel: panel.order)
        shown = self.get_object(request, unquote(object_id)) if panels else None
        if shown is None:
            return []
        return [(panel.title, html) for panel in panels if (html := panel.render(request, shown))]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Save by a service where the page does, and show what it refuses in the form."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except (BillingError, ValidationError) as refusal:
            if request.method != "POST":
                raise
            # The transaction is undone. The same form again, now with the refusal as an error, saves nothing.
            request.ch_refusal = refusal  # type: ignore[attr-defined]
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[Any]]:
        form_class: type[forms.ModelForm[Any]] = super().get_form(request, obj, change=change, **kwargs)
        refusal: BillingError | ValidationError | None = getattr(request, "ch_refusal", None)
        if refusal is None:
            return form_class
        refused = refusal
        names = self.refusal_fields

        class RefusedForm(form_class):  # type: ignore[valid-type, misc]
            def _post_clean(self) -> None:
                super()._post_clean()
                add_refusal(self, refused, names)

        return RefusedForm

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return billing_formfield(db_field) or super().formfield_for_dbfield(db_field, request, **kwargs)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only what nothing refers to is deleted. Django would collect and list every row that does, however many."""
        return super().has_delete_permission(request, obj) and (obj is None or obj.pk is None or not is_in_use(obj))

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """The page's own actions. Rows are deleted one by one, on their pages."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def history_scopes(self, obj: M) -> list[HistoryScope]:
        """What the object's history page shows: the object, and the rows that a page adds to it."""
        return [HistoryScope(type(obj), {"pgh_obj_id": obj.pk})]

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        shown = self.get_object(request, unquote(object_id))
        if shown is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        if not self.has_view_or_change_permission(request, shown):
            raise PermissionDenied
        if not _history_page:
            return super().history_view(request, object_id, extra_context)  # type: ignore[no-any-return]
        return _history_page[0](request, self, shown)


class BillingInline(TabularInline):
    """The base of our inline tables."""

    extra = 0
    hide_title = True

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        return billing_formfield(db_field) or super().formfield_for_dbfield(db_field, request, **kwargs)


class ReadOnlyMixin:
    """A page to look at: rows are written by services only."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
