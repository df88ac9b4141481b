"""The audit log as something one may be allowed to see. Its rows are the event tables of every tracked model."""

from __future__ import annotations

import pghistory.models


class AuditLog(pghistory.models.Context):
    """The circumstances of a change: who, when, why. The changes themselves are in the models' event tables.

    It stands for the whole log in the admin, so that reading it is a permission of its own.
    """

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "audit log"
        verbose_name_plural = "audit log"
