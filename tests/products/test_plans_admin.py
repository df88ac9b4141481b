"""The pages of plans: prices in several currencies, what publishing still needs, and what changed."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.products.models import ChargeModelName, PlanVersion, Price, PriceVersion
from apps.products.services import (
    ChargedFor,
    add_price,
    change_draft_price,
    copy_plan_version,
    create_plan,
    publish_plan_version,
    remove_draft_price,
    schedule_price_version,
)
from apps.products.terms import PriceTerms
from tests.builders import SET_UP_AT, flat_fee, published_plan
from tests.factories import BillableMetricFactory, ProductFactory
from tests.pages import confirm, page_text, post, url_of
from tests.price_changes import change_price, per_call, plan_in_two_currencies

pytestmark = pytest.mark.django_db
PLAN, VERSION, PRICE = "products_plan", "products_planversion", "products_priceversion"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture
def duo(db: None) -> PlanVersion:
    return plan_in_two_currencies(BillableMetricFactory())


@pytest.fixture
def half_priced(db: None) -> PlanVersion:
    """A draft in two currencies with a price in one of them."""
    version = create_plan(code="half", name="Half", currencies=["USD", "EUR"])
    charged = ChargedFor(product=ProductFactory(), metric=BillableMetricFactory(), name="Calls")
    add_price(plan_version=version, charged=charged, terms=per_call("0.10"), now=SET_UP_AT)
    return version


# --- Currencies ------------------------------------------------------------------------------------------------------


def test_a_plan_is_begun_in_several_currencies_in_their_order(page: Client) -> None:
    fields = {"name": "Duo", "code": "duo", "currencies": ["EUR", "USD"], "billing_months": "1", "description": ""}
    post(page, url_of(PLAN, "add"), fields)
    assert PlanVersion.objects.get().currencies == ["EUR", "USD"]


def test_a_price_shows_its_currencies_side_by_side(page: Client, duo: PlanVersion) -> None:
    text = page_text(page, url_of(PLAN, "change", duo.plan_id))
    for words in ("Price in USD", "Price in EUR", "$0.10 per token", "€0.09 per token"):
        assert words in text


def test_a_missing_currency_is_marked_and_leads_to_its_form(page: Client, half_priced: PlanVersion) -> None:
    text = page_text(page, url_of(PLAN, "change", half_priced.plan_id))
    assert "Missing" in text
    assert f"?add_currency={Price.objects.get().pk}&amp;currency=EUR" in text


def test_the_publish_dialog_says_what_is_missing_and_nothing_is_published(
    page: Client, half_priced: PlanVersion
) -> None:
    address = url_of(VERSION, "publish", half_priced.pk)
    text = page_text(page, address)
    assert "It cannot be published yet." in text
    assert "in EUR" in text
    response = page.post(address, {"_form_submitted": "on"}, follow=True)
    assert "has no price in EUR" in response.content.decode()
    half_priced.refresh_from_db()
    assert half_priced.is_draft


def test_a_complete_version_says_in_which_currencies_it_is_published(page: Client, duo: PlanVersion) -> None:
    draft = copy_plan_version(plan_version=duo, now=timezone.now())
    assert "each in USD and EUR" in page_text(page, url_of(VERSION, "publish", draft.pk))


def test_a_copy_keeps_the_currencies(page: Client, duo: PlanVersion) -> None:
    address = url_of(PLAN, "new_version", duo.plan_id)
    confirm(page, address, start_from=duo.pk, currencies=["USD", "EUR"], billing_months="1")
    draft = PlanVersion.objects.get(number=2)
    assert draft.currencies == ["USD", "EUR"]
    assert {version.currency for version in draft.prices.get().versions.all()} == {"USD", "EUR"}


def test_a_copy_in_another_currency_leaves_its_amounts_to_be_added(page: Client, duo: PlanVersion) -> None:
    address = url_of(PLAN, "new_version", duo.plan_id)
    confirm(page, address, start_from=duo.pk, currencies=["USD", "JPY"], billing_months="1")
    draft = PlanVersion.objects.get(number=2)
    assert draft.currencies == ["USD", "JPY"]
    assert [version.currency for version in draft.prices.get().versions.all()] == ["USD"]
    assert "Missing" in page_text(page, url_of(PLAN, "change", duo.plan_id))


def test_a_copy_without_a_currency_in_common_is_refused(page: Client, duo: PlanVersion) -> None:
    address = url_of(PLAN, "new_version", duo.plan_id)
    fields = {"_form_submitted": "on", "start_from": duo.pk, "currencies": ["JPY"], "billing_months": "1"}
    assert "has no amounts in JPY" in page.post(address, fields, follow=True).content.decode()
    assert not PlanVersion.objects.filter(number=2).exists()


def test_scheduled_amounts_stand_below_those_in_force(page: Client, duo: PlanVersion) -> None:
    day = timezone.now().date() + dt.timedelta(days=40)
    change_price(duo, "0.30", from_day=day, currency="EUR")
    text = page_text(page, url_of(PLAN, "change", duo.plan_id))
    assert "€0.30 per token" in text
    assert f"From {day:%-d %b %Y}" in text
    assert "Scheduled" in text


# --- What changed ----------------------------------------------------------------------------------------------------


def test_a_plan_that_never_changed_has_no_panel_of_changes(page: Client, duo: PlanVersion) -> None:
    assert "What changed" not in page_text(page, url_of(PLAN, "change", duo.plan_id))


def test_the_plan_tells_who_changed_a_price_when_why_and_how(page: Client, duo: PlanVersion, clerk: User) -> None:
    schedule_price_version(
        price=Price.objects.get(),
        effective_from=dt.date(2023, 12, 1),
        terms=per_call("0.20"),
        currency="USD",
        now=timezone.now(),
        note="Costs have doubled",
        actor=clerk,
    )
    text = page_text(page, url_of(PLAN, "change", duo.plan_id))
    for words in ("Price changes of version 1", "<del>$0.10</del> → <ins>$0.20</ins>", "Costs have doubled", "clerk"):
        assert words in text


def test_the_plan_tells_how_its_versions_differ(page: Client, duo: PlanVersion) -> None:
    now = timezone.now()
    draft = copy_plan_version(plan_version=duo, now=now)
    price = draft.prices.get()
    dollars = price.versions.get(currency="USD")
    change_draft_price(price_version=dollars, charged=ChargedFor.of(price), terms=per_call("0.08"), now=now)
    fee = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(5))
    add_price(plan_version=draft, charged=ChargedFor(product=ProductFactory(), name="Support"), terms=fee, now=now)
    text = page_text(page, url_of(PLAN, "change", duo.plan_id))
    for words in (
        "From version 1 to version 2",
        "USD: Price",
        "<del>$0.10</del> → <ins>$0.08</ins>",
        "Support",
        "Added",
    ):
        assert words in text


def test_a_removed_charge_is_told(page: Client, duo: PlanVersion) -> None:
    draft = copy_plan_version(plan_version=duo, now=timezone.now())
    remove_draft_price(price=draft.prices.get())
    assert "Not charged any more" in page_text(page, url_of(PLAN, "change", duo.plan_id))


def test_a_price_tells_its_history_in_each_currency(page: Client, duo: PlanVersion) -> None:
    change_price(duo, "0.20", from_day=dt.date(2023, 12, 1), note="Dearer chips")
    first = PriceVersion.objects.filter(currency="USD").earliest("pk")
    text = page_text(page, url_of(PRICE, "change", first.pk))
    for words in ("History of this price", "In USD", "In EUR", "In force", "Past", "Dearer chips", "until 30 Nov 2023"):
        assert words in text


def test_the_page_of_a_plan_costs_the_same_however_often_its_prices_changed(page: Client) -> None:
    counts = []
    for changes in (1, 5):
        plan = plan_in_two_currencies(BillableMetricFactory(), code=f"plan-{changes}")
        for month in range(1, changes + 1):
            change_price(plan, "0.20", from_day=dt.date(2023, month, 1))
        with CaptureQueriesContext(connection) as taken:
            page_text(page, url_of(PLAN, "change", plan.plan_id))
        counts.append(len(taken))
    assert counts[0] == counts[1]


def test_a_published_version_stays_as_it_is_when_a_new_one_is_published(page: Client) -> None:
    first = published_plan(flat_fee("500"))
    draft = copy_plan_version(plan_version=first, now=timezone.now())
    publish_plan_version(plan_version_id=draft.pk, now=timezone.now())
    first.refresh_from_db()
    assert (first.status, first.prices.get().versions.get().flat_amount) == ("published", Decimal(500))
