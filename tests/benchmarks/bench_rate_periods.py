"""Rating from the database against bare arithmetic: python -m tests.benchmarks.bench_rate_periods

Ours is all that is done for a contract's period before an invoice is written: read its terms and prices, cut windows,
read the usage, rate and add up, a hundred contracts at a time as a close does. The limit is the arithmetic of the same
amounts on Decimals that are there already, as in ``bench_rating``; so this ratio says how much of the work of a close
is arithmetic at all. Printed beside it is what reading the usage takes of ours. Both must come to the same amounts.
"""

from __future__ import annotations

import argparse
import datetime as dt
import random
import time
from collections.abc import Iterator
from decimal import Decimal
from unittest.mock import patch

from tests.benchmarks.bench_rating import KINDS, MATRIX, MILLION, UNIT_AMOUNTS, VALUES, bare_per_units
from tests.benchmarks.harness import compare, own_database, report, set_up

set_up()

from django.db import connection  # noqa: E402  (needs the settings)

from apps.billable_metrics.models import Aggregation, BillableMetric  # noqa: E402
from apps.contracts.models import Contract, ContractPhase, ContractStatus  # noqa: E402
from apps.customers.models import Customer  # noqa: E402
from apps.pricing.charge_models.flat import Flat  # noqa: E402
from apps.pricing.charges import Charge  # noqa: E402
from apps.products.models import ChargeModelName, PlanVersion  # noqa: E402
from apps.products.terms import PriceTerms  # noqa: E402
from apps.rating import measuring, services  # noqa: E402
from apps.rating.values import PeriodToRate, RatedPeriod  # noqa: E402
from apps.usage.services import EventInput, ensure_partitions, record_events, settle_cutoff  # noqa: E402
from apps.usage.services.cache import fold_usage  # noqa: E402
from tests.builders import PlannedPrice, published_plan  # noqa: E402
from tests.factories import BillableMetricFactory, BillingEntityFactory  # noqa: E402

FIRST_DAY = dt.date(2025, 1, 1)
AS_OF = dt.datetime(2025, 2, 3, tzinfo=dt.UTC)
AT_ONCE = 100
BATCH_SIZE = 5000
DIMENSIONS = ("model", "direction")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    arguments.add_argument("--contracts", type=int, default=10_000)
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    with own_database("rate_periods"):
        used = _set_up(options.contracts)
        requests = _requests()
        reading: list[float] = []
        if _ours(requests, reading) != _bare(used):
            raise AssertionError("the amounts differ")
        reading.clear()
        score = compare(ours=lambda _: _ours(requests, reading), limit=lambda _: _bare(used), rounds=options.rounds)
    charges = options.contracts * (len(KINDS) + 1)
    read = sum(reading) / options.rounds
    report(
        f"rating from the database, {options.contracts} contracts x {len(KINDS) + 1} charges, {options.rounds} rounds: "
        f"ours over bare Decimals {score}; ours {1e6 * score.ours_seconds / charges:.1f} µs a charge, of which reading "
        f"usage {1e6 * read / charges:.1f} µs; bare {1e6 * score.limit_seconds / charges:.2f} µs"
    )


def _set_up(contracts: int) -> list[list[Decimal]]:
    """Contracts on one plan of ten charges and a month of their usage; what each used, in the order of its lines."""
    metrics: list[BillableMetric] = [
        BillableMetricFactory(
            code=f"metric_{place}",
            event_type="work",
            value_property=f"used_{place}",
            aggregation=Aggregation.SUM,
            group_by=DIMENSIONS if place == len(KINDS) else (),
        )
        for place in range(len(KINDS) + 1)
    ]
    plan = published_plan(*_prices(metrics))
    _add_contracts(contracts, plan)
    ensure_partitions(FIRST_DAY, FIRST_DAY)
    used: list[list[Decimal]] = []
    batch: list[EventInput] = []
    dice = random.Random(7)
    for number in range(contracts):
        quantities, events = _used(number, dice)
        used.append(quantities)
        batch.extend(events)
        if len(batch) > BATCH_SIZE or number == contracts - 1:
            record_events(events=batch, api_key_id=None)
            batch = []
    while fold_usage():
        pass
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return used


def _prices(metrics: list[BillableMetric]) -> Iterator[PlannedPrice]:
    for kind, metric in zip([*KINDS], metrics, strict=False):
        is_fee = isinstance(kind.charge.model, Flat)
        yield PlannedPrice(kind.name, _terms(kind.charge), None if is_fee else metric)
    yield PlannedPrice("matrix", _terms(MATRIX), metrics[-1])


def _terms(charge: Charge) -> PriceTerms:
    """The terms that stand for a charge: its model's fields have the names of the columns."""
    model = charge.model
    names = ("unit_amount", "per_units", "package_size", "rate_percent", "tiers", "dimensions", "rows")
    fields = {name: getattr(model, name) for name in names if hasattr(model, name)}
    if isinstance(model, Flat):
        fields = {"flat_amount": model.amount}
    return PriceTerms(ChargeModelName(model.name), included_units=charge.included_units or None, **fields)


def _add_contracts(count: int, plan: PlanVersion) -> None:
    seller = BillingEntityFactory()
    customers = Customer.objects.bulk_create(
        [
            Customer(external_id=f"customer-{number}", name=f"Customer {number}", billing_entity=seller)
            for number in range(count)
        ],
        batch_size=1000,
    )
    contracts = Contract.objects.bulk_create(
        [
            Contract(
                customer=customer,
                name="Standard",
                status=ContractStatus.ACTIVE,
                currency="USD",
                timezone="UTC",
                start_date=FIRST_DAY,
                closed_through=dt.datetime.combine(FIRST_DAY, dt.time.min, tzinfo=dt.UTC),
            )
            for customer in customers
        ],
        batch_size=1000,
    )
    ContractPhase.objects.bulk_create(
        [ContractPhase(contract=contract, plan_version=plan, start_date=FIRST_DAY) for contract in contracts],
        batch_size=1000,
    )


def _used(number: int, dice: random.Random) -> tuple[list[Decimal], list[EventInput]]:
    """What one contract used of each kind, and by each row of the matrix, with the events that say so."""
    by_kind = [Decimal(dice.randint(1, kind.most)) for kind in KINDS]
    by_row = [Decimal(dice.randint(1, 20_000_000)) for _ in VALUES]
    datas: list[dict[str, object]] = [{f"used_{place}": quantity for place, quantity in enumerate(by_kind)}]
    datas += [
        {f"used_{len(KINDS)}": quantity, "model": model, "direction": direction}
        for quantity, (model, direction) in zip(by_row, VALUES, strict=True)
    ]
    occurred_at = dt.datetime(2025, 1, 15, tzinfo=dt.UTC)
    events = [
        EventInput("bench", f"{number}-{place}", "work", f"customer-{number}", occurred_at, data)
        for place, data in enumerate(datas)
    ]
    return [*by_kind, *by_row], events


def _requests() -> list[PeriodToRate]:
    contracts = Contract.objects.select_related("customer__billing_entity").order_by("pk")
    periods = [(contract, contract.period_at(contract.starts_at)) for contract in contracts]
    return [PeriodToRate(contract, period) for contract, period in periods if period is not None]


def _ours(requests: list[PeriodToRate], reading: list[float]) -> list[list[Decimal]]:
    """Rate all and note how long reading the usage took; what was rated is gone before the next, as in a close."""
    measure = measuring.measure_charges

    def timed(*args: object, **kwargs: object) -> object:
        started = time.perf_counter()
        measured = measure(*args, **kwargs)  # type: ignore[arg-type]
        reading.append(time.perf_counter() - started)
        return measured

    cutoff = settle_cutoff()
    amounts: list[list[Decimal]] = []
    with patch.object(services, "measure_charges", timed):
        for start in range(0, len(requests), AT_ONCE):
            for result in services.rate_periods(requests[start : start + AT_ONCE], as_of=AS_OF, stored_before=cutoff):
                if not isinstance(result, RatedPeriod):
                    raise AssertionError(result.detail)
                amounts.append([line.amount for line in result.lines])
    return amounts


def _bare(used: list[list[Decimal]]) -> list[list[Decimal]]:
    sums = [kind.bare for kind in KINDS]
    return [
        [
            *(bare(quantity) for bare, quantity in zip(sums, quantities, strict=False)),
            *(
                bare_per_units(quantity, unit_amount, MILLION)
                for quantity, unit_amount in zip(quantities[len(sums) :], UNIT_AMOUNTS, strict=True)
            ),
        ]
        for quantities in used
    ]


if __name__ == "__main__":
    main()
