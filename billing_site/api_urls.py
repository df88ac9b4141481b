"""Addresses of the API, version 1."""

from __future__ import annotations

from django.urls import include, path, re_path

from apps.common.api import NothingHere

urlpatterns = [
    path("", include("apps.usage.api.urls")),
    path("", include("apps.customers.api.urls")),
    path("", include("apps.billable_metrics.api.urls")),
    path("", include("apps.products.api.urls")),
    path("", include("apps.contracts.api.urls")),
    path("", include("apps.invoices.api.urls")),
    re_path("", NothingHere.as_view()),
]
