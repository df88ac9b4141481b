"""Days that people enter."""

from __future__ import annotations

import datetime as dt

from apps.common.errors import InvalidInput

# Outside this range a date is a slip of the keyboard, and at the far ends of the calendar a day of some zones has
# no instant in UTC at all: one such date would stop the rating of everything that it touches.
FIRST_DAY = dt.date(1970, 1, 1)
LAST_DAY = dt.date(2199, 12, 31)


def check_day(day: dt.date, *, field: str) -> None:
    """Raise InvalidInput, naming the field, for a day that no contract and no price can be for."""
    if not FIRST_DAY <= day <= LAST_DAY:
        raise InvalidInput(f"Enter a day from {FIRST_DAY.year} to {LAST_DAY.year}, not {day.isoformat()}.", field=field)
