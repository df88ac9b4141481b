"""Which version of a metric measures what."""

from __future__ import annotations

import datetime as dt

import pytest

from apps.billable_metrics.models import MetricVersion, version_in_force

JANUARY, FEBRUARY, MARCH = (dt.datetime(2024, month, 1, tzinfo=dt.UTC) for month in (1, 2, 3))
ONE_DAY = dt.timedelta(days=1)

FIRST = MetricVersion(number=1, effective_from=None, recorded_at=JANUARY)
CORRECTED = MetricVersion(number=2, effective_from=None, recorded_at=FEBRUARY)
FROM_MARCH = MetricVersion(number=3, effective_from=MARCH, recorded_at=FEBRUARY + ONE_DAY)
VERSIONS = [FROM_MARCH, FIRST, CORRECTED]


@pytest.mark.parametrize(
    ("at", "known_at", "version"),
    [
        (JANUARY, None, CORRECTED),
        (MARCH - ONE_DAY, None, CORRECTED),
        (MARCH, None, FROM_MARCH),
        (MARCH, FEBRUARY, CORRECTED),
        (MARCH, FEBRUARY - ONE_DAY, FIRST),
        # Nothing was known yet: the first version stands in, whatever came after it.
        (MARCH, JANUARY - ONE_DAY, FIRST),
    ],
)
def test_the_version_in_force_is_the_latest_that_was_known(
    at: dt.datetime, known_at: dt.datetime | None, version: MetricVersion
) -> None:
    assert version_in_force(VERSIONS, at=at, known_at=known_at) is version
