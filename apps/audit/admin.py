"""The audit log: one page over everything, and the history page of every object."""

from __future__ import annotations

import datetime as dt
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse
from unfold.admin import ModelAdmin

from apps.audit.models import AuditLog
from apps.audit.selectors import Change, Cursor, changing_users, recent_changes, tracked_models
from apps.audit.wording import model_label
from apps.common.admin import BillingAdmin, ReadOnlyMixin, show_history_with

PAGE_SIZE = 50
SYSTEM = "system"


class FilterForm(forms.Form):
    """What to look for. Anything else in the address is ignored, so that an old link still opens."""

    who = forms.ChoiceField(required=False)
    what = forms.ChoiceField(required=False)
    day = forms.DateField(required=False, label="Up to and including", widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = [(str(user.pk), user.get_full_name() or user.get_username()) for user in changing_users()]
        self.fields["who"].choices = [("", "Everyone"), (SYSTEM, "System"), *people]  # type: ignore[attr-defined]
        tracked = tracked_models()
        kinds = [(model._meta.label, model_label(model, tracked)) for model in tracked]
        self.fields["what"].choices = [("", "Everything"), *kinds]  # type: ignore[attr-defined]

    @property
    def user_id(self) -> int | None:
        who = self.cleaned_data.get("who")
        return 0 if who == SYSTEM else int(who) if who else None

    @property
    def tracked_model(self) -> type[models.Model] | None:
        what = self.cleaned_data.get("what")
        return next((model for model in tracked_models() if model._meta.label == what), None)

    @property
    def before(self) -> dt.datetime | None:
        """The end of the chosen day, in UTC as the log shows it."""
        day = self.cleaned_data.get("day")
        return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), tzinfo=dt.UTC) if day else None


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyMixin, ModelAdmin):
    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = FilterForm(request.GET or None)
        is_valid = form.is_bound and form.is_valid()
        place = Cursor.from_text(request.GET.get("after", ""))
        changes = recent_changes(
            user_id=form.user_id if is_valid else None,
            tracked_model=form.tracked_model if is_valid else None,
            before=place or (form.before if is_valid else None),
            limit=PAGE_SIZE + 1,
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "Audit log",
            "opts": self.opts,
            "form": form,
            "is_filtered": any(request.GET.get(name) for name in form.fields),
            "is_further_page": place is not None,
            "first_page_url": _address(request, after=None),
            **_page_of(request, changes),
        }
        return TemplateResponse(request, "admin/audit/log.html", context)


def history_page(request: HttpRequest, page: BillingAdmin[Any], shown: models.Model) -> HttpResponse:
    """The history of one object and of the rows its page adds to it."""
    changes = recent_changes(
        scopes=page.history_scopes(shown),
        before=Cursor.from_text(request.GET.get("after", "")),
        limit=PAGE_SIZE + 1,
    )
    opts = page.opts
    context = {
        **page.admin_site.each_context(request),
        "title": f"History of {shown}",
        "page_title": "History",
        "opts": opts,
        "object": shown,
        "object_url": reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[shown.pk]),
        "is_further_page": "after" in request.GET,
        "first_page_url": _address(request, after=None),
        **_page_of(request, changes),
    }
    return TemplateResponse(request, "admin/audit/object_history.html", context)


def _page_of(request: HttpRequest, changes: list[Change]) -> dict[str, Any]:
    shown = changes[:PAGE_SIZE]
    has_more = len(changes) > PAGE_SIZE
    return {
        "changes": [(change, _url_of(request, change)) for change in shown],
        "next_page_url": _address(request, after=shown[-1].cursor.as_text()) if has_more else None,
    }


def _url_of(request: HttpRequest, change: Change) -> str | None:
    """The page of the object, where it still has one that the reader may open."""
    opts = change.model._meta
    if not change.exists or not request.user.has_perm(f"{opts.app_label}.view_{opts.model_name}"):
        return None
    try:
        return reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[change.object_id])
    except NoReverseMatch:
        return None


def _address(request: HttpRequest, *, after: str | None) -> str:
    kept = {key: value for key, value in request.GET.items() if key != "after" and value}
    if after is not None:
        kept["after"] = after
    return f"?{urlencode(kept)}" if kept else request.path


show_history_with(history_page)
