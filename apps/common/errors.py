"""The refusals of the product: one base class, and how a refusal is worded."""

from __future__ import annotations

from collections.abc import Mapping


class BillingError(Exception):
    """A request that the product refuses, with a sentence its reader can act on.

    ``code`` is stable and part of the API; ``detail`` says what is wrong and how to mend it;
    ``field`` names the input at fault where there is one; ``headers`` go with the answer. The API turns it into
    ``application/problem+json`` (RFC 9457), the admin shows ``detail``.
    """

    code = "refused"
    status = 409
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field


class InvalidInput(BillingError):
    """Input that cannot be taken as it is; ``field`` names the value at fault."""

    code = "invalid_input"
    status = 400
