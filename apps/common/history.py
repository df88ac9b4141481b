"""What changed, from what to what, by whom and why: kept by the database itself.

Triggers write one row for each insert, update and delete, also for bulk updates and raw SQL, and refuse
changes to those rows. The actor and the reason travel in the history context.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pghistory
from django.contrib.auth.models import AbstractBaseUser
from django.db import models

Model = TypeVar("Model", bound=type[models.Model])


def tracked(*, exclude: tuple[str, ...] = ()) -> Callable[[Model], Model]:
    """Keep an append-only history of every change to the decorated model."""
    return pghistory.track(  # type: ignore[no-any-return]
        pghistory.InsertEvent(),
        pghistory.UpdateEvent(),
        pghistory.DeleteEvent(),
        append_only=True,
        exclude=list(exclude) or None,
        # The audit log reads each table newest first, a page at a time.
        meta={"indexes": [models.Index(fields=["-pgh_created_at", "-pgh_id"])]},
    )


@contextmanager
def acting(actor: AbstractBaseUser | None, *, reason: str = "", **details: Any) -> Iterator[None]:
    """Name who makes the changes inside the block, and why.

    ``actor`` None stands for the system itself (a scheduled close, a demo set-up).
    """
    metadata = {key: value for key, value in details.items() if value not in (None, "")}
    if actor is not None:
        metadata["user"] = actor.pk
    if reason:
        metadata["reason"] = reason
    with pghistory.context(**metadata):
        yield


@dataclass(frozen=True, slots=True)
class HistoryScope:
    """Rows whose changes belong on a history page: a tracked model, and a filter on its event table."""

    model: type[models.Model]
    lookup: Mapping[str, Any]
