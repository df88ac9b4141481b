"""Addresses of billable metrics in the API."""

from __future__ import annotations

from django.urls import path

from apps.billable_metrics.api import views

urlpatterns = [
    path("billable-metrics", views.BillableMetricList.as_view(), name="api-billable-metrics"),
    path("billable-metrics/<str:code>", views.BillableMetricDetail.as_view(), name="api-billable-metric"),
]
