"""The pages of imports and mappings: upload, look, run, watch, mend."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from apps.usage.models import UsageEvent
from apps.usage_imports.models import ImportMapping, ImportState, OnError, UsageImport
from apps.usage_imports.ready import READY
from apps.usage_imports.services import create_import, start_import, work_import
from tests.pages import confirm, errors_of, page_text, url_of, viewer
from tests.usage_imports.files import TOKENS, csv_file, imported, row, uploaded

pytestmark = pytest.mark.django_db
IMPORT = "usage_imports_usageimport"
MAPPING = "usage_imports_importmapping"
FIELDS = {
    "name": "Our gateway",
    "code": "gateway",
    "id_by": "columns",
    "id_columns": "request",
    "subject_columns": "customer",
    "type_fixed": "llm.completion",
    "source_fixed": "gateway",
    "time_columns": "at",
    "time_format": "rfc3339",
    "time_zone": "UTC",
    "data_properties": "input_tokens = tokens | input_tokens\nmodel = model",
}


@pytest.fixture
def finance(clerk: User, client: Client) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture
def mapping(finance: Client) -> ImportMapping:
    finance.post(url_of(MAPPING, "add"), FIELDS)
    return ImportMapping.objects.get()


def upload(client: Client, content: bytes, *, name: str = "events.csv", **fields: str) -> Any:
    file = SimpleUploadedFile(name, content)
    return client.post(url_of(IMPORT, "upload"), {"file": file, "mapping": "gateway", **fields})


def words(text: str) -> str:
    return " ".join(text.split())


def test_an_empty_list_says_what_an_import_is(finance: Client) -> None:
    assert "No imports yet" in page_text(finance, url_of(IMPORT))


@pytest.mark.usefixtures("mapping")
def test_a_file_is_looked_at_tried_and_imported(finance: Client) -> None:
    answer = upload(finance, csv_file(row("one"), row("two", at="soon"), row("three")))
    job = UsageImport.objects.get()
    assert answer["Location"] == url_of(IMPORT, "change", job.pk)

    text = words(page_text(finance, answer["Location"]))
    assert "1 of the first 3 rows cannot be taken" in text
    assert "“soon” is no time with a zone" in text
    assert "input_tokens: 100" in text
    assert UsageEvent.objects.count() == 0

    finance.get(url_of(IMPORT, "dry_run", job.pk))
    work_import(import_id=job.pk, now=timezone.now())
    text = words(page_text(finance, answer["Location"]))
    assert "This was a dry run: nothing was stored" in text
    assert UsageEvent.objects.count() == 0

    answer = confirm(finance, url_of(IMPORT, "run", job.pk), on_error="skip")
    real = UsageImport.objects.order_by("-pk")[0]
    assert (answer["Location"], real.state) == (url_of(IMPORT, "change", real.pk), ImportState.RUNNING)
    waiting = finance.get(url_of(IMPORT, "progress", real.pk)).json()
    work_import(import_id=real.pk, now=timezone.now())
    done = finance.get(url_of(IMPORT, "progress", real.pk)).json()

    assert (waiting["finished"], "Waiting for a worker" in waiting["html"]) == (False, True)
    assert (done["finished"], "3 rows" in words(done["html"])) == (True, True)
    assert UsageEvent.objects.count() == 2


@pytest.mark.usefixtures("mapping")
def test_a_file_that_cannot_be_read_says_so_and_another_mapping_reads_it(finance: Client) -> None:
    upload(finance, csv_file(row("one")), mapping="azure-llm-code")
    job = UsageImport.objects.get()
    assert "The file has no column “TIMESTAMP”" in page_text(finance, url_of(IMPORT, "change", job.pk))

    finance.post(url_of(IMPORT, "mapping", job.pk), {"mapping": "gateway", "subject": "globex"})

    text = page_text(finance, url_of(IMPORT, "change", job.pk))
    assert "globex" in text
    assert "has no column" not in text


def test_an_upload_without_a_file_or_a_mapping_is_refused_beside_the_field(finance: Client) -> None:
    response = finance.post(url_of(IMPORT, "upload"), {})

    assert set(response.context["form"].errors) == {"file", "mapping"}


@pytest.mark.usefixtures("mapping")
def test_a_packed_upload_is_unpacked_and_kept_where_every_worker_finds_it(finance: Client) -> None:
    content = csv_file(*(row(f"request-{number}") for number in range(60_000)))

    upload(finance, gzip.compress(content), name="events.csv.gz")

    job = UsageImport.objects.select_related("file").get()
    assert job.file is not None
    assert (job.size, job.file.chunks.count()) == (len(content), 3)
    assert b"".join(bytes(chunk.content) for chunk in job.file.chunks.all()) == content


def test_an_import_from_the_command_line_is_watched_and_not_started_from_here(finance: Client, tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(csv_file(row("one")))
    job = create_import(path=path, mapping=TOKENS, mapping_name="test", now=timezone.now())
    start_import(import_id=job.pk, is_dry_run=True, on_error=OnError.SKIP, now=timezone.now())
    running = page_text(finance, url_of(IMPORT, "change", job.pk))
    work_import(import_id=job.pk, now=timezone.now())

    assert "runs on the command line" in running
    assert confirm(finance, url_of(IMPORT, "run", job.pk), on_error="skip").status_code == 403


@pytest.mark.usefixtures("mapping")
def test_an_upload_that_is_too_large_or_broken_is_refused(finance: Client, settings: Settings) -> None:
    assert "breaks off or is damaged" in upload(finance, b"\x1f\x8bnot gzip").content.decode()
    settings.IMPORTS_MAX_UPLOAD_BYTES = 10
    assert "or split it" in upload(finance, csv_file(row("one"))).content.decode()
    assert UsageImport.objects.count() == 0


def test_rows_to_mend_are_listed_and_downloaded(finance: Client) -> None:
    job = imported(csv_file(row("one"), row("two", at="=1+1")))

    text = page_text(finance, url_of(IMPORT, "change", job.pk))
    assert "Rows to mend" in text
    response = finance.get(url_of(IMPORT, "faults", job.pk))
    header, fault = csv.reader(io.StringIO(b"".join(response.streaming_content).decode("utf-8-sig")))  # type: ignore[attr-defined]

    assert header[0] == "row"
    assert fault[:4] == ["3", "at", "time", "invalid_time"]


def test_an_import_is_stopped_and_resumed(finance: Client) -> None:
    job = uploaded(csv_file(row("one")))
    confirm(finance, url_of(IMPORT, "run", job.pk), on_error="stop")
    confirm(finance, url_of(IMPORT, "stop", job.pk))
    assert "Stopped by hand" in page_text(finance, url_of(IMPORT, "change", job.pk))
    assert UsageEvent.objects.count() == 0

    confirm(finance, url_of(IMPORT, "resume", job.pk), on_error="skip")
    work_import(import_id=job.pk, now=timezone.now())

    job.refresh_from_db()
    assert (job.state, job.accepted) == (ImportState.FINISHED, 1)


def test_who_may_only_look_uploads_and_starts_nothing(client: Client) -> None:
    job = uploaded(csv_file(row("one")))
    client.force_login(viewer("usage_imports.usageimport"))

    assert "Upload a file" not in page_text(client, url_of(IMPORT, "change", job.pk))
    assert client.get(url_of(IMPORT, "upload")).status_code == 403
    assert client.post(url_of(IMPORT, "mapping", job.pk), {"mapping": "cloudevents"}).status_code == 403
    assert confirm(client, url_of(IMPORT, "run", job.pk), on_error="skip").status_code == 403
    assert client.get(url_of(IMPORT, "dry_run", job.pk)).status_code == 403
    assert UsageImport.objects.get().state == ImportState.DRAFT


@pytest.mark.parametrize("page", ["progress", "faults"])
def test_who_may_not_look_sees_nothing(client: Client, page: str) -> None:
    job = uploaded(csv_file(row("one")))
    client.force_login(User.objects.create_user("guest", is_staff=True))

    assert client.get(url_of(IMPORT, page, job.pk)).status_code == 403


def test_the_list_takes_the_same_queries_for_many_imports(
    finance: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(5):
        uploaded(csv_file(row(str(number))))

    with django_assert_max_num_queries(20):
        finance.get(url_of(IMPORT))


def test_a_mapping_is_written_and_edited(finance: Client, mapping: ImportMapping) -> None:
    assert mapping.mapping.data.properties == {"input_tokens": ("tokens", "input_tokens"), "model": ("model",)}

    finance.post(url_of(MAPPING, "change", mapping.pk), {**FIELDS, "id_columns": "request + line | row id"})

    mapping.refresh_from_db()
    assert mapping.mapping.id.columns == (("request", "line"), ("row id",))
    assert "request + line | row id" in page_text(finance, url_of(MAPPING, "change", mapping.pk))


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"id_columns": ""}, "id_columns", "unique"),
        ({"time_columns": ""}, "time_columns", "billed by it"),
        ({"subject_columns": ""}, "subject_columns", "column of the subject"),
        ({"data_properties": "tokens"}, "data_properties", "property = column"),
        ({"code": "cloudevents"}, "code", "ready-made"),
    ],
)
def test_a_mapping_that_makes_no_events_is_refused_at_the_part_that_is_missing(
    finance: Client, changes: dict[str, str], field: str, says: str
) -> None:
    errors = errors_of(finance.post(url_of(MAPPING, "add"), {**FIELDS, **changes}))

    assert says in errors[field][0]
    assert ImportMapping.objects.count() == 0


@pytest.mark.parametrize("code", READY)
def test_every_ready_mapping_can_be_copied_and_stays_the_same(finance: Client, code: str) -> None:
    form = finance.get(url_of(MAPPING, "add"), {"like": code}).context["adminform"].form
    fields = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    sent = {name: value for name, value in fields.items() if value not in (None, False, "")}

    finance.post(url_of(MAPPING, "add"), sent)

    saved = ImportMapping.objects.get()
    assert saved.mapping == READY[code].mapping
    assert saved.code == f"{code}-changed"


def test_the_page_of_mappings_lists_the_ready_ones(finance: Client) -> None:
    text = page_text(finance, url_of(MAPPING))

    for one in READY.values():
        assert one.name in text
    assert reverse("admin:usage_imports_importmapping_add") + "?like=cloudevents" in text
