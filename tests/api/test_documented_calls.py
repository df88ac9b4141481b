"""The calls that the documentation shows, made as they stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from apps.products.api.estimate_requests import EXAMPLES
from apps.products.api.prices import FEE, MATRIX, TOKENS
from apps.products.models import Plan
from tests.api.client import ApiCaller
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
PRICES = PAGE[PAGE.index("## Set up prices") : PAGE.index("## Read usage")]
CALLS = re.findall(r"^post (\S+) '(.*?)'$", PRICES, re.DOTALL | re.MULTILINE)
[ANSWER] = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", PRICES, re.DOTALL))


@pytest.fixture
def api() -> ApiCaller:
    BillableMetricFactory(code="input_tokens")
    return ApiCaller()


def test_the_calls_of_the_page_are_taken_one_after_the_other(api: ApiCaller) -> None:
    price_id, answers = "", []
    for address, body in CALLS:
        response = api.call("POST", address.replace("$ID", price_id), body.replace("'$ID'", price_id))
        answer = response.json()  # type: ignore[attr-defined]
        assert response.status_code in (200, 201), (address, answer)
        price_id = str(answer["id"]) if address.endswith("versions/1/prices") else price_id
        answers.append(answer)

    assert len(answers) == 9
    assert [answer["amount"] for answer in answers[-2:]] == ["61.35", "66.25"]
    assert api.ok("GET", "prices", plan="scale-30", in_force_on="2030-01-01")["results"][0]["id"] == int(price_id)
    assert Plan.objects.get().versions.get().status == "published"


def test_the_answer_of_the_page_is_what_is_answered(api: ApiCaller) -> None:
    body = next(body for address, body in CALLS if address == "prices/estimate")

    answer = api.ok("POST", "prices/estimate", body)

    for shown in (answer, ANSWER):
        shown.pop("explanation"), shown.pop("tiers"), shown["lines"][0].pop("explanation")
    assert answer == ANSWER


@pytest.mark.parametrize("body", [body for body in EXAMPLES.values() if not {"price", "plan"} & body.keys()])
def test_the_examples_of_estimates_are_estimated(api: ApiCaller, body: dict[str, Any]) -> None:
    assert api.ok("POST", "prices/estimate", body)["lines"]


def test_the_examples_of_prices_are_taken(api: ApiCaller) -> None:
    PlanVersionFactory(plan__code="scale")
    ProductFactory(code="chat")
    BillableMetricFactory(code="tokens", group_by=("model", "direction"))

    for body in (TOKENS, MATRIX, FEE):
        api.ok("POST", "plans/scale/versions/1/prices", body, status=201)
