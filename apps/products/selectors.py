"""Reads over the catalogue."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable

from apps.products.models import Price, PriceVersion


def version_in_force(
    versions: Iterable[PriceVersion], *, currency: str, on: dt.date, known_at: dt.datetime
) -> PriceVersion | None:
    """The price version that holds in a currency on a day, as known at an instant: the latest day, then the latest
    recorded."""
    candidates = [
        version
        for version in versions
        if version.currency == currency
        and version.recorded_at <= known_at
        and (version.effective_from is None or version.effective_from <= on)
    ]
    return max(
        candidates,
        key=lambda version: (version.effective_from or dt.date.min, version.recorded_at, version.pk),
        default=None,
    )


def prices_by_plan_version(plan_version_ids: Collection[int]) -> dict[int, list[Price]]:
    """Every price of the plan versions in invoice order, with product, metric, versions and tiers loaded."""
    found: defaultdict[int, list[Price]] = defaultdict(list)
    prices = (
        Price.objects.filter(plan_version__in=set(plan_version_ids))
        .select_related("product", "metric", "pricing_unit")
        .prefetch_related("versions__tiers", "versions__rows", "metric__versions")
        .order_by("position", "id")
    )
    for price in prices:
        for version in price.versions.all():
            version.price = price  # the pricing unit is read through the version
        found[price.plan_version_id].append(price)
    return found
