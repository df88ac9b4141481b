"""Every metric version that measures events, ready to run: kept by each process, and as fresh as its reader asks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from apps.billable_metrics.definitions import Aggregation
from apps.billable_metrics.measuring import Measurer, measurer
from apps.billable_metrics.models import MetricVersion

# How many versions there are, and the newest of them: versions never change, so this tells one set from another.
Edition = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric version, as the path of events runs it."""

    version_id: int
    aggregation: Aggregation
    is_mergeable: bool
    measure: Measurer


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The versions of one moment. ``numeric_properties`` names what must be a number, by event type."""

    edition: Edition
    by_type: Mapping[str, tuple[Measure, ...]]
    numeric_properties: Mapping[str, frozenset[str]]


class _Known:
    """What this process knows. Its threads read it at once, and each goes on with what it has read."""

    catalogue: Catalogue | None = None


def current(edition: Edition | None = None) -> Catalogue:
    """The catalogue: of ``edition`` where that is told, else as this process knows it."""
    known = _Known.catalogue
    if known is None or (edition is not None and known.edition != edition):
        known = _Known.catalogue = _load()
    return known


def forget() -> None:
    """Look at the database again."""
    _Known.catalogue = None


def _load() -> Catalogue:
    versions = list(MetricVersion.objects.all())
    by_type: defaultdict[str, list[Measure]] = defaultdict(list)
    numeric: defaultdict[str, set[str]] = defaultdict(set)
    for version in versions:
        definition = version.definition
        by_type[version.event_type].append(
            Measure(version.pk, definition.aggregation, definition.is_mergeable, measurer(definition))
        )
        numeric[version.event_type].update(definition.numeric_properties)
    return Catalogue(
        edition=(len(versions), max((version.pk for version in versions), default=0)),
        by_type={event_type: tuple(measures) for event_type, measures in by_type.items()},
        numeric_properties={event_type: frozenset(names) for event_type, names in numeric.items()},
    )
