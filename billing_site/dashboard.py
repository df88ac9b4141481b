"""The first page of the admin: what finance wants to know first thing in the morning.

Each part is a few indexed reads, shows itself to those who may see its rows, and says something useful when
there is nothing yet.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.db.models import Count, QuerySet, Sum
from django.db.models.functions import TruncMonth
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from apps.access.models import ApiKey
from apps.billable_metrics.models import BillableMetric
from apps.closing.models import CloseRun
from apps.closing.selectors import run_progress
from apps.common.formatting import format_money
from apps.contracts.models import Contract
from apps.customers.models import BillingEntity, Customer
from apps.invoices.models import Invoice, InvoiceStatus
from apps.products.models import PlanStatus, PlanVersion, Product
from apps.usage.models import UsageEvent
from apps.usage.selectors import unattributed_subjects
from apps.usage.selectors.explorer import newest_events
from billing_site.navigation import BADGE_LIMIT

MONTHS_SHOWN = 6
# The live count goes no further than this.
EVENTS_COUNTED = 50_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A number to act on, with a sentence under it and the page behind it."""

    label: str
    value: str
    notes: tuple[str, ...]
    url: str
    is_warning: bool = False


@dataclass(frozen=True, slots=True)
class MonthBar:
    """What was billed in one month. ``percent`` is its share of the highest month shown."""

    label: str
    amount: str
    percent: int
    is_current: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step of setting up, ticked once it is done."""

    name: str
    hint: str
    url: str
    is_done: bool


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Fill the context of ``admin/index.html`` with the parts that the user may see."""
    now = timezone.now()

    def may(permission: str) -> bool:
        return request.user.has_perm(permission)

    figures = []
    if may("invoices.view_invoice"):
        figures.append(drafts_to_review())
    if may("closing.view_closerun"):
        figures.append(last_close_run())
    if may("usage.view_usageevent"):
        figures += [events_of_the_last_day(now), unmatched_subjects()]
    # Who may make contracts is the one who sets up.
    steps = getting_started() if may("contracts.add_contract") else []
    return context | {
        "title": "Dashboard",
        "figures": [figure for figure in figures if figure is not None],
        "billed": billed_by_month(now) if may("invoices.view_invoice") else None,
        "latest_invoices": latest_invoices() if may("invoices.view_invoice") else [],
        "may_see_invoices": may("invoices.view_invoice"),
        "steps": [] if all(step.is_done for step in steps) else steps,
        "steps_done": sum(step.is_done for step in steps),
    }


# --- Figures ---------------------------------------------------------------------------------------------------------


def drafts_to_review() -> Figure:
    by_currency = list(
        Invoice.objects.drafts()
        .order_by()
        .values_list("currency")
        .annotate(Count("pk"), Sum("total"))
        .order_by("currency")
    )
    number = sum(count for _, count, _ in by_currency)
    return Figure(
        label="Drafts to review",
        value=f"{number:,}",
        notes=tuple(format_money(total, currency) for currency, _, total in by_currency) or ("Nothing waits for you.",),
        url=f"{_url('admin:invoices_invoice_changelist')}?status__exact={InvoiceStatus.DRAFT}",
    )


def last_close_run() -> Figure:
    run = CloseRun.objects.order_by("-started_at", "-id").first()
    if run is None:
        return Figure(
            "Last close run", "None yet", ("Periods close once they end.",), _url("admin:closing_closerun_changelist")
        )
    progress = run_progress(run)
    if run.finished_at is None:
        notes: tuple[str, ...] = (f"Running, {progress.percent}% done",)
    else:
        notes = (f"{progress.invoiced:,} draft{'' if progress.invoiced == 1 else 's'} made",)
    if progress.failed:
        notes = (*notes, f"{progress.failed:,} failed and can be retried")
    return Figure(
        label="Last close run",
        value=f"{timezone.localtime(run.started_at):%-d %b, %H:%M}",
        notes=notes,
        url=reverse("admin:closing_closerun_change", args=[run.pk]),
        is_warning=progress.failed > 0,
    )


def events_of_the_last_day(now: dt.datetime) -> Figure:
    """Events of the last 24 hours by their own time, which is what the log finds quickly; counted up to a bound."""
    url = _url("admin:usage_usageevent_changelist")
    day = dt.timedelta(days=1)
    events = UsageEvent.objects.order_by().filter(occurred_at__gte=now - day, occurred_at__lt=now + day)
    newest = newest_events(events, start_at=now - day, end_at=now + day, after=None, limit=1)
    if not newest:
        said = "None in this time." if UsageEvent.objects.order_by().exists() else "None has ever arrived."
        return Figure("Events, last 24 hours", "0", (said,), url)
    number = events[: EVENTS_COUNTED + 1].count()
    return Figure(
        label="Events, last 24 hours",
        value=f"{EVENTS_COUNTED:,}+" if number > EVENTS_COUNTED else f"{number:,}",
        notes=(f"Newest stored {_ago(now - newest[0].stored_at)}",),
        url=url,
    )


def unmatched_subjects() -> Figure:
    number = len(unattributed_subjects(after="", limit=BADGE_LIMIT + 1, with_ignored=False))
    shown = f"{BADGE_LIMIT}+" if number > BADGE_LIMIT else str(number)
    return Figure(
        label="Unattributed subjects",
        value=shown,
        notes=("Their events are kept, and billed once matched." if number else "Every event belongs to a customer.",),
        url=_url("admin:usage_unattributed_changelist"),
        is_warning=number > 0,
    )


def _ago(age: dt.timedelta) -> str:
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            number = seconds // size
            return f"{number} {unit}{'' if number == 1 else 's'} ago"
    return "just now"


# --- Billed ----------------------------------------------------------------------------------------------------------


def billed_by_month(now: dt.datetime) -> list[tuple[str, list[MonthBar]]]:
    """For each currency, what was invoiced in this month and the months before, by invoice date."""
    months = _last_months(now.date(), MONTHS_SHOWN)
    sums = (
        Invoice.objects.filter(status__in=[InvoiceStatus.ISSUED, InvoiceStatus.PAID], invoice_date__gte=months[0])
        .order_by()
        .annotate(month=TruncMonth("invoice_date"))
        .values_list("currency", "month")
        .annotate(Sum("total"))
    )
    totals: defaultdict[str, dict[dt.date, Decimal]] = defaultdict(dict)
    for currency, month, total in sums:
        totals[currency][month] = total
    return [(currency, _bars(currency, totals[currency], months)) for currency in sorted(totals)]


def _bars(currency: str, totals: dict[dt.date, Decimal], months: list[dt.date]) -> list[MonthBar]:
    highest = max([*totals.values(), Decimal(0)])
    return [
        MonthBar(
            label=f"{month:%b %Y}",
            amount=format_money(totals.get(month, Decimal(0)), currency),
            percent=int(100 * max(totals.get(month, Decimal(0)), Decimal(0)) / highest) if highest else 0,
            is_current=month == months[-1],
        )
        for month in months
    ]


def _last_months(today: dt.date, number: int) -> list[dt.date]:
    """The first days of the last months, oldest first, this one last."""
    first = today.replace(day=1)
    months = [first]
    while len(months) < number:
        first = (first - dt.timedelta(days=1)).replace(day=1)
        months.append(first)
    return months[::-1]


def latest_invoices() -> QuerySet[Invoice]:
    return (
        Invoice.objects.exclude(status=InvoiceStatus.DRAFT)
        .select_related("customer")
        .only("number", "status", "invoice_date", "total", "currency", "customer__name")
        .order_by("-issued_at", "-pk")[:6]
    )


# --- Getting started -------------------------------------------------------------------------------------------------


def getting_started() -> list[Step]:
    """The way to a first invoice, in the order that a new installation goes it."""
    return [
        Step(
            "Say who bills",
            "Your company as a billing entity: its address, its invoice numbers and terms.",
            _url("admin:customers_billingentity_add"),
            _any(BillingEntity.objects.all()),
        ),
        Step(
            "Define what is counted",
            "A billable metric, such as tokens or calls, and the events it reads.",
            _url("admin:billable_metrics_billablemetric_add"),
            _any(BillableMetric.objects.all()),
        ),
        Step(
            "Name what you sell",
            "A product groups the lines of an invoice.",
            _url("admin:products_product_add"),
            _any(Product.objects.all()),
        ),
        Step(
            "Build and publish a plan",
            "A price list with fees, unit prices or tiers. Contracts use published plans.",
            _url("admin:products_plan_changelist"),
            _any(PlanVersion.objects.exclude(status=PlanStatus.DRAFT)),
        ),
        Step(
            "Add a customer",
            "With the ID that your usage events carry.",
            _url("admin:customers_customer_add"),
            _any(Customer.objects.all()),
        ),
        Step(
            "Activate a contract",
            "It puts the customer on the plan and begins billing.",
            _url("admin:contracts_contract_add"),
            _any(Contract.objects.exclude(status="draft")),
        ),
        Step(
            "Make an API key",
            "Your programs send usage with it.",
            _url("admin:access_apikey_add"),
            _any(ApiKey.objects.live()),
        ),
        Step(
            "Send the first event",
            "One HTTP call; the API reference shows how.",
            _url("api-docs"),
            _any(UsageEvent.objects.all()),
        ),
    ]


def _any(rows: QuerySet[Any]) -> bool:
    return rows.order_by().exists()


def _url(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""  # An installation may leave an app's admin out.
