"""Model fields that several apps share."""

from __future__ import annotations

import zoneinfo
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models

validate_code = RegexValidator(
    r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$",
    "Use letters, digits, hyphens, underscores, dots and colons, and begin with a letter or a digit.",
)

validate_identifier = RegexValidator(r"^[^\s\x00-\x1f/]+$", "Use no spaces, slashes or control characters.")


@lru_cache(maxsize=1)
def zone_names() -> tuple[str, ...]:
    """Every canonical time zone name of the IANA database, in order."""
    return tuple(sorted(name for name in zoneinfo.available_timezones() if "/" in name or name == "UTC"))


def validate_zone(name: str) -> None:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValidationError(
            "“%(name)s” is not a time zone. Use an IANA name such as Europe/Berlin or UTC.",
            code="invalid_zone",
            params={"name": name},
        ) from error


class CodeField(models.CharField[str, str]):
    """A short identifier that people and programs use alike, such as ``input_tokens``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 64)
        super().__init__(*args, **kwargs)
        self.validators = [*self.validators, validate_code]


class IdentifierField(models.CharField[str, str]):
    """An ID that another system made: any characters but spaces and slashes, so that it fits a URL."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 128)
        super().__init__(*args, **kwargs)
        self.validators = [*self.validators, validate_identifier]


class ZoneField(models.CharField[str, str]):
    """The name of an IANA time zone. Days and billing periods are counted in it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 64)
        kwargs.setdefault("default", "UTC")
        kwargs.setdefault("verbose_name", "time zone")
        super().__init__(*args, **kwargs)
        self.validators = [*self.validators, validate_zone]


def currency_choices() -> list[tuple[str, str]]:
    """The currencies that the CURRENCIES setting lists."""
    return [(code, code) for code in settings.CURRENCIES]


class CurrencyCodeField(models.CharField[str, str]):
    """An ISO 4217 currency code."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 3)
        kwargs.setdefault("choices", currency_choices)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        # The offered currencies are a setting, not a part of the schema.
        kwargs.pop("choices", None)
        return name, path, args, kwargs
