"""Exports: what is in the files, and that an import of them brings every value back."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.common.spreadsheets import escaped, without_escape
from apps.usage import exporting
from apps.usage.exporting import (
    ExportFormat,
    cell_value,
    data_cell,
    export_events,
    export_usage,
    rfc3339,
)
from apps.usage.models import UsageEvent
from apps.usage.selectors import UsageWindow
from apps.usage.services import record_events
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import NOON, event

HOUR = dt.timedelta(hours=1)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**17), max_value=10**17, places=9)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
names = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | decimals | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def exported(file_format: ExportFormat = ExportFormat.CSV, **options: Any) -> str:
    return "".join(export_events(UsageEvent.objects.all(), file_format, **options))


@given(values)
def test_a_cell_gives_back_the_value_that_was_written(value: Any) -> None:
    cell = data_cell(value)

    assert cell != ""
    assert cell_value(cell) == value
    assert type(cell_value(cell)) is type(value) or isinstance(value, Decimal)


@given(texts)
def test_no_text_becomes_a_formula_and_none_is_changed(text: str) -> None:
    assert not escaped(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert without_escape(escaped(text)) == text


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("large", "large"),
        ("=1+1", "'=1+1"),
        ("'=1", "''=1"),
        ("'n roll", "'n roll"),
        ("-5", '"-5"'),
        ("5", '"5"'),
        ("2026-01-31", "2026-01-31"),
        ("007", "007"),
        ("", '""'),
        ("true", '"true"'),
        (5, "5"),
        (-5, "-5"),
        (Decimal("0.0000001"), "0.0000001"),
        (Decimal("1E+20"), "100000000000000000000"),
        (True, "true"),
        (None, "null"),
        ({"a": [Decimal("1.50")]}, '{"a":[1.50]}'),
    ],
)
def test_cells_read_well(value: Any, cell: str) -> None:
    assert data_cell(value) == cell


@pytest.mark.django_db
def test_a_csv_export_is_flat() -> None:
    CustomerFactory(external_id="acme")
    record_events(
        events=[
            event("one", data={"input_tokens": 100, "model": "large"}),
            event("=two", at=NOON + HOUR, subject="nobody", data={"cost": Decimal("0.00000001")}),
        ],
        api_key_id=None,
    )
    first, second = UsageEvent.objects.order_by("occurred_at")

    header, *rows = csv.reader(io.StringIO(exported()))

    assert header == [
        *("id", "source", "type", "subject", "customer", "time", "stored_at", "attributed_at"),
        *("data.cost", "data.input_tokens", "data.model", "data"),
    ]
    found = {row[0]: dict(zip(header, row, strict=True)) for row in rows}
    one, two = found["one"], found["'=two"]
    assert one == {
        "id": "one",
        "source": "gateway",
        "type": "llm.completion",
        "subject": "acme",
        "customer": "acme",
        "time": "2023-11-16T12:00:00.000000Z",
        "stored_at": rfc3339(first.stored_at),
        "attributed_at": rfc3339(first.stored_at),
        "data.cost": "",
        "data.input_tokens": "100",
        "data.model": "large",
        "data": "",
    }
    assert (two["subject"], two["customer"], two["stored_at"]) == ("nobody", "", rfc3339(second.stored_at))
    assert (two["attributed_at"], two["data.cost"], two["data.model"]) == ("", "0.00000001", "")


@pytest.mark.django_db
def test_properties_without_a_column_are_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MOST_COLUMNS", 1)
    record_events(events=[event("a", data={"x": 1, "y": 2}), event("b", data={"x": 3})], api_key_id=None)

    rows = list(csv.DictReader(io.StringIO(exported())))

    assert {(row["data.x"], row["data"]) for row in rows} == {("1", '{"y":2}'), ("3", "")}


@pytest.mark.django_db
def test_an_ndjson_export_has_plain_values() -> None:
    record_events(events=[event(data={"cost": Decimal("1E-7"), "n": 5, "tags": ["a"]})], api_key_id=None)

    text = exported(ExportFormat.NDJSON)

    line = json.loads(text)
    assert '"data.cost":0.0000001' in text
    assert (line["data.n"], line["data.tags"], line["time"]) == (5, ["a"], "2023-11-16T12:00:00.000000Z")
    packed = json.loads(exported(ExportFormat.NDJSON, flat_data=False))
    assert json.loads(packed["data"]) == {"cost": 1e-07, "n": 5, "tags": ["a"]}


@pytest.mark.django_db
def test_an_empty_export_has_its_header() -> None:
    assert exported().startswith("id,source,type,subject,customer,time,")
    assert exported(ExportFormat.NDJSON) == ""


@pytest.mark.django_db
def test_measured_usage_is_exported_by_window() -> None:
    customer = CustomerFactory(external_id="acme")
    metric = BillableMetricFactory(code="tokens")
    record_events(
        events=[event("a"), event("b", at=NOON + HOUR, data={"input_tokens": Decimal("0.5")})], api_key_id=None
    )
    version = metric.current_version
    windows = [UsageWindow(customer.pk, version, NOON + HOUR * n, NOON + HOUR * (n + 1)) for n in range(3)]

    header, *rows = csv.reader(io.StringIO("".join(export_usage(iter(windows), ExportFormat.CSV))))

    assert header == ["customer", "metric", "start", "end", "quantity", "unit", "event_count"]
    assert [(row[0], row[2], row[4], row[6]) for row in rows] == [
        ("acme", "2023-11-16T12:00:00.000000Z", "100", "1"),
        ("acme", "2023-11-16T13:00:00.000000Z", "0.5", "1"),
    ]
