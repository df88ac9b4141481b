"""Who pays which price, and why: a page for each plan version, and panels on the pages of plans and prices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Exists, OuterRef, Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from unfold.dataclasses import ActionDialog

from apps.common.admin import Panel, acting_user, add_refusal, dialog_done, register_panel, show_dialog_again
from apps.common.errors import BillingError
from apps.contracts.forms import ReasonForm
from apps.contracts.grandfathering import grandfather_all
from apps.contracts.models import ContractPhase, ContractStatus
from apps.contracts.payers import PricePaid, Why, count_by_why, phases_paying, price_paid
from apps.products.models import Plan, PlanStatus, PlanVersion, Price, PriceVersion
from apps.products.selectors import prices_by_plan_version
from apps.products.wording import effective_in_words, included_in_words, price_in_words

PER_PAGE = 100


def urls(site: AdminSite) -> list[Any]:
    """Addresses below those of contracts."""

    def staff(page: Callable[..., HttpResponse]) -> Any:
        return site.admin_view(page)

    return [
        path("currencies/", staff(currencies_of_plan), name="contracts_contract_currencies"),
        path("who-pays/<int:plan_version_id>/", staff(who_pays), name="contracts_contract_who_pays"),
        path("keep-prices/<int:plan_version_id>/", staff(keep_for_all), name="contracts_contract_keep_for_all"),
    ]


def currencies_of_plan(request: HttpRequest) -> HttpResponse:
    """The currencies that a plan version is sold in, for the form of a contract."""
    if not request.user.has_perm("contracts.view_contract"):
        raise PermissionDenied
    asked = request.GET.get("plan_version", "")
    version = PlanVersion.objects.filter(pk=asked).first() if asked.isdecimal() else None
    return JsonResponse({"currencies": version.currencies if version else []})


# --- Who pays what ---------------------------------------------------------------------------------------------------


def who_pays(request: HttpRequest, plan_version_id: int) -> HttpResponse:
    """Each contract on a plan version: which version of a price it pays today, since when, and why."""
    if not request.user.has_perm("contracts.view_contract") or not request.user.has_perm("products.view_plan"):
        raise PermissionDenied
    version = get_object_or_404(PlanVersion.objects.select_related("plan"), pk=plan_version_id)
    prices = prices_by_plan_version([version.pk]).get(version.pk, [])
    price = _chosen(prices, request.GET.get("price", ""))
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": f"Who pays what: {version.plan.name} v{version.number}",
        "version": version,
        "prices": prices,
        "price": price,
        "may_keep": request.user.has_perm("contracts.change_contract"),
    }
    if price is not None:
        price.plan_version = version
        context |= _payers(price, request.GET.get("why", ""), request.GET.get("page", "1"))
    return TemplateResponse(request, "admin/contracts/who_pays.html", context)


def _chosen(prices: list[Price], asked: str) -> Price | None:
    if not asked:
        return prices[0] if prices else None
    found = [price for price in prices if str(price.pk) == asked]
    if not found:
        raise Http404("This plan version has no such price.")
    return found[0]


def _payers(price: Price, asked: str, page_number: str) -> dict[str, Any]:
    now = timezone.now()
    versions = list(price.versions.all())
    phases = phases_paying(price, versions, now=now)
    counts = count_by_why(phases)
    why = Why(asked) if asked in Why.values else None
    shown = phases if why is None else phases.filter(why=why.value)
    page = Paginator(shown, PER_PAGE).get_page(page_number)
    words = {version.pk: price_in_words(version) for version in versions}
    return {
        "why": why,
        "counts": [(each, counts.get(each.value, 0)) for each in Why],
        "all_contracts": sum(counts.values()),
        "page": page,
        "rows": [_row(price_paid(phase, versions, now=now), words) for phase in page.object_list],
    }


def _row(paid: PricePaid, words: dict[int, list[str]]) -> dict[str, Any]:
    return {
        "paid": paid,
        "words": words[paid.version.pk] if paid.version else [],
        "included": included_in_words(paid.version) if paid.version else "",
        "next_words": words[paid.next_version.pk] if paid.next_version else [],
        "effective": effective_in_words(paid.version) if paid.version else "",
    }


# --- Keeping the prices of today, for all ----------------------------------------------------------------------------


class KeepForAllForm(ReasonForm):
    form_before_template = "admin/contracts/keep_for_all_summary.html"

    def get_before_template_context(self, request: HttpRequest, object_id: int | str | None = None) -> dict[str, Any]:
        version = PlanVersion.objects.select_related("plan").get(pk=str(object_id))
        return {"version": version, **_counts_by_plan_version(Q(plan_version=version)).get(version.pk, _NOBODY)}


KEEP_FOR_ALL_DIALOG: ActionDialog = {
    "title": "Keep existing contracts on today's prices?",
    "description": "",
    "form_class": KeepForAllForm,
    "form_submit_text": "Keep today's prices",
}


def keep_for_all(request: HttpRequest, plan_version_id: int) -> HttpResponse:
    """The dialog that lets every contract on a plan version keep today's prices."""
    if not request.user.has_perm("contracts.change_contract"):
        raise PermissionDenied
    version = get_object_or_404(PlanVersion.objects.select_related("plan"), pk=plan_version_id)
    form = KeepForAllForm(data=request.POST or None, request=request, object_id=plan_version_id)
    if not form.is_valid():
        return show_dialog_again(request, form, KEEP_FOR_ALL_DIALOG)
    now = timezone.now()
    try:
        number = grandfather_all(
            plan_version_id=version.pk,
            at=now,
            now=now,
            reason=form.cleaned_data["reason"],
            actor=acting_user(request),
        )
    except BillingError as refusal:
        add_refusal(form, refusal)
        return show_dialog_again(request, form, KEEP_FOR_ALL_DIALOG)
    verb = "contract keeps" if number == 1 else "contracts keep"
    messages.success(request, f"{number:,} {verb} today's prices of {version.plan.name} v{version.number}.")
    return dialog_done(request, reverse("admin:products_plan_change", args=[version.plan_id]))


# --- Panels ----------------------------------------------------------------------------------------------------------

_NOBODY = {"following": 0, "keeping": 0}


def _counts_by_plan_version(which: Q) -> dict[int, dict[str, int]]:
    """How many contracts follow the prices of each plan version, and how many keep those of a day."""
    today = timezone.now().date()
    goes_on = (Q(end_date=None) | Q(end_date__gt=today)) & ~Q(contract__status=ContractStatus.ENDED)
    later = ContractPhase.objects.filter(
        goes_on,
        contract=OuterRef("contract"),
        plan_version=OuterRef("plan_version"),
        start_date__gt=OuterRef("start_date"),
    )
    # A contract whose prices change hands within the plan counts by its last phase.
    phases = ContractPhase.objects.filter(which & goes_on).exclude(Exists(later))
    counted = (
        phases.order_by()
        .values("plan_version")
        .annotate(
            following=Count("pk", filter=Q(grandfathered_at=None)),
            keeping=Count("pk", filter=Q(grandfathered_at__isnull=False)),
        )
    )
    return {row["plan_version"]: {"following": row["following"], "keeping": row["keeping"]} for row in counted}


def render_contracts_of_plan(request: HttpRequest, plan: Plan) -> str:
    """How many contracts are on each version of the plan, and whether they follow its prices."""
    if not request.user.has_perm("contracts.view_contract"):
        return ""
    counts = _counts_by_plan_version(Q(plan_version__plan=plan))
    versions = [version for version in plan.versions.all() if version.status != PlanStatus.DRAFT]
    rows = [
        (version, counts.get(version.pk, _NOBODY)) for version in sorted(versions, key=lambda version: -version.number)
    ]
    if not rows:
        return ""
    context = {"rows": rows, "may_keep": request.user.has_perm("contracts.change_contract")}
    return render_to_string("admin/contracts/of_plan.html", context, request=request)


def render_payers_of_price(request: HttpRequest, version: PriceVersion) -> str:
    """How many contracts pay a price, by reason, with the way to the list of them."""
    plan_version = version.price.plan_version
    if not request.user.has_perm("contracts.view_contract") or plan_version.is_draft:
        return ""
    recorded = list(version.price.versions.all())
    counts = count_by_why(phases_paying(version.price, recorded, now=timezone.now()))
    context = {
        "version": version,
        "counts": [(why, counts.get(why.value, 0)) for why in Why],
        "all_contracts": sum(counts.values()),
    }
    return render_to_string("admin/contracts/of_price.html", context, request=request)


register_panel("products.Plan", Panel(title="Contracts on this plan", render=render_contracts_of_plan, order=20))
register_panel("products.PriceVersion", Panel(title="Who pays it", render=render_payers_of_price, order=30))
