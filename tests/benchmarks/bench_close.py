"""Closing against the same aggregation and inserts in bare SQL: python -m tests.benchmarks.bench_close

Each round closes one month of every contract. Ours is a whole close: find what is due, settle the cutoff, rate,
write drafts and lines with their constraints, triggers and history, and move the contracts on. The limit is two
SQL statements that aggregate the same usage and insert as many invoices and lines into tables with the same columns
and indexes and no trigger, foreign key or history. Both must come to the same total, to the cent, which
makes the SQL an independent check of the rating. It makes, and removes, a database of its own.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
from collections.abc import Iterator
from decimal import Decimal

from tests.benchmarks.harness import compare, own_database, report, set_up

set_up()

from django.db import connection  # noqa: E402  (needs the settings)
from django.db.models import Sum  # noqa: E402

from apps.billable_metrics.models import Aggregation  # noqa: E402
from apps.closing.services import start_close_run, work_run  # noqa: E402
from apps.invoices.models import Invoice  # noqa: E402
from apps.pricing.periods import add_months  # noqa: E402
from apps.usage.services import EventInput, ensure_partitions, record_events  # noqa: E402
from tests.builders import active_contract, flat_fee, per_unit, published_plan  # noqa: E402
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory  # noqa: E402

FIRST_MONTH = dt.date(2025, 1, 1)
PROPERTIES = {"input_tokens": "2.50", "output_tokens": "10.00", "cached_tokens": "0.25", "images": "40000.00"}
BATCH_SIZE = 5000

# The same columns and indexes, but only what the bare statements fill has to be there.
BARE_TABLES = """
    CREATE TABLE bare_invoice (LIKE invoices_invoice INCLUDING INDEXES INCLUDING IDENTITY);
    CREATE TABLE bare_line (LIKE invoices_invoiceline INCLUDING INDEXES INCLUDING IDENTITY);
    DO $$ DECLARE filled record; BEGIN
        FOR filled IN
            SELECT table_name, column_name FROM information_schema.columns
            WHERE table_name IN ('bare_invoice', 'bare_line') AND is_nullable = 'NO' AND column_name <> 'id'
        LOOP
            EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP NOT NULL', filled.table_name, filled.column_name);
        END LOOP;
    END $$;
"""
BARE_INVOICES = """
    INSERT INTO bare_invoice (contract_id, customer_id, status, currency, total, subtotal, period_start_at)
    SELECT id, customer_id, 'draft', 'USD', 0, 0, %(start)s FROM contracts_contract
"""
BARE_LINES = """
    INSERT INTO bare_line (invoice_id, position, description, quantity, event_count, exact_amount, amount)
    SELECT invoice.id, price.position, price.name, usage.quantity, usage.events,
           usage.quantity * price.amount / 1000000, round(usage.quantity * price.amount / 1000000, 2)
    FROM bare_invoice invoice
    CROSS JOIN (VALUES {prices}) AS price(position, name, amount)
    CROSS JOIN LATERAL (
        SELECT coalesce(sum((event.data ->> price.name)::numeric), 0) AS quantity, count(*) AS events
        FROM usage_event event
        WHERE event.customer_id = invoice.customer_id AND event.type = 'llm.completion'
          AND event.occurred_at >= %(start)s AND event.occurred_at < %(end)s
    ) usage
    WHERE invoice.period_start_at = %(start)s
    UNION ALL
    SELECT id, 0, 'Platform fee', 0, 0, 49, 49 FROM bare_invoice WHERE period_start_at = %(start)s
"""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("--contracts", type=int, default=1000)
    arguments.add_argument("--events", type=int, default=20, help="events of each contract in each month")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    with own_database("close"):
        _set_up(options.contracts, options.events, options.rounds)
        score = compare(ours=_close, limit=_bare, rounds=options.rounds)
        _check_totals()
    lines = len(PROPERTIES) + 1
    report(
        f"close, {options.contracts} contracts x {lines} charges, {options.rounds} rounds: ours over bare SQL {score}; "
        f"ours {options.contracts / score.ours_seconds:,.0f} contracts/s "
        f"({1000 * score.ours_seconds / options.contracts:.2f} ms each), "
        f"bare SQL {options.contracts / score.limit_seconds:,.0f} contracts/s"
    )


def _set_up(contracts: int, events: int, rounds: int) -> None:
    metrics = [
        BillableMetricFactory(code=name, name=name, value_property=name, aggregation=Aggregation.SUM)
        for name in PROPERTIES
    ]
    prices = [
        per_unit(metric, amount, per=1_000_000) for metric, amount in zip(metrics, PROPERTIES.values(), strict=True)
    ]
    plan = published_plan(flat_fee("49.00"), *prices)
    seller = BillingEntityFactory()
    for number in range(contracts):
        customer = CustomerFactory(external_id=f"customer-{number}", billing_entity=seller)
        active_contract(plan, customer=customer, start=FIRST_MONTH)
    ensure_partitions(FIRST_MONTH, add_months(FIRST_MONTH, rounds))
    batch: list[EventInput] = []
    for event in _generated(contracts, events, rounds):
        batch.append(event)
        if len(batch) == BATCH_SIZE:
            record_events(events=batch, api_key_id=None)
            batch = []
    record_events(events=batch, api_key_id=None)
    with connection.cursor() as cursor:
        cursor.execute(BARE_TABLES)
        cursor.execute("ANALYZE")


def _generated(contracts: int, events: int, rounds: int) -> Iterator[EventInput]:
    dice = random.Random(7)
    for month in range(rounds):
        start, end = _bounds(month)
        for contract in range(contracts):
            for number in range(events):
                yield EventInput(
                    source="bench",
                    event_id=f"{month}-{contract}-{number}",
                    type="llm.completion",
                    subject=f"customer-{contract}",
                    occurred_at=start + (end - start) * dice.random(),
                    data={name: dice.randrange(1, 50_000) for name in PROPERTIES},
                )


def _bounds(month: int) -> tuple[dt.datetime, dt.datetime]:
    start, end = (
        dt.datetime.combine(add_months(FIRST_MONTH, index), dt.time.min, tzinfo=dt.UTC) for index in (month, month + 1)
    )
    return start, end


def _close(month: int) -> None:
    _, end = _bounds(month)
    now = end + dt.timedelta(days=2)
    run = start_close_run(as_of=now)
    work_run(run_id=run.pk, now=now)


def _bare(month: int) -> None:
    start, end = _bounds(month)
    prices = ", ".join(
        f"({position}, '{name}', {amount})" for position, (name, amount) in enumerate(PROPERTIES.items(), start=1)
    )
    with connection.cursor() as cursor:
        cursor.execute(BARE_INVOICES, {"start": start})
        cursor.execute(BARE_LINES.format(prices=prices), {"start": start, "end": end})


def _check_totals() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT sum(amount) FROM bare_line")
        [bare] = cursor.fetchone()
    ours: Decimal = Invoice.objects.aggregate(total=Sum("total"))["total"]
    if bare != ours:
        raise AssertionError(f"the close came to {ours}, the SQL to {bare}")


if __name__ == "__main__":
    main()
