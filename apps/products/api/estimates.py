"""What usage would cost: under a price written out, a stored price, or all prices of a plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.models import Scope
from apps.common.api import JsonAlways, problem
from apps.common.days import check_day
from apps.common.errors import BillingError, InvalidInput
from apps.pricing.charge_models.base import Usage
from apps.pricing.charge_models.matrix import Matrix
from apps.pricing.charges import Charge
from apps.pricing.written_fields import InvalidWrittenPrice, WrittenFields
from apps.pricing.written_prices import KINDS, read_written_price
from apps.products.api.catalogue import TAGS
from apps.products.api.estimate_answers import ESTIMATE, estimate_body, plan_body
from apps.products.api.estimate_requests import EXAMPLES, REQUEST
from apps.products.estimates import Estimate, estimate
from apps.products.models import Plan, PlanVersion, Price
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.terms import charge_of

UNUSED = Usage(Decimal(0), count=0, transactions=())
USAGE_FIELDS = ("quantity", "failed", "transactions", "events", "levels", "of_days")
PRICE_FIELDS = ("price", "currency", "on", *USAGE_FIELDS)
PLAN_FIELDS = ("plan", "version", "currency", "on", "quantities")
# A matrix finds the row of each event by looking through its rows.
MOST_COMPARISONS = 1_000_000


class PriceEstimate(APIView):
    """The amount that an invoice would state, and the way to it."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="estimate_price",
        summary="Estimate what usage would cost",
        description=(
            "Under a price written out with all of its figures, a stored `price`, or all prices of a `plan`. Nothing "
            "is stored. The figures are those of an invoice for one whole period: each line is rounded once, and "
            "`amount` is the sum of the lines. Needs the `read` scope."
        ),
        tags=TAGS,
        request={"application/json": REQUEST},
        responses={
            200: ESTIMATE,
            400: problem("What is wrong, at its field."),
            403: problem("The key has no read scope."),
            404: problem("No such price or plan."),
            409: problem("The price says nothing about this usage, such as a quantity above its last tier."),
        },
        examples=[OpenApiExample(name, body, request_only=True) for name, body in EXAMPLES.items()],
    )
    def post(self, request: Request) -> Response:
        try:
            sent: Any = request.data
            written = WrittenFields(sent)
            if "plan" in written:
                return Response(_of_plan(written, timezone.now()))
            if "price" in written:
                return Response(_of_price(written, timezone.now()))
            return Response(_of_written_price(sent))
        except InvalidWrittenPrice as fault:
            raise InvalidInput(fault.detail, field=fault.field or None) from None


class NotInCatalogue(BillingError):
    code = "not_found"
    status = 404


def _of_written_price(fields: Mapping[str, Any]) -> dict[str, Any]:
    written = read_written_price(fields)
    _check_size(written.charge, written.usage)
    made = estimate(written.charge, written.usage, currency=written.currency)
    return estimate_body(made, written.charge)


# --- A stored price --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sold:
    """A stored price with its charge in one currency, on one day."""

    price: Price
    charge: Charge
    currency: str

    def estimate(self, usage: Usage) -> Estimate:
        names = self.price.metric
        return estimate(
            self.charge,
            usage,
            currency=self.currency,
            unit_singular=names.unit_singular if names else "unit",
            unit_plural=names.unit_plural if names else "units",
        )


def _of_price(written: WrittenFields, now: dt.datetime) -> dict[str, Any]:
    price_id = written.whole_number("price")
    price = Price.objects.filter(pk=price_id).select_related("plan_version__plan").first()
    if price is None:
        raise NotInCatalogue(f"There is no price {price_id}.", field="price")
    currency = _read_currency(written, price.plan_version)
    day = _read_day(written, now)
    [loaded] = [
        each for each in prices_by_plan_version([price.plan_version_id])[price.plan_version_id] if each == price
    ]
    sold = _sold(loaded, currency, day, now)
    usage = _read_usage(written, sold.charge)
    written.refuse_others("an estimate of a stored price", PRICE_FIELDS)
    return {"price": price.pk, **estimate_body(sold.estimate(usage), sold.charge, loaded)}


def _sold(price: Price, currency: str, day: dt.date, now: dt.datetime) -> Sold:
    version = version_in_force(price.versions.all(), currency=currency, on=day, known_at=now)
    if version is None:
        raise InvalidInput(f"“{price}” has no amounts in {currency} on {day.isoformat()}.", field="currency")
    return Sold(price, charge_of(version), currency)


def _read_currency(written: WrittenFields, version: PlanVersion) -> str:
    currency = written.text("currency", version.currencies[0])
    if currency not in version.currencies:
        known = " or ".join(version.currencies)
        raise InvalidWrittenPrice("currency", f"{version} is not priced in {currency}. Use {known}.")
    return currency


def _read_day(written: WrittenFields, now: dt.datetime) -> dt.date:
    text = written.text("on", now.date().isoformat())
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        raise InvalidWrittenPrice("on", f"“{text}” is no day. Write one as 2026-11-30.") from None
    check_day(day, field="on")
    return day


def _read_usage(written: WrittenFields, charge: Charge) -> Usage:
    """The usage, in the fields that the price's model takes, as they are read for a price written out."""
    usage = KINDS[charge.model.name].read_usage(written, charge.model)
    _check_size(charge, usage)
    return usage


def _check_size(charge: Charge, usage: Usage) -> None:
    rows, events = len(charge.model.rows) if isinstance(charge.model, Matrix) else 0, len(usage.groups)
    if rows * events > MOST_COMPARISONS:
        raise InvalidWrittenPrice(
            "events",
            f"{events:,} events for {rows:,} prices are too many for an estimate. Add up those that are alike.",
        )


# --- A plan ----------------------------------------------------------------------------------------------------------


def _of_plan(written: WrittenFields, now: dt.datetime) -> dict[str, Any]:
    version = _read_version(written)
    currency, day = _read_currency(written, version), _read_day(written, now)
    quantities = written.inner("quantities")
    written.refuse_others("an estimate of a plan", PLAN_FIELDS)
    prices = [_sold(price, currency, day, now) for price in prices_by_plan_version([version.pk])[version.pk]]
    usages = _read_quantities(quantities, prices)
    rated = [(sold.price, sold.charge, sold.estimate(usages.get(sold.price.pk, UNUSED))) for sold in prices]
    return {"plan": version.plan.code, "version": version.number, "on": day.isoformat(), **plan_body(rated, currency)}


def _read_version(written: WrittenFields) -> PlanVersion:
    """The version that was named, or else the newest published one, or else the newest draft."""
    code, number = written.text("plan"), None
    if "version" in written:
        number = written.whole_number("version")
    plan = Plan.objects.filter(code=code).first()
    if plan is None:
        raise NotInCatalogue(f"There is no plan “{code}”.", field="plan")
    versions = PlanVersion.objects.filter(plan=plan).select_related("plan").order_by("-number")
    if number is not None:
        chosen = versions.filter(number=number).first()
        if chosen is None:
            raise NotInCatalogue(f"{plan.name} has no version {number}.", field="version")
        return chosen
    chosen = versions.published().first() or versions.first()
    if chosen is None:
        raise NotInCatalogue(f"{plan.name} has no version yet.", field="plan")
    return chosen


def _read_quantities(quantities: WrittenFields | None, prices: Sequence[Sold]) -> dict[int, Usage]:
    """Usage by price: each entry is for the line of that name, or else for all lines of the metric with that code."""
    if quantities is None:
        return {}
    usages: dict[int, Usage] = {}
    for name in quantities.names():
        path, sent = quantities.take(name)
        meant = [sold for sold in prices if sold.price.name == name and sold.price.metric_id is not None]
        meant = meant or [sold for sold in prices if sold.price.metric and sold.price.metric.code == name]
        if not meant:
            raise InvalidWrittenPrice(path, f"The plan charges nothing for that. Use {_names(prices)}.")
        for sold in meant:
            if sold.price.pk in usages:
                raise InvalidWrittenPrice(path, f"The usage of “{sold.price}” is given twice. Give it once.")
            usages[sold.price.pk] = _read_entry(sent, path, sold.charge)
    return usages


def _read_entry(sent: Any, path: str, charge: Charge) -> Usage:
    fields = sent if isinstance(sent, Mapping) else {"quantity": sent}
    written = WrittenFields(fields, path)
    usage = _read_usage(written, charge)
    written.refuse_others("the usage of this price", USAGE_FIELDS)
    return usage


def _names(prices: Sequence[Sold]) -> str:
    known = dict.fromkeys(sold.price.metric.code for sold in prices if sold.price.metric is not None)
    return " or ".join(known) or "no quantities: it has fees only"
