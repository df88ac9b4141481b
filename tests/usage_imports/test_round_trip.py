"""What we export and import again is, event for event, what we had: every one a duplicate, none a conflict."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.usage.events import EventInput
from apps.usage.exporting import ExportFormat, export_events
from apps.usage.models import UsageEvent, UsageEventKey
from apps.usage.services import record_events
from apps.usage_imports.ready import READY
from tests.usage.test_exporting import values
from tests.usage_imports.files import counts, imported

FIRST = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
OWN = READY["countinghouse"].mapping
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
events = st.builds(
    EventInput,
    source=st.sampled_from(["gateway", "=cmd", "'x"]),
    event_id=names,
    type=names,
    subject=names,
    occurred_at=st.timedeltas(dt.timedelta(), dt.timedelta(days=60)).map(lambda later: FIRST + later),
    data=st.dictionaries(names, values, max_size=4),
)


@pytest.mark.django_db
@settings(max_examples=60)
@given(
    sent=st.lists(events, min_size=1, max_size=6),
    file_format=st.sampled_from(ExportFormat),
    flat_data=st.booleans(),
)
def test_an_export_imported_again_gives_duplicates_only(
    sent: list[EventInput], file_format: ExportFormat, flat_data: bool
) -> None:
    with transaction.atomic():
        record_events(events=sent, api_key_id=None)
        stored = UsageEvent.objects.count()

        job = imported(exported(file_format, flat_data=flat_data), OWN, name=f"export.{file_format}")

        assert counts(job) == (stored, 0, stored, 0, 0)
        transaction.set_rollback(True)


@pytest.mark.django_db
@pytest.mark.parametrize("file_format", ExportFormat)
def test_an_export_fills_another_installation_with_the_same_events(file_format: ExportFormat) -> None:
    record_events(
        events=[
            EventInput("gateway", "=1", "t", "acme", dt.datetime(2024, 1, 1, tzinfo=dt.UTC), {"a": "5", "b": None}),
            EventInput("gateway", "2", "t", "acme", dt.datetime(2024, 1, 2, tzinfo=dt.UTC), {"": "", "c": [1, True]}),
        ],
        api_key_id=None,
    )
    file, before = exported(file_format), _content()
    UsageEvent.objects.all().delete()
    UsageEventKey.objects.all().delete()

    job = imported(file, OWN, name=f"export.{file_format}.gz")

    assert counts(job) == (2, 2, 0, 0, 0)
    assert _content() == before


def exported(file_format: ExportFormat, **options: Any) -> bytes:
    return "".join(export_events(UsageEvent.objects.all(), file_format, **options)).encode()


def _content() -> list[tuple[Any, ...]]:
    columns = ("event_id", "source__name", "type", "subject", "occurred_at", "data")
    return list(UsageEvent.objects.order_by("occurred_at").values_list(*columns))
