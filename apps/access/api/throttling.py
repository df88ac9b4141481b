"""How often a key may ask."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from apps.access.rate import take_request
from apps.access.selectors import LiveKey


class KeyThrottle(BaseThrottle):
    """Refuse a key that has used up its requests. It is asked last, so that a refused request takes none."""

    def allow_request(self, request: Request, view: Any) -> bool:
        if isinstance(request.auth, LiveKey):
            take_request(request.auth)
        return True
