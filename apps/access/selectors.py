"""Reads over API keys."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

from apps.access.models import ApiKey

REMEMBER_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class LiveKey:
    """What a request may do: the key that it presented, as far as views need to know it."""

    id: int
    name: str
    scopes: frozenset[str]
    requests_per_minute: int | None


_remembered: dict[str, tuple[float, LiveKey]] = {}


def live_key(secret: str) -> LiveKey | None:
    """Return the key with this secret, or None when there is none or it was revoked.

    A found key is remembered in this process for half a minute, so a key that another process revokes works
    here for that long at most. Unknown secrets are looked up each time and fill no memory.
    """
    remembered = remembered_key(secret)
    if remembered is not None:
        return remembered
    digest = digest_of(secret)
    _remembered.pop(digest, None)
    found = (
        ApiKey.objects.live().filter(digest=digest).values_list("id", "name", "scopes", "requests_per_minute").first()
    )
    if found is None:
        return None
    key = LiveKey(id=found[0], name=found[1], scopes=frozenset(found[2]), requests_per_minute=found[3])
    _remembered[digest] = (time.monotonic() + REMEMBER_SECONDS, key)
    return key


def remembered_key(secret: str) -> LiveKey | None:
    """The key with this secret if it was looked up within the last half minute. Asks no database."""
    remembered = _remembered.get(digest_of(secret))
    return remembered[1] if remembered is not None and remembered[0] > time.monotonic() else None


def digest_of(secret: str) -> str:
    """How a secret is stored. Secrets are random and long, so a plain hash keeps them safe and is fast."""
    return hashlib.sha256(secret.encode()).hexdigest()


def forget_keys() -> None:
    """Look every key up anew, since one has changed."""
    _remembered.clear()
