from django.urls import path

from apps.invoices.api import views

urlpatterns = [
    path("invoices", views.InvoiceList.as_view(), name="invoice-list"),
    path("invoices/<int:pk>", views.InvoiceDetail.as_view(), name="invoice-detail"),
    path("invoices/<int:pk>/pdf", views.InvoicePdf.as_view(), name="invoice-pdf"),
]
