"""Reads over the audit trail: what changed, from what to what, by whom and why.

Triggers keep one event table for each tracked model. A page of the log reads the newest rows of each table from
an index, merges them, and loads only what it shows, so its cost does not grow with the log.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import OuterRef, Q, QuerySet, Subquery, Value

from apps.audit.wording import field_label, model_label, value_in_words
from apps.common.history import HistoryScope

CREATED, CHANGED, DELETED = "created", "changed", "deleted"
_LABELS = {"insert": CREATED, "update": CHANGED, "delete": DELETED}
FIELDS_AT_ONCE = 5
# Set by the system alongside a change; they say nothing that the change itself does not.
_UNREMARKABLE_FIELDS = frozenset({"id", "created_at"})


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the log. Changes of one transaction share their instant, so table and row number settle ties."""

    at: dt.datetime
    table: str
    event_id: int

    def as_text(self) -> str:
        return f"{self.at.isoformat()}~{self.table}~{self.event_id}"

    @classmethod
    def from_text(cls, text: str) -> Cursor | None:
        """The place that ``as_text`` wrote; None when the text was not written by it."""
        try:
            at, table, event_id = text.split("~")
            instant = dt.datetime.fromisoformat(at)
            return cls(at=instant, table=table, event_id=int(event_id)) if instant.tzinfo else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field before and after, in words. ``before`` is empty for what was created, ``after`` for what is gone."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one object. ``actor`` None stands for the system."""

    at: dt.datetime
    action: str
    model: type[models.Model]
    object_id: int
    object_name: str
    exists: bool
    fields: tuple[FieldChange, ...]
    actor: User | None
    reason: str
    source: str
    cursor: Cursor

    @property
    def first_fields(self) -> tuple[FieldChange, ...]:
        """As many fields as a row of the log shows at once."""
        return self.fields[:FIELDS_AT_ONCE]

    @property
    def further_fields(self) -> tuple[FieldChange, ...]:
        return self.fields[FIELDS_AT_ONCE:]

    @property
    def actor_name(self) -> str:
        if self.actor is None:
            return "System"
        return self.actor.get_full_name() or self.actor.get_username()

    @property
    def model_name(self) -> str:
        return model_label(self.model, tracked_models())


@lru_cache(maxsize=1)
def event_models() -> dict[str, type[models.Model]]:
    """The event model of each tracked model, by the tracked model's label."""
    found: dict[str, type[models.Model]] = {}
    for model in apps.get_models():
        tracked = getattr(model, "pgh_tracked_model", None)
        if tracked is not None and not model._meta.proxy:
            found[tracked._meta.label] = model
    return found


def tracked_models() -> list[type[models.Model]]:
    """Every model whose changes are kept, by name."""
    tracked = [apps.get_model(label) for label in event_models()]
    return sorted(tracked, key=lambda model: model_label(model, tracked).lower())


def recent_changes(
    *,
    tracked_model: type[models.Model] | None = None,
    object_id: int | None = None,
    user_id: int | None = None,
    from_at: dt.datetime | None = None,
    before: Cursor | dt.datetime | None = None,
    scopes: Sequence[HistoryScope] | None = None,
    limit: int = 50,
) -> list[Change]:
    """Return the newest changes, newest first, each compared with the state before it.

    ``before`` is the place after which a further page begins, or an instant. ``user_id`` 0 stands for the system.
    ``scopes`` limits the log to the rows of a history page, where a model that keeps no history adds nothing;
    without it, ``tracked_model`` and ``object_id`` do.
    """
    if scopes is None:
        wanted = [tracked_model] if tracked_model is not None else tracked_models()
        scopes = [HistoryScope(model, {} if object_id is None else {"pgh_obj_id": object_id}) for model in wanted]
    places = _newest_places(scopes, user_id=user_id, from_at=from_at, before=before, limit=limit)
    return _load_changes(places)


def changing_users() -> QuerySet[User]:
    """Everyone who may have changed something: the staff, past and present."""
    return User.objects.filter(is_staff=True).order_by("username")


# --- Which events a page shows ---------------------------------------------------------------------------------------


def _newest_places(
    scopes: Sequence[HistoryScope],
    *,
    user_id: int | None,
    from_at: dt.datetime | None,
    before: Cursor | dt.datetime | None,
    limit: int,
) -> list[Cursor]:
    """The places of the newest events over all scopes: one query, at most ``limit`` rows of each table."""
    parts = []
    for scope in scopes:
        event_model = event_models().get(scope.model._meta.label)
        if event_model is None:
            continue
        events = event_model._default_manager.filter(**scope.lookup)
        events = _by_user(events, user_id)
        if from_at is not None:
            events = events.filter(pgh_created_at__gte=from_at)
        events = _before(events, scope.model._meta.label, before)
        parts.append(
            events.annotate(table=Value(scope.model._meta.label))
            .order_by("-pgh_created_at", "-pgh_id")
            .values_list("pgh_created_at", "table", "pgh_id")[:limit]
        )
    if not parts:
        return []
    merged = parts[0] if len(parts) == 1 else parts[0].union(*parts[1:], all=True)
    places = [Cursor(at=at, table=table, event_id=event_id) for at, table, event_id in merged]
    # Two scopes may overlap; a change is shown once. Ties go by table name, then the newer row first.
    unique = sorted(set(places), key=lambda place: (-place.at.timestamp(), place.table, -place.event_id))
    return unique[:limit]


def _by_user(events: QuerySet[Any], user_id: int | None) -> QuerySet[Any]:
    if user_id is None:
        return events
    if user_id == 0:
        return events.filter(
            Q(pgh_context=None) | Q(pgh_context__metadata__user=None) | ~Q(pgh_context__metadata__has_key="user")
        )
    return events.filter(pgh_context__metadata__user=user_id)


def _before(events: QuerySet[Any], table: str, before: Cursor | dt.datetime | None) -> QuerySet[Any]:
    if before is None:
        return events
    if isinstance(before, dt.datetime):
        return events.filter(pgh_created_at__lt=before)
    earlier = Q(pgh_created_at__lt=before.at)
    if table > before.table:
        earlier |= Q(pgh_created_at=before.at)
    elif table == before.table:
        earlier |= Q(pgh_created_at=before.at, pgh_id__lt=before.event_id)
    # The plain bound beside the exact one lets the index skip what is newer.
    return events.filter(earlier, pgh_created_at__lte=before.at)


# --- What they say ---------------------------------------------------------------------------------------------------


def _load_changes(places: Sequence[Cursor]) -> list[Change]:
    ids_by_table: defaultdict[str, list[int]] = defaultdict(list)
    for place in places:
        ids_by_table[place.table].append(place.event_id)
    events = {table: _events_with_previous(table, ids) for table, ids in ids_by_table.items()}
    loaded = [pair for pairs in events.values() for pair in pairs.values()]
    names = _related_names(loaded)
    users = _users(event for event, _ in loaded)
    objects = {table: _objects(table, (event for event, _ in pairs.values())) for table, pairs in events.items()}
    return [
        _change(place, *events[place.table][place.event_id], names, users, objects[place.table]) for place in places
    ]


def _events_with_previous(table: str, ids: list[int]) -> dict[int, tuple[Any, Any]]:
    """Each event with the one before it of the same object, or None for the first."""
    events: Any = event_models()[table]._default_manager
    previous = (
        events.filter(pgh_obj_id=OuterRef("pgh_obj_id"), pgh_id__lt=OuterRef("pgh_id"))
        .order_by("-pgh_id")
        .values("pgh_id")[:1]
    )
    shown = list(events.filter(pgh_id__in=ids).select_related("pgh_context").annotate(previous_id=Subquery(previous)))
    earlier = events.in_bulk([event.previous_id for event in shown if event.previous_id is not None])
    return {event.pgh_id: (event, earlier.get(event.previous_id)) for event in shown}


def _change(
    place: Cursor,
    event: Any,
    previous: Any,
    names: Mapping[tuple[type[models.Model], Any], str],
    users: Mapping[int, User],
    objects: Mapping[int, models.Model],
) -> Change:
    action = _LABELS.get(event.pgh_label, CHANGED)
    metadata = event.pgh_context.metadata if event.pgh_context is not None else {}
    tracked: type[models.Model] = event.pgh_tracked_model
    shown = objects.get(event.pgh_obj_id)
    return Change(
        at=event.pgh_created_at,
        action=action,
        model=tracked,
        object_id=event.pgh_obj_id,
        object_name=str(shown) if shown is not None else _name_left_behind(event, tracked),
        exists=shown is not None,
        fields=tuple(_field_changes(event, previous, action, names)),
        actor=users.get(metadata.get("user") or 0),
        reason=str(metadata.get("reason", "")),
        source=_source(metadata),
        cursor=place,
    )


def _field_changes(
    event: Any, previous: Any, action: str, names: Mapping[tuple[type[models.Model], Any], str]
) -> Iterable[FieldChange]:
    for field in _tracked_fields(event):
        after = getattr(event, field.attname)
        before = getattr(previous, field.attname) if previous is not None and action == CHANGED else None
        if action == CHANGED and before == after:
            continue
        if action != CHANGED and after in (None, "", [], {}):
            continue
        words = [value_in_words(field, value, names, event) for value in (before, after)]
        if action == CREATED:
            yield FieldChange(field_label(field), "", words[1])
        elif action == DELETED:
            yield FieldChange(field_label(field), words[1], "")
        else:
            yield FieldChange(field_label(field), words[0], words[1] or "empty")


def _tracked_fields(event: Any) -> list[Any]:
    """The tracked model's own fields, which carry labels and choices, as far as the event keeps them."""
    kept = {field.name for field in event._meta.concrete_fields if not field.name.startswith("pgh_")}
    return [
        field
        for field in event.pgh_tracked_model._meta.concrete_fields
        if field.name in kept and field.name not in _UNREMARKABLE_FIELDS
    ]


def _related_names(
    loaded: Iterable[tuple[Any, Any]],
) -> dict[tuple[type[models.Model], Any], str]:
    """The names of all rows that foreign keys of the events point to, one query for each table."""
    wanted: defaultdict[type[models.Model], set[Any]] = defaultdict(set)
    for event, previous in loaded:
        for field in _tracked_fields(event):
            if field.many_to_one:
                for source in (event, previous):
                    if source is not None and (value := getattr(source, field.attname)) is not None:
                        wanted[field.related_model].add(value)
    return {(model, row.pk): str(row) for model, keys in wanted.items() for row in _rows(model, keys).values()}


def _objects(table: str, events: Iterable[Any]) -> dict[int, models.Model]:
    return _rows(apps.get_model(table), {event.pgh_obj_id for event in events})


def _rows(model: type[models.Model], keys: set[Any]) -> dict[Any, models.Model]:
    # Names of rows are often made of their parents' names.
    return model._default_manager.select_related().in_bulk(keys)


def _users(events: Iterable[Any]) -> dict[int, User]:
    keys = {event.pgh_context.metadata.get("user") for event in events if event.pgh_context is not None}
    return User.objects.in_bulk([key for key in keys if key is not None])


def _name_left_behind(event: Any, tracked: type[models.Model]) -> str:
    """What a deleted object was called, as far as its last state says."""
    for name in ("number", "name", "alias", "code"):
        try:
            tracked._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        if value := getattr(event, name, None):
            return str(value)
    return f"{tracked._meta.verbose_name} {event.pgh_obj_id}"


def _source(metadata: Mapping[str, Any]) -> str:
    """What the change was a part of, in words: a close run, a task."""
    if run := metadata.get("close_run"):
        return f"Close run {run}"
    return str(metadata.get("task", ""))
