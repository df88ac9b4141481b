from django.apps import AppConfig


class BillableMetricsConfig(AppConfig):
    name = "apps.billable_metrics"
    verbose_name = "Billable metrics"
    default_auto_field = "django.db.models.BigAutoField"
