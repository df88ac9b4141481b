"""Addresses of usage in the API."""

from __future__ import annotations

from django.urls import path

from apps.usage.api import dropin, exports, usage, views

urlpatterns = [
    path("events", views.RecordEvents.as_view(), name="api-events"),
    path("events/batch", dropin.LagoBatch.as_view(), name="api-events-batch"),
    path("customers/<str:external_id>/usage", usage.CustomerUsage.as_view(), name="api-customer-usage"),
    path("exports/events", exports.ExportEvents.as_view(), name="api-export-events"),
    path("exports/usage", exports.ExportUsage.as_view(), name="api-export-usage"),
]

# Where the clients of other products look, below the root of the site.
drop_in_urlpatterns = [
    path("v1/ingest", dropin.Ingest.as_view(), name="drop-in-ingest"),
    path("v1/billing/meter_events", dropin.StripeMeterEvents.as_view(), name="drop-in-stripe"),
    path("v2/billing/meter_events", dropin.StripeMeterEventsV2.as_view(), name="drop-in-stripe-v2"),
]
