"""API keys of this installation's own commands: made once, kept beside the data for the next start."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from django.conf import settings

from apps.access.selectors import live_key
from apps.access.services import create_api_key


def kept_api_key(name: str, *, scopes: Sequence[str], now: dt.datetime) -> str:
    """The secret of the key kept under ``name`` in the var folder; a new key when there is none that still works."""
    path = settings.VAR_DIR / f"{name}-api-key"
    if path.exists():
        secret = path.read_text().strip()
        if live_key(secret) is not None:
            return secret
    _, secret = create_api_key(name=name, scopes=list(scopes), created_by=None, now=now)
    path.touch(mode=0o600)
    path.write_text(secret)
    return secret
