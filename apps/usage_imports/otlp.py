"""OpenTelemetry's JSON, whose attributes are lists, as plain objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def spans(export: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The spans of one line as OpenTelemetry's file exporter writes it, each with its resource."""
    for resource in _members(export, "resourceSpans"):
        about = with_attributes(resource.get("resource") or {})
        for scope in _members(resource, "scopeSpans"):
            for span in _members(scope, "spans"):
                yield {**with_attributes(span), "resource": about}


def with_attributes(record: dict[str, Any]) -> dict[str, Any]:
    """OTLP writes attributes as a list of keys and typed values; as an object they are found by name."""
    attributes = record.get("attributes")
    if not isinstance(attributes, list):
        return record
    plain = {}
    for attribute in attributes:
        if isinstance(attribute, dict) and isinstance(attribute.get("value"), dict):
            plain[str(attribute.get("key"))] = _typed_value(attribute["value"])
    return {**record, "attributes": plain}


def _typed_value(value: dict[str, Any]) -> Any:
    for kind, held in value.items():
        # Integers of 64 bits are texts in OTLP's JSON.
        is_integer = kind == "intValue" and isinstance(held, str) and held.removeprefix("-").isdecimal()
        return int(held) if is_integer and len(held) < 30 else held
    return None


def _members(value: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    members = value.get(name)
    return iter([member for member in members if isinstance(member, dict)] if isinstance(members, list) else [])
