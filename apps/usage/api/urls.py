"""Addresses of usage in the API."""

from __future__ import annotations

from django.urls import path

from apps.usage.api import views

urlpatterns = [
    path("events", views.RecordEvents.as_view(), name="api-events"),
    path("customers/<str:external_id>/usage", views.CustomerUsage.as_view(), name="api-customer-usage"),
]
