"""Whatever the API's own description allows, and a good deal that it does not, is answered and never stumbled over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from hypothesis import settings as examples

from apps.access.models import Scope
from apps.access.selectors import forget_keys
from apps.access.services import create_api_key
from apps.usage.intakes import INTAKES
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.conftest import COMMITS
from tests.usage.shells import AsgiShell

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

SCHEMA = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(public=True))  # type: ignore[no-untyped-call]


@pytest.fixture
def secret(db: None) -> str:
    """A key that may do everything, and a customer whose usage can be asked for."""
    forget_keys()
    CustomerFactory(external_id="acme")
    BillableMetricFactory(code="input_tokens")
    return create_api_key(name="all", scopes=list(Scope.values), created_by=None, now=timezone.now())[1]


@pytest.fixture
def asgi_shell(db: None) -> Iterator[AsgiShell]:
    with AsgiShell() as shell:
        yield shell


def prepared(case: Any, secret: str) -> tuple[requests.PreparedRequest, bytes, dict[str, str]]:
    """The request that was drawn, with its body and headers. Every other customer in an address is one that exists."""
    drawn_id = case.path_parameters.get("external_id") if case.path_parameters else None
    if drawn_id is not None and len(str(drawn_id)) % 2:
        case.path_parameters["external_id"] = "acme"
    drawn = case.as_transport_kwargs(base_url="http://testserver")
    request = requests.Request(**{name: value for name, value in drawn.items() if name != "timeout"}).prepare()
    body = request.body or b""
    headers = {**request.headers, "Authorization": f"Bearer {secret}"}
    return request, body if isinstance(body, bytes) else str(body).encode(), headers


def require_no_stumble(response: HttpResponse) -> None:
    assert response.status_code < 500, response.content
    if response.status_code >= 400:
        assert response["Content-Type"] in {"application/problem+json", "application/json"}


@SCHEMA.parametrize()
@examples(max_examples=20)
def test_no_request_makes_us_stumble(case: Any, secret: str) -> None:
    request, body, headers = prepared(case, secret)
    response: HttpResponse = Client(raise_request_exception=False).generic(  # type: ignore[assignment]
        str(request.method),
        str(request.path_url),
        body,
        content_type=headers.pop("Content-Type", ""),
        headers=headers,
    )
    require_no_stumble(response)


@SCHEMA.include(path=list(INTAKES)).parametrize()
@examples(max_examples=20)
@COMMITS
def test_no_request_makes_the_ingest_server_stumble(case: Any, secret: str, asgi_shell: AsgiShell) -> None:
    request, body, headers = prepared(case, secret)
    require_no_stumble(asgi_shell.post(str(request.path_url), body, headers))
