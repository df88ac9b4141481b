"""How the database goes about it: no statement on the path of corrections and attribution reads all of the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from apps.common import database
from apps.usage.models import UsageEvent
from apps.usage.selectors import place_of
from apps.usage.services import attribute_events, attribution, corrections, record_events, void_events
from tests.factories import CustomerFactory
from tests.usage.events import event


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The plans of all statements that look events up or write them, as they are run."""
    found: list[str] = []

    class Explaining:
        def __init__(self, cursor: Any) -> None:
            self.cursor = cursor

        def __getattr__(self, name: str) -> Any:
            return getattr(self.cursor, name)

        def __iter__(self) -> Iterator[Any]:
            return iter(self.cursor)

        def execute(self, statement: str, *args: Any) -> Any:
            if "FOR UPDATE" in statement or "UPDATE usage_event" in statement:
                self.cursor.execute(f"EXPLAIN {statement}", *args)
                found.append("\n".join(line for (line,) in self.cursor))
            return self.cursor.execute(statement, *args)

    @contextmanager
    def explained() -> Iterator[Any]:
        with database.raw_cursor() as cursor:
            yield Explaining(cursor)

    monkeypatch.setattr(attribution, "raw_cursor", explained)
    monkeypatch.setattr(corrections, "raw_cursor", explained)
    return found


@pytest.mark.django_db
def test_events_are_looked_up_one_by_one_to_be_corrected_or_attributed(plans: list[str]) -> None:
    CustomerFactory(external_id="acme")
    record_events(
        events=[event(f"{n}", subject=subject) for n, subject in enumerate(["acme", "globex"] * 500)], api_key_id=None
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE usage_event")
    CustomerFactory(external_id="globex")
    unattributed = UsageEvent.objects.unattributed()[:100]
    void_events(
        events=[place_of(found) for found in [*UsageEvent.objects.filter(subject="acme")[:300], *unattributed]],
        reason="Test",
        actor=None,
    )
    assert attribute_events() == 400
    assert len(plans) >= 4
    for plan in plans:
        assert "Seq Scan" not in plan
        assert "Hash Join" not in plan
