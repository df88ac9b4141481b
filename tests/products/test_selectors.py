from __future__ import annotations

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from apps.products.models import ChargeModelName, PriceVersion
from apps.products.selectors import prices_by_plan_version, version_in_force
from apps.products.services import ChargedFor, add_price, create_plan, schedule_price_version
from apps.products.terms import PriceTerms, charge_of
from tests.builders import flat_fee, graduated, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, ProductFactory

KNOWN_AT = utc(2024, 6, 1)


def version(name: str, effective_from: str | None, recorded_on: str, currency: str = "USD") -> PriceVersion:
    """A version that is not stored; ``name`` tells it from the others."""
    return PriceVersion(
        currency=currency,
        effective_from=None if effective_from is None else dt.date.fromisoformat(effective_from),
        recorded_at=dt.datetime.fromisoformat(recorded_on).replace(tzinfo=dt.UTC),
        note=name,
    )


RECORDED = (
    version("first", None, "2023-01-01"),
    version("spring", "2024-03-01", "2024-02-10"),
    version("spring, mended", "2024-03-01", "2024-02-12"),
    version("back to February", "2024-02-01", "2024-05-20"),
    version("summer", "2024-07-01", "2024-05-25"),
)


@pytest.mark.parametrize(
    ("on", "known_at", "name"),
    [
        # In the order of days, with all that was recorded by June.
        ("1970-01-01", "2024-06-01", "first"),
        ("2024-01-31", "2024-06-01", "first"),
        ("2024-02-01", "2024-06-01", "back to February"),
        ("2024-02-29", "2024-06-01", "back to February"),
        ("2024-03-01", "2024-06-01", "spring, mended"),
        ("2024-06-30", "2024-06-01", "spring, mended"),
        ("2024-07-01", "2024-06-01", "summer"),
        # In the order of what was known about one day.
        ("2024-03-05", "2022-12-31", None),
        ("2024-03-05", "2023-01-01", "first"),
        ("2024-03-05", "2024-02-09", "first"),
        ("2024-03-05", "2024-02-10", "spring"),
        ("2024-03-05", "2024-02-12", "spring, mended"),
        ("2024-02-15", "2024-05-19", "first"),
        ("2024-02-15", "2024-05-20", "back to February"),
    ],
)
def test_the_latest_day_holds_and_of_one_day_the_latest_recorded(on: str, known_at: str, name: str | None) -> None:
    instant = dt.datetime.fromisoformat(known_at).replace(tzinfo=dt.UTC)

    found = version_in_force(RECORDED, currency="USD", on=dt.date.fromisoformat(on), known_at=instant)

    assert (found.note if found else None) == name


def test_of_two_versions_recorded_at_one_instant_the_later_stored_holds() -> None:
    one, other = version("one", "2024-03-01", "2024-02-10"), version("other", "2024-03-01", "2024-02-10")
    one.pk, other.pk = 1, 2

    for order in ([one, other], [other, one]):
        assert version_in_force(order, currency="USD", on=dt.date(2024, 3, 1), known_at=KNOWN_AT) is other


def test_a_price_that_only_begins_later_has_no_version_before() -> None:
    later = [version("later", "2024-03-01", "2024-01-01")]

    assert version_in_force(later, currency="USD", on=dt.date(2024, 2, 29), known_at=KNOWN_AT) is None
    assert version_in_force([], currency="USD", on=dt.date(2024, 2, 29), known_at=KNOWN_AT) is None


def test_a_version_in_another_currency_never_holds() -> None:
    recorded = [version("dollars", None, "2024-01-01"), version("euros", "2024-02-01", "2024-01-01", "EUR")]

    found = {
        currency: version_in_force(recorded, currency=currency, on=dt.date(2024, 3, 1), known_at=KNOWN_AT)
        for currency in ("USD", "EUR", "JPY")
    }

    assert found == {"USD": recorded[0], "EUR": recorded[1], "JPY": None}


days = st.dates(dt.date(2024, 1, 1), dt.date(2024, 2, 10))
instants = st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2024, 2, 10), timezones=st.just(dt.UTC))  # noqa: DTZ001
stored_versions = st.lists(
    st.builds(
        PriceVersion,
        pk=st.integers(1, 99),
        currency=st.sampled_from(["USD", "EUR"]),
        effective_from=st.none() | days,
        recorded_at=instants,
    ),
    max_size=6,
    unique_by=lambda version: version.pk,
)


@given(stored_versions, days, instants, st.randoms(use_true_random=False))
def test_what_is_recorded_later_never_changes_what_was_known(
    versions: list[PriceVersion], on: dt.date, known_at: dt.datetime, random: Random
) -> None:
    known = [version for version in versions if version.recorded_at <= known_at]
    shuffled = random.sample(versions, len(versions))
    when: dict[str, Any] = {"currency": "USD", "on": on, "known_at": known_at}

    assert version_in_force(shuffled, **when) is version_in_force(known, **when)


@pytest.mark.django_db
def test_prices_are_read_whole_with_a_fixed_number_of_queries(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    metric = BillableMetricFactory(name="Input tokens")
    small = published_plan(flat_fee("49.00"), code="small")
    large = published_plan(
        flat_fee("490.00"),
        per_unit(metric, "3.00", per=1_000_000),
        graduated(metric, ("1000", "0.10"), (None, "0.05"), name="Requests"),
        code="large",
    )
    metered = large.prices.get(name="Input tokens")
    schedule_price_version(
        price=metered,
        effective_from=dt.date(2024, 1, 1),
        terms=PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("2.50"), per_units=Decimal(1_000_000)),
        now=utc(2023, 12, 1),
    )

    with django_assert_num_queries(5):
        found = prices_by_plan_version([large.pk, small.pk, large.pk])
        names = {
            plan_version: [
                (price.name, price.product.name, price.metric.name if price.metric else "", len(price.versions.all()))
                for price in prices
            ]
            for plan_version, prices in found.items()
        }
        charges = [
            charge_of(version) for prices in found.values() for price in prices for version in price.versions.all()
        ]

    assert names == {
        small.pk: [("Platform fee", "Chat API", "", 1)],
        large.pk: [
            ("Platform fee", "Chat API", "", 1),
            ("Input tokens", "Chat API", "Input tokens", 2),
            ("Requests", "Chat API", "Input tokens", 1),
        ],
    }
    assert len(charges) == 5


@pytest.mark.django_db
def test_prices_stand_by_position_and_those_of_one_position_by_age() -> None:
    draft = create_plan(code="scale", name="Scale", currencies=["EUR"])
    for name, position in [("last", 30), ("first", 10), ("second", 20), ("third", 20)]:
        add_price(
            plan_version=draft,
            charged=ChargedFor(product=ProductFactory(), name=name),
            terms=PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(1)),
            now=KNOWN_AT,
            position=position,
        )

    assert [price.name for price in prices_by_plan_version([draft.pk])[draft.pk]] == [
        "first",
        "second",
        "third",
        "last",
    ]
