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
from apps.products.models import PricingUnit
from apps.usage.intakes import INTAKES
from tests.factories import BillableMetricFactory, CustomerFactory, PlanVersionFactory, PriceVersionFactory
from tests.usage.conftest import COMMITS
from tests.usage.shells import AsgiShell

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

EXISTING = {"external_id": "acme", "code": "one", "number": 1, "id": 1}
SCHEMA = schemathesis.openapi.from_dict(SchemaGenerator().get_schema(public=True))  # type: ignore[no-untyped-call]


@pytest.fixture
def secret(db: None) -> str:
    """A key that may do everything, and one of everything that an address may name."""
    forget_keys()
    CustomerFactory(external_id="acme")
    metric = BillableMetricFactory(code="one")
    PricingUnit.objects.create(code="one", singular="credit", plural="credits")
    draft = PlanVersionFactory(plan__code="one")
    PriceVersionFactory(price__plan_version=draft, price__product__code="one", price__metric=metric, price__id=1)
    return create_api_key(name="all", scopes=list(Scope.values), created_by=None, now=timezone.now())[1]


@pytest.fixture
def asgi_shell(db: None) -> Iterator[AsgiShell]:
    with AsgiShell() as shell:
        yield shell


def prepared(case: Any, secret: str) -> tuple[requests.PreparedRequest, bytes, dict[str, str]]:
    """The request that was drawn, with its body and headers. Every other name in an address is of what exists."""
    for name, existing in EXISTING.items():
        if case.path_parameters and len(str(case.path_parameters.get(name, ""))) % 2:
            case.path_parameters[name] = existing
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
