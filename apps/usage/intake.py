"""One request that sends events, on its way in and back, without a web framework.

Each address has an intake (``intakes``), which reads what its clients send and writes what they expect to read. The
shells (the views of ``api`` and the application of ``ingest``) bring headers and body, and have the events stored in
between.
"""

from __future__ import annotations

import datetime as dt
import functools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from django.conf import settings
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils import timezone

from apps.billable_metrics.selectors import summed_properties_by_event_type
from apps.common.errors import BillingError
from apps.common.problems import PROBLEM_TYPE, problem_of_failure, problem_of_refusal
from apps.usage import services
from apps.usage.cloudevents import BatchTooLarge, NotJson, Rules, decode_json
from apps.usage.events import EventInput
from apps.usage.services import EventBatch, RecordedBatch
from apps.usage.services.quarantine import EARLIEST

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
PLAIN = "application/json"
FORM = "application/x-www-form-urlencoded"
GZIP_WINDOW = 16 + zlib.MAX_WBITS

_encode = msgspec.json.Encoder(decimal_format="number").encode

Batches = list[Sequence[EventInput]]


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings that each request is held against."""

    body_bytes: int
    batch: int
    age: dt.timedelta
    ahead: dt.timedelta
    holds_old: bool


@functools.cache
def limits() -> Limits:
    """Reading a setting costs more than comparing with it."""
    return Limits(
        body_bytes=settings.EVENTS_MAX_BODY_BYTES,
        batch=settings.EVENTS_MAX_BATCH,
        age=dt.timedelta(days=settings.EVENTS_MAX_AGE_DAYS),
        ahead=dt.timedelta(hours=settings.EVENTS_MAX_AHEAD_HOURS),
        holds_old=settings.EVENTS_TOO_OLD == "quarantine",
    )


@receiver(setting_changed)
def _read_limits_anew(**_: object) -> None:
    limits.cache_clear()  # Only tests change settings.


class UnsupportedContent(BillingError):
    code = "unsupported_media_type"
    status = 415


class BodyTooLarge(BillingError):
    code = "body_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit:,} bytes. Send it in smaller parts.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status, headers (names in lower case) and body, as they are sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""


def rules_now() -> Rules:
    """What events are held against at this moment. Asks the database."""
    now = timezone.now()
    return Rules(
        now=now,
        earliest=EARLIEST if limits().holds_old else now - limits().age,
        latest=now + limits().ahead,
        summed=summed_properties_by_event_type(),
    )


def store(batches: Sequence[EventBatch]) -> list[RecordedBatch]:
    """Have batches stored. Events that are too old are held instead, where the settings say so."""
    if not limits().holds_old:
        return services.record_batches(batches)
    now = timezone.now()
    return services.take_batches(batches, held_before=now - limits().age, received_at=now)


class Intake:
    """A request. ``read`` comes first, then ``answer``; ``refusal`` at any time in place of either.

    Header names are in lower case.
    """

    def __init__(self, headers: Mapping[str, str], query: str = "") -> None:
        self.headers = headers
        self.query = query

    def read(self, body: bytes, rules: Rules) -> Batches:
        """The events to store, as batches whose outcomes the answer needs one by one.

        Raises a BillingError when they cannot be taken.
        """
        raise NotImplementedError

    def answer(self, recorded: Sequence[RecordedBatch]) -> Answer:
        """Tell what became of each batch."""
        raise NotImplementedError

    def refusal(self, error: Exception) -> Answer:
        """Tell why nothing was stored."""
        if isinstance(error, BillingError):
            problem = problem_of_refusal(error)
        else:
            problem = problem_of_failure(error, where=type(self).__name__)
        body, content_type = self.envelope(problem.status, problem.body)
        headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        return Answer(problem.status, ((b"content-type", content_type.encode()), *headers), _encode(body))

    def envelope(self, status: int, problem: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """An error as the client reads it, and its content type."""
        return problem, PROBLEM_TYPE

    # --- What the intakes share --------------------------------------------------------------------------------------

    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def unpacked(self, body: bytes) -> bytes:
        """The body as it was before it was packed. Never takes up more memory than the limit allows."""
        limit = limits().body_bytes
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "gzip"):
            raise UnsupportedContent("The body may be packed with gzip only.")
        if len(body) > limit:
            raise BodyTooLarge(limit)
        return _unzipped(body, limit) if encoding == "gzip" else body

    def json(self, body: bytes) -> Any:
        self.require_type(PLAIN)
        return decode_json(self.unpacked(body))

    def require_type(self, content_type: str) -> None:
        if self.media_type() != content_type:
            raise UnsupportedContent(f"Send the body as {content_type}.")


def require_size(sent: Sequence[Any], limit: int) -> None:
    if len(sent) > limit:
        raise BatchTooLarge(len(sent), limit)


def json_answer(content: Any, recorded: RecordedBatch) -> Answer:
    counts = counts_of(recorded)
    return Answer(200, ((b"content-type", PLAIN.encode()), *counts.headers), _encode(content))


def counts_of(recorded: RecordedBatch) -> Answer:
    """An answer of counts, and nothing else."""
    return _counts(
        recorded.accepted,
        recorded.duplicates,
        len(recorded.conflicts),
        recorded.unattributed,
        recorded.quarantined,
    )


@functools.lru_cache(maxsize=1024)
def _counts(accepted: int, duplicates: int, conflicts: int, unattributed: int, quarantined: int) -> Answer:
    counts = {"accepted": accepted, "duplicates": duplicates, "conflicts": conflicts, "unattributed": unattributed}
    if quarantined:
        counts["quarantined"] = quarantined
    return Answer(204, tuple((f"countinghouse-{name}".encode(), str(count).encode()) for name, count in counts.items()))


def _unzipped(packed: bytes, limit: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=GZIP_WINDOW)
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise NotJson("The body is not valid gzip.") from error
    if len(body) > limit:
        raise BodyTooLarge(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise NotJson("The body is not one whole gzip stream.")
    return body
