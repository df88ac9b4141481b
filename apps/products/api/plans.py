"""Plans and their versions: read, made, published and archived."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import transaction
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema, extend_schema_view
from rest_framework.generics import ListAPIView, RetrieveAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from apps.access.api.permissions import ReadOrManage
from apps.access.models import Scope
from apps.common.api import JsonAlways, problem
from apps.common.errors import InvalidInput
from apps.common.making import REFUSED, created, made_once
from apps.products.api.catalogue import AGAIN, TAGS
from apps.products.api.serializers import (
    ChangedPlanInput,
    NewVersionInput,
    PlanInput,
    PlanSerializer,
    PlanVersionSerializer,
)
from apps.products.models import BillingInterval, Plan, PlanStatus, PlanVersion
from apps.products.services import (
    archive_plan_version,
    copy_plan_version,
    create_plan,
    new_plan_version,
    publish_plan_version,
    save_entry,
)

_PRICES = ["product", "metric", "pricing_unit", "versions__tiers", "versions__rows"]
PLANS = Plan.objects.prefetch_related(*(f"versions__prices__{related}" for related in _PRICES))
VERSIONS = PlanVersion.objects.select_related("plan").prefetch_related(*(f"prices__{each}" for each in _PRICES))
_NOT_FOUND = {404: problem("No such plan, or no such version of it.")}


class PlanFilter(filters.FilterSet):  # type: ignore[misc]
    status = filters.ChoiceFilter(
        field_name="versions__status", choices=PlanStatus.choices, distinct=True, help_text="Of any of its versions."
    )

    class Meta:
        model = Plan
        fields = ["code", "status"]


def _version_terms(sent: dict[str, Any]) -> dict[str, Any]:
    return {
        "currencies": sent.get("currencies", [settings.DEFAULT_CURRENCY]),
        "billing_months": sent.get("billing_months", BillingInterval.MONTH),
    }


@extend_schema_view(get=extend_schema(operation_id="list_plans", summary="List plans", tags=TAGS))
class PlanList(ReadOrManage, ListAPIView[Plan]):
    """Plans with all their versions and prices, the newest first. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = PLANS
    serializer_class = PlanSerializer
    filterset_class = PlanFilter

    @extend_schema(
        operation_id="create_plan",
        summary="Make a plan",
        description=f"It begins with a first version, a draft without prices. {AGAIN}",
        tags=TAGS,
        request=PlanInput,
        responses=created(PlanSerializer),
        examples=[
            OpenApiExample(
                "a plan in two currencies",
                {"code": "scale", "name": "Scale", "currencies": ["USD", "EUR"], "billing_months": 1},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        sent = PlanInput(data=request.data)
        sent.is_valid(raise_exception=True)
        terms = _version_terms(sent.validated_data)
        names = {name: value for name, value in sent.validated_data.items() if name not in terms}

        def find() -> Plan | None:
            plan = PLANS.filter(code=names["code"]).first()
            if plan is None or any(getattr(plan, name) != value for name, value in names.items()):
                return None
            first = min(plan.versions.all(), key=lambda version: version.number)
            return plan if _has(first, terms) else None

        def make() -> Plan:
            return PLANS.get(pk=create_plan(**names, **terms).plan_id)

        return made_once(find, make, PlanSerializer)


def _has(version: PlanVersion, terms: dict[str, Any]) -> bool:
    return all(getattr(version, name) == value for name, value in terms.items())


@extend_schema_view(get=extend_schema(operation_id="get_plan", summary="Get a plan", tags=TAGS))
class PlanDetail(ReadOrManage, RetrieveAPIView[Plan]):
    """One plan with all its versions and prices, by code. Needs the `read` scope."""

    content_negotiation_class = JsonAlways
    queryset = PLANS
    serializer_class = PlanSerializer
    lookup_field = "code"

    @extend_schema(
        operation_id="change_plan",
        summary="Change the name or the description of a plan",
        description="What is left out stays. Needs the `manage` scope.",
        tags=TAGS,
        request=ChangedPlanInput,
        responses={200: PlanSerializer, 404: problem("No such plan."), **REFUSED},
        examples=[OpenApiExample("another name", {"name": "Scale 2027"}, request_only=True)],
    )
    @transaction.atomic
    def patch(self, request: Request, code: str) -> Response:
        plan = get_object_or_404(Plan.objects.select_for_update(), code=code)
        sent = ChangedPlanInput(data=request.data)
        sent.is_valid(raise_exception=True)
        save_entry(plan, sent.validated_data)
        return Response(PlanSerializer(PLANS.get(pk=plan.pk)).data)


class PlanVersions(APIView):
    """Versions of a plan."""

    required_scope = Scope.MANAGE
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="create_plan_version",
        summary="Add a draft version to a plan",
        description="Empty, or with the charges of a version (`copy_of`) at the amounts that hold now, in all of its "
        "currencies. If the newest version is an empty draft with the same currencies and interval, that one is "
        "answered with 200. Needs the `manage` scope.",
        tags=TAGS,
        request=NewVersionInput,
        responses={**created(PlanVersionSerializer), **_NOT_FOUND},
        examples=[
            OpenApiExample("a copy of version 1", {"copy_of": 1}, request_only=True),
            OpenApiExample("an empty one", {"currencies": ["USD", "EUR"], "billing_months": 12}, request_only=True),
        ],
    )
    def post(self, request: Request, code: str) -> Response:
        plan = get_object_or_404(Plan, code=code)
        sent = NewVersionInput(data=request.data)
        sent.is_valid(raise_exception=True)
        if "copy_of" in sent.validated_data:
            return made_once(lambda: None, lambda: _copy(plan, sent.validated_data["copy_of"]), PlanVersionSerializer)
        terms = _version_terms(sent.validated_data)

        def find() -> PlanVersion | None:
            newest = VERSIONS.filter(plan=plan).order_by("-number").first()
            is_same = newest is not None and newest.is_draft and not newest.prices.all() and _has(newest, terms)
            return newest if is_same else None

        return made_once(find, lambda: new_plan_version(plan=plan, **terms), PlanVersionSerializer)


def _copy(plan: Plan, number: int) -> PlanVersion:
    original = plan.versions.filter(number=number).first()
    if original is None:
        raise InvalidInput(f"{plan.name} has no version {number}.", field="copy_of")
    return VERSIONS.get(pk=copy_plan_version(plan_version=original, now=timezone.now()).pk)


@extend_schema_view(get=extend_schema(operation_id="get_plan_version", summary="Get a version of a plan", tags=TAGS))
class PlanVersionDetail(RetrieveAPIView[PlanVersion]):
    """One version of a plan with its prices. Needs the `read` scope."""

    required_scope = Scope.READ
    content_negotiation_class = JsonAlways
    queryset = VERSIONS
    serializer_class = PlanVersionSerializer

    def get_object(self) -> PlanVersion:
        return version_at(self.kwargs["code"], self.kwargs["number"])


def version_at(code: str, number: int) -> PlanVersion:
    """The version with an address. Raises Http404."""
    return get_object_or_404(VERSIONS, plan__code=code, number=number)


class Publish(APIView):
    """A draft that contracts may use from now on."""

    required_scope = Scope.MANAGE
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="publish_plan_version",
        summary="Publish a draft version",
        description="Its charges are fixed from now on; their amounts change by scheduled prices only. A version that "
        "is published already is answered as it is. Needs the `manage` scope.",
        tags=TAGS,
        request=None,
        responses={
            200: PlanVersionSerializer,
            403: REFUSED[403],
            409: problem("It has no price, or one is not priced in every currency of the version; or it is archived."),
            **_NOT_FOUND,
        },
    )
    def post(self, request: Request, code: str, number: int) -> Response:
        version = version_at(code, number)
        if version.status != PlanStatus.PUBLISHED:
            publish_plan_version(plan_version_id=version.pk, now=timezone.now())
        return Response(PlanVersionSerializer(version_at(code, number)).data)


class Archive(APIView):
    """A version that is no longer sold."""

    required_scope = Scope.MANAGE
    content_negotiation_class = JsonAlways

    @extend_schema(
        operation_id="archive_plan_version",
        summary="Take a published version off sale",
        description="Contracts on it go on unchanged. A version that is archived already is answered as it is. Needs "
        "the `manage` scope.",
        tags=TAGS,
        request=None,
        responses={
            200: PlanVersionSerializer,
            403: REFUSED[403],
            409: problem("It is a draft, which was never on sale."),
            **_NOT_FOUND,
        },
    )
    def post(self, request: Request, code: str, number: int) -> Response:
        version = version_at(code, number)
        if version.status != PlanStatus.ARCHIVED:
            archive_plan_version(plan_version_id=version.pk)
        return Response(PlanVersionSerializer(version_at(code, number)).data)
