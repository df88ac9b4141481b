"""Products, plans and prices in the admin: set-up by forms and buttons, refusals at the right field."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import ChargeModelName, PlanStatus, PlanVersion, Price, PriceTier, PriceVersion, Product
from apps.products.services import ChargedFor, add_currency, add_price, publish_plan_version
from apps.products.terms import PriceTerms
from tests.builders import PlannedPrice, flat_fee, graduated, per_unit, published_plan
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory
from tests.pages import confirm, errors_of, page_text, post, url_of, viewer

pytestmark = pytest.mark.django_db
PLAN, VERSION, PRICE = "products_plan", "products_planversion", "products_priceversion"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def price_fields(version: PlanVersion, **changes: Any) -> dict[str, Any]:
    """What the form sends for a per-unit price; the fields of other models are hidden and not sent."""
    return {
        "plan_version": version.pk,
        "product": ProductFactory().pk,
        "metric": BillableMetricFactory().pk,
        "name": "Input tokens",
        "charge_model": "per_unit",
        "unit_amount": "2.50",
        "per_units": "1000000",
        "included_units": "0",
        **changes,
    }


def tier_fields(*tiers: tuple[str, str]) -> dict[str, list[str]]:
    return {
        "tiers-up_to": [end for end, _ in tiers],
        "tiers-unit_amount": [amount for _, amount in tiers],
        "tiers-flat_amount": ["0"] * len(tiers),
    }


def graduated_fields(version: PlanVersion, *tiers: tuple[str, str]) -> dict[str, Any]:
    return price_fields(version, charge_model="graduated", unit_amount=None, **tier_fields(*tiers))


def faults_of_rows(response: Any) -> list[tuple[int, str, str]]:
    """What a table of the form says is wrong: the row from 0, the column, and the sentence."""
    form = response.context["adminform"].form
    return [
        (fault.row, fault.column, fault.sentence)
        for name in ("tiers", "rows")
        for fault in form.fields[name].widget.faults
    ]


# --- Products and plans ----------------------------------------------------------------------------------------------


def test_every_page_answers(page: Client) -> None:
    metric = BillableMetricFactory()
    version = published_plan(flat_fee("500"), graduated(metric, ("1000", "0.10"), (None, "0.05")))
    product, price = Product.objects.get(), PriceVersion.objects.first()
    assert price is not None
    for model, pk in (("products_product", product.pk), (PLAN, version.plan_id), (PRICE, price.pk)):
        page_text(page, url_of(model))
        page_text(page, url_of(model, "add"))
        page_text(page, url_of(model, "change", pk))
        page_text(page, url_of(model, "history", pk))


@pytest.mark.parametrize(
    ("model", "title"),
    [("products_product", "No products yet"), (PLAN, "No plans yet"), (PRICE, "No prices yet")],
)
def test_an_empty_list_says_how_to_begin(page: Client, model: str, title: str) -> None:
    assert title in page_text(page, url_of(model))


def test_a_plan_begins_with_a_draft_version(page: Client) -> None:
    fields = {"name": "Pay as you go", "code": "payg", "currencies": ["EUR"], "billing_months": "3", "description": ""}
    response = post(page, url_of(PLAN, "add"), fields)
    version = PlanVersion.objects.get()
    assert (version.plan.code, version.currencies, version.billing_months, version.status) == (
        "payg",
        ["EUR"],
        3,
        "draft",
    )
    # On to the plan's page, where prices are added.
    assert response.url == url_of(PLAN, "change", version.plan_id)
    assert f"plan_version={version.pk}" in page_text(page, response.url)


def test_a_plan_with_a_taken_code_is_refused_at_the_field(page: Client) -> None:
    PlanVersionFactory(plan__code="payg")
    fields = {"name": "Other", "code": "payg", "currencies": ["USD"], "billing_months": "1"}
    assert "already exists" in errors_of(post(page, url_of(PLAN, "add"), fields))["code"][0]
    assert PlanVersion.objects.count() == 1


def test_a_plan_shows_its_prices_in_words(page: Client) -> None:
    metric = BillableMetricFactory()
    version = published_plan(
        flat_fee("500", "Platform fee"),
        per_unit(metric, "2.5", per=1_000_000, included="100000", name="Tokens"),
        graduated(metric, ("1000000", "3"), (None, "1.5"), per=1000, name="Tiered"),
    )
    text = page_text(page, url_of(PLAN, "change", version.plan_id))
    for words in (
        "$500.00 per month",
        "$2.50 per 1,000,000 tokens",
        "100,000 tokens",
        "Per 1,000 tokens:",
        "$3.00 up to 1,000,000",
        "$1.50 above 1,000,000",
    ):
        assert words in text


def test_publishing_asks_first_and_then_fixes_the_version(page: Client) -> None:
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), price_fields(version))
    address = url_of(VERSION, "publish", version.pk)
    assert "has 1 price." in page_text(page, address)
    version.refresh_from_db()
    assert version.is_draft

    confirm(page, address)

    version.refresh_from_db()
    assert version.status == PlanStatus.PUBLISHED


def test_a_version_without_prices_is_not_published(page: Client) -> None:
    version = PlanVersionFactory()
    response = page.post(url_of(VERSION, "publish", version.pk), {"_form_submitted": "on"}, follow=True)
    assert "has no prices yet" in response.content.decode()
    version.refresh_from_db()
    assert version.is_draft


def test_archiving_takes_a_version_off_sale(page: Client) -> None:
    version = published_plan(flat_fee("500"))
    confirm(page, url_of(VERSION, "archive", version.pk))
    version.refresh_from_db()
    assert version.status == PlanStatus.ARCHIVED


def test_a_new_version_copies_the_prices_of_today(page: Client) -> None:
    version = published_plan(flat_fee("500"))
    confirm(
        page,
        url_of(PLAN, "new_version", version.plan_id),
        start_from=version.pk,
        currencies=["USD"],
        billing_months="1",
    )
    draft = PlanVersion.objects.get(number=2)
    assert draft.is_draft
    assert draft.prices.get().versions.get().flat_amount == Decimal(500)


def test_a_new_version_can_begin_empty_in_another_currency(page: Client) -> None:
    version = published_plan(flat_fee("500"))
    confirm(
        page, url_of(PLAN, "new_version", version.plan_id), start_from="empty", currencies=["EUR"], billing_months="12"
    )
    draft = PlanVersion.objects.get(number=2)
    assert (draft.currencies, draft.billing_months, draft.prices.count()) == (["EUR"], 12, 0)


# --- Prices ----------------------------------------------------------------------------------------------------------


def test_a_price_and_its_amounts_are_added_on_one_page(page: Client) -> None:
    version = PlanVersionFactory()
    response = post(page, url_of(PRICE, "add"), price_fields(version, included_units="100000"))
    assert response.url == f"{url_of(PLAN, 'change', version.plan_id)}#version-1"
    stored = PriceVersion.objects.select_related("price").get()
    assert (stored.price.name, stored.charge_model) == ("Input tokens", "per_unit")
    assert stored.unit_amount == Decimal("2.5")
    assert (stored.per_units, stored.included_units) == (Decimal(1_000_000), Decimal(100_000))
    assert stored.effective_from is None


def test_a_flat_price_sends_neither_metric_nor_unit(page: Client) -> None:
    version = PlanVersionFactory()
    fields = price_fields(
        version,
        charge_model="flat",
        flat_amount="500",
        metric=None,
        unit_amount=None,
        per_units=None,
        included_units=None,
    )
    assert post(page, url_of(PRICE, "add"), fields).status_code == 302
    assert PriceVersion.objects.get().flat_amount == 500


def test_tiers_are_added_with_their_price(page: Client) -> None:
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), graduated_fields(version, ("1000", "0.10"), ("", "0")))
    assert list(PriceTier.objects.values_list("up_to", "unit_amount")) == [
        (Decimal(1000), Decimal("0.10")),
        (None, Decimal(0)),
    ]


def test_tiers_typed_before_the_model_was_changed_are_left_out(page: Client) -> None:
    version = PlanVersionFactory()
    fields = price_fields(version, **tier_fields(("not a number", ""), ("5", "0.1")))
    assert post(page, url_of(PRICE, "add"), fields).status_code == 302
    assert not PriceTier.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field", "fault"),
    [
        ({"unit_amount": ""}, "unit_amount", "Enter the amount"),
        ({"unit_amount": "1,5"}, "unit_amount", "Leave out the commas"),
        ({"unit_amount": "-1"}, "unit_amount", "cannot be negative"),
        ({"unit_amount": "NaN"}, "unit_amount", "Enter a number"),
        ({"flat_amount": "5"}, "flat_amount", "takes no flat amount"),
        ({"metric": ""}, "metric", "Choose the metric"),
        (
            {
                "charge_model": "flat",
                "unit_amount": None,
                "per_units": None,
                "included_units": None,
                "flat_amount": "5",
            },
            "metric",
            "has no metric",
        ),
        ({"name": ""}, "name", "required"),
        ({"name": "Taken"}, "name", "already has a price with this name"),
        ({"product": ""}, "product", "required"),
        ({"per_units": "0"}, "per_units", "above 0"),
        ({"included_units": "-1"}, "included_units", "cannot be negative"),
    ],
)
def test_a_fault_is_named_at_its_field_and_nothing_is_stored(
    page: Client, changes: dict[str, Any], field: str, fault: str
) -> None:
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), price_fields(version, name="Taken"))
    response = post(page, url_of(PRICE, "add"), price_fields(version, **changes))
    assert fault in errors_of(response)[field][0]
    assert Price.objects.get().name == "Taken"


@pytest.mark.parametrize(
    ("tiers", "row", "fault"),
    [
        ([("1000", "3"), ("500", "2"), ("", "1")], 1, "1,000"),
        ([("", "3"), ("500", "2")], 0, "no upper end"),
        ([("1000", "3"), ("1000", "2"), ("", "1")], 1, "1,000"),
    ],
)
def test_tiers_that_do_not_follow_one_another_are_refused_at_their_row(
    page: Client, tiers: list[tuple[str, str]], row: int, fault: str
) -> None:
    response = post(page, url_of(PRICE, "add"), graduated_fields(PlanVersionFactory(), *tiers))
    [(at, column, sentence)] = faults_of_rows(response)
    assert (at, column) == (row, "up_to")
    assert fault in sentence
    assert not Price.objects.exists()


def test_a_graduated_price_without_tiers_is_refused(page: Client) -> None:
    response = post(page, url_of(PRICE, "add"), graduated_fields(PlanVersionFactory()))
    assert "no tiers" in errors_of(response)["tiers"][0]
    assert not Price.objects.exists()


def test_a_price_is_not_added_to_a_published_version(page: Client) -> None:
    version = published_plan(flat_fee("500"))
    response = post(page, url_of(PRICE, "add"), price_fields(version))
    assert "its charges stand" in errors_of(response)["plan_version"][0]
    assert Price.objects.count() == 1


def test_a_refusal_of_the_service_is_shown_in_the_form(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people at once: the version is published between the form's check and the service's."""
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), price_fields(version, name="First"))
    fields = price_fields(version)
    monkeypatch.setattr("apps.products.forms.PriceForm.clean_plan_version", lambda form: version)
    confirm(page, url_of(VERSION, "publish", version.pk))
    response = post(page, url_of(PRICE, "add"), fields)
    assert "so its charges stand" in errors_of(response)["__all__"][0]
    assert Price.objects.get().name == "First"


def test_a_draft_price_can_be_changed_to_another_model(page: Client) -> None:
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), graduated_fields(version, ("1000", "0.10"), ("", "0.05")))
    stored = PriceVersion.objects.get()
    fields = price_fields(version, name="Platform fee", charge_model="flat", flat_amount="99", metric=None)
    fields |= {"unit_amount": None, "per_units": None, "included_units": None}
    assert post(page, url_of(PRICE, "change", stored.pk), fields).status_code == 302
    stored = PriceVersion.objects.select_related("price").get()
    assert (stored.price.name, stored.charge_model, stored.flat_amount) == ("Platform fee", "flat", Decimal(99))
    assert not PriceTier.objects.exists()


def test_the_tiers_of_a_draft_price_can_be_swapped(page: Client) -> None:
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), graduated_fields(version, ("10", "1"), ("20", "2"), ("", "3")))
    stored = PriceVersion.objects.get()
    fields = graduated_fields(version, ("20", "1"), ("30", "2"), ("", "3"))
    assert post(page, url_of(PRICE, "change", stored.pk), fields).status_code == 302
    assert list(stored.tiers.values_list("up_to", flat=True)) == [Decimal(20), Decimal(30), None]


def test_a_draft_price_can_be_removed_with_its_charge(page: Client) -> None:
    version = PlanVersionFactory()
    post(page, url_of(PRICE, "add"), price_fields(version))
    page.post(url_of(PRICE, "delete", PriceVersion.objects.get().pk), {"post": "yes"})
    assert not PriceVersion.objects.exists()
    assert not Price.objects.exists()


def test_a_published_price_is_read_only_and_offers_a_new_one(page: Client) -> None:
    published_plan(flat_fee("500"))
    stored = PriceVersion.objects.get()
    address = url_of(PRICE, "change", stored.pk)
    text = page_text(page, address)
    assert "Schedule a new price" in text
    assert 'name="flat_amount"' not in text
    assert post(page, address, {"flat_amount": "1"}).status_code == 403
    assert page.post(url_of(PRICE, "delete", stored.pk), {"post": "yes"}).status_code == 403
    stored.refresh_from_db()
    assert stored.flat_amount == 500


def test_scheduling_presets_the_current_amounts_and_adds_a_version(page: Client) -> None:
    metric = BillableMetricFactory()
    published_plan(graduated(metric, ("1000", "0.10"), (None, "0.05"), per=1000))
    stored = PriceVersion.objects.get()
    schedule = page.get(url_of(PRICE, "schedule", stored.pk))["Location"]
    initial = page.get(schedule).context["adminform"].form.initial
    assert [tier.up_to for tier in initial["tiers"]] == [Decimal(1000), None]

    response = post(
        page,
        schedule,
        {
            "effective_from": "2027-01-01",
            "charge_model": "graduated",
            "per_units": "1000",
            "included_units": "0",
            "note": "New year",
            **tier_fields(("1000", "0.20"), ("", "0.05")),
        },
    )

    assert response.status_code == 302
    newest = PriceVersion.objects.exclude(pk=stored.pk).get()
    assert (newest.effective_from, newest.note, newest.price) == (dt.date(2027, 1, 1), "New year", stored.price)
    assert newest.tiers.filter(unit_amount=Decimal("0.20"), up_to=1000).exists()
    assert stored.tiers.filter(unit_amount=Decimal("0.10"), up_to=1000).exists()


def test_a_scheduled_price_needs_a_day_and_an_amount(page: Client) -> None:
    published_plan(flat_fee("500"))
    address = f"{url_of(PRICE, 'add')}?schedule={Price.objects.get().pk}"
    errors = errors_of(post(page, address, {"effective_from": "", "charge_model": "flat", "flat_amount": ""}))
    assert set(errors) == {"effective_from", "flat_amount"}
    assert PriceVersion.objects.count() == 1


def test_a_day_in_the_past_is_taken_once_its_impact_was_seen(page: Client) -> None:
    published_plan(flat_fee("500"))
    address = f"{url_of(PRICE, 'add')}?schedule={Price.objects.get().pk}"
    fields = {"effective_from": "2023-10-15", "charge_model": "flat", "flat_amount": "400"}
    assert "This day is past" in errors_of(post(page, address, fields))["seen_impact"][0]
    assert PriceVersion.objects.count() == 1

    assert post(page, address, {**fields, "seen_impact": "on"}).status_code == 302
    assert PriceVersion.objects.filter(effective_from=dt.date(2023, 10, 15), flat_amount=400).exists()


def test_a_price_is_scheduled_in_the_currency_that_is_chosen(page: Client) -> None:
    draft = PlanVersionFactory(currencies=["USD", "EUR"])
    add_fee_in_two_currencies(draft)
    publish_plan_version(plan_version_id=draft.pk, now=dt.datetime(2023, 1, 1, tzinfo=dt.UTC))
    euros = PriceVersion.objects.get(currency="EUR")
    address = page.get(url_of(PRICE, "schedule", euros.pk))["Location"]
    assert page.get(address).context["adminform"].form.initial["flat_amount"] == Decimal(450)

    fields = {"effective_from": "2030-01-01", "charge_model": "flat", "currency": "EUR", "flat_amount": "470"}
    assert post(page, address, fields).status_code == 302
    assert PriceVersion.objects.get(effective_from=dt.date(2030, 1, 1)).currency == "EUR"


def add_fee_in_two_currencies(draft: PlanVersion) -> None:
    dollars, euros = (PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(amount)) for amount in (500, 450))
    now = dt.datetime(2023, 1, 1, tzinfo=dt.UTC)
    charged = ChargedFor(product=ProductFactory(), name="Fee")
    first = add_price(plan_version=draft, charged=charged, terms=dollars, now=now)
    add_currency(price=first.price, currency="EUR", terms=euros, now=now)


def test_another_currency_begins_with_the_amounts_of_the_first(page: Client) -> None:
    draft = PlanVersionFactory(currencies=["USD", "EUR"])
    fee = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(500))
    charged = ChargedFor(product=ProductFactory(), name="Fee")
    first = add_price(plan_version=draft, charged=charged, terms=fee, now=dt.datetime(2023, 1, 1, tzinfo=dt.UTC))
    address = page.get(url_of(PRICE, "add_currency", first.pk))["Location"]
    shown = page_text(page, address)
    assert 'value="500"' in shown
    assert "Nothing is converted" in shown

    assert post(page, address, {"charge_model": "flat", "currency": "EUR", "flat_amount": "450"}).status_code == 302
    assert PriceVersion.objects.get(currency="EUR").flat_amount == 450
    # With every currency of the plan priced, there is none to add.
    assert page.get(url_of(PRICE, "add_currency", first.pk)).status_code == 403


def test_what_is_odd_is_said_after_saving_and_stops_nothing(page: Client) -> None:
    version = PlanVersionFactory()
    fields = graduated_fields(version, ("1000", "1"), ("", "2"))
    text = page.post(url_of(PRICE, "add"), without_nothing(fields), follow=True).content.decode()
    assert "Tier 2 has a price of $2.00 per 1,000,000, and tier 1 before it" in text
    assert PriceVersion.objects.exists()


def without_nothing(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def test_the_list_of_prices_is_filtered_by_currency_and_model(page: Client) -> None:
    draft = PlanVersionFactory(currencies=["USD", "EUR"])
    add_fee_in_two_currencies(draft)
    in_euros = page_text(page, f"{url_of(PRICE)}?currency=EUR")
    assert "€450.00 per month" in in_euros
    assert "$500.00 per month" not in in_euros
    assert "per month" not in page_text(page, f"{url_of(PRICE)}?charge_model__exact=matrix")


def test_a_long_matrix_unfolds_on_its_page(page: Client) -> None:
    metric = BillableMetricFactory(group_by=("model",))
    rows = tuple(MatrixRow((f"model-{number}",), Decimal(number)) for number in range(1, 21))
    terms = PriceTerms(ChargeModelName.MATRIX, dimensions=("model",), rows=rows)
    published_plan(PlannedPrice("Tokens", terms, metric))
    listed = page_text(page, url_of(PRICE))
    whole = page_text(page, url_of(PRICE, "change", PriceVersion.objects.get().pk))
    assert "and 12 more" in listed
    assert "model-20" not in listed
    assert "model-20" in whole


def test_the_search_for_a_contract_finds_published_versions_only(page: Client) -> None:
    published = published_plan(flat_fee("500"))
    PlanVersionFactory()
    found = page.get(
        "/admin/autocomplete/",
        {"app_label": "contracts", "model_name": "contractphase", "field_name": "plan_version", "term": ""},
    ).json()
    assert [row["id"] for row in found["results"]] == [str(published.pk)]


def test_a_reader_sees_plans_and_drafts_without_buttons(client: Client) -> None:
    version = PlanVersionFactory()
    PriceVersion.objects.create(
        price=Price.objects.create(plan_version=version, product=ProductFactory(), name="Fee"),
        charge_model="flat",
        flat_amount=500,
        recorded_at=dt.datetime(2023, 1, 1, tzinfo=dt.UTC),
    )
    client.force_login(viewer("products.plan", "products.planversion", "products.priceversion"))
    text = page_text(client, url_of(PLAN, "change", version.plan_id))
    assert "Fee" in text
    for button in ("Add price", "Publish", "New version"):
        assert button not in text
    assert "$500.00 per month" in page_text(client, url_of(PRICE, "change", PriceVersion.objects.get().pk))
    assert confirm(client, url_of(VERSION, "publish", version.pk)).status_code == 403
    assert client.get(url_of(PRICE, "add")).status_code == 403
    version.refresh_from_db()
    assert version.is_draft


def test_the_lists_cost_the_same_however_long_they_are(
    page: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    metric = BillableMetricFactory()
    for round_ in range(2):
        for at in range(3 + 3 * round_):
            published_plan(flat_fee("500"), graduated(metric, ("10", "2"), (None, "1")), code=f"plan-{round_}-{at}")
        # Session, user; the badge of drafts; count, plans, their versions.
        with django_assert_num_queries(6):
            page_text(page, url_of(PLAN))
        # Session, user; the badge of drafts; count, prices, their tiers and rows.
        with django_assert_num_queries(7):
            page_text(page, url_of(PRICE))


def test_the_page_of_a_plan_costs_the_same_however_many_prices_it_has(
    page: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    metric = BillableMetricFactory()
    for number in (1, 6):
        fees = [graduated(metric, ("10", "2"), (None, "1"), name=f"Line {at}") for at in range(number)]
        version = published_plan(*fees, code=f"plan-{number}")
        # Session, user; the badge; the plan twice with its versions; versions, prices, amounts, tiers, rows of the
        # panels; how many contracts are on it.
        with django_assert_num_queries(14):
            page_text(page, url_of(PLAN, "change", version.plan_id))
