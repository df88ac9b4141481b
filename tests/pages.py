"""Helpers for tests of admin pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse


def url_of(model: str, page: str = "changelist", *args: object) -> str:
    """The address of an admin page: ``url_of("products_plan", "change", 3)``."""
    return reverse(f"admin:{model}_{page}", args=args)


def page_text(client: Client, url: str) -> str:
    """The page's HTML. It must be there."""
    response = client.get(url)
    assert response.status_code == 200, f"{url} answered {response.status_code}"
    return response.content.decode()


def post(client: Client, url: str, fields: Mapping[str, Any]) -> Any:
    return client.post(url, {key: value for key, value in fields.items() if value is not None})


def confirm(client: Client, url: str, **fields: Any) -> Any:
    """Submit the dialog behind an action's button."""
    return client.post(url, {"_form_submitted": "on", **fields})


def errors_of(response: Any) -> dict[str, list[str]]:
    """What the form of a page that was sent back says is wrong, by field; ``__all__`` is above the form."""
    assert response.status_code == 200, "the form was accepted"
    return {name: list(faults) for name, faults in response.context["adminform"].form.errors.items()}


def viewer(*models: str) -> User:
    """A staff member who may look at the named models (``app_label.model``) and change nothing."""
    user = User.objects.create_user("viewer", "viewer@example.com", "a long passphrase", is_staff=True)
    for model in models:
        app_label, name = model.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app_label, codename=f"view_{name}"))
    return user


def empty_inline(prefix: str) -> dict[str, str]:
    """The management fields of an inline table without rows."""
    return {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}
