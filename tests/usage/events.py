"""Events for tests of the services, as values."""

from __future__ import annotations

import datetime as dt
from typing import Any

from apps.usage.events import EventInput

NOON = dt.datetime(2023, 11, 16, 12, 0, tzinfo=dt.UTC)


def event(event_id: str = "one", *, at: dt.datetime = NOON, **changes: Any) -> EventInput:
    """A completion of acme at noon on 16 November 2023, of 100 input tokens."""
    values: dict[str, Any] = {
        "source": "gateway",
        "type": "llm.completion",
        "subject": "acme",
        "data": {"input_tokens": 100},
        **changes,
    }
    return EventInput(event_id=event_id, occurred_at=at, **values)
