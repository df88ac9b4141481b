"""The versions of a price as a history: what each changed, who recorded it, when, why, and whether it holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from django.db.models import TextChoices

from apps.audit.selectors import recent_changes
from apps.common.history import HistoryScope
from apps.pricing.periods import start_of_day
from apps.products.changes import Change, PlannedCharge, Wording, changes_between
from apps.products.models import Price, PriceVersion
from apps.products.selectors import version_in_force
from apps.products.services import ChargedFor
from apps.products.terms import PriceTerms, terms_of

MOST_AUTHORS = 1000


class State(TextChoices):
    DRAFT = "draft", "Draft"
    SCHEDULED = "scheduled", "Scheduled"
    IN_FORCE = "in_force", "In force"
    PAST = "past", "Past"
    SUPERSEDED = "superseded", "Superseded before it began"


@dataclass(frozen=True, slots=True)
class Revision:
    """One version of a price in one currency, and what it says otherwise than the one before it.

    The one before is what would hold on its first day without it. ``until`` is its last day where another follows.
    """

    version: PriceVersion
    state: State
    changes: tuple[Change, ...]
    is_first: bool
    recorded_by: str
    until: dt.date | None


def revisions(price: Price, *, now: dt.datetime, authors: dict[int, str]) -> dict[str, list[Revision]]:
    """The history of a loaded price by currency, the newest first. ``authors`` is what ``recorded_by`` found."""
    found = {}
    for currency in price.plan_version.currencies:
        recorded = [version for version in price.versions.all() if version.currency == currency]
        recorded.sort(key=_order)
        history = [_revision(price, version, recorded, now, authors) for version in recorded]
        found[currency] = history[::-1]
    return found


def _order(version: PriceVersion) -> tuple[dt.date, dt.datetime, int]:
    return version.effective_from or dt.date.min, version.recorded_at, version.pk


def _revision(
    price: Price, version: PriceVersion, recorded: Sequence[PriceVersion], now: dt.datetime, authors: dict[int, str]
) -> Revision:
    place = recorded.index(version)
    before = recorded[place - 1] if place else None
    # The version before may be one that this supersedes on the same day; both stand in the list, in order.
    changes = () if before is None else changes_between(terms_of(before), terms_of(version), wording_of(price, version))
    return Revision(
        version=version,
        state=state_of(version, recorded, now, is_draft=price.plan_version.is_draft),
        changes=tuple(changes),
        is_first=before is None,
        recorded_by=authors.get(version.pk, "System"),
        until=_until(version, recorded),
    )


def state_of(version: PriceVersion, recorded: Iterable[PriceVersion], now: dt.datetime, *, is_draft: bool) -> State:
    """Whether a version holds today (in UTC), will, did, or never did, for another took its place beforehand."""
    if is_draft:
        return State.DRAFT
    alike = [other for other in recorded if other.currency == version.currency]
    begins = version.effective_from or dt.date.min
    today = now.date()
    if version is version_in_force(alike, currency=version.currency, on=today, known_at=now):
        return State.IN_FORCE
    later = [
        other for other in alike if other.effective_from == version.effective_from and _order(other) > _order(version)
    ]
    if later and begins > dt.date.min and min(other.recorded_at for other in later) <= start_of_day(begins, "UTC"):
        return State.SUPERSEDED
    return State.SCHEDULED if begins > today and not later else State.PAST


def _until(version: PriceVersion, recorded: Iterable[PriceVersion]) -> dt.date | None:
    begins = version.effective_from or dt.date.min
    days = [other.effective_from for other in recorded if other.effective_from and other.effective_from > begins]
    return min(days) - dt.timedelta(days=1) if days else None


def recorded_by(price_ids: Collection[int]) -> dict[int, str]:
    """Who recorded each version of the prices, from the history that the database keeps."""
    scope = HistoryScope(PriceVersion, {"price_id__in": list(price_ids), "pgh_label": "insert"})
    return {change.object_id: change.actor_name for change in recent_changes(scopes=[scope], limit=MOST_AUTHORS)}


def wording_of(price: Price, version: PriceVersion) -> Wording:
    return planned_charge(price, {}).wording(version.currency)


def planned_charge(price: Price, terms: dict[str, PriceTerms]) -> PlannedCharge:
    return PlannedCharge(ChargedFor.of(price), terms)


def charges_in_force(prices: Iterable[Price], *, now: dt.datetime) -> list[PlannedCharge]:
    """What the loaded prices of a plan version charge today, by currency."""
    found = []
    for price in prices:
        recorded = list(price.versions.all())
        held = {
            currency: version_in_force(recorded, currency=currency, on=now.date(), known_at=now)
            for currency in price.plan_version.currencies
        }
        terms = {currency: terms_of(version) for currency, version in held.items() if version is not None}
        found.append(planned_charge(price, terms))
    return found
