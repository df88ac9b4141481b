"""Request middleware that every page shares."""

from __future__ import annotations

from collections.abc import Callable

import pghistory.middleware
from django.http import HttpRequest, HttpResponse, JsonResponse

from apps.common.problems import PROBLEM_TYPE, problem_body

# unfold's pages run on Alpine, which evaluates expressions and sets inline styles; nothing loads from elsewhere.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
INGESTION_PATHS = ("/api/v1/events", "/v1/ingest", "/v1/billing/meter_events", "/v2/billing/meter_events")


class ContentSecurityPolicyMiddleware:
    """Send the content security policy with every page."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        return response


class NulRefusalMiddleware:
    """Refuse an address with a NUL character, which no text in the database can hold, before anything looks it up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\0" in request.path_info or "%00" in request.META.get("QUERY_STRING", ""):
            body = problem_body(400, "invalid_address", "The address holds a NUL character (%00). Leave it out.")
            return JsonResponse(body, status=400, content_type=PROBLEM_TYPE)
        return self.get_response(request)


class HistoryMiddleware(pghistory.middleware.HistoryMiddleware):
    """Name the user behind every change, but not on the ingestion paths, where no tracked row is written."""

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path.startswith(INGESTION_PATHS):
            return self.get_response(request)  # type: ignore[no-any-return]
        return super().__call__(request)  # type: ignore[no-any-return, no-untyped-call]
