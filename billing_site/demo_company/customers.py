"""Who buys from the demo company."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from apps.pricing.periods import add_months

CLOSED_MONTHS = 4


@dataclass(frozen=True, slots=True)
class DemoCustomer:
    """A customer of the demo: where it is, what it pays by, and how many requests it sends on a working day."""

    external_id: str
    name: str
    legal_name: str
    entity: str
    plan: str
    timezone: str
    country: str
    city: str
    address: str
    postal_code: str
    tax_id: str
    requests_a_day: int
    tokens_a_request: int
    images_a_day: int = 0
    anchor_day: int = 1
    starts_months_ago: int = CLOSED_MONTHS
    currency: str = ""
    video_minutes_a_day: int = 0
    seats: int = 0


CUSTOMERS = (
    DemoCustomer(
        "northwind",
        "Northwind Robotics",
        "Northwind Robotics Inc.",
        "NIMBUS",
        "scale",
        "America/Los_Angeles",
        "US",
        "San Francisco",
        "548 Market Street",
        "CA 94104",
        "94-3175062",
        60,
        640_000,
        30,
    ),
    DemoCustomer(
        "harbor-legal",
        "Harbor Legal",
        "Harbor Legal LLP",
        "NIMBUS",
        "scale",
        "Europe/London",
        "GB",
        "London",
        "21 Fetter Lane",
        "EC4A 1AJ",
        "GB 340 7121 89",
        25,
        410_000,
    ),
    DemoCustomer(
        "papertrail",
        "Papertrail Notes",
        "Papertrail Notes Ltd.",
        "NIMBUS",
        "pay-as-you-go",
        "America/New_York",
        "US",
        "Brooklyn",
        "77 Sands Street",
        "NY 11201",
        "82-1140932",
        20,
        38_000,
        4,
    ),
    DemoCustomer(
        "tinkerbox",
        "Tinkerbox Studio",
        "Tinkerbox Studio LLC",
        "NIMBUS",
        "pay-as-you-go",
        "America/Denver",
        "US",
        "Boulder",
        "1919 14th Street",
        "CO 80302",
        "",
        8,
        12_000,
        14,
    ),
    DemoCustomer(
        "quill",
        "Quill & Co",
        "",
        "NIMBUS",
        "pay-as-you-go",
        "Asia/Kolkata",
        "IN",
        "Bengaluru",
        "4 Church Street",
        "560001",
        "",
        12,
        9_000,
        0,
        15,
        2,
    ),
    DemoCustomer(
        "lumiere-sante",
        "Lumière Santé",
        "Lumière Santé SAS",
        "NIMBUS-EU",
        "enterprise-eu",
        "Europe/Paris",
        "FR",
        "Paris",
        "12 rue de la Paix",
        "75002",
        "FR 19 787878784",
        30,
        520_000,
    ),
    DemoCustomer(
        "bergmann",
        "Bergmann Logistik",
        "Bergmann Logistik GmbH",
        "NIMBUS-EU",
        "enterprise-eu",
        "Europe/Berlin",
        "DE",
        "Hamburg",
        "Große Elbstraße 45",
        "22767",
        "DE 811 907 980",
        22,
        300_000,
        6,
    ),
    DemoCustomer(
        "prisma-pictures",
        "Prisma Pictures",
        "Prisma Pictures Inc.",
        "NIMBUS",
        "studio",
        "America/Toronto",
        "CA",
        "Toronto",
        "401 Richmond Street West",
        "ON M5V 3A8",
        "",
        6,
        4_000,
        28,
        currency="USD",
        video_minutes_a_day=9,
        seats=6,
    ),
    DemoCustomer(
        "atelier-nord",
        "Atelier Nord",
        "Atelier Nord AB",
        "NIMBUS-EU",
        "studio",
        "Europe/Stockholm",
        "SE",
        "Stockholm",
        "Götgatan 22",
        "118 46",
        "SE 556677889901",
        4,
        3_000,
        15,
        starts_months_ago=2,
        currency="EUR",
        video_minutes_a_day=5,
        seats=4,
    ),
)


def start_date(customer: DemoCustomer, first_day: dt.date) -> dt.date:
    month = add_months(first_day, CLOSED_MONTHS - customer.starts_months_ago)
    return month.replace(day=customer.anchor_day)
