"""Reading refusals in tests."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from apps.common.errors import BillingError


def fields_of(refusal: Exception) -> list[str]:
    """The inputs that a refusal names; ``__all__`` where it is about several together."""
    if isinstance(refusal, BillingError):
        return [refusal.field or "__all__"]
    assert isinstance(refusal, ValidationError)
    return list(refusal.message_dict)
