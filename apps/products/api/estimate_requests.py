"""What may be sent to be estimated, for the description and its examples.

What is taken and refused is decided by ``pricing.written_prices``, which the worked price lists use as well.
"""

from __future__ import annotations

from typing import Any

from apps.pricing.written_prices import ALIASES_OF_MODELS, KINDS

_NUMBER: dict[str, Any] = {
    "oneOf": [{"type": "string", "format": "decimal"}, {"type": "number"}],
    "description": "As text or as a number of JSON; every digit counts.",
}
_TIERS: dict[str, Any] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "up_to": {"oneOf": _NUMBER["oneOf"], "nullable": True, "description": "Last unit; null: without end."},
            **dict.fromkeys(("unit_amount", "flat_amount", "package_size", "package_amount", "rate_percent"), _NUMBER),
        },
        "additionalProperties": False,
    },
}
_TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": {"type": "string"}}
_USAGE: dict[str, Any] = {
    "quantity": _NUMBER,
    "failed": {**_NUMBER, "description": "Units of the quantity that failed."},
    "transactions": {"type": "array", "items": _NUMBER, "description": "The amount of each, in the order of time."},
    "events": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"quantity": _NUMBER, "failed": _NUMBER, "properties": _TEXTS},
            "required": ["quantity"],
            "additionalProperties": False,
        },
        "description": "For a matrix.",
    },
    "levels": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"quantity": _NUMBER, "days": {"type": "integer"}},
            "required": ["quantity", "days"],
            "additionalProperties": False,
        },
        "description": "For seats: how many, for how many days.",
    },
    "of_days": {"type": "integer", "description": "Days of the whole period, with levels."},
}
_AMOUNTS = (
    "unit_amount",
    "per_units",
    "package_size",
    "package_amount",
    "flat_amount",
    "free_units",
    "rate_percent",
    "fixed_amount",
    "free_transactions",
    "free_amount",
    "transaction_minimum",
    "transaction_maximum",
    "minimum",
    "maximum",
    "multiplier",
    "included_seats",
)
_WRITTEN: dict[str, Any] = {
    "type": "object",
    "title": "A price written out",
    "properties": {
        "currency": {"type": "string", "description": "ISO 4217.", "example": "USD"},
        "model": {"type": "string", "enum": [*KINDS, *ALIASES_OF_MODELS], "default": "per_unit"},
        **_USAGE,
        **dict.fromkeys(_AMOUNTS, _NUMBER),
        "tiers": _TIERS,
        "prices": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"match": _TEXTS, "unit_amount": _NUMBER},
                "required": ["unit_amount"],
                "additionalProperties": False,
            },
            "description": "The rows of a matrix.",
        },
        "convention": {
            "type": "object",
            "properties": {"flat_fee_at_zero_usage": {"type": "boolean"}},
            "additionalProperties": False,
        },
        "conversion": {
            "type": "object",
            "properties": {
                "divide_by": _NUMBER,
                "rounding": {"type": "string", "enum": ["ceil", "floor", "half_up", "none"]},
            },
            "required": ["divide_by"],
            "additionalProperties": False,
            "description": "Turns the quantity into billing units, before anything is free.",
        },
        "free_failures": {"oneOf": [*_NUMBER["oneOf"], {"type": "string", "enum": ["all"]}]},
        "pricing_unit": {
            "type": "object",
            "properties": {"singular": {"type": "string"}, "plural": {"type": "string"}, "rate": _NUMBER},
            "required": ["singular", "rate"],
            "additionalProperties": False,
            "description": "What the amounts are in when they are not money, and what one is worth.",
        },
    },
    "required": ["currency"],
    "additionalProperties": False,
}
_WHEN: dict[str, Any] = {
    "currency": {"type": "string", "description": "The plan version's first if it is left out."},
    "on": {"type": "string", "format": "date", "description": "The day whose prices hold; today if it is left out."},
}
_STORED: dict[str, Any] = {
    "type": "object",
    "title": "A stored price",
    "properties": {"price": {"type": "integer", "description": "Its ID."}, **_WHEN, **_USAGE},
    "required": ["price"],
    "additionalProperties": False,
}
_PLAN: dict[str, Any] = {
    "type": "object",
    "title": "All prices of a plan",
    "properties": {
        "plan": {"type": "string", "description": "Its code."},
        "version": {"type": "integer", "description": "The newest published one if it is left out."},
        **_WHEN,
        "quantities": {
            "type": "object",
            "additionalProperties": {
                "oneOf": [*_NUMBER["oneOf"], {"type": "object", "properties": _USAGE, "additionalProperties": False}]
            },
            "description": "Usage by the code of the metric, or by the name of the line. What is not named is unused.",
        },
    },
    "required": ["plan"],
    "additionalProperties": False,
}
REQUEST: dict[str, Any] = {"oneOf": [_WRITTEN, _STORED, _PLAN]}

EXAMPLES: dict[str, Any] = {
    "tiers": {
        "currency": "USD",
        "model": "graduated",
        "quantity": "12345678",
        "per_units": "1000000",
        "tiers": [{"up_to": "1000000", "unit_amount": "3.00"}, {"up_to": None, "unit_amount": "2.50"}],
    },
    "a matrix": {
        "currency": "USD",
        "model": "matrix",
        "per_units": "1000000",
        "prices": [
            {"match": {"model": "large", "direction": "input"}, "unit_amount": "10"},
            {"match": {"model": "large", "direction": "output"}, "unit_amount": "30"},
        ],
        "events": [
            {"quantity": "2400000", "properties": {"model": "large", "direction": "input"}},
            {"quantity": "650000", "properties": {"model": "large", "direction": "output"}},
        ],
    },
    "a percentage with a fee": {
        "currency": "EUR",
        "model": "percentage",
        "rate_percent": "1.4",
        "fixed_amount": "0.25",
        "transactions": ["120.00", "35.50"],
    },
    "a stored price": {"price": 1, "quantity": "2500000", "on": "2027-01-15"},
    "a plan": {"plan": "scale", "currency": "USD", "quantities": {"tokens": "25000000"}},
}
