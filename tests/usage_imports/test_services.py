"""Imports: what becomes of each row, how they stop and go on, and that nothing is doubled."""

from __future__ import annotations

import datetime as dt
import gzip
from decimal import Decimal
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from apps.usage.events import EventInput
from apps.usage.models import UsageConflict, UsageEvent
from apps.usage.services import record_events
from apps.usage_imports import services
from apps.usage_imports.foresight import foresee
from apps.usage_imports.mapping import Data, EventMapping, Id, IdBy, Time, TimeFormat
from apps.usage_imports.models import ImportFault, ImportFileChunk, ImportState, OnError, UsageImport
from apps.usage_imports.reading import UnreadableFile
from apps.usage_imports.ready import READY
from apps.usage_imports.services import (
    FileTooLarge,
    ImportNotReady,
    OpenFile,
    import_batch,
    remove_old_files,
    resume_import,
    start_import,
    stop_import,
    work_import,
)
from billing_site.management.commands.load_traces import TRACES, read_events
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import event
from tests.usage_imports.files import TOKENS, counts, csv_file, faults, imported, row, uploaded

pytestmark = pytest.mark.django_db
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "traces"
NOW = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


def test_rows_become_events_once() -> None:
    CustomerFactory(external_id="acme")
    content = csv_file(row("one"), row("two", tokens="5.25"), "three,nobody,2026-11-16T12:00:00Z,7,large\r\n")

    first, second = imported(content), imported(content)

    assert counts(first) == (3, 3, 0, 0, 0)
    assert first.unattributed == 3  # No metric measures the type yet.
    assert counts(second) == (3, 0, 3, 0, 0)
    stored = UsageEvent.objects.get(event_id="two")
    assert stored.data == {"input_tokens": Decimal("5.25"), "model": "large"}
    assert (stored.source.name, stored.subject, stored.occurred_at) == (
        "gateway",
        "acme",
        dt.datetime(2026, 11, 16, 12, tzinfo=dt.UTC),
    )


def test_a_row_with_other_content_is_a_conflict_that_is_listed_with_its_row() -> None:
    imported(csv_file(row("one")))

    job = imported(csv_file(row("two"), row("one", tokens="999")))

    assert counts(job) == (2, 1, 0, 1, 0)
    assert faults(job) == [(3, "", "id", "conflict")]
    assert UsageConflict.objects.count() == 1


@pytest.mark.parametrize(
    ("line", "column", "field", "code", "says"),
    [
        ("x,acme,soon,5,large\r\n", "at", "time", "invalid_time", "“soon” is no time with a zone"),
        ("x,acme,2026-11-16 12:00:00,5,large\r\n", "at", "time", "invalid_time", "choose a mapping that names it"),
        ("x,acme,,5,large\r\n", "at", "time", "required", "has no time"),
        ("x,acme,1999-01-01T00:00:00Z,5,large\r\n", "at", "time", "too_old", "are not taken"),
        ("x,acme,2126-11-16T12:00:00Z,5,large\r\n", "at", "time", "in_the_future", "not taken yet"),
        (",acme,2026-11-16T12:00:00Z,5,large\r\n", "", "id", "required", "“request” is empty"),
        ("x,,2026-11-16T12:00:00Z,5,large\r\n", "customer", "subject", "required", "“customer” is empty"),
        ("x,acme,2026-11-16T12:00:00Z,many,large\r\n", "input_tokens", "data.input_tokens", "not_a_number", "number"),
        ("x,acme,2026-11-16T12:00:00Z,5\r\n", "", "", "wrong_cell_count", "has 4 cells, the header 5"),
        ("x,acme,2026-11-16T12:00:00Z,5,a,b\r\n", "", "", "wrong_cell_count", "has 6 cells, the header 5"),
        ("x,acme,2026-11-16T12:00:00Z,5,la\0rge\r\n", "", "", "nul", "NUL"),
        ('x,acme,2026-11-16T12:00:00Z,5,"lar"ge\r\n', "", "", "invalid_csv", "behind a closing quote"),
        (f"{'x' * 300},acme,2026-11-16T12:00:00Z,5,large\r\n", "request", "id", "too_long", "256 characters"),
    ],
)
def test_a_faulty_row_is_left_out_and_listed(line: str, column: str, field: str, code: str, says: str) -> None:
    BillableMetricFactory(event_type="llm.completion", value_property="input_tokens")

    job = imported(csv_file(row("before"), line, row("after")))

    assert counts(job) == (3, 2, 0, 0, 1)
    assert faults(job) == [(3, column, field, code)]
    assert says in ImportFault.objects.get().detail


def test_a_row_that_is_not_utf_8_is_left_out() -> None:
    job = imported(csv_file(row("before")) + b"x,Caf\xe9,2026-11-16T12:00:00Z,5,large\r\n" + row("after").encode())

    assert counts(job) == (3, 2, 0, 0, 1)
    assert "byte 0xE9" in ImportFault.objects.get().detail


def test_an_import_that_stops_at_faults_keeps_what_came_before_and_goes_on_when_told() -> None:
    content = csv_file(row("one"), row("two", at="soon"), row("three"), row("four", at="later"))

    job = imported(content, on_error=OnError.STOP)

    assert (job.state, job.stop_code) == (ImportState.STOPPED, "faulty_row")
    assert job.stop_detail.startswith("Row 3 cannot be taken: “soon” is no time")
    assert counts(job) == (1, 1, 0, 0, 0)
    assert faults(job) == [(3, "at", "time", "invalid_time")]

    resume_import(import_id=job.pk, on_error=OnError.SKIP, now=NOW)
    work_import(import_id=job.pk, now=timezone.now())
    job.refresh_from_db()

    assert job.state == ImportState.FINISHED
    assert counts(job) == (4, 2, 0, 0, 2)
    assert [number for number, *_ in faults(job)] == [3, 5]


def test_a_dry_run_counts_as_the_import_would_and_stores_nothing() -> None:
    imported(csv_file(row("known")))
    content = csv_file(row("known"), row("one"), row("one", tokens="7"), row("two", at="soon"))

    dry = imported(content, is_dry_run=True, on_error=OnError.STOP)

    assert counts(dry) == (4, 1, 1, 1, 1)
    assert UsageEvent.objects.count() == 1
    assert UsageConflict.objects.count() == 0

    real = start_import(import_id=dry.pk, is_dry_run=False, on_error=OnError.SKIP, now=NOW)
    work_import(import_id=real.pk, now=timezone.now())

    real.refresh_from_db()
    assert real.pk != dry.pk
    assert counts(real) == counts(dry)
    assert UsageEvent.objects.count() == 2


@given(
    stored=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 2)), max_size=3),
    sent=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), min_size=1, max_size=8),
)
def test_a_dry_run_foresees_what_storing_does(stored: list[tuple[str, int]], sent: list[tuple[str, int]]) -> None:
    with transaction.atomic():
        record_events(events=[event(name, data={"n": n}) for name, n in stored], api_key_id=None)
        events = [event(name, data={"n": n}, subject=f"{n}") for name, n in sent]

        foreseen = foresee(events)

        assert foreseen == record_events(events=events, api_key_id=None)
        transaction.set_rollback(True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\r\n\r\n", "nothing but empty lines"),
        (b"PK\x03\x04rest", "Excel workbook"),
        ("request,customer".encode("utf-16"), "UTF-16"),
        (b"a\0b\0c", "NUL bytes"),
        (b"%PDF-1.4\n", "a PDF"),
        (b"request;caf\xe9\n", "not in UTF-8"),
        (b"request\rcustomer\r", "CR alone"),
        (b"request,customer,at,at\n", "Two columns are named “at”"),
        (b"id,time\n1,2\n", "has no column “at”; “customer”; “request”. Its columns are “id”, “time”"),
        (b'[{"id": 1}]', "is JSON"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_how_to_mend_it(content: bytes, says: str) -> None:
    job = imported(content)

    assert job.state == ImportState.STOPPED
    assert says in job.stop_detail
    assert counts(job) == (0, 0, 0, 0, 0)


def test_a_gzipped_file_is_unpacked_and_a_broken_one_refused() -> None:
    content = gzip.compress(csv_file(row("one"), row("two")))

    assert counts(imported(content, name="events.csv.gz")) == (2, 2, 0, 0, 0)
    with pytest.raises(UnreadableFile, match="breaks off or is damaged"):
        imported(content[:-12])


def test_bom_semicolons_quotes_line_breaks_and_empty_lines_are_read() -> None:
    content = (
        "\ufeffrequest;customer;at;note\n"
        '"on;e";acme;2026-11-16T12:00:00Z;"two\nlines, ""quoted"""\n'
        "\n"
        ";;;\n"
        "two;acme;2026-11-16T12:00:00+01:00;00123\n"
    ).encode()

    job = imported(content)

    assert counts(job) == (2, 2, 0, 0, 0)
    assert UsageEvent.objects.get(event_id="on;e").data == {"note": 'two\nlines, "quoted"'}
    assert UsageEvent.objects.get(event_id="two").data == {"note": "00123"}


def test_an_unclosed_quote_swallows_its_own_row_only() -> None:
    job = imported(csv_file(row("one"), 'x,"acme,2026-11-16T12:00:00Z,5,large\r\n', *(row(str(n)) for n in range(50))))

    assert counts(job) == (52, 51, 0, 0, 1)
    assert faults(job) == [(3, "", "", "invalid_csv")]


def test_a_row_of_many_megabytes_is_left_out() -> None:
    long = "x," + "y" * 5_000_000 + "\r\n"

    job = imported(csv_file(row("one"), long, row("two")))

    assert counts(job) == (3, 2, 0, 0, 1)
    assert faults(job) == [(3, "", "", "row_too_long")]


def test_batches_go_on_where_the_last_one_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ROWS_AT_ONCE", 3)
    job = uploaded(csv_file(*(row(str(number)) for number in range(10))))
    start_import(import_id=job.pk, is_dry_run=False, on_error=OnError.STOP, now=NOW)

    # A new process for each batch: nothing is kept but the row.
    batches = 0
    while import_batch(import_id=job.pk, file=OpenFile(), now=timezone.now()):
        batches += 1

    job.refresh_from_db()
    assert batches == 4
    assert counts(job) == (10, 10, 0, 0, 0)
    assert (job.state, job.percent) == (ImportState.FINISHED, 100)


def test_an_import_is_stopped_by_hand_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "ROWS_AT_ONCE", 3)
    job = uploaded(csv_file(*(row(str(number)) for number in range(10))))
    start_import(import_id=job.pk, is_dry_run=False, on_error=OnError.STOP, now=NOW)
    import_batch(import_id=job.pk, file=OpenFile(), now=timezone.now())

    stop_import(import_id=job.pk, now=NOW)

    assert not import_batch(import_id=job.pk, file=OpenFile(), now=timezone.now())
    assert UsageEvent.objects.count() == 3
    resume_import(import_id=job.pk, on_error=OnError.STOP, now=NOW)
    work_import(import_id=job.pk, now=timezone.now())
    job.refresh_from_db()
    assert counts(job) == (10, 10, 0, 0, 0)


def test_the_list_of_faults_is_bounded_and_the_count_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "MOST_FAULTS_KEPT", 5)
    monkeypatch.setattr(services, "ROWS_AT_ONCE", 4)

    job = imported(csv_file(*(row(str(number), at="soon") for number in range(12))))

    assert (job.rejected, job.faults.count()) == (12, 5)


def test_a_file_beyond_the_limit_is_refused_and_nothing_of_it_kept(settings: Settings) -> None:
    settings.IMPORTS_MAX_UPLOAD_BYTES = 1024 * 1024

    with pytest.raises(FileTooLarge, match="import_events"):
        uploaded(b"x" * 3 * 1024 * 1024)

    assert ImportFileChunk.objects.count() == 0


def test_contents_of_old_files_are_removed_and_their_imports_stay() -> None:
    job = imported(csv_file(row("one")))

    assert remove_old_files(now=timezone.now() + dt.timedelta(days=29)) == 0
    assert remove_old_files(now=timezone.now() + dt.timedelta(days=31)) == 1

    assert ImportFileChunk.objects.count() == 0
    assert counts(UsageImport.objects.get(pk=job.pk)) == (1, 1, 0, 0, 0)
    dry = UsageImport.objects.create(file=job.file, mapping_name="x", definition=job.definition, created_at=NOW, size=1)
    with pytest.raises(ImportNotReady, match="no longer kept"):
        start_import(import_id=dry.pk, is_dry_run=False, on_error=OnError.STOP, now=NOW)


def test_the_azure_traces_become_the_very_events_that_the_api_makes_of_them() -> None:
    total = 0
    for trace, code in zip(TRACES, ("azure-llm-code", "azure-llm-conv"), strict=True):
        content = (FIXTURES / trace.file_name).read_bytes()
        job = imported(content, READY[code].mapping, name=trace.file_name)
        assert job.rejected == 0
        total += job.accepted
        expected = {
            event["id"]: (dt.datetime.fromisoformat(event["time"]), event["subject"], event["type"], event["data"])
            for event in read_events(FIXTURES / trace.file_name, trace)
        }
        found = {
            event_id: rest
            for event_id, *rest in UsageEvent.objects.filter(subject=trace.customer_id).values_list(
                "event_id", "occurred_at", "subject", "type", "data"
            )
        }
        assert {event_id: tuple(rest) for event_id, rest in found.items()} == expected
    assert total == UsageEvent.objects.filter(source__name="azure-llm-inference-trace-2023").count() == 28_185


@pytest.mark.parametrize(
    ("time", "text", "expected"),
    [
        (Time(("at",), TimeFormat.SECONDS), "1794830400", "2026-11-16T12:00:00+00:00"),
        (Time(("at",), TimeFormat.SECONDS), "1794830400.25", "2026-11-16T12:00:00.250000+00:00"),
        (Time(("at",), TimeFormat.MILLISECONDS), "1794830400250", "2026-11-16T12:00:00.250000+00:00"),
        (Time(("at",), TimeFormat.NANOSECONDS), "1794830400250000000", "2026-11-16T12:00:00.250000+00:00"),
        (Time(("at",), TimeFormat.NAIVE, "Europe/Berlin"), "2026-07-01 12:00", "2026-07-01T10:00:00+00:00"),
        (Time(("at",), TimeFormat.NAIVE, "Europe/Berlin"), "2026-10-25 02:30", "2026-10-25T00:30:00+00:00"),
        (Time(("at",), TimeFormat.NAIVE, "UTC", "%d/%m/%Y %H:%M"), "16/11/2026 12:00", "2026-11-16T12:00:00+00:00"),
        (Time(("at",)), "2026-11-16t12:00:00.1234567+01:00", "2026-11-16T11:00:00.123456+00:00"),
    ],
)
def test_times_are_read_in_the_format_that_the_mapping_names(time: Time, text: str, expected: str) -> None:
    imported(csv_file(row("one", at=text)), EventMapping(TOKENS.id, TOKENS.source, TOKENS.type, TOKENS.subject, time))

    assert UsageEvent.objects.get().occurred_at == dt.datetime.fromisoformat(expected)


def test_an_hour_that_the_clocks_skipped_is_refused() -> None:
    time = Time(("at",), TimeFormat.NAIVE, "Europe/Berlin")

    job = imported(
        csv_file(row("one", at="2026-03-29 02:30")),
        EventMapping(TOKENS.id, TOKENS.source, TOKENS.type, TOKENS.subject, time),
    )

    assert "clocks of Europe/Berlin skipped" in ImportFault.objects.get(usage_import=job).detail


@pytest.mark.parametrize(
    ("rule", "ids"),
    [
        (Id(columns=(("request", "customer"),)), ["one:acme", "a\\:b:acme"]),
        (Id(by=IdBy.ROW_NUMBER), ["events.csv:1", "events.csv:2"]),
        (Id(by=IdBy.ROW_NUMBER, prefix="{subject}-"), ["acme-1", "acme-2"]),
    ],
)
def test_ids_are_made_as_the_mapping_says(rule: Id, ids: list[str]) -> None:
    mapping = EventMapping(rule, TOKENS.source, TOKENS.type, TOKENS.subject, TOKENS.time, Data(rest=True))

    imported(csv_file(row("one"), row("a:b")), mapping)

    assert sorted(UsageEvent.objects.values_list("event_id", flat=True)) == sorted(ids)


def test_a_hash_of_the_row_makes_equal_rows_one_event_whatever_the_order_of_columns() -> None:
    mapping = EventMapping(Id(by=IdBy.ROW_HASH), TOKENS.source, TOKENS.type, TOKENS.subject, TOKENS.time)

    first = imported(b"customer,at\nacme,2026-11-16T12:00:00Z\nacme,2026-11-16T12:00:00Z\n", mapping)
    again = imported(b"at,customer\n2026-11-16T12:00:00Z,acme\n", mapping)

    assert counts(first) == (2, 1, 1, 0, 0)
    assert counts(again) == (1, 0, 1, 0, 0)


def test_texts_that_look_like_numbers_stay_texts_when_the_mapping_says_so() -> None:
    mapping = EventMapping(
        TOKENS.id,
        TOKENS.source,
        TOKENS.type,
        TOKENS.subject,
        TOKENS.time,
        Data(properties={"zip": ("zip",), "n": ("n", "old_n"), "big": ("big",)}, texts=("zip",)),
    )

    imported(b"request,customer,at,zip,n,old_n,big\none,acme,2026-11-16T12:00:00Z,123,,7,1e5\n", mapping)

    assert UsageEvent.objects.get().data == {"zip": "123", "n": 7, "big": "1e5"}


SPAN = (
    '{"traceId":"t1","spanId":"s%d","startTimeUnixNano":"1794830400250000000","attributes":['
    '{"key":"gen_ai.request.model","value":{"stringValue":"large"}},'
    '{"key":"gen_ai.usage.%s","value":{"intValue":"1200"}},'
    '{"key":"customer.id","value":{"stringValue":"acme"}}]}'
)


def test_opentelemetry_spans_are_read_with_old_and_new_names() -> None:
    export = (
        '{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"gw"}}]},'
        '"scopeSpans":[{"spans":[' + SPAN % (1, "input_tokens") + "," + SPAN % (2, "prompt_tokens") + "]}]}]}"
    )
    flat = (
        '{"trace_id":"t9","span_id":"s9","startTimeUnixNano":1794830400250000000,"gen_ai.usage.completion_tokens":5,'
        '"gen_ai.response.id":"chatcmpl-1","attributes":{"customer.id":"acme","gen_ai.system":"openai"}}'
    )

    job = imported(f"{export}\n\n{flat}\n".encode(), READY["opentelemetry"].mapping, name="spans.ndjson")

    assert counts(job) == (3, 3, 0, 0, 0)
    events = {one.event_id: one for one in UsageEvent.objects.select_related("source")}
    assert events["t1:s1"].data == events["t1:s2"].data == {"input_tokens": 1200, "model": "large"}
    assert events["t1:s1"].source.name == "gw"
    assert events["chatcmpl-1"].data == {"output_tokens": 5, "provider": "openai"}
    assert events["chatcmpl-1"].subject == "acme"


def test_cloudevents_keep_nested_data_and_every_digit() -> None:
    line = (
        '{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"acme","time":"2026-11-16T12:00:00Z",'
        '"data":{"cost":0.12345678901234567890123,"a":{"b":[1,null,"x"]}}}'
    )

    imported(f"\ufeff{line}\r\n".encode(), READY["cloudevents"].mapping, name="events.jsonl")

    assert UsageEvent.objects.get().data == {
        "cost": Decimal("0.12345678901234567890123"),
        "a": {"b": [1, None, "x"]},
    }


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{broken", "invalid_json"),
        ("[1]", "not_an_object"),
        ("5", "not_an_object"),
        ('{"id":"x","source":"s","type":"t","subject":"a","time":"2026-11-16T12:00:00Z","data":[1]}', "not_an_object"),
        ('{"id":"x","source":"s","type":"t","subject":"a","time":"2026-11-16T12:00:00Z","data":{"a":1e999}}', None),
    ],
)
def test_a_faulty_line_of_ndjson_is_listed(line: str, code: str | None) -> None:
    good = '{"id":"1","source":"s","type":"t","subject":"acme","time":"2026-11-16T12:00:00Z"}'

    job = imported(f"{good}\n{line}\n".encode(), READY["cloudevents"].mapping, name="events.ndjson")

    assert counts(job) == (2, 1, 0, 0, 1)
    [(number, _, _, found)] = faults(job)
    assert number == 2
    assert code is None or found == code


def test_an_event_that_was_sent_already_is_a_duplicate_of_its_row() -> None:
    record_events(
        events=[
            EventInput("gateway", "one", "llm.completion", "acme", NOW, {"input_tokens": 100, "model": "large"}),
        ],
        api_key_id=None,
    )

    assert counts(imported(csv_file(row("one")))) == (1, 0, 1, 0, 0)
