"""What the customers of the demo company use, drawn by a seeded generator."""

from __future__ import annotations

import datetime as dt
import random
import zoneinfo
from collections.abc import Iterator
from decimal import Decimal

from apps.usage.services import EventInput
from billing_site.demo_company.customers import CUSTOMERS, DemoCustomer, start_date

SOURCE = "nimbus-gateway"
COMPLETION, IMAGE, VIDEO, SEATS = "llm.completion", "image.generation", "video.generation", "workspace.seats"


def generated_events(first_day: dt.date, now: dt.datetime) -> Iterator[EventInput]:
    """Every customer's requests from its first day to now, plus some of a workspace that nobody knows."""
    for customer in CUSTOMERS:
        start = start_date(customer, first_day)
        for offset in range((now.date() - start).days + 2):
            day = start + dt.timedelta(days=offset)
            yield from _events_of_day(customer, day, now)
            if customer.seats:
                yield from _seat_events(customer, day, start, now)
    for number in range(40):
        yield EventInput(
            source=SOURCE,
            event_id=f"legacy-{number}",
            type=COMPLETION,
            subject="ws_legacy_7",
            occurred_at=now - dt.timedelta(hours=number + 1),
            data={"model": "nimbus-large", "input_tokens": 1200 + 37 * number, "output_tokens": 300 + 11 * number},
        )


def _events_of_day(customer: DemoCustomer, day: dt.date, now: dt.datetime) -> Iterator[EventInput]:
    dice = random.Random(f"{customer.external_id} {day}")  # noqa: S311  (sample data, not a secret)
    zone = zoneinfo.ZoneInfo(customer.timezone)
    # Less at weekends, and a little more every month.
    level = (0.35 if day.weekday() >= 5 else 1.0) * (0.85 + 0.3 * dice.random()) * (1 + (day.toordinal() % 120) / 400)
    kinds = [
        *[COMPLETION] * round(customer.requests_a_day * level),
        *[IMAGE] * round(customer.images_a_day * level),
        *[VIDEO] * round(customer.video_minutes_a_day * level / 2),
    ]
    for number, kind in enumerate(kinds):
        minute = min(1439, max(0, round(dice.gauss(13 * 60, 210))))
        local = dt.datetime.combine(day, dt.time(minute // 60, minute % 60, dice.randrange(60)), tzinfo=zone)
        occurred_at = local.astimezone(dt.UTC)
        if occurred_at >= now:
            continue
        yield EventInput(
            source=SOURCE,
            event_id=f"{customer.external_id}-{day:%Y%m%d}-{number}",
            type=kind,
            subject=customer.external_id,
            occurred_at=occurred_at,
            data=_data(kind, customer, dice),
        )


def _seat_events(customer: DemoCustomer, day: dt.date, start: dt.date, now: dt.datetime) -> Iterator[EventInput]:
    seats = _seats_of_day(customer, day, start)
    occurred_at = dt.datetime.combine(day, dt.time(9), tzinfo=zoneinfo.ZoneInfo(customer.timezone)).astimezone(dt.UTC)
    if seats is not None and occurred_at < now:
        yield EventInput(
            source=SOURCE,
            event_id=f"{customer.external_id}-seats-{day:%Y%m%d}",
            type=SEATS,
            subject=customer.external_id,
            occurred_at=occurred_at,
            data={"seats": seats},
        )


def _seats_of_day(customer: DemoCustomer, day: dt.date, start: dt.date) -> int | None:
    """The number of seats, on the days on which it is stated: at the start, and one more in the middle of a month."""
    if day == start:
        return customer.seats
    months = (day.year - start.year) * 12 + day.month - start.month
    return customer.seats + months + 1 if day.day == 16 else None


def _data(kind: str, customer: DemoCustomer, dice: random.Random) -> dict[str, object]:
    if kind == IMAGE:
        return _image_data(dice)
    return _video_data(dice) if kind == VIDEO else _completion_data(customer, dice)


def _completion_data(customer: DemoCustomer, dice: random.Random) -> dict[str, object]:
    tokens = max(50, round(dice.lognormvariate(0, 0.6) * customer.tokens_a_request))
    return {
        "model": dice.choices(["nimbus-large", "nimbus-small"], weights=[3, 2])[0],
        "input_tokens": tokens,
        "output_tokens": max(10, round(tokens * (0.12 + 0.2 * dice.random()))),
    }


def _image_data(dice: random.Random) -> dict[str, object]:
    return {"model": "nimbus-canvas", "size": "1024x1024", "images": dice.choices([1, 2, 4], weights=[6, 3, 1])[0]}


def _video_data(dice: random.Random) -> dict[str, object]:
    """A clip of half a minute to four; one in ten fails."""
    return {
        "model": "nimbus-motion",
        "minutes": Decimal(dice.randrange(5, 41)) / 10,
        "status": "failed" if dice.random() < 0.1 else "succeeded",
    }
