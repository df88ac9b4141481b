"""A program that calls the API with a key."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from apps.access.models import Scope
from apps.access.selectors import forget_keys
from apps.access.services import create_api_key


class ApiCaller:
    """Calls ``/api/v1/`` addresses; ``ok`` gives the JSON of an answer, ``refused`` that of a problem."""

    def __init__(self, *scopes: str) -> None:
        forget_keys()
        chosen = scopes or (Scope.INGEST, Scope.READ, Scope.MANAGE)
        _, secret = create_api_key(name="caller", scopes=chosen, created_by=None, now=timezone.now())
        self.headers = {"Authorization": f"Bearer {secret}"}

    def call(self, method: str, address: str, body: Any = None, **query: str) -> HttpResponse:
        response: HttpResponse = Client().generic(  # type: ignore[assignment]
            method,
            f"/api/v1/{address}",
            body if isinstance(body, str) else json.dumps(body) if body is not None else "",
            content_type="application/json",
            headers=self.headers,
            query_params=query or None,
        )
        return response

    def ok(self, method: str, address: str, body: Any = None, *, status: Any = 200, **query: str) -> Any:
        response = self.call(method, address, body, **query)
        assert response.status_code == status, response.content
        return response.json() if response.content else None  # type: ignore[attr-defined]

    def refused(self, method: str, address: str, body: Any = None, *, status: Any = 400, **query: str) -> Any:
        """The faults of a problem by field; a problem without faults gives its sentence under ``""``."""
        response = self.call(method, address, body, **query)
        assert response["Content-Type"] == "application/problem+json", response.content
        problem = response.json()  # type: ignore[attr-defined]
        assert problem["status"] == response.status_code == status, problem
        faults = problem.get("errors") or [{"field": "", "detail": problem["detail"]}]
        return {fault["field"]: fault["detail"] for fault in faults}
