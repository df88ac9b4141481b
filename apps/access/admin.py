"""Who may do what: API keys for programs, users and groups for people."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from apps.access.models import ApiKey, Scope
from apps.access.services import create_api_key, limit_api_key, revoke_api_key, rotate_api_key
from apps.common.admin import BillingAdmin, acting_user, badge, dialog_done, refusals_as_messages
from apps.common.formatting import format_instant
from apps.common.history import acting


class ApiKeyForm(forms.ModelForm[ApiKey]):
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Give a key no more than its program needs. What a key may do cannot be changed later.",
    )

    class Meta:
        model = ApiKey
        fields = ["name", "scopes", "requests_per_minute"]


class ApiKeyLimitForm(forms.ModelForm[ApiKey]):
    """What may be changed of a key that is in use."""

    class Meta:
        model = ApiKey
        fields = ["requests_per_minute"]


@admin.register(ApiKey)
class ApiKeyAdmin(BillingAdmin[ApiKey]):
    form = ApiKeyForm
    list_display = ["name", "prefix_shown", "scopes_shown", "created_shown", "last_used_shown", "state_shown"]
    list_select_related = ["created_by"]
    search_fields = ["name", "prefix"]
    search_help_text = "Name or first characters"
    actions_detail = ["rotate", "revoke"]
    add_fieldsets = [
        (
            None,
            {
                "fields": ["name", "scopes", "requests_per_minute"],
                "description": "A program presents its key with each request. The key is shown once, on the next page; "
                "only a hash of it is stored.",
            },
        )
    ]
    fieldsets = [
        (
            None,
            {
                "fields": [
                    "state_shown",
                    "name",
                    "prefix_shown",
                    "scopes_shown",
                    "requests_per_minute",
                    "created_shown",
                    "last_used_shown",
                    "revoked_shown",
                ]
            },
        )
    ]
    readonly_fields = [
        "state_shown",
        "prefix_shown",
        "scopes_shown",
        "created_shown",
        "last_used_shown",
        "revoked_shown",
    ]
    empty_state = (
        "No API keys yet",
        "A key lets one of your programs send usage events or read invoices back. Make one for each program, so that "
        "each can be revoked by itself.",
        "admin:access_apikey_add",
        "Make an API key",
    )

    # --- Permissions -------------------------------------------------------------------------------------------------

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_live = obj is None or obj.revoked_at is None
        return is_live and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # Events name the key that brought them.

    def has_revoke_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("access.change_apikey") and (
            object_id is None or ApiKey.objects.live().filter(pk=object_id).exists()
        )

    def has_rotate_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("access.add_apikey") and self.has_revoke_permission(request, object_id)

    # --- Making a key ------------------------------------------------------------------------------------------------

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        # A key stands as it was made, but for its limit; it is revoked or rotated.
        return [*self.readonly_fields, "name"] if obj else self.readonly_fields

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[Any]]:
        form = ApiKeyLimitForm if change else ApiKeyForm
        return super().get_form(request, obj, change=change, form=form, **kwargs)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: forms.ModelForm[ApiKey], change: bool) -> None:
        limit: int | None = form.cleaned_data.get("requests_per_minute")
        if change:
            limit_api_key(key=obj, requests_per_minute=limit)
            return
        key, secret = create_api_key(
            name=form.cleaned_data["name"],
            scopes=form.cleaned_data["scopes"],
            created_by=acting_user(request),
            now=timezone.now(),
            requests_per_minute=limit,
        )
        obj.pk, obj.prefix = key.pk, key.prefix
        request.ch_new_key = (key, secret)  # type: ignore[attr-defined]

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        key, secret = request.ch_new_key  # type: ignore[attr-defined]
        return self._show_secret(request, key, secret)

    def _show_secret(self, request: HttpRequest, key: ApiKey, secret: str) -> HttpResponse:
        """The page that follows the making of a key: the only one that shows its secret.

        It is the answer itself and not a page of its own, so that the secret is stored nowhere in between.
        """
        response = TemplateResponse(
            request,
            "admin/access/secret.html",
            {
                **self.admin_site.each_context(request),
                "title": "Your new API key",
                "page_title": "Your new API key",
                "opts": self.opts,
                "key": key,
                "key_url": reverse("admin:access_apikey_change", args=[key.pk]),
                "secret": secret,
                "may_ingest": key.allows(Scope.INGEST),
                "base_url": request.build_absolute_uri("/").rstrip("/"),
                "example_time": f"{timezone.now():%Y-%m-%dT%H:%M:%SZ}",
            },
        )
        response["Cache-Control"] = "no-store"
        return response

    # --- Displays ----------------------------------------------------------------------------------------------------

    @display(description="Begins with", ordering="prefix")
    def prefix_shown(self, key: ApiKey) -> SafeString:
        return format_html('<span class="ch-code">{}…</span>', key.prefix)

    @display(description="May")
    def scopes_shown(self, key: ApiKey) -> str:
        return "; ".join(
            Scope(scope).label.lower() if at else Scope(scope).label for at, scope in enumerate(key.scopes)
        )

    @display(description="Made", ordering="created_at")
    def created_shown(self, key: ApiKey) -> str:
        by = f", {key.created_by.get_full_name() or key.created_by}" if key.created_by else ""
        return f"{format_instant(key.created_at)}{by}"

    @display(description="Last used", ordering="last_used_at")
    def last_used_shown(self, key: ApiKey) -> str:
        return format_instant(key.last_used_at) if key.last_used_at else "Never"

    @display(description="Revoked")
    def revoked_shown(self, key: ApiKey) -> str:
        return format_instant(key.revoked_at) if key.revoked_at else "–"

    @display(description="Status", ordering="revoked_at")
    def state_shown(self, key: ApiKey) -> SafeString:
        return badge("Live", "success") if key.revoked_at is None else badge("Revoked", "danger")

    # --- Actions -----------------------------------------------------------------------------------------------------

    @action(description="Rotate", permissions=["rotate"], icon="autorenew")
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask first; the answer to the second request shows the new secret."""
        key = get_object_or_404(ApiKey, pk=object_id)
        if request.method == "POST":
            with refusals_as_messages(request), acting(acting_user(request)):
                return self._show_secret(
                    request, *rotate_api_key(key=key, created_by=acting_user(request), now=timezone.now())
                )
            return HttpResponseRedirect(reverse("admin:access_apikey_change", args=[object_id]))
        context = {
            **self.admin_site.each_context(request),
            "title": "Rotate this key?",
            "original": key,
            "page_title": "Rotate",
            "opts": self.opts,
            "key": key,
            "key_url": reverse("admin:access_apikey_change", args=[key.pk]),
        }
        return TemplateResponse(request, "admin/access/rotate.html", context)

    @action(
        description="Revoke",
        permissions=["revoke"],
        icon="block",
        variant=ActionVariant.DANGER,
        dialog={
            "title": "Revoke this key?",
            "description": "Every program that uses it is refused within half a minute. A revoked key cannot be "
            "brought back.",
            "form_class": None,
            "form_submit_text": "Revoke",
        },
    )
    def revoke(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        key = get_object_or_404(ApiKey, pk=object_id)
        with acting(acting_user(request)):
            revoke_api_key(key=key, now=timezone.now())
        messages.success(request, f"{key} is revoked.")
        return dialog_done(request, reverse("admin:access_apikey_change", args=[object_id]))


# --- People ----------------------------------------------------------------------------------------------------------

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "full_name_shown", "email", "groups_shown", "last_login_shown", "is_active"]
    list_filter = ["is_active", "is_superuser", "groups"]
    list_filter_submit = True
    search_help_text = "Username, name or email"

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    @display(description="Name", ordering="last_name")
    def full_name_shown(self, user: User) -> str:
        return user.get_full_name() or "–"

    @display(description="Groups")
    def groups_shown(self, user: User) -> str:
        names = [group.name for group in user.groups.all()]
        return ", ".join(["All rights", *names] if user.is_superuser else names) or "–"

    @display(description="Last signed in", ordering="last_login")
    def last_login_shown(self, user: User) -> str:
        return format_instant(user.last_login) if user.last_login else "Never"


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    list_display = ["name", "members_shown"]
    empty_state = (
        "No groups yet",
        "A group gives its members the same rights, such as viewing invoices without issuing them.",
        "admin:auth_group_add",
        "Add a group",
    )

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("user_set")

    @display(description="Members")
    def members_shown(self, group: Group) -> str:
        members = [str(user) for user in group.user_set.all()[:20]]
        return ", ".join(members) or "–"
