"""The page that lays plans side by side, and says what the same usage would cost on each."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.utils import timezone

from apps.billable_metrics.models import BillableMetric
from apps.products.admin.base import STATUS_COLOURS
from apps.products.comparison import MOST_PLANS, MOST_TRANSACTIONS, MonthlyUse, compare_plans
from apps.products.models import PlanStatus, PlanVersion

MOST_OFFERED = 500
LARGEST = Decimal(10) ** 18


def compare_page(request: HttpRequest) -> HttpResponse:
    """Up to four plan versions (``v``), one currency, and for each metric a quantity of a month (``q_<key>``)."""
    if not request.user.has_perm("products.view_plan"):
        raise PermissionDenied
    asked = [key for key in request.GET.getlist("v") if key.isdecimal()]
    by_key = {str(version.pk): version for version in PlanVersion.objects.filter(pk__in=asked).select_related("plan")}
    versions = [by_key[key] for key in dict.fromkeys(asked) if key in by_key][:MOST_PLANS]
    currencies = list(dict.fromkeys(currency for version in versions for currency in version.currencies))
    currency = request.GET.get("currency", "")
    if currency not in currencies:
        currency = _first_shared(versions, currencies)
    use, faults = _entered(request.GET)
    comparison = compare_plans(versions, currency=currency, use=use, now=timezone.now()) if versions else None
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": "Compare plans",
        "offered": PlanVersion.objects.exclude(status=PlanStatus.ARCHIVED).select_related("plan")[:MOST_OFFERED],
        "choices": [version.pk for version in versions] + [None] * (MOST_PLANS - len(versions)),
        "currencies": currencies,
        "comparison": comparison,
        "columns": [(version, STATUS_COLOURS[PlanStatus(version.status)]) for version in versions],
        "inputs": [_input(metric, request.GET, comparison, faults) for metric in comparison.metrics]
        if comparison
        else [],
        "differ": len({version.billing_months for version in versions}) > 1,
        "has_one_off": comparison is not None and any(total.once for total in comparison.totals),
        "may_see_price": request.user.has_perm("products.view_priceversion"),
    }
    return TemplateResponse(request, "admin/products/compare.html", context)


def _first_shared(versions: list[PlanVersion], currencies: list[str]) -> str:
    """The first currency in which most of the plans are sold."""
    return max(currencies, key=lambda code: sum(code in version.currencies for version in versions), default="")


def _entered(data: QueryDict) -> tuple[dict[int, MonthlyUse], dict[int, str]]:
    use: dict[int, MonthlyUse] = {}
    faults: dict[int, str] = {}
    for name, text in data.items():
        key = name.removeprefix("q_")
        if name == key or not key.isdecimal() or not str(text).strip():
            continue
        quantity = _quantity(str(text))
        transactions = str(data.get(f"n_{key}", "")).strip() or "1"
        if quantity is None:
            faults[int(key)] = "Enter a number, such as 1500.25, without commas."
        elif not transactions.isdecimal() or not 1 <= int(transactions) <= MOST_TRANSACTIONS:
            faults[int(key)] = f"Enter from 1 to {MOST_TRANSACTIONS:,} transactions."
        else:
            use[int(key)] = MonthlyUse(quantity, int(transactions))
    return use, faults


def _quantity(text: str) -> Decimal | None:
    try:
        quantity = Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        return None
    return quantity if quantity.is_finite() and 0 <= quantity < LARGEST else None


def _input(metric: BillableMetric, data: QueryDict, comparison: Any, faults: dict[int, str]) -> dict[str, Any]:
    return {
        "metric": metric,
        "quantity": data.get(f"q_{metric.pk}", ""),
        "transactions": data.get(f"n_{metric.pk}", ""),
        "asks_transactions": comparison.asks_transactions(metric),
        "fault": faults.get(metric.pk, ""),
        "rows": [row for row in comparison.rows if row.metric == metric],
    }
