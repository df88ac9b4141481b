"""Who calls: ``Authorization: Bearer <key>``."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from apps.access.admission import CHALLENGE, find_key, secret_in
from apps.access.selectors import LiveKey


class ApiClient:
    """The program behind a key, where a framework expects a user."""

    is_authenticated = True
    is_active = True
    is_staff = False
    pk = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name


class ApiKeyAuthentication(BaseAuthentication):
    """``request.auth`` becomes the LiveKey; a wrong or revoked key is refused with 401."""

    def authenticate(self, request: Request) -> tuple[ApiClient, LiveKey] | None:
        header = request.headers.get("Authorization")
        if not header:
            return None
        key = find_key(secret_in(header), timezone.now())
        return ApiClient(key.name), key

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The key in the API's description."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, made in the admin under Developers › API keys. Each endpoint names its scope.",
        }
