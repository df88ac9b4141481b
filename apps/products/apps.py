from django.apps import AppConfig


class ProductsConfig(AppConfig):
    name = "apps.products"
    verbose_name = "Products and plans"
    default_auto_field = "django.db.models.BigAutoField"
