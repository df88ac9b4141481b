"""What the address of a price form asks for: new amounts of a price that is there, from a day on or in a currency."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import escape

from apps.products.forms import PriceForm, TermsForm, currency_form, schedule_form
from apps.products.forms.prices import version_to_begin_with
from apps.products.forms.terms import initial_of
from apps.products.models import ChargeModelName, PlanStatus, Price, PriceVersion
from apps.products.terms import terms_of
from apps.products.wording import matrix_rows, price_in_a_sentence, price_in_words


@dataclass(frozen=True)
class Asked:
    """New amounts of a price that is there: from a day on, or in another currency."""

    price: Price
    currency: str
    is_scheduled: bool

    @property
    def title(self) -> str:
        return "Schedule a new price" if self.is_scheduled else "Add another currency"

    @cached_property
    def form_class(self) -> type[TermsForm]:
        return schedule_form(self.price) if self.is_scheduled else currency_form(self.price)

    @cached_property
    def begin_with(self) -> PriceVersion:
        return version_to_begin_with(self.price, self.currency)

    @property
    def description(self) -> str:
        words = _current_words(self.begin_with)
        if self.is_scheduled:
            return escape(
                "The new amounts replace the current ones from the day you choose. "
                f"Today's price in {self.begin_with.currency}: {words}."
            )
        return escape(
            f"The form begins with the amounts in {self.begin_with.currency}: {words}. Nothing is converted, so enter "
            "what customers pay in the other currency."
        )

    @property
    def initial(self) -> dict[str, Any]:
        begun = initial_of(terms_of(self.begin_with))
        if not self.is_scheduled:
            return begun
        next_month = (timezone.now().date().replace(day=1) + dt.timedelta(days=32)).replace(day=1)
        return {**begun, "effective_from": next_month, "currency": self.begin_with.currency}


def asked_of(request: HttpRequest) -> Asked | None:
    """The price that the address asks new amounts for: a published one to schedule, a draft's to add a currency to."""
    if not hasattr(request, "ch_asked"):
        request.ch_asked = _find_asked(request)  # type: ignore[attr-defined]
    return request.ch_asked  # type: ignore[attr-defined, no-any-return]


def _find_asked(request: HttpRequest) -> Asked | None:
    for name, status in (("schedule", PlanStatus.PUBLISHED), ("add_currency", PlanStatus.DRAFT)):
        key = request.GET.get(name, "")
        if not key.isdecimal():
            continue
        price = (
            Price.objects.filter(plan_version__status=status, pk=key)
            .select_related("plan_version__plan", "product", "metric", "pricing_unit")
            .first()
        )
        if price is not None:
            currency = request.GET.get("currency", "")
            is_sold_in = currency in price.plan_version.currencies
            return Asked(price, currency if is_sold_in else "", name == "schedule")
    return None


def form_to_try(request: HttpRequest) -> TermsForm:
    """The form of the page that the calculator stands on, filled with what was sent."""
    asked = asked_of(request)
    if asked is not None:
        return asked.form_class(request.POST)
    changed = request.GET.get("price_version", "")
    if changed.isdecimal():
        stored = PriceVersion.objects.select_related("price__plan_version__plan").filter(pk=changed).first()
        if stored is not None:
            return PriceForm(request.POST, instance=stored)
    return PriceForm(request.POST)


def _current_words(version: PriceVersion) -> str:
    """The price in a sentence; a matrix, which may be long, by its size."""
    if version.charge_model != ChargeModelName.MATRIX:
        return price_in_a_sentence(version)
    count = len(matrix_rows(version))
    words = price_in_words(version)[0].rstrip(":")
    return f"{words[0].lower()}{words[1:]}, {count} {'row' if count == 1 else 'rows'}"
