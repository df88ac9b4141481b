"""Making, revoking and rotating API keys."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Collection

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from apps.access.models import ApiKey, Scope
from apps.access.selectors import digest_of, forget_keys
from apps.common.errors import BillingError, InvalidInput

SECRET_PREFIX = "ch_"  # noqa: S105  (tells what the secret is for; leak scanners look for it)
SHOWN_CHARACTERS = 9
MOST_REQUESTS_PER_MINUTE = 10_000_000
NOTE_USE_EVERY = dt.timedelta(minutes=1)

_noted_use: dict[int, dt.datetime] = {}


class KeyRevoked(BillingError):
    code = "key_revoked"

    def __init__(self, key: ApiKey) -> None:
        super().__init__(f"{key} was revoked. Make a new key.")


def create_api_key(
    *,
    name: str,
    scopes: Collection[str],
    created_by: User | None,
    now: dt.datetime,
    requests_per_minute: int | None = None,
) -> tuple[ApiKey, str]:
    """Make a key, and return it with its secret, which is stored nowhere and cannot be shown again.

    Raises InvalidInput for an empty name, no scope, a scope that does not exist, or a limit below one.
    """
    if not name.strip():
        raise InvalidInput("Say where the key will be used.", field="name")
    chosen = sorted(set(scopes))
    if not chosen or not set(chosen) <= set(Scope.values):
        raise InvalidInput(f"Choose one or more of {', '.join(Scope.values)}.", field="scopes")
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        name=name.strip(),
        prefix=secret[:SHOWN_CHARACTERS],
        digest=digest_of(secret),
        scopes=chosen,
        requests_per_minute=_checked_limit(requests_per_minute),
        created_by=created_by,
        created_at=now,
    )
    return key, secret


@transaction.atomic
def revoke_api_key(*, key: ApiKey, now: dt.datetime) -> ApiKey:
    """End a key for good. Processes that have just used it take up to half a minute to notice."""
    locked = ApiKey.objects.select_for_update().get(pk=key.pk)
    if locked.revoked_at is None:
        locked.revoked_at = now
        locked.save(update_fields=["revoked_at"])
    transaction.on_commit(forget_keys)
    return locked


@transaction.atomic
def rotate_api_key(*, key: ApiKey, created_by: User | None, now: dt.datetime) -> tuple[ApiKey, str]:
    """Replace a key by a new one of the same name and scopes, and end the old one.

    For a change without a gap make a second key, let the program take it, then revoke the first. Raises
    KeyRevoked when the key has ended already.
    """
    locked = ApiKey.objects.select_for_update().get(pk=key.pk)
    if locked.revoked_at is not None:
        raise KeyRevoked(locked)
    revoke_api_key(key=locked, now=now)
    return create_api_key(
        name=locked.name,
        scopes=locked.scopes,
        created_by=created_by,
        now=now,
        requests_per_minute=locked.requests_per_minute,
    )


@transaction.atomic
def limit_api_key(*, key: ApiKey, requests_per_minute: int | None) -> ApiKey:
    """Set how many requests a minute a key may send; None leaves it to the limit for all keys.

    Other processes take up to half a minute to notice. Raises InvalidInput for a limit below one, and KeyRevoked.
    """
    locked = ApiKey.objects.select_for_update().get(pk=key.pk)
    if locked.revoked_at is not None:
        raise KeyRevoked(locked)
    locked.requests_per_minute = _checked_limit(requests_per_minute)
    locked.save(update_fields=["requests_per_minute"])
    transaction.on_commit(forget_keys)
    return locked


def _checked_limit(requests_per_minute: int | None) -> int | None:
    if requests_per_minute is not None and not 0 < requests_per_minute <= MOST_REQUESTS_PER_MINUTE:
        raise InvalidInput(
            f"Send between 1 and {MOST_REQUESTS_PER_MINUTE:,} requests a minute, or leave the limit out.",
            field="requests_per_minute",
        )
    return requests_per_minute


def note_key_used(*, key_id: int, now: dt.datetime) -> None:
    """Keep the time of the last use, to the minute: a write with every request would cost more than it tells.

    Another process that is writing the same is not waited for.
    """
    noted = _noted_use.get(key_id)
    if noted is not None and noted <= now < noted + NOTE_USE_EVERY:
        return
    _noted_use[key_id] = now
    is_due = Q(last_used_at=None) | Q(last_used_at__lte=now - NOTE_USE_EVERY)
    with transaction.atomic():
        due = ApiKey.objects.select_for_update(skip_locked=True).filter(is_due, pk=key_id)
        if due.values_list("pk", flat=True):
            ApiKey.objects.filter(pk=key_id).update(last_used_at=now)
