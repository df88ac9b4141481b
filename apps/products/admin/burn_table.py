"""The burn table of a pricing unit: what each action takes, and what that is worth."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from apps.common.admin import Panel, register_panel
from apps.common.formatting import format_money
from apps.products.models import PlanStatus, PlanVersion, PriceVersion, PricingUnit
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.wording import included_in_words, price_in_words


@dataclass(frozen=True, slots=True)
class BurnRow:
    """One action: what it takes in the unit, what is included, and what one unit is worth in each currency."""

    price_version: PriceVersion
    takes: tuple[str, ...]
    included: str
    worth: tuple[str, ...]


def burn_table(unit: PricingUnit, *, now: dt.datetime) -> list[tuple[PlanVersion, list[BurnRow]]]:
    """The prices in a unit that hold now, by plan version, those on sale and drafts."""
    versions = list(
        PlanVersion.objects.filter(prices__pricing_unit=unit)
        .exclude(status=PlanStatus.ARCHIVED)
        .select_related("plan")
        .distinct()
    )
    prices = prices_by_plan_version([version.pk for version in versions])
    table = []
    for plan_version in versions:
        rows = []
        for price in prices.get(plan_version.pk, []):
            if price.pricing_unit_id != unit.pk:
                continue
            price.plan_version = plan_version
            rows.extend(_row(price.versions.all(), plan_version, now))
        table.append((plan_version, rows))
    return table


def _row(versions: Any, plan_version: PlanVersion, now: dt.datetime) -> list[BurnRow]:
    """One row of a price: what it takes is the same in every currency, what that is worth is not."""
    held = [
        found
        for currency in plan_version.currencies
        if (found := version_in_force(versions, currency=currency, on=now.date(), known_at=now)) is not None
    ]
    if not held:
        return []
    worth = [
        format_money(version.pricing_unit_rate, version.currency)
        for version in held
        if version.pricing_unit_rate is not None
    ]
    return [BurnRow(held[0], tuple(price_in_words(held[0])), included_in_words(held[0]), tuple(worth))]


def render_burn_table(request: HttpRequest, unit: PricingUnit) -> str:
    context = {"unit": unit, "table": burn_table(unit, now=timezone.now())}
    return render_to_string("admin/products/burn_table.html", context, request=request)


register_panel("products.PricingUnit", Panel(title="Burn table", render=render_burn_table, order=10))
