"""Giving stored events to the customers that their subjects have become."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Mapping

from django.contrib.auth.models import User
from django.db import transaction

from apps.billable_metrics import catalogue
from apps.common.database import raw_cursor, row_by_row
from apps.common.errors import InvalidInput
from apps.common.history import acting
from apps.common.jobs import enqueue_after_commit
from apps.customers.models import Customer
from apps.customers.selectors import customers_by_subject
from apps.customers.services import add_alias
from apps.usage.cloudevents import decode_json
from apps.usage.deltas import HOUR, CountedEvent, Deltas
from apps.usage.models import IgnoredKind, IgnoredUsage
from apps.usage.selectors.unattributed import unattributed_subjects
from apps.usage.selectors.windows import micros
from apps.usage.services.recording import begin

ATTRIBUTE_AT_ONCE = 5_000
ATTRIBUTE_WHILE_WAITING = 20_000
SUBJECTS_AT_ONCE = 1_000

# What is found is locked, so its place is the quickest way back to it; the event time tells its partition. An event
# that moved since the statement began is left for the next round.
_ATTRIBUTE = """
    UPDATE usage_event event SET customer_id = found.customer_id, attributed_at = %b::timestamptz
    FROM (
        SELECT waiting.tableoid AS partition, waiting.ctid AS place, waiting.occurred_at, known.customer_id
        FROM unnest(%b::text[], %b::bigint[]) AS known(subject, customer_id)
        JOIN usage_event waiting ON waiting.subject = known.subject AND waiting.customer_id IS NULL
        WHERE waiting.voided_at IS NULL
        LIMIT %b
        FOR UPDATE OF waiting SKIP LOCKED
    ) found
    WHERE event.ctid = found.place AND event.tableoid = found.partition AND event.occurred_at = found.occurred_at
    RETURNING event.id, event.customer_id, event.occurred_at, event.type, event.data::text
"""


def attribute_events() -> int:
    """Give stored events to the customers that their subjects have become, and return how many there were."""
    attributed, after = 0, ""
    while subjects := unattributed_subjects(after=after, limit=SUBJECTS_AT_ONCE):
        known = customers_by_subject(subjects)
        while known and (count := _attribute_some(known)):
            attributed += count
        after = subjects[-1]
    return attributed


def attribute_subject(*, subject: str, customer: Customer, actor: User | None) -> tuple[int, bool]:
    """Give a subject to a customer, by an alias, and its events with it; also those of long ago.

    Returns how many were attributed at once, and whether that was all: the rest is left to the job.
    """
    add_alias(customer=customer, alias=subject, actor=actor, reason="Matched from the list of unattributed usage")
    attributed = 0
    while attributed < ATTRIBUTE_WHILE_WAITING:
        count = _attribute_some({subject: customer.pk})
        attributed += count
        if count < ATTRIBUTE_AT_ONCE:
            return attributed, True
    enqueue_after_commit("usage.attribute_events")
    return attributed, False


def ignore_usage(*, kind: IgnoredKind, name: str, reason: str, actor: User | None, now: dt.datetime) -> IgnoredUsage:
    """Take a subject or a type off the list of what is unattributed. Its events are kept as ever."""
    text = reason.strip()
    if not text:
        raise InvalidInput("Say why this is not billable.", field="reason")
    with acting(actor, reason=text), transaction.atomic():
        ignored, _ = IgnoredUsage.objects.get_or_create(
            kind=kind, name=name, defaults={"reason": text, "actor": actor, "created_at": now}
        )
    return ignored


def heed_usage(*, kind: IgnoredKind, name: str, actor: User | None) -> None:
    """Put an ignored subject or type back on the list."""
    with acting(actor), transaction.atomic():
        IgnoredUsage.objects.filter(kind=kind, name=name).delete()


@transaction.atomic
def _attribute_some(customers: Mapping[str, int]) -> int:
    begun = begin(0)
    known = catalogue.current(begun.edition)
    deltas = Deltas()
    with raw_cursor() as cursor, row_by_row(cursor):
        cursor.execute(_ATTRIBUTE, [begun.stamp, list(customers), list(customers.values()), ATTRIBUTE_AT_ONCE])
        rows = cursor.fetchall()
    by_type: defaultdict[str, list[CountedEvent]] = defaultdict(list)
    for event_pk, customer_id, occurred_at, event_type, data in rows:
        occurred = micros(occurred_at)
        by_type[event_type].append(
            CountedEvent(event_pk, customer_id, occurred, occurred - occurred % HOUR, decode_json(data.encode()))
        )
    for event_type, counted in by_type.items():
        deltas.add(counted, known.by_type.get(event_type, ()))
    deltas.write(stamp=begun.stamp)
    return len(rows)
