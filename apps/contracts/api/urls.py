"""Addresses of contracts in the API."""

from __future__ import annotations

from django.urls import path

from apps.contracts.api import views

urlpatterns = [
    path("contracts", views.ContractList.as_view(), name="api-contracts"),
    path("contracts/<int:pk>", views.ContractDetail.as_view(), name="api-contract"),
]
