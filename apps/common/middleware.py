"""Request middleware that every page shares."""

from __future__ import annotations

from collections.abc import Callable

import pghistory.middleware
from django.http import HttpRequest, HttpResponse

# unfold's pages run on Alpine, which evaluates expressions and sets inline styles; nothing loads from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
EVENTS_PATH = "/api/v1/events"


class ContentSecurityPolicyMiddleware:
    """Send the content security policy with every page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class HistoryMiddleware(pghistory.middleware.HistoryMiddleware):
    """Name the user behind every change, but not on the ingestion path, where no tracked row is written."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(EVENTS_PATH):
            return self.get_response(request)  # type: ignore[no-any-return]
        return super().__call__(request)  # type: ignore[no-any-return, no-untyped-call]
