"""What the pages of the log share."""

from __future__ import annotations

import datetime as dt
from typing import Any, ClassVar, cast

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.common.admin import BillingAdmin, M, ReadOnlyMixin
from apps.common.formatting import format_instant
from apps.common.history import HistoryScope
from apps.usage.events import readable_json
from apps.usage.models import UsageEvent

MOST_COUNTED = 10_000
MOST_TYPES = 100


class LogRowAdmin(ReadOnlyMixin, BillingAdmin[M]):
    """Pages of rows that are written once. They have no history, since they do not change."""

    actions: ClassVar[list[str] | None] = None

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})

    def history_scopes(self, obj: M) -> list[HistoryScope]:
        return []


class BoundedPaginator(Paginator[Any]):
    """Counts no further than pages are worth turning: counting a whole log takes minutes."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[:MOST_COUNTED].count()


def instant_cell(instant: dt.datetime) -> SafeString:
    return format_html('<span class="ch-nowrap">{}</span>', format_instant(instant))


def data_block(data: Any) -> SafeString:
    return format_html('<pre class="ch-code">{}</pre>', readable_json(data))


def event_url(event: UsageEvent) -> str:
    return reverse("admin:usage_usageevent_change", args=[event.pk])
