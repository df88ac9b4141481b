"""Reads over contracts: which prices they pay."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

from apps.contracts.models import ContractPhase
from apps.pricing.periods import local_date
from apps.products.models import PriceVersion
from apps.products.selectors import version_in_force


def price_version_paid(
    phase: ContractPhase,
    versions: Iterable[PriceVersion],
    *,
    currency: str,
    zone: str,
    on: dt.date,
    known_at: dt.datetime,
) -> PriceVersion | None:
    """The version of a price that a phase pays on a day, as known at an instant.

    A phase follows the list price as it changes. A grandfathered one does so up to the day it was, and from then on
    pays what was in force then, as known then.
    """
    if phase.grandfathered_at is not None:
        on = min(on, local_date(phase.grandfathered_at, zone))
        known_at = min(known_at, phase.grandfathered_at)
    return version_in_force(versions, currency=currency, on=on, known_at=known_at)


def days_of_price_changes(
    phase: ContractPhase, versions: Iterable[PriceVersion], *, currency: str, zone: str, known_at: dt.datetime
) -> set[dt.date]:
    """The days on which a phase may begin to pay another version of a price, as known at an instant."""
    last = dt.date.max
    if phase.grandfathered_at is not None:
        last, known_at = local_date(phase.grandfathered_at, zone), min(known_at, phase.grandfathered_at)
    return {
        version.effective_from
        for version in versions
        if version.currency == currency
        and version.effective_from is not None
        and version.effective_from <= last
        and version.recorded_at <= known_at
    }
