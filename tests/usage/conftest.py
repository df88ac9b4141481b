"""What tests of usage share: a key, a way to send, and events in the form of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from django.http import HttpResponse
from django.utils import timezone

from apps.access.models import ApiKey, Scope
from apps.access.rate import forget_requests
from apps.access.selectors import forget_keys
from apps.access.services import create_api_key
from apps.billable_metrics.models import BillableMetric
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.shells import AsgiShell, DjangoShell, Shell

BATCHED = "application/cloudevents-batch+json"
COMMITS = pytest.mark.django_db(transaction=True)
Post = Callable[..., HttpResponse]
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
    forget_requests()
    return create_api_key(name="gateway", scopes=[Scope.INGEST], created_by=None, now=timezone.now())


# What the ingest application stores is committed for real, by a thread of its own.
SHELLS = [pytest.param(DjangoShell, id="django"), pytest.param(AsgiShell, id="asgi", marks=COMMITS)]


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, db: None) -> Iterator[Shell]:
    """The ways in for events, one after the other."""
    with request.param() as shell:
        yield shell


@pytest.fixture
def post(shell: Shell, ingest_key: tuple[ApiKey, str]) -> Post:
    """Post any body to any address."""

    def send(
        address: str,
        body: bytes | Sequence[bytes],
        content_type: str = "application/json",
        key: str | None = ingest_key[1],
        **headers: str,
    ) -> HttpResponse:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if content_type:
            headers["Content-Type"] = content_type
        return shell.post(address, body, headers)

    return send


@pytest.fixture
def send(post: Post) -> Send:
    """Post to the endpoint for CloudEvents: events as a batch, or any body and headers."""

    def to_events(body: Any, content_type: str = BATCHED, **options: Any) -> HttpResponse:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        return post("/api/v1/events", sent, content_type, **options)

    return to_events
