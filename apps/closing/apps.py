from django.apps import AppConfig


class ClosingConfig(AppConfig):
    name = "apps.closing"
    verbose_name = "Closing"
    default_auto_field = "django.db.models.BigAutoField"
