"""Lets a request of a program in, or refuses it: its key, the key's scope, and how often it asks.

Every way in asks here, so that all of them refuse alike.
"""

from __future__ import annotations

import datetime as dt

from apps.access.selectors import LiveKey, live_key
from apps.access.services import note_key_used
from apps.common.errors import BillingError

CHALLENGE = 'Bearer realm="Countinghouse"'


class KeyRequired(BillingError):
    code = "not_authenticated"
    status = 401
    headers = {"WWW-Authenticate": CHALLENGE}

    def __init__(self) -> None:
        super().__init__("Send an API key as “Authorization: Bearer <key>”.")


class InvalidApiKey(BillingError):
    code = "invalid_api_key"
    status = 401
    headers = {"WWW-Authenticate": CHALLENGE}


class MissingScope(BillingError):
    code = "missing_scope"
    status = 403

    def __init__(self, scope: str) -> None:
        super().__init__(f"This API key has no “{scope}” scope. Use a key that has it.")


def secret_in(authorization: str | None) -> str:
    """The secret in an ``Authorization`` header. Raises KeyRequired and InvalidApiKey."""
    if not authorization:
        raise KeyRequired
    scheme, _, secret = authorization.partition(" ")
    secret = secret.strip()
    if not secret or scheme.lower() != "bearer":
        raise InvalidApiKey("Send the key as “Authorization: Bearer <key>”.")
    return secret


def find_key(secret: str, now: dt.datetime) -> LiveKey:
    """The key with this secret, whose use is noted. Raises InvalidApiKey.

    While ``remembered_key`` gives the same key, its use need not be noted again: it is remembered for less long than
    a noted use holds.
    """
    key = live_key(secret)
    if key is None:
        raise InvalidApiKey("This API key is unknown or was revoked.")
    note_key_used(key_id=key.id, now=now)
    return key


def require_scope(key: LiveKey, scope: str) -> None:
    """Raises MissingScope."""
    if scope not in key.scopes:
        raise MissingScope(scope)
