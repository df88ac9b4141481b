"""Addresses of the catalogue in the API."""

from __future__ import annotations

from django.urls import path

from apps.products.api import catalogue, estimates, plans, prices

urlpatterns = [
    path("products", catalogue.ProductList.as_view(), name="api-products"),
    path("products/<str:code>", catalogue.ProductDetail.as_view(), name="api-product"),
    path("pricing-units", catalogue.PricingUnitList.as_view(), name="api-pricing-units"),
    path("pricing-units/<str:code>", catalogue.PricingUnitDetail.as_view(), name="api-pricing-unit"),
    path("plans", plans.PlanList.as_view(), name="api-plans"),
    path("plans/<str:code>", plans.PlanDetail.as_view(), name="api-plan"),
    path("plans/<str:code>/versions", plans.PlanVersions.as_view(), name="api-plan-versions"),
    path("plans/<str:code>/versions/<int:number>", plans.PlanVersionDetail.as_view(), name="api-plan-version"),
    path("plans/<str:code>/versions/<int:number>/publish", plans.Publish.as_view(), name="api-plan-publish"),
    path("plans/<str:code>/versions/<int:number>/archive", plans.Archive.as_view(), name="api-plan-archive"),
    path("plans/<str:code>/versions/<int:number>/prices", prices.DraftPrices.as_view(), name="api-draft-prices"),
    path("prices", prices.PriceList.as_view(), name="api-prices"),
    path("prices/estimate", estimates.PriceEstimate.as_view(), name="api-price-estimate"),
    path("prices/<int:pk>", prices.PriceDetail.as_view(), name="api-price"),
    path("prices/<int:pk>/versions", prices.PriceVersions.as_view(), name="api-price-versions"),
]
