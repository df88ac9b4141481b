"""Stored values as staff read them: labels, names, money, days."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from django.db import models
from djmoney.models.fields import MoneyField
from djmoney.money import Money

from apps.common.formatting import format_day, format_instant, format_money
from apps.pricing.formatting import format_quantity

# Ends are stored as the first day outside; people name the last day inside.
EXCLUSIVE_ENDS = frozenset({"end_date"})
LONGEST_TEXT = 160
ADDRESS_ORDER = ("name", "line1", "line2", "postal_code", "city", "region", "country", "tax_id", "email")


def model_label(model: type[models.Model], tracked: Iterable[type[models.Model]]) -> str:
    """What the log calls a model: its name, or its class's where two share one, as a price and its versions do."""
    name = str(model._meta.verbose_name)
    sharing = [other for other in tracked if str(other._meta.verbose_name) == name]
    if len(sharing) > 1:
        name = re.sub(r"(?<!^)(?=[A-Z])", " ", model.__name__).lower()
    return name[:1].upper() + name[1:]


def field_label(field: Any) -> str:
    if field.name in EXCLUSIVE_ENDS:
        return "Last day"
    label = str(field.verbose_name)
    return label[:1].upper() + label[1:]


def value_in_words(
    field: Any, value: Any, names: Mapping[tuple[type[models.Model], Any], str], event: Any = None
) -> str:
    """A stored value for readers; an empty string for no value."""
    if value is None or value == "":
        return ""
    if field.many_to_one:
        return names.get((field.related_model, value), f"{field.related_model._meta.verbose_name} {value} (gone)")
    if isinstance(value, Money):
        return format_money(value)
    if isinstance(field, MoneyField) and isinstance(value, Decimal):
        return format_money(value, getattr(event, field.currency_field_name))
    return _plain_value(field, value)


def _plain_value(field: Any, value: Any) -> str:
    if field.choices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, dt.datetime):
        return format_instant(value)
    if isinstance(value, dt.date):
        return format_day(value - dt.timedelta(days=1) if field.name in EXCLUSIVE_ENDS else value)
    if isinstance(value, Decimal):
        return format_quantity(value)
    if isinstance(value, list):
        labels = dict(getattr(getattr(field, "base_field", None), "flatchoices", None) or {})
        return ", ".join(str(labels.get(item, item)) for item in value)
    text = _address_in_words(value) if isinstance(value, dict) else str(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _address_in_words(stored: Mapping[str, Any]) -> str:
    """A copied party: its parts in the order of an address, which JSON does not keep."""
    ordered = sorted(stored, key=lambda key: ADDRESS_ORDER.index(key) if key in ADDRESS_ORDER else len(ADDRESS_ORDER))
    return ", ".join(str(stored[key]) for key in ordered if stored[key] not in (None, ""))
