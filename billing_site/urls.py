"""Addresses: the admin for staff, the API for programs, health for machines."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from apps.common.api import NothingHere
from apps.rating.impact_admin import price_impact
from apps.usage.api.urls import drop_in_urlpatterns
from apps.usage.metric_admin import metric_preview
from billing_site import health

open_to_all: dict[str, Any] = {"authentication_classes": [], "permission_classes": []}

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("favicon.ico", RedirectView.as_view(url="/static/countinghouse/favicon.svg", permanent=True)),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/usage/", include("apps.usage.pages")),
    path("admin/metric-preview/", admin.site.admin_view(metric_preview), name="metric-preview"),
    path("admin/price-impact/", admin.site.admin_view(price_impact), name="price-impact"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("billing_site.api_urls")),
    path("", include(drop_in_urlpatterns)),
    re_path("^v[12]/", NothingHere.as_view()),  # A client that finds a page here instead of JSON gives up confused.
    path("api/schema/", SpectacularAPIView.as_view(**open_to_all), name="api-schema"),
    # Its script comes from an address of its own: the content security policy runs no inline script.
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="api-schema", **open_to_all), name="api-docs"),
]
