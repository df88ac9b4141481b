"""The forms of the catalogue's admin pages: a plan with its first version, a price with its amounts."""

from __future__ import annotations

from apps.products.forms.plans import NewPlanForm
from apps.products.forms.prices import (
    CurrencyForm,
    PriceForm,
    ScheduleForm,
    currency_form,
    schedule_form,
    schedule_from,
)
from apps.products.forms.terms import TermsForm

__all__ = [
    "CurrencyForm",
    "NewPlanForm",
    "PriceForm",
    "ScheduleForm",
    "TermsForm",
    "currency_form",
    "schedule_form",
    "schedule_from",
]
