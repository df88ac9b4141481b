"""Attribution, partitions, and what record_events promises its callers."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone

from apps.common.history import acting
from apps.customers.models import CustomerAlias
from apps.usage.events import EventInput, canonical_json, key_of, payload_hash
from apps.usage.models import EventType, UsageEvent
from apps.usage.partitions import ensure_months, ensure_partitions
from apps.usage.selectors import UsageWindow, measure_usage, unattributed_subjects
from apps.usage.services import RecordedBatch, attribute_events, record_events, settle_cutoff
from apps.usage.tasks import make_partitions
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import NOON, event

pytestmark = pytest.mark.django_db


def partitions() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usage_event'::regclass")
        return {name for (name,) in cursor.fetchall()}


def test_an_empty_batch_records_nothing() -> None:
    assert record_events(events=[], api_key_id=None) == RecordedBatch()


def test_events_reach_a_customer_by_its_alias() -> None:
    customer = CustomerFactory(external_id="acme")
    CustomerAlias.objects.create(customer=customer, alias="project-7")
    record_events(events=[event(subject="project-7")], api_key_id=None)
    assert UsageEvent.objects.get().customer == customer


def test_events_are_attributed_once_their_subject_becomes_known_and_count_from_then_on() -> None:
    metric = BillableMetricFactory()
    record_events(events=[event("early"), event("other", subject="nobody")], api_key_id=None)
    before = settle_cutoff()

    customer = CustomerFactory(external_id="acme")

    assert attribute_events() == 1
    assert attribute_events() == 0
    early = UsageEvent.objects.get(event_id="early")
    assert early.customer == customer
    assert early.attributed_at is not None
    assert early.attributed_at >= before > early.stored_at
    window = UsageWindow(customer.pk, metric.current_version, NOON, NOON + dt.timedelta(hours=1))
    assert [u.event_count for u in measure_usage([window], stored_before=before)] == [0]
    assert [u.event_count for u in measure_usage([window], stored_before=settle_cutoff())] == [1]
    assert UsageEvent.objects.unattributed().get().event_id == "other"


def test_attribution_works_through_any_number_of_events_and_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.services.attribution.ATTRIBUTE_AT_ONCE", 3)
    monkeypatch.setattr("apps.usage.services.attribution.SUBJECTS_AT_ONCE", 2)
    subjects = [f"subject-{n}" for n in range(7)]
    events = [event(f"{s}-{n}", subject=s, at=NOON + dt.timedelta(days=40 * n)) for s in subjects for n in range(3)]
    record_events(events=events, api_key_id=None)
    for subject in subjects[1:6]:
        CustomerFactory(external_id=subject)

    assert attribute_events() == 15
    assert unattributed_subjects(after="", limit=10) == ["subject-0", "subject-6"]


def test_new_event_types_are_noted() -> None:
    record_events(events=[event("a", type="b"), event("b", type="a"), event("c", type="b")], api_key_id=None)
    assert list(EventType.objects.values_list("name", flat=True)) == ["a", "b"]


def test_a_customer_with_usage_cannot_be_deleted() -> None:
    customer = CustomerFactory(external_id="acme")
    record_events(events=[event()], api_key_id=None)
    with pytest.raises(ProtectedError):
        customer.delete()


def test_the_database_refuses_a_customer_without_the_time_of_attribution() -> None:
    record_events(events=[event()], api_key_id=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        UsageEvent.objects.update(customer_id=1)


def test_partitions_are_made_for_the_months_of_a_batch_only() -> None:
    before = partitions()
    record_events(
        events=[event("a", at=NOON.replace(year=2019, month=2)), event("b", at=NOON.replace(year=2019, month=12))],
        api_key_id=None,
    )
    assert partitions() - before == {"usage_event_2019_02", "usage_event_2019_12"}


def test_partitions_are_made_for_every_month_between_two_days_and_only_once() -> None:
    before = partitions()
    for _ in range(2):
        ensure_partitions(dt.date(2018, 11, 30), dt.date(2019, 1, 1))
    assert partitions() - before == {"usage_event_2018_11", "usage_event_2018_12", "usage_event_2019_01"}


def test_a_month_begins_and_ends_in_utc() -> None:
    east = dt.timezone(dt.timedelta(hours=14))
    ensure_months([(2017, 12)])
    record_events(events=[event(at=dt.datetime(2018, 1, 1, 13, 59, tzinfo=east))], api_key_id=None)
    assert "usage_event_2018_01" not in partitions()


def test_partitions_are_made_a_quarter_ahead() -> None:
    make_partitions()
    today = timezone.now()
    for day in (today, today + dt.timedelta(days=92)):
        assert f"usage_event_{day:%Y_%m}" in partitions()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1}, {"a": Decimal("1.0")}),
        ({"a": Decimal("1E+2")}, {"a": 100}),
        ({"a": Decimal("-0.0")}, {"a": 0}),
        ({"a": Decimal("0.10")}, {"a": Decimal("1E-1")}),
        ({"a": 1, "b": {"c": 2, "d": [Decimal("3.0")]}}, {"b": {"d": [3], "c": 2}, "a": 1}),
    ],
)
def test_one_meaning_has_one_text(one: dict[str, object], other: dict[str, object]) -> None:
    assert canonical_json(one) == canonical_json(other)


@pytest.mark.parametrize(("one", "other"), [({"a": 1}, {"a": "1"}), ({"a": True}, {"a": 1}), ({"a": None}, {})])
def test_different_meanings_have_different_texts(one: dict[str, object], other: dict[str, object]) -> None:
    assert canonical_json(one) != canonical_json(other)


def test_a_float_is_refused_since_it_is_not_exact() -> None:
    with pytest.raises(TypeError, match="float"):
        canonical_json({"a": 0.1})


@pytest.mark.parametrize("number", [Decimal("1E+5000000"), Decimal("1E-5000000"), Decimal("Infinity"), Decimal("NaN")])
def test_a_number_that_would_unfold_is_refused(number: Decimal) -> None:
    with pytest.raises(ValueError, match="out of range"):
        canonical_json({"a": number})


def test_a_canonical_uuid_keeps_its_place_in_order_and_others_are_hashed() -> None:
    event_id = uuid.uuid4()
    assert key_of(str(event_id)) == (0, event_id.bytes)
    assert [key_of(other)[0] for other in (str(event_id).upper(), event_id.hex, "request-7")] == [1, 1, 1]


def test_type_and_subject_belong_to_the_payload_and_the_time_does_not() -> None:
    base = event()
    data = canonical_json(base.data)
    assert payload_hash(base, data) == payload_hash(event(at=NOON + dt.timedelta(days=1)), data)
    assert len({payload_hash(e, data) for e in (base, event(type="x"), event(subject="x"))}) == 3


def test_a_month_without_a_partition_is_made_also_inside_a_change_that_is_recorded() -> None:
    long_ago = dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)

    with acting(None, reason="Import of old usage"):
        recorded = record_events(
            events=[EventInput("import", "first", "llm.completion", "nobody", long_ago, {})], api_key_id=None
        )

    assert recorded.accepted == 1
    assert UsageEvent.objects.get(event_id="first").occurred_at == long_ago
