"""What changed: the panel of a plan, between its versions and within them, and the history of a price."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from apps.common.admin import Panel, register_panel
from apps.products.admin.version_prices import loaded_versions
from apps.products.changes import plan_changes
from apps.products.history import State, charges_in_force, recorded_by, revisions
from apps.products.models import Plan, PlanVersion, Price, PriceVersion
from apps.products.selectors import prices_by_plan_version
from apps.products.wording import price_in_a_sentence

STATE_COLOURS = {
    State.DRAFT: "warning",
    State.SCHEDULED: "info",
    State.IN_FORCE: "success",
    State.PAST: "default",
    State.SUPERSEDED: "default",
}


def render_changes_of_plan(request: HttpRequest, plan: Plan) -> str:
    """How each version differs from the one before it, and how its prices have changed since it was published."""
    loaded = loaded_versions(request, plan)[::-1]
    versions, prices = [version for version, _ in loaded], {version.pk: found for version, found in loaded}
    now = timezone.now()
    context = {
        "steps": _steps(versions, prices, now)[::-1],
        "histories": _histories(versions, prices, now)[::-1],
    }
    if not context["steps"] and not context["histories"]:
        return ""
    return render_to_string("admin/products/changes.html", context, request=request)


def _steps(versions: list[PlanVersion], prices: Mapping[int, list[Price]], now: dt.datetime) -> list[dict[str, Any]]:
    charges = {version.pk: charges_in_force(prices.get(version.pk, []), now=now) for version in versions}
    return [
        {
            "before": before,
            "after": after,
            "rhythm": [
                (label, old, new)
                for label, old, new in (
                    ("Currencies", ", ".join(before.currencies), ", ".join(after.currencies)),
                    ("Billing interval", before.get_billing_months_display(), after.get_billing_months_display()),
                )
                if old != new
            ],
            "found": plan_changes(charges[before.pk], charges[after.pk]),
        }
        for before, after in pairwise(versions)
    ]


def _histories(
    versions: list[PlanVersion], prices: Mapping[int, list[Price]], now: dt.datetime
) -> list[dict[str, Any]]:
    """The prices that have changed since they were published, of each version that has such."""
    changed = {
        version.pk: [price for price in prices.get(version.pk, []) if _has_changed(price)] for version in versions
    }
    all_changed = [price.pk for found in changed.values() for price in found]
    authors = recorded_by(all_changed) if all_changed else {}
    return [
        {
            "version": version,
            "prices": [
                (price, [(code, rows) for code, rows in _shown(price, now, authors) if len(rows) > 1])
                for price in changed[version.pk]
            ],
        }
        for version in versions
        if changed[version.pk]
    ]


def _has_changed(price: Price) -> bool:
    return len(price.versions.all()) > len({version.currency for version in price.versions.all()})


def _shown(price: Price, now: dt.datetime, authors: dict[int, str]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each currency of a price with its revisions, the newest first."""
    return [
        (
            currency,
            [
                {
                    "revision": revision,
                    "colour": STATE_COLOURS[revision.state],
                    "sentence": price_in_a_sentence(revision.version) if revision.is_first else "",
                }
                for revision in found
            ],
        )
        for currency, found in revisions(price, now=now, authors=authors).items()
        if found
    ]


def render_history_of_price(request: HttpRequest, version: PriceVersion) -> str:
    """Every version of a price, by currency: what changed, who recorded it, when and why."""
    [price] = [
        price
        for price in prices_by_plan_version([version.price.plan_version_id])[version.price.plan_version_id]
        if price.pk == version.price_id
    ]
    price.plan_version = version.price.plan_version
    shown = _shown(price, timezone.now(), recorded_by([price.pk]))
    context = {"currencies": shown, "this": version, "plan_version": price.plan_version}
    return render_to_string("admin/products/price_history.html", context, request=request)


register_panel("products.Plan", Panel(title="What changed", render=render_changes_of_plan, order=30))
register_panel("products.PriceVersion", Panel(title="History of this price", render=render_history_of_price, order=20))
