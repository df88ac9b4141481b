"""What tests of usage share: a key, a way to send, and events in the form of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from apps.access.models import ApiKey, Scope
from apps.access.selectors import forget_keys
from apps.access.services import create_api_key
from apps.billable_metrics.models import BillableMetric
from tests.factories import BillableMetricFactory, CustomerFactory

BATCHED = "application/cloudevents-batch+json"
Send = Callable[..., HttpResponse]


def cloud_event(event_id: str = "one", **changes: Any) -> dict[str, Any]:
    """A good event of the customer acme, one minute old; ``None`` leaves an attribute out."""
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "gateway",
        "type": "llm.completion",
        "subject": "acme",
        "time": timezone.now().isoformat(),
        "data": {"model": "large", "input_tokens": 100},
        **changes,
    }
    return {name: value for name, value in event.items() if value is not None}


def counts(response: HttpResponse) -> tuple[int, int, int, int]:
    """Accepted, duplicates, conflicts and unattributed, from the headers."""
    accepted, duplicates, conflicts, unattributed = (
        int(response[f"Countinghouse-{name}"]) for name in ("Accepted", "Duplicates", "Conflicts", "Unattributed")
    )
    return accepted, duplicates, conflicts, unattributed


@pytest.fixture
def acme_metric(db: None) -> BillableMetric:
    """Input tokens, and a customer whose events they are."""
    CustomerFactory(external_id="acme", name="Acme")
    metric: BillableMetric = BillableMetricFactory(code="input_tokens")
    return metric


@pytest.fixture
def ingest_key(db: None) -> tuple[ApiKey, str]:
    forget_keys()
    return create_api_key(name="gateway", scopes=[Scope.INGEST], created_by=None, now=timezone.now())


@pytest.fixture
def send(ingest_key: tuple[ApiKey, str]) -> Send:
    """Post to the endpoint: events as a batch, or any body and headers."""

    def post(body: Any, content_type: str = BATCHED, key: str | None = ingest_key[1], **headers: str) -> HttpResponse:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        response: HttpResponse = Client().generic(  # type: ignore[assignment]
            "POST", "/api/v1/events", sent, content_type=content_type, headers=headers
        )
        return response

    return post
