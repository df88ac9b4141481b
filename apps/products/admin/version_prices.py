"""The panel of a plan's page with its versions, each with its price list: all currencies side by side."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from apps.common.admin import Panel, register_panel
from apps.products.admin.base import MODEL_WORDS, STATUS_COLOURS
from apps.products.models import ChargeModelName, Plan, PlanStatus, PlanVersion, Price, PriceVersion
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.wording import bounds_in_words, effective_in_words, included_in_words, price_in_words


def loaded_versions(request: HttpRequest, plan: Plan) -> list[tuple[PlanVersion, list[Price]]]:
    """The plan's versions, newest first, each with its prices: read once for all panels of a page."""
    known: dict[int, list[tuple[PlanVersion, list[Price]]]] = request.__dict__.setdefault("ch_plan_versions", {})
    if plan.pk not in known:
        versions = list(plan.versions.select_related("plan").order_by("-number"))
        prices = prices_by_plan_version([version.pk for version in versions])
        for version in versions:
            for price in prices.get(version.pk, []):
                price.plan_version = version
        known[plan.pk] = [(version, prices.get(version.pk, [])) for version in versions]
    return known[plan.pk]


def render_versions(request: HttpRequest, plan: Plan) -> str:
    """The plan's versions, newest first, each with its price list."""
    now = timezone.now()
    shown = [
        {
            "version": version,
            "colour": STATUS_COLOURS[PlanStatus(version.status)],
            "lines": [_line(price, now) for price in prices],
        }
        for version, prices in loaded_versions(request, plan)
    ]
    permissions = {
        "add_price": request.user.has_perm("products.add_priceversion"),
        "publish": request.user.has_perm("products.change_planversion"),
    }
    return render_to_string("admin/products/versions.html", {"versions": shown, "may": permissions}, request=request)


def _line(price: Price, now: dt.datetime) -> dict[str, Any]:
    """A price with its amounts in each currency of its plan side by side: what holds, and what is scheduled."""
    recorded = list(price.versions.all())
    cells = [_amounts(price, recorded, currency, now) for currency in price.plan_version.currencies]
    shown = next((cell["current"] or cell["scheduled"][0]["version"] for cell in cells if not cell["is_missing"]), None)
    return {
        "price": price,
        "model": MODEL_WORDS[ChargeModelName(shown.charge_model)] if shown else "–",
        "shown": shown,
        "cells": cells,
    }


def _amounts(price: Price, recorded: list[PriceVersion], currency: str, now: dt.datetime) -> dict[str, Any]:
    current = version_in_force(recorded, currency=currency, on=now.date(), known_at=now)
    days = sorted(
        {
            version.effective_from
            for version in recorded
            if version.currency == currency
            and version.effective_from is not None
            and version.effective_from > now.date()
        }
    )
    scheduled = [version_in_force(recorded, currency=currency, on=day, known_at=now) for day in days]
    return {
        "currency": currency,
        "current": current,
        "words": _words(current) if current else None,
        "scheduled": [_words(version) for version in scheduled if version is not None],
        "is_missing": current is None and not any(scheduled),
    }


def _words(version: PriceVersion) -> dict[str, Any]:
    return {
        "version": version,
        "amounts": price_in_words(version),
        "included": included_in_words(version),
        "bounds": bounds_in_words(version),
        "effective": effective_in_words(version),
    }


register_panel("products.Plan", Panel(title="Versions and prices", render=render_versions, order=10))
