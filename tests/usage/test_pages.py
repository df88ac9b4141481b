"""The export pages, the export addresses of the API, and the page of the log's months."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from apps.access.models import Scope
from apps.billable_metrics.models import BillableMetric
from apps.customers.models import Customer
from apps.usage.models import UsageEvent
from apps.usage.services import record_events
from tests.api.test_reading import Reader
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.pages import page_text, viewer
from tests.usage.events import NOON, event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def usage() -> None:
    CustomerFactory(external_id="acme")
    BillableMetricFactory(code="tokens", name="Tokens")
    record_events(
        events=[event("one"), event("two", at=utc(2023, 11, 17)), event("three", subject="nobody", type="image")],
        api_key_id=None,
    )


@pytest.fixture
def finance(clerk: User, client: Client) -> Client:
    client.force_login(clerk)
    return client


def rows(response: Any) -> list[dict[str, str]]:
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig"))))


def ids(response: Any) -> list[str]:
    return sorted(row["id"] for row in rows(response))


def exported(client: Client, **query: str) -> Any:
    asked = {"what": "events", "first_date": "2023-11-16", "last_date": "2023-11-16", "file_format": "csv", **query}
    return client.get(reverse("usage-export"), asked)


def test_events_are_downloaded_with_both_days_included(finance: Client) -> None:
    response = exported(finance)

    assert response["Content-Disposition"] == 'attachment; filename="usage-events-2023-11-16-2023-11-16.csv"'
    assert ids(response) == ["one", "three"]
    assert ids(exported(finance, last_date="2023-11-17", customer="acme")) == ["one", "two"]
    assert ids(exported(finance, type="image")) == ["three"]


def test_usage_is_downloaded_by_window(finance: Client) -> None:
    response = exported(finance, what="usage", window="day", last_date="2023-11-18")

    assert [(row["customer"], row["start"][:10], row["quantity"]) for row in rows(response)] == [
        ("acme", "2023-11-16", "100"),
        ("acme", "2023-11-17", "100"),
    ]


def test_exactly_the_events_behind_a_figure_are_downloaded(finance: Client) -> None:
    record_events(events=[event("no number", data={})], api_key_id=None)
    query = {
        "customer": str(Customer.objects.get().pk),
        "metric_version": str(BillableMetric.objects.get(code="tokens").current_version.pk),
        "window_start": "2023-11-16T00:00:00Z",
        "window_end": "2023-11-17T00:00:00Z",
        "stored_before": "",
    }

    assert ids(finance.get(reverse("usage-export-window"), query)) == ["one"]
    assert reverse("usage-export-window") + "?" in page_text(
        finance, reverse("admin:usage_usageevent_changelist") + "?" + urlencode(query)
    )
    assert finance.get(reverse("usage-export-window"), {**query, "metric_version": "none"}).status_code == 404


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"customer": "nobody"}, "There is no customer with the external ID “nobody”"),
        ({"last_date": "2023-11-15"}, "The last day is the first one or later"),
        ({"first_date": "soon"}, "Enter a valid date"),
        ({"what": "usage", "window": "hour", "first_date": "0001-01-01"}, "more than 1,000,000 windows"),
    ],
)
def test_what_cannot_be_exported_is_said_on_the_page(finance: Client, query: dict[str, str], says: str) -> None:
    assert says in exported(finance, **query).content.decode()


@pytest.mark.parametrize("name", ["usage-export", "usage-partitions"])
def test_pages_open_for_those_who_may_see_usage_only(client: Client, name: str) -> None:
    client.force_login(User.objects.create_user("guest", is_staff=True))
    assert client.get(reverse(name)).status_code == 403
    client.force_login(viewer("usage.usageevent"))
    assert client.get(reverse(name)).status_code == 200
    client.logout()
    assert client.get(reverse(name)).status_code == 302


def test_the_months_of_the_log_are_listed(finance: Client) -> None:
    text = page_text(finance, reverse("usage-partitions"))

    assert "November 2023" in text
    assert "Events are kept for ever" in " ".join(text.split())


def test_the_api_exports_events_and_usage() -> None:
    reader = Reader(Scope.READ)

    assert ids(reader.get("exports/events", start="2023-11-17T00:00:00Z")) == ["two"]
    assert ids(reader.get("exports/events", customer="acme", type="llm.completion", source="gateway")) == ["one", "two"]
    lines = b"".join(reader.get("exports/events", format="ndjson").streaming_content).splitlines()  # type: ignore[attr-defined]
    assert len(lines) == 3
    [row] = rows(
        reader.get(
            "exports/usage", start="2023-11-01T00:00:00Z", end="2023-12-01T00:00:00Z", window="month", metric="tokens"
        )
    )
    assert (row["customer"], row["quantity"], row["event_count"]) == ("acme", "200", "2")


@pytest.mark.parametrize(
    ("address", "query", "field"),
    [
        ("exports/events", {"start": "2023-11-17"}, "start"),
        ("exports/events", {"customer": "nobody"}, "customer"),
        ("exports/events", {"source": "nobody"}, "source"),
        ("exports/events", {"format": "xml"}, "format"),
        ("exports/usage", {"start": "2023-11-17T00:00:00Z"}, "end"),
        ("exports/usage", {"start": "2023-11-17T00:00:00Z", "end": "2023-11-17T00:00:00Z"}, "end"),
    ],
)
def test_the_api_names_the_parameter_that_is_wrong(address: str, query: dict[str, str], field: str) -> None:
    problem = Reader(Scope.READ).problem(address, **query)

    assert (problem["status"], problem["errors"][0]["field"]) == (400, field)


def test_the_api_exports_to_readers_only() -> None:
    assert Reader(Scope.INGEST).get("exports/events").status_code == 403


def test_the_command_writes_a_file_that_an_import_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson.gz"
    call_command("export_events", output=str(path), start=NOON)
    assert len(gzip.decompress(path.read_bytes()).splitlines()) == 3

    out = io.StringIO()
    call_command("import_events", str(path), mapping="countinghouse", stdout=out)
    assert "3 duplicates" in out.getvalue()
    assert UsageEvent.objects.count() == 3


def test_the_command_writes_to_the_standard_output_and_refuses_unknown_names() -> None:
    out = io.StringIO()
    call_command("export_events", "--customer", "acme", "--end", "2023-11-17", stdout=out)
    assert [row["id"] for row in csv.DictReader(io.StringIO(out.getvalue()))] == ["one"]
    with pytest.raises(CommandError, match="no customer"):
        call_command("export_events", "--customer", "nobody")
    with pytest.raises(CommandError, match="in the archive"):
        call_command("export_events", "--archived", "2012-05")
