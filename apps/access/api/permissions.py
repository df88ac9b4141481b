"""What a key may do: every view names the scope that it needs."""

from __future__ import annotations

from typing import Any, cast

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from apps.access.admission import KeyRequired, require_scope
from apps.access.models import Scope
from apps.access.selectors import LiveKey


class HasScope(BasePermission):
    """Allow a key that lists the view's ``required_scope``. A view without one is a mistake and fails."""

    def has_permission(self, request: Request, view: Any) -> bool:
        scope: str = view.required_scope
        if not isinstance(request.auth, LiveKey):
            raise KeyRequired
        require_scope(request.auth, scope)
        return True


class ReadOrManage:
    """A view that anyone with the read scope may look at, and that needs the manage scope to change anything."""

    @property
    def required_scope(self) -> Scope:
        request: Request = cast(Any, self).request
        return Scope.READ if request.method in SAFE_METHODS else Scope.MANAGE
