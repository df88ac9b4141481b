"""The admin's sidebar: pages grouped as finance and sales ops think, each shown to those who may see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from apps.invoices.models import Invoice
from apps.usage.models import QuarantinedEvent
from apps.usage.selectors import unattributed_subjects

# A badge says that there is work, not how much: it counts no further than this.
BADGE_LIMIT = 99


@dataclass(frozen=True, slots=True)
class Page:
    """One entry. ``permission`` is what its reader needs; ``count`` gives the work that waits there."""

    title: str
    icon: str
    url_name: str
    permission: str | None
    count: Callable[[], int] | None = None


def drafts_to_review() -> int:
    return Invoice.objects.drafts()[: BADGE_LIMIT + 1].count()


def subjects_to_match() -> int:
    """How many subjects have sent events and are no customer's."""
    return len(unattributed_subjects(after="", limit=BADGE_LIMIT + 1, with_ignored=False))


def events_in_quarantine() -> int:
    if settings.EVENTS_TOO_OLD != "quarantine":
        return 0
    return QuarantinedEvent.objects.waiting()[: BADGE_LIMIT + 1].count()


GROUPS: list[tuple[str, list[Page]]] = [
    ("", [Page("Dashboard", "space_dashboard", "admin:index", None)]),
    (
        "Billing",
        [
            Page(
                "Invoices",
                "receipt_long",
                "admin:invoices_invoice_changelist",
                "invoices.view_invoice",
                drafts_to_review,
            ),
            Page("Close runs", "event_available", "admin:closing_closerun_changelist", "closing.view_closerun"),
            Page(
                "Usage after invoicing",
                "difference",
                "admin:invoices_usage_after_invoicing",
                "invoices.view_invoice",
            ),
        ],
    ),
    (
        "Customers",
        [
            Page("Customers", "domain", "admin:customers_customer_changelist", "customers.view_customer"),
            Page("Contracts", "contract", "admin:contracts_contract_changelist", "contracts.view_contract"),
        ],
    ),
    (
        "Catalogue",
        [
            Page("Plans", "view_list", "admin:products_plan_changelist", "products.view_plan"),
            Page("Prices", "sell", "admin:products_priceversion_changelist", "products.view_priceversion"),
            Page("Pricing units", "toll", "admin:products_pricingunit_changelist", "products.view_pricingunit"),
            Page("Products", "category", "admin:products_product_changelist", "products.view_product"),
            Page(
                "Billable metrics",
                "speed",
                "admin:billable_metrics_billablemetric_changelist",
                "billable_metrics.view_billablemetric",
            ),
        ],
    ),
    (
        "Usage",
        [
            Page("Events", "bolt", "admin:usage_usageevent_changelist", "usage.view_usageevent"),
            Page(
                "Unattributed",
                "person_off",
                "admin:usage_unattributed_changelist",
                "usage.view_usageevent",
                subjects_to_match,
            ),
            Page("Corrections", "edit_note", "admin:usage_usagecorrection_changelist", "usage.view_usagecorrection"),
            Page("Conflicts", "call_split", "admin:usage_usageconflict_changelist", "usage.view_usageconflict"),
            Page(
                "Quarantine",
                "hourglass_disabled",
                "admin:usage_quarantinedevent_changelist",
                "usage.view_quarantinedevent",
                events_in_quarantine,
            ),
            Page(
                "Imports",
                "upload_file",
                "admin:usage_imports_usageimport_changelist",
                "usage_imports.view_usageimport",
            ),
            Page("Export", "download", "usage-export", "usage.view_usageevent"),
            Page("Storage", "database", "usage-partitions", "usage.view_usageevent"),
        ],
    ),
    (
        "Developers",
        [
            Page("API keys", "key", "admin:access_apikey_changelist", "access.view_apikey"),
            Page("API reference", "menu_book", "api-docs", None),
        ],
    ),
    (
        "Administration",
        [
            Page("Audit log", "history", "admin:audit_auditlog_changelist", "audit.view_auditlog"),
            Page(
                "Billing entities",
                "account_balance",
                "admin:customers_billingentity_changelist",
                "customers.view_billingentity",
            ),
            Page("Users", "group", "admin:auth_user_changelist", "auth.view_user"),
            Page("Groups", "shield_person", "admin:auth_group_changelist", "auth.view_group"),
        ],
    ),
]


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups and pages that the signed-in user may open, in unfold's form."""
    groups = [
        {"title": title, "items": [item for page in pages if (item := _item(page, request)) is not None]}
        for title, pages in GROUPS
    ]
    return [group for group in groups if group["items"]]


def _item(page: Page, request: HttpRequest) -> dict[str, Any] | None:
    if page.permission is not None and not request.user.has_perm(page.permission):
        return None
    try:
        link = reverse(page.url_name)
    except NoReverseMatch:
        return None  # An installation may leave an app's admin out.
    item: dict[str, Any] = {"title": page.title, "icon": page.icon, "link": link}
    # This page lies below the address of another one, which would be marked as open too.
    if request.path == reverse("admin:invoices_usage_after_invoicing"):
        item["active"] = link == request.path
    waiting = page.count() if page.count is not None else 0
    if waiting:
        item["badge"] = waiting if waiting <= BADGE_LIMIT else f"{BADGE_LIMIT}+"
        item["badge_variant"] = "warning"
    return item
