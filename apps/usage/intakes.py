"""The intake of each address: CloudEvents in all their forms, and the events of other products' clients."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from apps.common.errors import InvalidInput
from apps.common.problems import PROBLEM_TYPE
from apps.usage import dropin
from apps.usage.cloudevents import CheckedEvents, NotJson, Rules, binary_event, check_events, decode_json
from apps.usage.dropin import LAGO, METRONOME, ORB, STRIPE, STRIPE_FORM, Form
from apps.usage.events import EventInput
from apps.usage.good_events import good_events
from apps.usage.intake import (
    BATCHED,
    FORM,
    PLAIN,
    STRUCTURED,
    Answer,
    Batches,
    Intake,
    UnsupportedContent,
    counts_of,
    json_answer,
    limits,
    require_size,
)
from apps.usage.services import RecordedBatch

ORB_MOST_IN_DEBUG = 500

# How the body of each JSON form begins, as a rule: with an object, or with an array.
_BEGINNINGS = {STRUCTURED: (b"{",), BATCHED: (b"[",), PLAIN: (b"{", b"[")}
_ORB_ERRORS = "https://docs.withorb.com/reference/error-responses"
# Orb's client raises its exceptions by these.
_ORB_ERROR_TYPES = {
    400: f"{_ORB_ERRORS}#400-request-validation-errors",
    401: f"{_ORB_ERRORS}#401-authentication-error",
    413: f"{_ORB_ERRORS}#413-request-too-large",
    429: f"{_ORB_ERRORS}#429-too-many-requests",
    500: f"{_ORB_ERRORS}#500-internal-server-error",
}


# --- CloudEvents, and one event of Lago ------------------------------------------------------------------------------


class CloudEvents(Intake):
    """CloudEvents in every form, and Lago's ``{"event": …}`` too: both clients use one address."""

    def __init__(self, headers: Mapping[str, str], query: str = "") -> None:
        super().__init__(headers, query)
        self._checked: CheckedEvents | None = None
        self._lago: _LagoEvents | None = None
        self._preferences = _preferences(headers["prefer"]) if "prefer" in headers else {}

    def read(self, body: bytes, rules: Rules) -> Batches:
        content_type = self.media_type()
        body = self.unpacked(body)
        if "ce-id" in self.headers and content_type not in (STRUCTURED, BATCHED):
            return self._check([self._binary_event(content_type, body)], rules, requires_specversion=True)
        if content_type not in _BEGINNINGS:
            raise UnsupportedContent(f"Send the events as {STRUCTURED}, {BATCHED} or {PLAIN}.")
        requires_specversion = content_type != PLAIN
        if body[:1] in _BEGINNINGS[content_type]:
            good = good_events(body, rules, requires_specversion=requires_specversion)
            if good is not None:
                require_size(good, limits().batch)
                return [good]
        decoded = decode_json(body)
        if content_type == BATCHED and not isinstance(decoded, list):
            raise NotJson("A batch is a JSON array of events.")
        if content_type == STRUCTURED and not isinstance(decoded, dict):
            raise NotJson(f"One event is a JSON object; send several as {BATCHED}.")
        if content_type == PLAIN and _is_lago_event(decoded):
            self._lago = _LagoEvents([decoded["event"]], rules)
            return [self._lago.events]
        sent = decoded if isinstance(decoded, list) else [decoded]
        return self._check(sent, rules, requires_specversion)

    def _binary_event(self, content_type: str, body: bytes) -> dict[str, Any]:
        if content_type and content_type != PLAIN and not content_type.endswith("+json"):
            raise UnsupportedContent("The data of an event is JSON. Send Content-Type: application/json, or none.")
        return binary_event(self.headers, body)

    def _check(self, sent: list[Any], rules: Rules, requires_specversion: bool) -> Batches:
        require_size(sent, limits().batch)
        self._checked = check_events(sent, rules, requires_specversion=requires_specversion)
        if not self._is_lenient:
            self._checked.require_all()
        return [self._checked.events]

    @property
    def _is_lenient(self) -> bool:
        return self._preferences.get("handling") == "lenient"

    def answer(self, recorded: Sequence[RecordedBatch]) -> Answer:
        [outcome] = recorded
        if self._lago is not None:
            [event] = self._lago.answers()
            return json_answer({"event": event}, outcome)
        if self._is_lenient or self._preferences.get("return") == "representation":
            return json_answer(_representation(self._checked, outcome), outcome)
        return counts_of(outcome)


def _is_lago_event(decoded: Any) -> bool:
    return isinstance(decoded, dict) and "event" in decoded and not decoded.keys() & {"specversion", "id"}


def _preferences(header: str) -> dict[str, str]:
    """The ``Prefer`` header (RFC 7240); what we do not know is ignored, as it should be."""
    pairs = (part.partition(";")[0].partition("=") for part in header.split(","))
    return {name.strip().lower(): value.strip().strip('"').lower() for name, _, value in pairs}


def _representation(checked: CheckedEvents | None, recorded: RecordedBatch) -> dict[str, Any]:
    """The counts, the conflicts and the faults. ``checked`` is None when all events were good."""
    faults = checked.faults if checked is not None else []
    return {
        "accepted": recorded.accepted,
        "duplicates": recorded.duplicates,
        "conflicts": len(recorded.conflicts),
        "unattributed": recorded.unattributed,
        "quarantined": recorded.quarantined,
        "rejected": len({fault.index for fault in faults}),
        "conflicting_events": [
            {
                # Events that were left out do not count in the batch that was stored, but they do for the caller.
                "index": checked.indexes[conflict.index] if checked is not None else conflict.index,
                "source": conflict.source,
                "id": conflict.event_id,
            }
            for conflict in recorded.conflicts
        ],
        "errors": [fault.as_dict() for fault in faults],
    }


# --- Lago ------------------------------------------------------------------------------------------------------------


class _LagoEvents:
    """Events in Lago's form, which its clients read back."""

    def __init__(self, sent: list[Any], rules: Rules) -> None:
        self.events = _checked(sent, LAGO, rules)
        self._sent = sent
        self._now = rules.now

    def answers(self) -> list[dict[str, Any]]:
        pairs = zip(self._sent, self.events, strict=True)
        return [dropin.lago_event(sent, event, now=self._now) for sent, event in pairs]


class LagoBatch(Intake):
    _lago: _LagoEvents

    def read(self, body: bytes, rules: Rules) -> Batches:
        self._lago = _LagoEvents(_event_list(self.json(body)), rules)
        return [self._lago.events]

    def answer(self, recorded: Sequence[RecordedBatch]) -> Answer:
        return json_answer({"events": self._lago.answers()}, recorded[0])


# --- Orb and Metronome -----------------------------------------------------------------------------------------------


class OrbOrMetronome(Intake):
    """Orb sends an object and Metronome an array, both to one address."""

    def __init__(self, headers: Mapping[str, str], query: str = "") -> None:
        super().__init__(headers, query)
        # Refusals from before the body is read are for one of the two as well.
        self._is_orb = "metronome" not in headers.get("user-agent", "").lower()
        self._sent: Sequence[Any] = ()
        self._in_debug: list[EventInput] | None = None

    def read(self, body: bytes, rules: Rules) -> Batches:
        decoded = self.json(body)
        self._is_orb = not isinstance(decoded, list)
        self._sent = _event_list(decoded) if self._is_orb else decoded
        if not self._is_orb:
            return [_checked(self._sent, METRONOME, rules)]
        query = parse_qs(self.query)
        if query.get("backfill_id"):
            raise InvalidInput("Backfills are not taken. Send the events without one.", field="backfill_id")
        if query.get("debug", [""])[-1].lower() == "true":
            self._in_debug = _checked(self._sent, ORB, rules, most=ORB_MOST_IN_DEBUG)
            # Only of a batch of its own is it known of each event whether it was new.
            return [[event] for event in self._in_debug]
        return [_checked(self._sent, ORB, rules)]

    def answer(self, recorded: Sequence[RecordedBatch]) -> Answer:
        if not self._is_orb:
            return json_answer({}, recorded[0])
        if self._in_debug is None:
            return json_answer({"validation_failed": []}, recorded[0])
        keys: dict[bool, list[str]] = {True: [], False: []}
        for event, outcome in zip(self._in_debug, recorded, strict=True):
            keys[outcome.accepted == 1].append(event.event_id)
        debug = {"ingested": keys[True], "duplicate": keys[False]}
        return json_answer({"validation_failed": [], "debug": debug}, _total(recorded))

    def envelope(self, status: int, problem: dict[str, Any]) -> tuple[dict[str, Any], str]:
        if not self._is_orb:
            return problem, PROBLEM_TYPE
        faults = [fault for fault in problem.get("errors", []) if fault["index"] is not None]
        failed = dropin.orb_failures(self._sent, faults)
        texts = [text for failure in failed for text in failure["validation_errors"]]
        told = {
            **problem,
            "type": _ORB_ERROR_TYPES.get(status, problem["type"]),
            "validation_failed": failed,
            "validation_errors": texts or [problem["detail"]],
        }
        return told, PROBLEM_TYPE


def _total(recorded: Sequence[RecordedBatch]) -> RecordedBatch:
    return RecordedBatch(
        accepted=sum(outcome.accepted for outcome in recorded),
        duplicates=sum(outcome.duplicates for outcome in recorded),
        unattributed=sum(outcome.unattributed for outcome in recorded),
        conflicts=tuple(conflict for outcome in recorded for conflict in outcome.conflicts),
    )


# --- Stripe ----------------------------------------------------------------------------------------------------------


class StripeMeterEvent(Intake):
    """One meter event as version 1 of Stripe's API takes it, and errors in the envelope that its clients open."""

    form = STRIPE_FORM
    _event: EventInput
    _now: dt.datetime

    def read(self, body: bytes, rules: Rules) -> Batches:
        identified = dropin.identified(self._sent(body), idempotency_key=self.headers.get("idempotency-key"))
        [self._event] = _checked([identified], self.form, rules)
        self._now = rules.now
        return [[self._event]]

    def _sent(self, body: bytes) -> Any:
        self.require_type(FORM)
        return dropin.meter_event_of_form(self.unpacked(body))

    def answer(self, recorded: Sequence[RecordedBatch]) -> Answer:
        return json_answer(dropin.meter_event(self._event, now=self._now), recorded[0])

    def envelope(self, status: int, problem: dict[str, Any]) -> tuple[dict[str, Any], str]:
        faults = problem.get("errors", [])
        error = {
            "type": "api_error" if status >= 500 else "invalid_request_error",
            "code": problem["code"],
            "message": " ".join(fault["detail"] for fault in faults) or problem["detail"],
            "param": faults[0]["field"] if faults else None,
            "errors": faults,
        }
        return {"error": error}, PLAIN


class StripeMeterEventV2(StripeMeterEvent):
    form = STRIPE

    def _sent(self, body: bytes) -> Any:
        return self.json(body)

    def answer(self, recorded: Sequence[RecordedBatch]) -> Answer:
        return json_answer(dropin.meter_event_v2(self._event, now=self._now), recorded[0])


INTAKES: dict[str, type[Intake]] = {
    "/api/v1/events": CloudEvents,
    "/api/v1/events/batch": LagoBatch,
    "/v1/ingest": OrbOrMetronome,
    "/v1/billing/meter_events": StripeMeterEvent,
    "/v2/billing/meter_events": StripeMeterEventV2,
}


# --- What the other products' intakes share ---------------------------------------------------------------------------


def _checked(sent: Sequence[Any], form: Form, rules: Rules, *, most: int | None = None) -> list[EventInput]:
    """All that was sent, or nothing. Raises InvalidBatch and BatchTooLarge."""
    require_size(sent, most or limits().batch)
    checked = dropin.check_sent(sent, form, rules)
    checked.require_all()
    return checked.events


def _event_list(body: Any) -> list[Any]:
    events = body.get("events") if isinstance(body, dict) else None
    if not isinstance(events, list):
        raise InvalidInput('Send {"events": […]}.', field="events")
    return events
