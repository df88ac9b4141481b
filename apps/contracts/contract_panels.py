"""Contracts on other pages, and the phases on their own."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.template.loader import render_to_string

from apps.common.admin import Panel, register_panel
from apps.contracts.models import Contract, ContractStatus
from apps.contracts.payers import prices_of_phase_in_words
from apps.customers.models import Customer

STATUS_COLOURS = {ContractStatus.DRAFT: "warning", ContractStatus.ACTIVE: "success", ContractStatus.ENDED: "default"}


def render_phases(request: HttpRequest, contract: Contract) -> str:
    phases = list(contract.phases.select_related("plan_version__plan"))
    is_draft_that_keeps = contract.status == ContractStatus.DRAFT and any(each.grandfathered_at for each in phases)
    if len(phases) < 2 and not is_draft_that_keeps:
        return ""  # One phase is the contract itself: its plan, its prices and its term are above.
    shown = [(phase, prices_of_phase_in_words(phase, contract.timezone)) for phase in phases]
    return render_to_string("admin/contracts/phases.html", {"phases": shown}, request=request)


def render_contracts_of_customer(request: HttpRequest, customer: Customer) -> str:
    if not request.user.has_perm("contracts.view_contract"):
        return ""
    contracts = customer.contracts.prefetch_related("phases__plan_version__plan").order_by("-start_date", "-pk")[:50]
    page: Any = admin.site._registry[Contract]
    rows = [
        {
            "contract": contract,
            "plan": page.plan_shown(contract),
            "term": page.term_shown(contract),
            "billed_through": page.billed_through_shown(contract),
            "colour": STATUS_COLOURS[ContractStatus(contract.status)],
        }
        for contract in contracts
    ]
    return render_to_string(
        "admin/contracts/of_customer.html",
        {"rows": rows, "customer": customer, "may_add": request.user.has_perm("contracts.add_contract")},
        request=request,
    )


register_panel("contracts.Contract", Panel(title="Phases", render=render_phases, order=5))
register_panel("customers.Customer", Panel(title="Contracts", render=render_contracts_of_customer, order=10))
