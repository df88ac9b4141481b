from django.apps import AppConfig


class UsageImportsConfig(AppConfig):
    name = "apps.usage_imports"
    verbose_name = "Usage imports"
    default_auto_field = "django.db.models.BigAutoField"
