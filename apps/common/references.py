"""What refers to what."""

from __future__ import annotations

from django.db import models


def is_in_use(row: models.Model) -> bool:
    """Whether a row that must be kept refers to this one. Looked up once for each loaded object."""
    known: bool | None = row.__dict__.get("_ch_is_in_use")
    if known is None:
        known = any(
            relation.related_model._base_manager.filter(**{relation.field.name: row}).exists()
            for relation in row._meta.related_objects
            if relation.on_delete is models.PROTECT
        )
        row.__dict__["_ch_is_in_use"] = known
    return known


def count_uses(row: models.Model) -> int:
    """How many rows that must be kept refer to this one."""
    return sum(
        relation.related_model._base_manager.filter(**{relation.field.name: row}).count()
        for relation in row._meta.related_objects
        if relation.on_delete is models.PROTECT
    )
