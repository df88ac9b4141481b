from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class UsageConfig(AppConfig):
    name = "apps.usage"
    verbose_name = "Usage"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from apps.usage import checks  # noqa: F401  (registers itself)

        # A migration or a flush may remove what this process remembers of the database.
        post_migrate.connect(_forget_known, sender=self)


def _forget_known(**_: Any) -> None:
    from apps.billable_metrics import catalogue
    from apps.usage import names, partitions

    catalogue.forget()
    names.forget_known()
    partitions.forget_known()
