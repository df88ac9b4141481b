"""Correcting stored events: voiding them, and putting others in their place.

An event is never changed. One that is voided stays in the log and counts no more; one that is replaced is voided, and
a row of its own counts instead. Both take effect at one instant, so that a cutoff before it still finds what counted
then. Usage follows in the same transaction.

Locks are taken in one order: that of the cache, the stamp, then the events. Folding and rebuilding stand back
meanwhile; ingestion and reads do not.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F

from apps.billable_metrics import catalogue
from apps.billable_metrics.models import MetricVersion
from apps.common.database import raw_cursor, row_by_row
from apps.common.errors import BillingError, InvalidInput
from apps.common.history import acting
from apps.customers.selectors import customers_by_subject
from apps.usage.cloudevents import Rules, check_events, decode_json
from apps.usage.events import EventInput, canonical_json
from apps.usage.models import CorrectionKind, UsageCorrection
from apps.usage.names import note_event_types
from apps.usage.partitions import ensure_months, refuse_archived
from apps.usage.selectors.events import EventPlace, EventQuery, places_of
from apps.usage.services.cache import CACHE_LOCK, rebuild
from apps.usage.services.recording import IDS_AT_ONCE, begin

CORRECT_AT_ONCE = 5_000
MOST_CORRECTED = 100_000
DAY = dt.timedelta(days=1)

# Found by the index on customers, or on subjects; rows that were attributed since are looked for by their ID.
_LOCK = """
    SELECT event.id, event.occurred_at, event.source_id, event.event_id, event.type, event.subject, event.customer_id,
           event.data::text, event.voided_at, event.tableoid, event.ctid::text
    FROM unnest(%b::bigint[], %b::timestamptz[], %b::bigint[], %b::text[], %b::text[])
        AS chosen(id, occurred_at, customer_id, type, subject)
    JOIN usage_event event ON event.type = chosen.type AND event.occurred_at = chosen.occurred_at
        AND event.id = chosen.id AND {index}
    WHERE event.occurred_at >= %b AND event.occurred_at <= %b
    FOR UPDATE OF event
"""
_OF_CUSTOMER = "event.customer_id = chosen.customer_id"
_OF_SUBJECT = "event.customer_id IS NULL AND event.subject = chosen.subject"
_LOCK_ONE = """
    SELECT id, occurred_at, source_id, event_id, type, subject, customer_id, data::text, voided_at, tableoid,
           ctid::text
    FROM usage_event WHERE id = %b AND occurred_at = %b FOR UPDATE
"""

# Rows that this transaction has locked stay where they are, so the place of each is the quickest way to it. The event
# time tells its partition.
_VOID = """
    UPDATE usage_event event SET voided_at = %b::timestamptz, correction_id = %b
    FROM unnest(%b::oid[], %b::text[]::tid[], %b::timestamptz[]) AS locked(partition, place, occurred_at)
    WHERE event.ctid = locked.place AND event.tableoid = locked.partition AND event.occurred_at = locked.occurred_at
"""

_REPLACE = """
    INSERT INTO usage_event (stored_at, attributed_at, id, replaces_id, source_id, event_id, type, subject,
                             customer_id, occurred_at, data)
    SELECT %b::timestamptz, CASE WHEN customer_id IS NOT NULL THEN %b::timestamptz END, id, replaces_id, source_id,
           event_id, type, subject, customer_id, occurred_at, data::jsonb
    FROM unnest(%b::bigint[], %b::bigint[], %b::integer[], %b::text[], %b::text[], %b::text[], %b::bigint[],
                %b::timestamptz[], %b::text[])
        AS given(id, replaces_id, source_id, event_id, type, subject, customer_id, occurred_at, data)
"""


class EventIsVoided(BillingError):
    """A correction of what was corrected before."""

    code = "event_is_voided"

    def __init__(self, event_ids: Sequence[str]) -> None:
        named = f"“{event_ids[0]}”" if len(event_ids) == 1 else f"{len(event_ids):,} of these events"
        verb = "is" if len(event_ids) == 1 else "are"
        super().__init__(f"{named} {verb} voided already, so there is nothing to correct. Look for what replaced it.")


class EventNotFound(BillingError):
    code = "event_not_found"
    status = 404

    def __init__(self, count: int) -> None:
        said = f"{count:,} event{'s' if count > 1 else ''} to correct cannot be found." if count else "Choose an event."
        super().__init__(said)


class TooManyEvents(BillingError):
    code = "too_many_events"

    def __init__(self) -> None:
        super().__init__(f"At most {MOST_CORRECTED:,} events are corrected at once. Choose fewer, such as one day.")


@dataclass(frozen=True, slots=True)
class EventChanges:
    """What a replacement says otherwise than its event; None: the same."""

    type: str | None = None
    subject: str | None = None
    occurred_at: dt.datetime | None = None
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Locked:
    """An event that this transaction has locked, and where it lies."""

    id: int
    occurred_at: dt.datetime
    source_id: int
    event_id: str
    type: str
    subject: str
    customer_id: int | None
    data: str
    voided_at: dt.datetime | None
    partition: int
    place: str


@dataclass(frozen=True, slots=True)
class _Reason:
    """Who corrects, and why: the same for every chunk of a large correction."""

    kind: CorrectionKind
    text: str
    actor: User | None
    selection: str


# --- What staff and programs call ------------------------------------------------------------------------------------


def void_events(
    *, events: Collection[EventPlace], reason: str, actor: User | None, selection: str = ""
) -> UsageCorrection:
    """Void these events, all or none: from now on they do not count."""
    if len(events) > CORRECT_AT_ONCE:
        raise TooManyEvents
    return _correct_all([(event, None) for event in events], _why(CorrectionKind.VOID, reason, actor, selection))


def replace_event(*, event: EventPlace, changes: EventChanges, reason: str, actor: User | None) -> UsageCorrection:
    """Void an event, and have another with the same source and ID count in its place."""
    return replace_events(replacements=[(event, changes)], reason=reason, actor=actor)


def replace_events(
    *, replacements: Sequence[tuple[EventPlace, EventChanges]], reason: str, actor: User | None, selection: str = ""
) -> UsageCorrection:
    """Replace these events, all or none."""
    if len(replacements) > CORRECT_AT_ONCE:
        raise TooManyEvents
    return _correct_all(replacements, _why(CorrectionKind.REPLACE, reason, actor, selection))


def correct_in_chunks(
    *,
    corrections: Sequence[tuple[EventPlace, EventChanges | None]],
    kind: CorrectionKind,
    reason: str,
    actor: User | None,
    selection: str,
) -> UsageCorrection | None:
    """Void or replace many events, in chunks that are each a transaction. What was voided meanwhile is left out.

    Stopped in between, whole chunks are corrected, and the correction says how many events that were. None: there was
    nothing left to correct.
    """
    if len(corrections) > MOST_CORRECTED:
        raise TooManyEvents
    why = _why(kind, reason, actor, selection)
    correction = None
    # Days of one customer stand together, so that few chunks touch the same buckets.
    ordered = sorted(corrections, key=lambda item: (item[0].customer_id or 0, item[0].occurred_at, item[0].id))
    for start in range(0, len(ordered), CORRECT_AT_ONCE):
        chunk = ordered[start : start + CORRECT_AT_ONCE]
        correction = _correct(chunk, why, correction=correction, skips_voided=True) or correction
    return correction


def correct_matching(
    *, query: EventQuery, expected: int, changes: EventChanges | None, reason: str, actor: User | None
) -> UsageCorrection:
    """Void, or change alike, every event of a query. ``expected`` is how many its reader was told.

    Raises SelectionChanged when there are others by now, so that nothing is corrected that nobody has seen.
    """
    kind = CorrectionKind.VOID if changes is None else CorrectionKind.REPLACE
    _why(kind, reason, actor, "")
    places = places_of(query, limit=MOST_CORRECTED + 1)
    if len(places) > MOST_CORRECTED:
        raise TooManyEvents
    if len(places) != expected or not places:
        raise SelectionChanged(expected, len(places))
    correction = correct_in_chunks(
        corrections=[(place, changes) for place in places],
        kind=kind,
        reason=reason,
        actor=actor,
        selection=query.describe(),
    )
    if correction is None:
        raise SelectionChanged(expected, 0)
    return correction


class SelectionChanged(BillingError):
    code = "selection_changed"

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"You were shown {expected:,} events, and there are {found:,} by now. Nothing was corrected; look again."
        )


# --- One transaction -------------------------------------------------------------------------------------------------


def _why(kind: CorrectionKind, reason: str, actor: User | None, selection: str) -> _Reason:
    text = reason.strip()
    if not text:
        raise InvalidInput("Say why: the reason stays with the events.", field="reason")
    return _Reason(kind, text, actor, selection)


def _correct_all(corrections: Sequence[tuple[EventPlace, EventChanges | None]], why: _Reason) -> UsageCorrection:
    correction = _correct(corrections, why, correction=None, skips_voided=False)
    if correction is None:
        raise EventNotFound(0)
    return correction


def _correct(
    corrections: Sequence[tuple[EventPlace, EventChanges | None]],
    why: _Reason,
    *,
    correction: UsageCorrection | None,
    skips_voided: bool,
) -> UsageCorrection | None:
    """Correct one chunk. ``correction`` is the row that a former chunk began."""
    changes = {place.id: changed for place, changed in corrections}
    _make_room([(place, changed) for place, changed in corrections if changed is not None])
    with acting(why.actor, reason=why.text), transaction.atomic():
        stamp, ids = _begin(sum(changed is not None for changed in changes.values()))
        locked = _lock([place for place, _ in corrections])
        if len(locked) < len(changes):
            raise EventNotFound(len(changes) - len(locked))
        voided = [event.event_id for event in locked if event.voided_at is not None]
        if voided and not skips_voided:
            raise EventIsVoided(voided)
        live = [event for event in locked if event.voided_at is None]
        if not live:
            return None
        given = [(event, _replacement(event, changed)) for event in live if (changed := changes[event.id]) is not None]
        correction = _keep_record(why, stamp, len(live), correction)
        _void(live, correction, stamp)
        touched = [(event.type, event.customer_id, event.occurred_at) for event in live]
        touched += _insert(given, ids, stamp)
        rebuild_usage_of(touched)
        return correction


def _begin(replacements: int) -> tuple[dt.datetime, list[int]]:
    """Take the lock of the cache, then that of the stamp; return the instant, and primary keys for replacements."""
    with raw_cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%b)", [CACHE_LOCK])
    begun = begin(replacements)
    return begun.stamp, [first + offset for first in begun.first_ids for offset in range(IDS_AT_ONCE)]


def _lock(places: Sequence[EventPlace]) -> list[_Locked]:
    found: dict[int, _Locked] = {}
    for index, chosen in (
        (_OF_CUSTOMER, [place for place in places if place.customer_id is not None]),
        (_OF_SUBJECT, [place for place in places if place.customer_id is None]),
    ):
        found |= {event.id: event for event in _lock_by(index, chosen)}
    for place in places:
        if place.id not in found:
            found |= {event.id: event for event in _lock_one(place)}
    return list(found.values())


def _lock_by(index: str, places: Sequence[EventPlace]) -> list[_Locked]:
    if not places:
        return []
    instants = [place.occurred_at for place in places]
    with raw_cursor() as cursor, row_by_row(cursor):
        cursor.execute(
            _LOCK.format(index=index),
            [
                [place.id for place in places],
                instants,
                [place.customer_id for place in places],
                [place.type for place in places],
                [place.subject for place in places],
                min(instants),
                max(instants),
            ],
        )
        return [_Locked(*row) for row in cursor]


def _lock_one(place: EventPlace) -> list[_Locked]:
    with raw_cursor() as cursor:
        cursor.execute(_LOCK_ONE, [place.id, place.occurred_at])
        return [_Locked(*row) for row in cursor]


def _keep_record(
    why: _Reason, stamp: dt.datetime, event_count: int, correction: UsageCorrection | None
) -> UsageCorrection:
    if correction is None:
        return UsageCorrection.objects.create(
            kind=why.kind,
            reason=why.text,
            actor=why.actor,
            created_at=stamp,
            selection=why.selection,
            event_count=event_count,
        )
    UsageCorrection.objects.filter(pk=correction.pk).update(event_count=F("event_count") + event_count)
    correction.event_count += event_count
    return correction


def _void(events: Sequence[_Locked], correction: UsageCorrection, stamp: dt.datetime) -> None:
    with raw_cursor() as cursor, row_by_row(cursor):
        cursor.execute(
            _VOID,
            [
                stamp,
                correction.pk,
                [event.partition for event in events],
                [event.place for event in events],
                [event.occurred_at for event in events],
            ],
        )
        voided = cursor.rowcount
    if voided != len(events):
        raise RuntimeError(f"{voided} of {len(events)} locked events were voided")


_Touched = tuple[str, int | None, dt.datetime]


def _insert(given: Sequence[tuple[_Locked, EventInput]], ids: Sequence[int], stamp: dt.datetime) -> list[_Touched]:
    """Store the replacements, and return what of usage they touch."""
    if not given:
        return []
    customers = customers_by_subject({new.subject for _, new in given})
    with raw_cursor() as cursor:
        cursor.execute(
            _REPLACE,
            [
                stamp,
                stamp,
                list(ids[: len(given)]),
                [event.id for event, _ in given],
                [event.source_id for event, _ in given],
                [event.event_id for event, _ in given],
                [new.type for _, new in given],
                [new.subject for _, new in given],
                [customers.get(new.subject) for _, new in given],
                [new.occurred_at for _, new in given],
                [canonical_json(new.data).decode() for _, new in given],
            ],
        )
    return [(new.type, customers.get(new.subject), new.occurred_at) for _, new in given]


# --- Replacements ----------------------------------------------------------------------------------------------------


def _make_room(replacements: Sequence[tuple[EventPlace, EventChanges]]) -> None:
    """Make the names and partitions that replacements need, before any lock is taken. Checks what is new in them."""
    months, types = set(), set()
    for place, changed in replacements:
        occurred_at = changed.occurred_at or place.occurred_at
        new = check_replacement(
            event_id="new",
            event_type=changed.type or "same",
            subject=changed.subject or "same",
            occurred_at=occurred_at,
            data=changed.data or {},
            original_at=place.occurred_at,
        )
        months.add((new.occurred_at.astimezone(dt.UTC).year, new.occurred_at.astimezone(dt.UTC).month))
        if changed.type:
            types.add(changed.type)
    if months:
        refuse_archived(months)
    note_event_types(types)
    ensure_months(months)


def _rules(original: dt.datetime) -> Rules:
    """What the API holds events against. An event may keep its own time, however old."""
    now = dt.datetime.now(dt.UTC)
    return Rules(
        now=now,
        earliest=min(original, now - dt.timedelta(days=settings.EVENTS_MAX_AGE_DAYS)),
        latest=max(original, now + dt.timedelta(hours=settings.EVENTS_MAX_AHEAD_HOURS)),
        summed=catalogue.current().numeric_properties,
    )


def check_replacement(
    *, event_id: str, event_type: str, subject: str, occurred_at: dt.datetime, data: Any, original_at: dt.datetime
) -> EventInput:
    """A replacement as it would be stored. Raises InvalidInput where the API would refuse it as an event."""
    sent = {
        "id": event_id,
        "source": "correction",
        "type": event_type,
        "subject": subject,
        "time": occurred_at.isoformat(),
        "data": data,
    }
    checked = check_events([sent], _rules(original_at), requires_specversion=False)
    if checked.faults:
        fault = checked.faults[0]
        raise InvalidInput(f"{fault.detail}", field=(fault.field or "").partition(".")[0] or None)
    [event] = checked.events
    return event


def _replacement(event: _Locked, changes: EventChanges) -> EventInput:
    stored = decode_json(event.data.encode())
    new = check_replacement(
        event_id=event.event_id,
        event_type=event.type if changes.type is None else changes.type,
        subject=event.subject if changes.subject is None else changes.subject,
        occurred_at=event.occurred_at if changes.occurred_at is None else changes.occurred_at,
        data=stored if changes.data is None else changes.data,
        original_at=event.occurred_at,
    )
    same = (new.type, new.subject, new.occurred_at) == (event.type, event.subject, event.occurred_at)
    if same and canonical_json(new.data) == canonical_json(stored):
        raise InvalidInput(f"The replacement of “{event.event_id}” says just what the event says. Change something.")
    return new


# --- Usage follows ---------------------------------------------------------------------------------------------------


def rebuild_usage_of(touched: Iterable[_Touched]) -> None:
    """Make the buckets of these types, customers and days anew. The lock of the cache is held by the caller."""
    days: defaultdict[str, defaultdict[dt.datetime, set[int]]] = defaultdict(lambda: defaultdict(set))
    for event_type, customer_id, occurred_at in touched:
        if customer_id is not None:
            utc = occurred_at.astimezone(dt.UTC)
            days[event_type][utc.replace(hour=0, minute=0, second=0, microsecond=0)].add(customer_id)
    for version in MetricVersion.objects.filter(event_type__in=list(days)).order_by("pk"):
        for start_at, end_at, customer_ids in _stretches(days[version.event_type]):
            rebuild(version, start_at=start_at, end_at=end_at, customer_ids=customer_ids)


def _stretches(days: Mapping[dt.datetime, set[int]]) -> Iterator[tuple[dt.datetime, dt.datetime, set[int]]]:
    """Days in a row that have the same customers, as one stretch each."""
    ordered = sorted(days)
    at = 0
    while at < len(ordered):
        end = at + 1
        while end < len(ordered) and ordered[end] == ordered[end - 1] + DAY and days[ordered[end]] == days[ordered[at]]:
            end += 1
        yield ordered[at], ordered[end - 1] + DAY, days[ordered[at]]
        at = end
