"""Mappings that come with the product: plain values, of the same shape as the ones that staff save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.usage_imports.mapping import (
    Data,
    EventMapping,
    FileFormat,
    Id,
    IdBy,
    Text,
    Time,
    TimeFormat,
)


@dataclass(frozen=True, slots=True)
class ReadyMapping:
    """A mapping with the name and the sentence that a list of them shows."""

    name: str
    mapping: EventMapping
    about: str


def _azure(subject: str) -> EventMapping:
    """Times are UTC without saying so, with seven decimals, of which six are kept."""
    return EventMapping(
        file_format=FileFormat.CSV,
        id=Id(by=IdBy.ROW_NUMBER, prefix="{subject}-"),
        source=Text(fixed="azure-llm-inference-trace-2023"),
        type=Text(fixed="azure.llm_inference"),
        subject=Text(fixed=subject),
        time=Time(columns=("TIMESTAMP",), format=TimeFormat.NAIVE, zone="UTC"),
        data=Data(properties={"input_tokens": ("ContextTokens",), "output_tokens": ("GeneratedTokens",)}),
    )


def _attribute(*names: str) -> tuple[str, ...]:
    """An OpenTelemetry attribute: of the record itself, in its ``attributes``, or of its resource."""
    places = ("", "attributes.", "resource.attributes.")
    return tuple(place + name for name in names for place in places)


# Attribute names of the GenAI conventions, all still “Development”; cached and reasoning tokens are inside the input
# and output tokens. prompt_tokens, completion_tokens and system are the names of older instrumentation.
_OPENTELEMETRY = EventMapping(
    file_format=FileFormat.NDJSON,
    id=Id(
        columns=(
            *((name,) for name in _attribute("gen_ai.response.id")),
            ("traceId", "spanId"),
            ("trace_id", "span_id"),
            ("context.trace_id", "context.span_id"),
        )
    ),
    source=Text(columns=_attribute("service.name"), fixed="opentelemetry"),
    type=Text(fixed="gen_ai.inference"),
    subject=Text(columns=_attribute("customer.id", "tenant.id", "enduser.id", "user.id")),
    time=Time(columns=("startTimeUnixNano", "timeUnixNano"), format=TimeFormat.NANOSECONDS),
    data=Data(
        properties={
            "input_tokens": _attribute("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
            "output_tokens": _attribute("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
            "cache_read_input_tokens": _attribute("gen_ai.usage.cache_read.input_tokens"),
            "cache_creation_input_tokens": _attribute("gen_ai.usage.cache_creation.input_tokens"),
            "reasoning_output_tokens": _attribute("gen_ai.usage.reasoning.output_tokens"),
            "model": _attribute("gen_ai.request.model"),
            "response_model": _attribute("gen_ai.response.model"),
            "provider": _attribute("gen_ai.provider.name", "gen_ai.system"),
            "operation": _attribute("gen_ai.operation.name"),
        }
    ),
)

_OPENTELEMETRY_RFC3339 = EventMapping(
    file_format=FileFormat.NDJSON,
    id=_OPENTELEMETRY.id,
    source=_OPENTELEMETRY.source,
    type=_OPENTELEMETRY.type,
    subject=_OPENTELEMETRY.subject,
    time=Time(columns=("start_time", "timestamp", "time")),
    data=_OPENTELEMETRY.data,
)

_CLOUD_EVENTS = EventMapping(
    file_format=FileFormat.NDJSON,
    id=Id(columns=(("id",),)),
    source=Text(columns=("source",)),
    type=Text(columns=("type",)),
    subject=Text(columns=("subject",)),
    time=Time(columns=("time",)),
    data=Data(json="data"),
)

_OWN_EXPORT = EventMapping(
    id=Id(columns=(("id",),)),
    source=Text(columns=("source",)),
    type=Text(columns=("type",)),
    subject=Text(columns=("subject",)),
    time=Time(columns=("time",)),
    data=Data(json="data", prefix="data."),
    is_own_export=True,
)

READY: Mapping[str, ReadyMapping] = {
    "countinghouse": ReadyMapping(
        "Countinghouse export", _OWN_EXPORT, "What our own export of events writes, as CSV or NDJSON."
    ),
    "cloudevents": ReadyMapping(
        "CloudEvents", _CLOUD_EVENTS, "NDJSON: one CloudEvent on each line, as the API takes them."
    ),
    "opentelemetry": ReadyMapping(
        "OpenTelemetry GenAI spans",
        _OPENTELEMETRY,
        "NDJSON: one span on each line, or what the collector's file exporter writes. The customer is the attribute "
        "customer.id, tenant.id, enduser.id or user.id; else give the subject for the whole file.",
    ),
    "opentelemetry-rfc3339": ReadyMapping(
        "OpenTelemetry GenAI spans, times as text",
        _OPENTELEMETRY_RFC3339,
        "The same with start_time, timestamp or time in RFC 3339, as the console exporters of the SDKs write it.",
    ),
    "azure-llm-code": ReadyMapping(
        "Azure LLM inference trace 2023, code", _azure("azure-code"), "CSV: TIMESTAMP, ContextTokens, GeneratedTokens."
    ),
    "azure-llm-conv": ReadyMapping(
        "Azure LLM inference trace 2023, conversation",
        _azure("azure-conv"),
        "CSV: TIMESTAMP, ContextTokens, GeneratedTokens.",
    ),
}
