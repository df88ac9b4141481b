"""Making things over the API: the same request twice makes one, and both are answered with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.db import IntegrityError, models, transaction
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers, status
from rest_framework.response import Response

from apps.common.api import problem

REFUSED = {400: problem("What is wrong, at its field."), 403: problem("The key has no manage scope.")}
"""How a write is refused, for the description."""

MADE_MEANWHILE = "Another request made it meanwhile. Read it, and decide."

Made = TypeVar("Made", bound=models.Model)


def made_once(
    find: Callable[[], Made | None],
    make: Callable[[], Made],
    serializer: type[serializers.BaseSerializer[Any]],
    *,
    taken: str | Mapping[str, str] = MADE_MEANWHILE,
) -> Response:
    """Make what was sent unless there is the very same already: 201 for what is new, 200 for what was there.

    ``find`` gives what differs in nothing. ``taken`` is the refusal, by field or in a sentence, where something else
    came to stand in its place meanwhile.
    """
    known = find()
    if known is None:
        try:
            with transaction.atomic():
                made = make()
        except IntegrityError:
            # Another request made it meanwhile: perhaps the same one, sent twice.
            known = find()
            if known is None:
                raise serializers.ValidationError(taken) from None
        else:
            return Response(serializer(made).data, status=status.HTTP_201_CREATED)
    return Response(serializer(known).data)


def created(serializer: type[serializers.BaseSerializer[Any]]) -> dict[int, Any]:
    """The answers to a request that makes something, for the description."""
    return {201: serializer, 200: OpenApiResponse(serializer, "There is the very same already."), **REFUSED}
