"""Prices: read, put on drafts, and scheduled."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import transaction
from django.db.models import F, Prefetch, Q
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers, status
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.api.permissions import ReadOrManage
from apps.access.models import Scope
from apps.common.api import JsonAlways, problem
from apps.common.errors import BillingError, InvalidInput
from apps.common.making import REFUSED, created, made_once
from apps.products.api.catalogue import AGAIN, TAGS
from apps.products.api.plans import version_at
from apps.products.api.serializers import PriceInput, PriceSerializer, PriceVersionInput
from apps.products.models import ChargeModelName, PlanVersion, Price, PriceVersion
from apps.products.services import (
    ChargedFor,
    add_currency,
    add_price,
    change_draft_price,
    remove_draft_price,
    schedule_price_version,
)
from apps.products.terms import PriceTerms, terms_of

PRICES = Price.objects.select_related("plan_version__plan", "product", "metric", "pricing_unit")
PRICES_WITH_VERSIONS = PRICES.prefetch_related("versions__tiers", "versions__rows")
TOKENS = {
    "product": "chat",
    "metric": "tokens",
    "name": "Tokens",
    "charge_model": "graduated",
    "per_units": "1000000",
    "tiers": [{"up_to": "10000000", "unit_amount": "3.00"}, {"up_to": None, "unit_amount": "2.50"}],
}
MATRIX = {
    "product": "chat",
    "metric": "tokens",
    "name": "Tokens by model",
    "charge_model": "matrix",
    "per_units": "1000000",
    "dimensions": ["model", "direction"],
    "rows": [
        {"match": {"model": "large", "direction": "input"}, "unit_amount": "10"},
        {"match": {"model": "large", "direction": "output"}, "unit_amount": "30"},
        {"match": {}, "unit_amount": "1.50"},
    ],
}
FEE = {"product": "chat", "name": "Platform fee", "charge_model": "flat", "flat_amount": "49", "timing": "advance"}


class BackdatingNotAcknowledged(BillingError):
    """A price that begins in the past changes what open periods cost, which is easily done by mistake."""

    code = "backdating_not_acknowledged"

    def __init__(self, effective_from: dt.date) -> None:
        super().__init__(
            f"{effective_from.isoformat()} is past. Periods that are not closed yet would be rated anew from that day "
            'on; what was billed stands. Send "acknowledge_backdating": true if that is meant, or a later day.',
            field="effective_from",
        )


class PriceFilter(filters.FilterSet):  # type: ignore[misc]
    plan = filters.CharFilter(field_name="plan_version__plan__code", help_text="Code of the plan.")
    plan_version = filters.NumberFilter(field_name="plan_version__number", help_text="Number of its version.")
    product = filters.CharFilter(field_name="product__code", help_text="Code of the product.")
    metric = filters.CharFilter(field_name="metric__code", help_text="Code of the metric.")
    currency = filters.CharFilter(method="by_version", help_text="Only versions in this currency.")
    charge_model = filters.ChoiceFilter(
        choices=ChargeModelName.choices, method="by_version", help_text="Only versions of this model."
    )
    in_force_on = filters.DateFilter(
        method="by_version", help_text="In each currency, only the version that is in force on this day."
    )

    class Meta:
        model = Price
        fields = ["plan", "plan_version", "product", "metric", "currency", "charge_model", "in_force_on"]

    def by_version(self, queryset: Any, name: str, value: Any) -> Any:
        return queryset  # These choose among the versions, together: see filter_queryset.

    def filter_queryset(self, queryset: Any) -> Any:
        """Prices with a version that fits, and of their versions those that fit."""
        chosen = self.form.cleaned_data
        fitting = PriceVersion.objects.all()
        if day := chosen.get("in_force_on"):
            fitting = fitting.filter(pk__in=_in_force(day))
        for name in ("currency", "charge_model"):
            if chosen.get(name):
                fitting = fitting.filter(**{name: chosen[name]})
        found = super().filter_queryset(queryset)
        if any(chosen.get(name) for name in ("currency", "charge_model", "in_force_on")):
            found = found.filter(pk__in=fitting.values("price"))
        return found.prefetch_related(Prefetch("versions", fitting.prefetch_related("tiers", "rows")))


def _in_force(day: dt.date) -> Any:
    """Of each price and currency the version that ``selectors.version_in_force`` would choose, for all at once."""
    return (
        PriceVersion.objects.filter(Q(effective_from=None) | Q(effective_from__lte=day))
        .order_by("price_id", "currency", F("effective_from").desc(nulls_last=True), "-recorded_at", "-id")
        .distinct("price_id", "currency")
        .values("pk")
    )


@extend_schema_view(get=extend_schema(operation_id="list_prices", summary="List prices", tags=TAGS))
class PriceList(ListAPIView[Price]):
    """Prices with their versions, the newest price first. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = PRICES
    serializer_class = PriceSerializer
    filterset_class = PriceFilter


class DraftPrices(APIView):
    """The prices of a draft version."""

    required_scope = Scope.MANAGE
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="create_price",
        summary="Add a price to a draft version",
        description="A charge, and its amounts in one currency; `POST /api/v1/prices/{id}/versions` adds the others. "
        f"{AGAIN}",
        tags=TAGS,
        request=PriceInput,
        responses={
            **created(PriceSerializer),
            404: problem("No such version."),
            409: problem("The version is published or archived: its charges stand."),
        },
        examples=[
            OpenApiExample("graduated", TOKENS, request_only=True),
            OpenApiExample("a matrix", MATRIX, request_only=True),
            OpenApiExample("a fee in advance", FEE, request_only=True),
        ],
    )
    def post(self, request: Request, code: str, number: int) -> Response:
        version = version_at(code, number)
        sent = PriceInput(data=request.data)
        sent.is_valid(raise_exception=True)
        charged, terms = sent.charged(), _terms_of_input(sent)
        currency = sent.validated_data.get("currency", version.currencies[0])
        position = sent.validated_data.get("position")

        def find() -> Price | None:
            price = PRICES_WITH_VERSIONS.filter(plan_version=version, name=charged.name).first()
            if price is None or ChargedFor.of(price) != charged or position not in (None, price.position):
                return None
            stated = [each for each in price.versions.all() if each.currency == currency and not each.effective_from]
            return price if stated and _states(stated[0], terms) else None

        def make() -> Price:
            made = add_price(
                plan_version=version,
                charged=charged,
                terms=terms,
                currency=currency,
                position=position,
                now=timezone.now(),
            )
            return PRICES_WITH_VERSIONS.get(pk=made.price_id)

        return made_once(find, make, PriceSerializer)


def _terms_of_input(sent: PriceInput | PriceVersionInput, base: PriceTerms | None = None) -> PriceTerms:
    terms = sent.terms(base) or base
    if terms is None:
        raise serializers.ValidationError({"charge_model": "Say how the usage is charged."})
    return terms


def _states(version: PriceVersion, terms: PriceTerms) -> bool:
    return terms_of(version) == terms


@extend_schema_view(get=extend_schema(operation_id="get_price", summary="Get a price", tags=TAGS))
class PriceDetail(ReadOrManage, RetrieveAPIView[Price]):
    """One price with all of its versions. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = PRICES_WITH_VERSIONS
    serializer_class = PriceSerializer

    @extend_schema(
        operation_id="change_price",
        summary="Change a price of a draft version",
        description="What is left out stays. With a `charge_model` the amounts in `currency` are replaced as a whole. "
        "Needs the `manage` scope.",
        tags=TAGS,
        request=PriceInput(partial=True),
        responses={
            200: PriceSerializer,
            404: problem("No such price."),
            409: problem("The version of the plan is published or archived: its charges stand."),
            **REFUSED,
        },
        examples=[
            OpenApiExample("another amount", {"unit_amount": "2.75"}, request_only=True),
            OpenApiExample("another name and place", {"name": "Input tokens", "position": 20}, request_only=True),
        ],
    )
    @transaction.atomic
    def patch(self, request: Request, pk: int) -> Response:
        price = get_object_or_404(Price.objects.select_for_update(), pk=pk)
        sent = PriceInput(data=request.data, partial=True)
        sent.is_valid(raise_exception=True)
        version = _version_in(price, sent.validated_data.get("currency", price.plan_version.currencies[0]))
        change_draft_price(
            price_version=version,
            charged=sent.charged(ChargedFor.of(price)),
            terms=_terms_of_input(sent, terms_of(version)),
            position=sent.validated_data.get("position"),
            now=timezone.now(),
        )
        return Response(PriceSerializer(PRICES_WITH_VERSIONS.get(pk=pk)).data)

    @extend_schema(
        operation_id="delete_price",
        summary="Take a price out of a draft version",
        description="With its amounts in all currencies. Needs the `manage` scope.",
        tags=TAGS,
        responses={
            204: None,
            403: REFUSED[403],
            404: problem("No such price."),
            409: problem("The version of the plan is published or archived: its charges stand."),
        },
    )
    @transaction.atomic
    def delete(self, request: Request, pk: int) -> Response:
        remove_draft_price(price=get_object_or_404(Price.objects.select_for_update(), pk=pk))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _version_in(price: Price, currency: str) -> PriceVersion:
    version = price.versions.filter(currency=currency).first()
    if version is None:
        raise InvalidInput(
            f"“{price}” has no amounts in {currency} yet. Add them as a version of the price.", field="currency"
        )
    return version


class PriceVersions(APIView):
    """The dated versions of a price."""

    required_scope = Scope.MANAGE
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="create_price_version",
        summary="Schedule new amounts, or price a draft in another currency",
        description="For a published price the amounts hold from `effective_from` on, and may be of another charge "
        "model; what was billed stands. For a price of a draft they are those of one more currency. " + AGAIN,
        tags=TAGS,
        request=PriceVersionInput,
        responses={
            201: PriceSerializer,
            200: OpenApiResponse(PriceSerializer, "There is the very same version already."),
            404: problem("No such price."),
            409: problem("The day is past and that was not acknowledged; or the version of the plan is archived."),
            **REFUSED,
        },
        examples=[
            OpenApiExample(
                "cheaper from January on",
                {
                    "effective_from": "2027-01-01",
                    "charge_model": "per_unit",
                    "unit_amount": "2.50",
                    "per_units": "1000000",
                    "note": "New hardware",
                },
                request_only=True,
            ),
            OpenApiExample(
                "a draft in euros",
                {"currency": "EUR", "charge_model": "per_unit", "unit_amount": "2.80", "per_units": "1000000"},
                request_only=True,
            ),
        ],
    )
    @transaction.atomic
    def post(self, request: Request, pk: int) -> Response:
        price = get_object_or_404(Price.objects.select_for_update(of=["self"]), pk=pk)
        sent = PriceVersionInput(data=request.data)
        sent.is_valid(raise_exception=True)
        is_new = _add_version(price, price.plan_version, sent)
        answer = PriceSerializer(PRICES_WITH_VERSIONS.get(pk=pk)).data
        return Response(answer, status=status.HTTP_201_CREATED if is_new else status.HTTP_200_OK)


def _add_version(price: Price, plan_version: PlanVersion, sent: PriceVersionInput) -> bool:
    """Store the version that was sent; whether it is new."""
    now, terms = timezone.now(), _terms_of_input(sent)
    currency = sent.validated_data.get("currency", plan_version.currencies[0])
    day = sent.validated_data.get("effective_from")
    note = sent.validated_data.get("note", "")
    if day is None and not plan_version.is_draft:
        raise InvalidInput("Say from which day on the amounts hold.", field="effective_from")
    if day is not None and plan_version.is_draft:
        raise InvalidInput("The amounts of a draft hold from the beginning. Leave it out.", field="effective_from")
    if note and plan_version.is_draft:
        raise InvalidInput("A note says why a published price changes. Leave it out.", field="note")
    latest = price.versions.filter(currency=currency, effective_from=day).order_by("-recorded_at", "-pk").first()
    if latest is not None and latest.note == note and _states(latest, terms):
        return False
    if day is None:
        add_currency(price=price, currency=currency, terms=terms, now=now)
        return True
    if day < now.date() and not sent.validated_data.get("acknowledge_backdating"):
        raise BackdatingNotAcknowledged(day)
    schedule_price_version(price=price, effective_from=day, terms=terms, now=now, currency=currency, note=note)
    return True
