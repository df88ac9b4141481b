"""Corrections: what is voided counts no more, what replaces it does, and what was known before stays as it was."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import BillingError, InvalidInput
from apps.customers.models import Customer, CustomerAlias
from apps.usage.models import UsageCorrection, UsageEvent
from apps.usage.selectors import EventQuery, UsageWindow, chain_of, events_of, live_places, measure_usage, place_of
from apps.usage.services import (
    EventChanges,
    EventIsVoided,
    EventNotFound,
    SelectionChanged,
    TooManyEvents,
    attribute_events,
    backfill_metrics,
    compare_usage,
    correct_matching,
    fold_usage,
    record_events,
    replace_event,
    settle_cutoff,
    void_events,
)
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.usage.events import NOON, event
from tests.usage.test_cache import DEFINITIONS, PHASES, START, Known, data, moments, naive
from tests.usage.test_concurrency import in_thread

HOUR = dt.timedelta(hours=1)


def stored(event_id: str = "one") -> UsageEvent:
    return UsageEvent.objects.filter(event_id=event_id).order_by("-id")[0]


def quantity(customer: Customer, metric: BillableMetric, *, stored_before: dt.datetime | None = None) -> Decimal:
    window = UsageWindow(customer.pk, metric.current_version, NOON - 24 * HOUR, NOON + 48 * HOUR)
    [usage] = measure_usage([window], stored_before=stored_before)
    return usage.quantity


@pytest.fixture
def acme(db: None) -> Customer:
    customer: Customer = CustomerFactory(external_id="acme")
    return customer


@pytest.fixture
def tokens(db: None) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="tokens")
    return metric


# --- One event -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_folded", [True, False])
def test_a_voided_event_counts_no_more_and_still_did_before(
    acme: Customer, tokens: BillableMetric, clerk: User, is_folded: bool
) -> None:
    backfill_metrics()
    record_events(events=[event("good"), event("bad", data={"input_tokens": 900})], api_key_id=None)
    if is_folded:
        fold_usage()
    cutoff = settle_cutoff()

    correction = void_events(events=[place_of(stored("bad"))], reason=" Sent twice ", actor=clerk)

    assert quantity(acme, tokens) == 100
    assert quantity(acme, tokens, stored_before=cutoff) == 1000
    assert quantity(acme, tokens, stored_before=settle_cutoff()) == 100
    assert (correction.kind, correction.reason, correction.actor, correction.event_count) == (
        "void",
        "Sent twice",
        clerk,
        1,
    )
    voided = stored("bad")
    assert (voided.correction, voided.voided_at) == (correction, correction.created_at)
    assert compare_usage() == []


def test_a_replacement_counts_instead_and_a_retry_of_the_original_is_a_duplicate(
    acme: Customer, tokens: BillableMetric, clerk: User
) -> None:
    backfill_metrics()
    globex = CustomerFactory(external_id="globex")
    record_events(events=[event()], api_key_id=None)
    original = stored()

    correction = replace_event(
        event=place_of(original),
        changes=EventChanges(subject="globex", occurred_at=NOON + 24 * HOUR, data={"input_tokens": Decimal("7.5")}),
        reason="Wrong workspace",
        actor=clerk,
    )

    assert quantity(acme, tokens) == 0
    assert quantity(globex, tokens) == Decimal("7.5")
    again = record_events(events=[event()], api_key_id=None)
    assert (again.accepted, again.duplicates) == (0, 1)
    new = stored()
    assert (new.replaces_id, new.source_id, new.event_id, new.type) == (
        original.pk,
        original.source_id,
        "one",
        original.type,
    )
    assert new.stored_at == correction.created_at
    assert [found.pk for found in chain_of(new)] == [found.pk for found in chain_of(original)] == [original.pk, new.pk]
    assert compare_usage() == []


def test_a_replacement_may_itself_be_replaced_and_voided(acme: Customer, tokens: BillableMetric) -> None:
    backfill_metrics()
    record_events(events=[event()], api_key_id=None)
    for tokens_used in (5, 6):
        replace_event(
            event=place_of(stored()),
            changes=EventChanges(data={"input_tokens": tokens_used}),
            reason="Again",
            actor=None,
        )
    assert quantity(acme, tokens) == 6
    assert live_places({("gateway", "one")}) == {("gateway", "one"): place_of(stored())}

    void_events(events=[place_of(stored())], reason="Never happened", actor=None)

    assert quantity(acme, tokens) == 0
    assert live_places({("gateway", "one"), ("gateway", "two"), ("other", "one")}) == {("gateway", "one"): None}
    assert len(chain_of(stored())) == 3


def test_an_event_of_nobody_can_be_given_the_right_subject(acme: Customer, tokens: BillableMetric) -> None:
    backfill_metrics()
    record_events(events=[event(subject="acme?")], api_key_id=None)
    replace_event(event=place_of(stored()), changes=EventChanges(subject="acme"), reason="Typing error", actor=None)
    assert quantity(acme, tokens) == 100
    assert not UsageEvent.objects.unattributed().exists()


def test_an_event_that_was_attributed_meanwhile_is_still_found(tokens: BillableMetric) -> None:
    record_events(events=[event()], api_key_id=None)
    place = place_of(stored())
    acme = CustomerFactory(external_id="acme")
    attribute_events()
    void_events(events=[place], reason="Test", actor=None)
    assert quantity(acme, tokens) == 0


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        (EventChanges(), "just what the event says"),
        (EventChanges(data={"input_tokens": Decimal("100.0")}), "just what the event says"),
        (EventChanges(data={"input_tokens": "many"}), "number"),
        (EventChanges(type="x" * 201), "200"),
        (EventChanges(occurred_at=dt.datetime(1999, 1, 1, tzinfo=dt.UTC)), "are not taken"),
    ],
)
def test_a_replacement_is_held_against_the_rules_of_the_api(
    acme: Customer, tokens: BillableMetric, changes: EventChanges, refusal: str
) -> None:
    record_events(events=[event()], api_key_id=None)
    with pytest.raises(BillingError, match=refusal):
        replace_event(event=place_of(stored()), changes=changes, reason="Test", actor=None)
    assert UsageEvent.objects.get().voided_at is None
    assert not UsageCorrection.objects.exists()


def test_what_is_voided_is_not_voided_again(acme: Customer) -> None:
    record_events(events=[event("one"), event("two")], api_key_id=None)
    void_events(events=[place_of(stored("one"))], reason="Test", actor=None)
    with pytest.raises(EventIsVoided, match="“one” is voided already"):
        void_events(events=[place_of(stored("two")), place_of(stored("one"))], reason="Test", actor=None)
    assert stored("two").voided_at is None


def test_a_correction_needs_a_reason_and_its_event(acme: Customer) -> None:
    record_events(events=[event()], api_key_id=None)
    place = place_of(stored())
    with pytest.raises(InvalidInput, match="Say why"):
        void_events(events=[place], reason="  ", actor=None)
    with pytest.raises(EventNotFound, match="1 event to correct cannot be found"):
        void_events(events=[place._replace(id=place.id + 1)], reason="Test", actor=None)
    assert not UsageCorrection.objects.exists()


# --- Many events -----------------------------------------------------------------------------------------------------


def test_the_events_of_a_query_are_voided_in_chunks_under_one_correction(
    acme: Customer, tokens: BillableMetric, clerk: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.usage.services.corrections.CORRECT_AT_ONCE", 7)
    backfill_metrics()
    record_events(
        events=[event(f"{n}", at=NOON + n * HOUR, data={"input_tokens": n}) for n in range(20)], api_key_id=None
    )
    query = EventQuery(NOON, NOON + 16 * HOUR, customer_id=acme.pk)

    correction = correct_matching(query=query, expected=16, changes=None, reason="Load test", actor=clerk)

    assert UsageCorrection.objects.get() == correction
    assert (correction.event_count, UsageEvent.objects.filter(correction=correction).count()) == (16, 16)
    assert "event time from 16 Nov 2023, 12:00:00 up to 17 Nov 2023, 04:00:00 UTC" in correction.selection
    assert quantity(acme, tokens) == 16 + 17 + 18 + 19
    assert compare_usage() == []


def test_the_events_of_a_query_are_moved_to_another_subject(acme: Customer, tokens: BillableMetric) -> None:
    backfill_metrics()
    globex = CustomerFactory(external_id="globex")
    record_events(events=[event(f"{n}") for n in range(3)], api_key_id=None)
    correct_matching(
        query=EventQuery(NOON, NOON + HOUR), expected=3, changes=EventChanges(subject="globex"), reason="x", actor=None
    )
    assert quantity(acme, tokens) == 0
    assert quantity(globex, tokens) == 300


def test_a_query_that_finds_others_by_now_corrects_nothing(acme: Customer) -> None:
    record_events(events=[event("1"), event("2")], api_key_id=None)
    with pytest.raises(SelectionChanged, match="You were shown 1 events, and there are 2"):
        correct_matching(query=EventQuery(NOON, NOON + HOUR), expected=1, changes=None, reason="x", actor=None)
    assert not UsageCorrection.objects.exists()


def test_a_query_is_bounded(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.usage.services.corrections.MOST_CORRECTED", 1)
    record_events(events=[event("1"), event("2")], api_key_id=None)
    with pytest.raises(TooManyEvents):
        correct_matching(query=EventQuery(NOON, NOON + HOUR), expected=2, changes=None, reason="x", actor=None)


# --- Properties ------------------------------------------------------------------------------------------------------

subjects = st.sampled_from(["acme", "globex", "later"])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.lists(st.tuples(subjects, moments, data), min_size=1, max_size=6)),
        st.tuples(st.just("resend"), st.integers(0, 30), data),
        st.tuples(st.just("void"), st.lists(st.integers(0, 30), min_size=1, max_size=3)),
        st.tuples(
            st.just("replace"),
            st.integers(0, 30),
            st.fixed_dictionaries({}, optional={"subject": subjects, "at": moments, "data": data}),
        ),
        st.tuples(st.sampled_from(["fold", "build", "attribute", "cutoff", "cutoff"])),
    ),
    min_size=3,
    max_size=12,
)


@dataclass(frozen=True)
class Followed(Known):
    """An event as the test knows it: under which ID it was sent, and whose it is."""

    event_id: str
    customer: str | None


class CorrectionsAgreeWithPython(TestCase):
    """Events sent, sent again, voided, replaced and attributed, folded or not; cutoffs settled in between."""

    customers: ClassVar[dict[str, Customer]]
    metrics: ClassVar[dict[str, BillableMetric]]
    known: list[Followed]
    cutoffs: list[tuple[dt.datetime | None, list[Followed]]]
    sent: int
    later_is: str | None

    @classmethod
    def setUpTestData(cls) -> None:
        cls.customers = {name: CustomerFactory(external_id=name) for name in ("acme", "globex")}
        cls.metrics = {
            name: BillableMetricFactory(
                code=f"metric-{at}",
                event_type="work",
                **{"value_property": "tokens" if "value_expression" not in fields else "", **fields},
            )
            for at, (name, fields) in enumerate(DEFINITIONS.items())
        }

    def run_step(self, step: tuple[Any, ...]) -> None:
        kind = step[0]
        if kind == "send":
            for subject, minute, payload in step[1]:
                name = f"event-{self.sent}"
                self.known.append(self.follow(name, subject, START + dt.timedelta(minutes=minute), payload))
            self.send(self.known[-len(step[1]) :])
        elif kind == "resend" and self.known:
            chosen = self.known[step[1] % len(self.known)]
            self.send([chosen, dataclasses.replace(chosen, data=step[2])])
        elif kind == "void" and self.known:
            chosen_ones = {at % len(self.known) for at in step[1]}
            places = [place_of(stored(self.known[at].event_id)) for at in sorted(chosen_ones)]
            void_events(events=places, reason="Test", actor=None)
            self.known = [known for at, known in enumerate(self.known) if at not in chosen_ones]
        elif kind == "replace" and self.known:
            self.replace(self.known[step[1] % len(self.known)], step[2])
        elif kind == "fold":
            fold_usage()
        elif kind == "build":
            backfill_metrics()
        elif kind == "attribute":
            CustomerAlias.objects.get_or_create(customer=self.customers["acme"], alias="later")
            attribute_events()
            self.later_is = "acme"
            self.known = [
                dataclasses.replace(known, customer="acme") if known.subject == "later" else known
                for known in self.known
            ]
        elif kind == "cutoff":
            self.cutoffs.append((settle_cutoff(), list(self.known)))

    def follow(self, event_id: str, subject: str, at: dt.datetime, payload: dict[str, Any]) -> Followed:
        self.sent += 1
        return Followed(subject, at, payload, self.sent, event_id, self.later_is if subject == "later" else subject)

    def send(self, sent: list[Followed]) -> None:
        events = [
            event(known.event_id, at=known.at, type="work", subject=known.subject, data=known.data) for known in sent
        ]
        record_events(events=events, api_key_id=None)

    def replace(self, known: Followed, changes: dict[str, Any]) -> None:
        at = START + dt.timedelta(minutes=changes["at"]) if "at" in changes else None
        wanted = EventChanges(subject=changes.get("subject"), occurred_at=at, data=changes.get("data"))
        try:
            replace_event(event=place_of(stored(known.event_id)), changes=wanted, reason="Test", actor=None)
        except InvalidInput:
            return  # The same again, or a text where a metric sums numbers.
        new = self.follow(
            known.event_id, wanted.subject or known.subject, at or known.at, changes.get("data", known.data)
        )
        self.known = [*(other for other in self.known if other is not known), new]

    @settings(max_examples=60, phases=PHASES)
    @given(steps=steps, first=moments, length=st.integers(0, 76 * 60))
    def test_usage_is_what_python_finds_at_every_cutoff(self, steps: list[Any], first: int, length: int) -> None:
        self.known, self.cutoffs, self.sent, self.later_is = [], [], 0, None
        for step in steps:
            self.run_step(step)
        backfill_metrics()
        start = START + dt.timedelta(minutes=first)
        chosen = [
            (
                name,
                customer,
                UsageWindow(
                    self.customers[customer].pk, metric.current_version, start, start + dt.timedelta(minutes=length)
                ),
            )
            for customer in self.customers
            for name, metric in self.metrics.items()
        ]
        for cutoff, known in [*self.cutoffs, (None, self.known)]:
            measured = measure_usage([window for _, _, window in chosen], stored_before=cutoff)
            for (name, customer, window), usage in zip(chosen, measured, strict=True):
                mine = [found for found in known if found.customer == customer]
                assert usage.quantity == naive(name, mine, window.start_at, window.end_at), (name, cutoff)
                if not window.version.carries_over:
                    assert events_of(window, stored_before=cutoff).count() == usage.event_count, name
        assert compare_usage() == []


# --- Real transactions -----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_usage_stays_exact_while_events_are_stored_folded_read_and_voided_at_once() -> None:
    """A reader never sees a half of a correction, a deadlock would raise, and in the end everything adds up."""
    customer, metric = CustomerFactory(external_id="acme"), BillableMetricFactory(code="tokens")
    backfill_metrics()
    stop = threading.Event()
    voided: list[str] = []
    replaced: list[str] = []

    def ingest(writer: int) -> int:
        count = 0
        while not stop.is_set():
            batch = [
                event(f"{writer}-{count + n}", at=NOON + (n % 3) * HOUR, data={"input_tokens": 2}) for n in range(20)
            ]
            record_events(events=batch, api_key_id=None)
            count += 20
        return count

    def correct(seed: int) -> None:
        rng = random.Random(seed)
        while not stop.is_set():
            places = [place_of(found) for found in UsageEvent.objects.filter(voided_at=None).order_by("?")[:4]]
            if not places:
                continue
            try:
                if rng.random() < 0.5:
                    void_events(events=places, reason="Test", actor=None)
                    voided.extend(str(place.id) for place in places)
                else:
                    replace_event(
                        event=places[0],
                        changes=EventChanges(occurred_at=places[0].occurred_at + dt.timedelta(minutes=1)),
                        reason="Test",
                        actor=None,
                    )
                    replaced.append(str(places[0].id))
            except EventIsVoided:
                pass  # The other one was quicker.

    def read() -> list[tuple[dt.datetime, Decimal]]:
        known = []
        while not stop.is_set():
            cutoff = settle_cutoff()
            known.append((cutoff, quantity(customer, metric, stored_before=cutoff)))
            assert quantity(customer, metric) % 2 == 0
        return known

    with ThreadPoolExecutor(6) as pool:
        writers = [in_thread(pool, lambda writer=writer: ingest(writer)) for writer in range(2)]  # type: ignore[misc]
        correctors = [in_thread(pool, lambda seed=seed: correct(seed)) for seed in range(2)]  # type: ignore[misc]
        reader = in_thread(pool, read)
        try:
            for _ in range(30):
                fold_usage()
                stop.wait(0.1)
        finally:
            stop.set()
        sent = sum(writer.result(timeout=60) for writer in writers)
        for corrector in correctors:
            corrector.result(timeout=60)
        known = reader.result(timeout=60)

    assert voided
    assert replaced
    assert quantity(customer, metric) == 2 * (sent - len(voided))
    assert [quantity(customer, metric, stored_before=cutoff) for cutoff, _ in known] == [usage for _, usage in known]
    fold_usage()
    assert compare_usage() == []
