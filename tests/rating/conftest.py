"""What tests of rating share: a metric to use, months to use it in, and one way to rate."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.rating.services import rate_period
from apps.rating.values import RatedPeriod
from apps.usage.services import ensure_partitions
from tests.conftest import utc
from tests.factories import BillableMetricFactory

NOVEMBER_15 = utc(2023, 11, 15)
KNOWN_AT = utc(2025, 1, 1)
"""After everything that the tests record."""


@pytest.fixture
def tokens(db: None) -> BillableMetric:
    """A sum of input tokens."""
    metric: BillableMetric = BillableMetricFactory(name="Input tokens")
    return metric


@pytest.fixture
def calls(db: None) -> BillableMetric:
    """A count of API calls."""
    metric: BillableMetric = BillableMetricFactory(
        name="Calls",
        event_type="api.call",
        aggregation="count",
        value_property="",
        unit_singular="call",
        unit_plural="calls",
    )
    return metric


@pytest.fixture
def months(db: None) -> None:
    """Partitions made beforehand, for properties that roll back each example."""
    ensure_partitions(dt.date(2023, 10, 1), dt.date(2024, 4, 1))


def rate_at(
    contract: Contract,
    instant: dt.datetime = NOVEMBER_15,
    *,
    as_of: dt.datetime = KNOWN_AT,
    stored_before: dt.datetime | None = None,
) -> RatedPeriod:
    """Rate the contract's billing period that contains the instant."""
    period = contract.period_at(instant)
    assert period is not None
    return rate_period(contract=contract, period=period, as_of=as_of, stored_before=stored_before)


def amounts_of(rated: RatedPeriod) -> list[tuple[str, str]]:
    """Each line's name and rounded amount, in order."""
    return [(line.price.name, str(line.amount)) for line in rated.lines]
