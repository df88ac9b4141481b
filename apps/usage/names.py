"""Sources and event types by name: stored when first seen, and remembered by each process."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db import connection, transaction

# Names are few. Should someone send a new one with each event, memory stays bounded and only speed suffers.
MOST_REMEMBERED = 10_000

_source_ids: dict[str, int] = {}
_event_types: set[str] = set()


def source_ids(names: Collection[str]) -> Mapping[str, int]:
    """Return the ID of each source, storing those that are new."""
    known = {name: source_id for name in names if (source_id := _source_ids.get(name)) is not None}
    wanted = sorted(set(names))
    if len(known) == len(wanted):
        return known
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO usage_source (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", [wanted])
        cursor.execute("SELECT name, id FROM usage_source WHERE name = ANY(%s)", [wanted])
        found = dict(cursor.fetchall())

    def remember() -> None:
        if len(_source_ids) + len(found) > MOST_REMEMBERED:
            _source_ids.clear()
        _source_ids.update(found)

    transaction.on_commit(remember)
    return found


def note_event_types(names: Collection[str]) -> None:
    """Store event types that were never seen before."""
    new = sorted(set(names) - _event_types)
    if not new:
        return
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO usage_event_type (name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", [new])

    def remember() -> None:
        if len(_event_types) + len(new) > MOST_REMEMBERED:
            _event_types.clear()
        _event_types.update(new)

    transaction.on_commit(remember)


def forget_known() -> None:
    """Look at the database again: a flush may have emptied it."""
    _source_ids.clear()
    _event_types.clear()
