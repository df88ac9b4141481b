"""What every endpoint shares: errors as problem+json, and lists in pages."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from drf_spectacular.utils import OpenApiResponse, extend_schema_field, inline_serializer
from rest_framework import exceptions, serializers
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from apps.common.errors import BillingError
from apps.common.problems import (
    PROBLEM_TYPE,
    Fault,
    Problem,
    problem_of_failure,
    problem_of_refusal,
    problem_with,
)
from apps.pricing.formatting import plain_decimal


class ProblemSerializer(serializers.Serializer[Any]):
    """The form of every error, for the API's description."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="Stable; programs may rely on it.")
    detail = serializers.CharField(help_text="What is wrong and how to mend it.")
    errors = inline_serializer(  # type: ignore[assignment]
        "Fault",
        {
            "index": serializers.IntegerField(allow_null=True, help_text="Place in the list that was sent."),
            "field": serializers.CharField(allow_null=True),
            "code": serializers.CharField(),
            "detail": serializers.CharField(),
        },
        many=True,
        required=False,
    )


def problem(description: str) -> OpenApiResponse:
    """An error answer in the API's description."""
    return OpenApiResponse(ProblemSerializer, description=description)


class StrictSerializer(serializers.Serializer[Any]):
    """Input in which a name that we do not know is a mistake: a typing error would otherwise be taken for silence."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            known = [name for name, field in self.fields.items() if not field.read_only]
            unknown = sorted(str(name) for name in data if name not in known)
            if unknown:
                sentence = f"There is no “{{}}” here. Known are {', '.join(known)}."
                faults = {name: [serializers.ErrorDetail(sentence.format(name), "unknown")] for name in unknown}
                raise serializers.ValidationError(faults)
        return super().to_internal_value(data)


class ZonedDateTimeField(serializers.DateTimeField):
    """An instant that names its zone; without one nobody knows which hour is meant."""

    default_error_messages = {
        "naive": "Add the zone, such as Z or +01:00 (in a URL, write + as %2B).",
        "far": "Give a year from 1970 to 2199.",
    }

    def enforce_timezone(self, value: dt.datetime) -> dt.datetime:
        if value.tzinfo is None:
            self.fail("naive")
        if not 1970 <= value.year <= 2199:
            self.fail("far")
        return value.astimezone(dt.UTC)


class NamedField(serializers.SlugRelatedField[Any]):
    """A row by the name that people give it, such as a code; a text that no row can have is refused like any other."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str) or "\0" in data:  # which the database cannot even look for
            self.fail("invalid")
        return super().to_internal_value(data)


@extend_schema_field({"type": "string", "format": "decimal", "example": "1234567"})
class PlainDecimalField(serializers.Field[Decimal, Any, str, Any]):
    """A decimal as text without exponent and without trailing zeros, so that no client reads a float."""

    def to_representation(self, value: Decimal) -> str:
        return plain_decimal(value)


class JsonAlways(BaseContentNegotiation):
    """Answer in JSON whatever the client says it accepts: nothing else is on offer."""

    def select_parser(self, request: Request, parsers: Sequence[BaseParser]) -> BaseParser | None:  # type: ignore[override]
        return parsers[0] if parsers else None

    def select_renderer(  # type: ignore[override]
        self, request: Request, renderers: Sequence[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type or "application/json"


class NewestFirstPagination(CursorPagination):
    """Pages from the newest to the oldest. New rows never shift a page."""

    ordering = "-id"
    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 500

    def decode_cursor(self, request: Request) -> Cursor | None:
        cursor = super().decode_cursor(request)
        # A cursor is the ID of a row. Anything else was not made by us, and the database would stumble over it.
        if cursor is not None and cursor.position is not None and not _is_row_id(str(cursor.position)):
            raise exceptions.NotFound(self.invalid_cursor_message)
        return cursor


def _is_row_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response:
    """Answer any exception of a view as ``application/problem+json`` (RFC 9457)."""
    set_rollback()
    if isinstance(error, BillingError):
        return _response(problem_of_refusal(error))
    if isinstance(error, Http404):
        error = exceptions.NotFound(str(error) or "There is nothing at this address.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    elif isinstance(error, ModelValidationError):
        error = exceptions.ValidationError(serializers.as_serializer_error(error))
    elif isinstance(error, RequestDataTooBig):
        return _response(problem_with(413, "body_too_large", "The body is too large. Send it in smaller parts."))
    if isinstance(error, exceptions.APIException):
        return _framework_error(error)
    return _response(problem_of_failure(error, where=type(context.get("view")).__name__))


def _framework_error(error: exceptions.APIException) -> Response:
    if isinstance(error, exceptions.ValidationError):
        faults = list(_faults(error.get_full_details()))
        detail = faults[0].detail if len(faults) == 1 else f"{len(faults)} values cannot be taken as they are."
        response = _response(problem_with(error.status_code, "invalid_input", detail, faults))
    else:
        code = error.get_codes()
        named = code if isinstance(code, str) else error.default_code
        response = _response(problem_with(error.status_code, named, str(error.detail)))
    if challenge := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):
        response["Retry-After"] = str(int(wait) + 1)
    return response


def _faults(details: Any, path: str = "", index: int | None = None) -> Iterator[Fault]:
    """Flatten the nested details of a validation error."""
    if isinstance(details, Mapping) and set(details) == {"message", "code"}:
        yield Fault(field=path or None, code=str(details["code"]), detail=str(details["message"]), index=index)
    elif isinstance(details, Mapping):
        for name, inner in details.items():
            member = path if name == "non_field_errors" else f"{path}.{name}".strip(".")
            yield from _faults(inner, member, index)
    else:
        for position, inner in enumerate(details):
            is_fault = isinstance(inner, Mapping) and set(inner) == {"message", "code"}
            yield from _faults(inner, path, index if is_fault else position)


def _response(problem: Problem) -> Response:
    return Response(problem.body, status=problem.status, headers=dict(problem.headers), content_type=PROBLEM_TYPE)


class NothingHere(APIView):
    """Answers an address that does not exist as a problem, too."""

    schema = None

    authentication_classes = ()
    permission_classes = ()
    content_negotiation_class = JsonAlways

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        raise exceptions.NotFound("There is nothing at this address.")
