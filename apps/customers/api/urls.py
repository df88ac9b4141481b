"""Addresses of customers in the API."""

from __future__ import annotations

from django.urls import path

from apps.customers.api import views

urlpatterns = [
    path("customers", views.CustomerList.as_view(), name="api-customers"),
    path("customers/<str:external_id>", views.CustomerDetail.as_view(), name="api-customer"),
]
