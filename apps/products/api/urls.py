"""Addresses of the catalogue in the API."""

from __future__ import annotations

from django.urls import path

from apps.products.api import views

urlpatterns = [
    path("products", views.ProductList.as_view(), name="api-products"),
    path("products/<str:code>", views.ProductDetail.as_view(), name="api-product"),
    path("plans", views.PlanList.as_view(), name="api-plans"),
    path("plans/<str:code>", views.PlanDetail.as_view(), name="api-plan"),
]
