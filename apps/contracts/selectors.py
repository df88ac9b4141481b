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

    A phase follows the list price as it changes; a grandfathered one pays what was in force when it was, as known then.
    """
    if phase.grandfathered_at is not None:
        on, known_at = local_date(phase.grandfathered_at, zone), phase.grandfathered_at
    return version_in_force(versions, currency=currency, on=on, known_at=known_at)
