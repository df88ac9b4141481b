"""What a key may do: every view names the scope that it needs."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from apps.access.admission import KeyRequired, require_scope
from apps.access.selectors import LiveKey


class HasScope(BasePermission):
    """Allow a key that lists the view's ``required_scope``. A view without one is a mistake and fails."""

    def has_permission(self, request: Request, view: Any) -> bool:
        scope: str = view.required_scope
        if not isinstance(request.auth, LiveKey):
            raise KeyRequired
        require_scope(request.auth, scope)
        return True
