"""A party to an invoice as a value, copied when the invoice is issued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Party:
    """Name and address of a seller or a buyer at one moment. ``country`` is an ISO 3166 code."""

    name: str
    line1: str = ""
    line2: str = ""
    postal_code: str = ""
    city: str = ""
    region: str = ""
    country: str = ""
    tax_id: str = ""
    email: str = ""

    def as_stored(self) -> dict[str, str]:
        return asdict(self)

    @classmethod
    def from_stored(cls, stored: Mapping[str, str]) -> Party:
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in stored.items() if key in known})
