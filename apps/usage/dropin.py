"""Events as the clients of other products send them, read as CloudEvents, so that one validator checks them all."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from apps.common.errors import BillingError
from apps.common.problems import Fault
from apps.usage.cloudevents import CheckedEvents, Rules, check_events
from apps.usage.events import EventInput

MOST_FORM_FIELDS = 1_000

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_IDENTIFIERS = uuid.UUID("6f2f1f0e-6b0c-4c55-9d0a-6a1c1f6f6f5e")
_has_no_zone = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,12})?").fullmatch
_is_seconds = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?").fullmatch


class NotAForm(BillingError):
    code = "invalid_form"
    status = 400


@dataclass(frozen=True, slots=True)
class Form:
    """How one client writes an event: our source for it, and its own name of each attribute.

    The first of ``subjects`` that holds something names the customer. ``in_brackets`` tells how the client
    names members: ``payload[value]`` or ``payload.value``.
    """

    source: str
    id: str
    type: str
    subjects: tuple[str, ...]
    data: str
    in_brackets: bool = False

    def name_of(self, attribute: str) -> str:
        """The client's name for a CloudEvents attribute, or for a path into its data."""
        head, _, member = attribute.partition(".")
        names = {
            "id": self.id,
            "type": self.type,
            "subject": self.subjects[0],
            "time": "timestamp",
            "data": self.data,
        }
        path = f"{names[head]}.{member}" if member else names[head]
        if not self.in_brackets:
            return path
        head, _, member = path.partition(".")
        return f"{head}[{member}]" if member else head


LAGO = Form("lago", "transaction_id", "code", ("external_subscription_id", "external_customer_id"), "properties")
ORB = Form("orb", "idempotency_key", "event_name", ("external_customer_id", "customer_id"), "properties")
METRONOME = Form("metronome", "transaction_id", "event_type", ("customer_id",), "properties")
STRIPE = Form("stripe", "identifier", "event_name", ("payload.stripe_customer_id",), "payload")
# The first version of its API takes forms, and names their fields as they are written there.
STRIPE_FORM = Form("stripe", "identifier", "event_name", ("payload.stripe_customer_id",), "payload", in_brackets=True)


def check_sent(sent: Sequence[Any], form: Form, rules: Rules) -> CheckedEvents:
    """Check events as their client wrote them; faults bear the client's own names."""
    checked = check_events([_cloud_event(event, form) for event in sent], rules, requires_specversion=False)
    checked.faults = [_as_sent(fault, form) for fault in checked.faults]
    return checked


def _cloud_event(sent: Any, form: Form) -> Any:
    """Map what can be mapped. What cannot stays as it is, and the validator names it."""
    if not isinstance(sent, dict):
        return sent
    return {
        "id": sent.get(form.id),
        "source": form.source,
        "type": sent.get(form.type),
        "subject": next(filter(None, _subjects(sent, form)), None),
        "time": _time(sent.get("timestamp")),
        "data": sent.get(form.data),
    }


def _subjects(sent: Mapping[str, Any], form: Form) -> Iterator[Any]:
    for path in form.subjects:
        head, _, member = path.partition(".")
        value = sent.get(head)
        if member:
            value = value.get(member) if isinstance(value, dict) else None
        yield value


def _time(sent: Any) -> Any:
    """A time with its zone: from seconds since 1970, as a number or a text, or from a UTC time without zone."""
    if isinstance(sent, str) and _has_no_zone(sent):
        return sent + "Z"
    if isinstance(sent, str) and _is_seconds(sent):
        sent = Decimal(sent)
    if isinstance(sent, bool) or not isinstance(sent, int | Decimal):
        return sent
    if not -(10**12) < sent < 10**12:  # A huge one would unfold.
        return sent
    try:
        return (_EPOCH + dt.timedelta(microseconds=int(sent * 10**6))).isoformat()
    except OverflowError:
        return sent


def _as_sent(fault: Fault, form: Form) -> Fault:
    if fault.field is None:
        return fault
    name = form.name_of(fault.field)
    detail = fault.detail
    if fault.code == "invalid_time":
        detail = "Send the time as RFC 3339, such as 2026-01-31T12:00:00Z, or in seconds since 1970."
    elif fault.field == "data":
        detail = detail.replace("The data of an event", f"“{name}”")
    elif "." not in fault.field:
        detail = detail.replace(f"“{fault.field}”", f"“{name}”")
    return Fault(name, fault.code, detail, index=fault.index)


# --- Lago ------------------------------------------------------------------------------------------------------------


def lago_event(sent: Mapping[str, Any], event: EventInput, *, now: dt.datetime) -> dict[str, Any]:
    """A stored event in the form that Lago's clients read. We have none of Lago's own IDs."""
    return {
        "lago_id": None,
        "transaction_id": event.event_id,
        "lago_customer_id": None,
        "lago_subscription_id": None,
        "external_subscription_id": event.subject,
        "code": event.type,
        "timestamp": _iso(event.occurred_at),
        "precise_total_amount_cents": sent.get("precise_total_amount_cents"),
        "properties": event.data,
        "created_at": _iso(now),
    }


# --- Orb -------------------------------------------------------------------------------------------------------------


def orb_failures(sent: Sequence[Any], faults: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The faults of each event under its idempotency key, which is empty where the event has none."""
    failures: dict[int, list[str]] = {}
    for fault in faults:
        text = f"{fault['field']}: {fault['detail']}" if fault["field"] else fault["detail"]
        failures.setdefault(fault["index"], []).append(text)
    keys = {index: sent[index].get(ORB.id) if isinstance(sent[index], dict) else None for index in failures}
    return [
        {"idempotency_key": keys[index] if isinstance(keys[index], str) else "", "validation_errors": texts}
        for index, texts in failures.items()
    ]


# --- Stripe ----------------------------------------------------------------------------------------------------------


def meter_event_of_form(body: bytes) -> dict[str, Any]:
    """A meter event from a form-encoded body: ``event_name=…&payload[value]=…``. Raises NotAForm."""
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FORM_FIELDS)
    except ValueError as error:
        raise NotAForm("The body is not a URL-encoded form in UTF-8 with a reasonable number of fields.") from error
    event: dict[str, Any] = {name: value for name, value in fields if "[" not in name}
    event["payload"] = {
        name[len("payload[") : -1]: value
        for name, value in fields
        if name.startswith("payload[") and name.endswith("]")
    }
    return event


def identified(sent: Any, *, idempotency_key: str | None) -> Any:
    """A meter event with an identifier.

    One that has none gets it from the request's idempotency key, so that a retry is still the same event;
    without that key too, it gets a random one, and a retry cannot be told from another event.
    """
    if not isinstance(sent, dict) or sent.get("identifier") not in (None, ""):
        return sent
    made = uuid.uuid5(_IDENTIFIERS, idempotency_key) if idempotency_key else uuid.uuid4()
    return {**sent, "identifier": str(made)}


def meter_event(event: EventInput, *, now: dt.datetime) -> dict[str, Any]:
    """A stored event as version 1 of Stripe's API shows it: times in seconds since 1970."""
    return {
        "object": "billing.meter_event",
        "created": int(now.timestamp()),
        "event_name": event.type,
        "identifier": event.event_id,
        "livemode": True,
        "payload": event.data,
        "timestamp": int(event.occurred_at.timestamp()),
    }


def meter_event_v2(event: EventInput, *, now: dt.datetime) -> dict[str, Any]:
    """A stored event as version 2 of Stripe's API shows it: times as text."""
    return {
        **meter_event(event, now=now),
        "object": "v2.billing.meter_event",
        "created": _iso(now),
        "timestamp": _iso(event.occurred_at),
    }


def _iso(instant: dt.datetime) -> str:
    return instant.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
