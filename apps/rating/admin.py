"""The contract page's panel of the running period: rated as the invoice will be."""

from __future__ import annotations

import datetime as dt

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from apps.common.admin import Panel, register_panel
from apps.common.errors import BillingError
from apps.contracts.models import Contract
from apps.pricing.periods import Period
from apps.rating.services import rate_period


def render_running_period(request: HttpRequest, contract: Contract) -> str:
    now = timezone.now()
    period = period_to_show(contract, now)
    if period is None:
        return ""
    context: dict[str, object] = {"contract": contract, "period": period, "now": now}
    try:
        context["rated"] = rate_period(contract=contract, period=period, as_of=now)
    except BillingError as refusal:
        context["refusal"] = refusal.detail
    return render_to_string("admin/rating/running_period.html", context, request=request)


def period_to_show(contract: Contract, now: dt.datetime) -> Period | None:
    """The period that runs now; the first one before the contract begins; None after its end."""
    return contract.period_at(max(now, contract.starts_at))


register_panel("contracts.Contract", Panel(title="This period so far", render=render_running_period, order=10))
