"""Which events came late."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.customers.models import Customer
from apps.usage.models import UsageEvent
from apps.usage.selectors import LateUsage, late_usage
from apps.usage.services import backfill_metrics, fold_usage, record_events
from tests.usage.events import NOON, event

HOUR = dt.timedelta(hours=1)


@pytest.mark.django_db
@pytest.mark.parametrize("is_folded", [True, False])
def test_late_is_a_day_after_the_event_or_after_the_invoice(acme_metric: BillableMetric, is_folded: bool) -> None:
    """Every event here is stored today. The invoice of the first period was issued before that, the other's was not."""
    backfill_metrics()
    acme = Customer.objects.get()
    now = dt.datetime.now(dt.UTC)
    soon = now - HOUR
    record_events(
        events=[event("a"), event("b", at=NOON + HOUR), event("c", at=NOON + 24 * HOUR), event("soon", at=soon)],
        api_key_id=None,
    )
    if is_folded:
        fold_usage()
    stored_at = UsageEvent.objects.first().stored_at  # type: ignore[union-attr]

    late = late_usage(
        customer_id=acme.pk,
        since=NOON - HOUR,
        invoiced=[(NOON, NOON + 2 * HOUR, NOON + 30 * HOUR), (NOON + 23 * HOUR, NOON + 25 * HOUR, now + HOUR)],
    )

    assert late == [
        LateUsage(dt.date(2023, 11, 17), "llm.completion", 1, 0, stored_at),
        LateUsage(dt.date(2023, 11, 16), "llm.completion", 2, 2, stored_at),
    ]
    after_invoice = late_usage(customer_id=acme.pk, since=now - 2 * HOUR, invoiced=[(soon, now, now - HOUR / 2)])
    assert [(row.event_count, row.after_invoice) for row in after_invoice] == [(1, 1)]
    assert late_usage(customer_id=acme.pk, since=now - 2 * HOUR, invoiced=[]) == []
