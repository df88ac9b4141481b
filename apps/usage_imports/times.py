"""The time of an event in the formats that files write it in."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from decimal import Decimal
from functools import lru_cache

from apps.usage_imports.mapping import Time, TimeFormat

_is_epoch = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,12})?").fullmatch
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_PER_SECOND = {TimeFormat.SECONDS: 1, TimeFormat.MILLISECONDS: 10**3, TimeFormat.NANOSECONDS: 10**9}


def instant_of(text: str, rule: Time) -> str:
    """A time of the file as RFC 3339 in UTC. Raises ValueError or OverflowError."""
    if rule.format == TimeFormat.RFC3339:
        instant = dt.datetime.fromisoformat(text.upper())
        if instant.tzinfo is None:
            raise ValueError("has no zone")
    elif rule.format == TimeFormat.NAIVE:
        instant = _wall_clock(text, rule)
    else:
        if not _is_epoch(text):
            raise ValueError("is no number")
        microseconds = Decimal(text) * 1_000_000 / _PER_SECOND[rule.format]
        instant = _EPOCH + dt.timedelta(microseconds=int(microseconds))
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")


def _wall_clock(text: str, rule: Time) -> dt.datetime:
    # The zone is named beside the pattern.
    naive = dt.datetime.strptime(text, rule.pattern) if rule.pattern else dt.datetime.fromisoformat(text)  # noqa: DTZ007
    if naive.tzinfo is not None:
        return naive
    zone = _zone(rule.zone)
    instant = naive.replace(tzinfo=zone)
    if instant.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != naive:
        raise ValueError("never was")
    return instant


@lru_cache(maxsize=64)
def _zone(name: str) -> zoneinfo.ZoneInfo:
    return zoneinfo.ZoneInfo(name)


def time_advice(rule: Time, error: Exception) -> str:
    """The end of a sentence that begins with the text at fault."""
    if str(error) == "never was":
        return f"is an hour that the clocks of {rule.zone} skipped. Is the zone right?"
    if rule.format == TimeFormat.RFC3339:
        return (
            "is no time with a zone, such as 2026-01-31T12:00:00Z. If the file's times have no zone, choose a mapping "
            "that names it."
        )
    if rule.format == TimeFormat.NAIVE:
        example = f"of the form {rule.pattern}" if rule.pattern else "such as 2026-01-31 12:00:00"
        return f"is no time {example}."
    return f"is no number of {rule.format.removeprefix('epoch_')} since 1970."
