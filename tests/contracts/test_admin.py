"""Contracts in the admin: drafted with inclusive days, activated and ended by buttons."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from apps.contracts.grandfathering import grandfather_contract
from apps.contracts.models import Contract, ContractPhase, ContractStatus
from apps.contracts.services import activate_contract, create_contract
from apps.customers.models import Customer
from apps.products.models import PlanVersion
from tests.builders import SET_UP_AT, active_contract, flat_fee, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory, PlanVersionFactory
from tests.pages import confirm, errors_of, page_text, post, url_of, viewer
from tests.price_changes import change_price, plan_in_two_currencies

pytestmark = pytest.mark.django_db
CONTRACT = "contracts_contract"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture
def plan_version() -> PlanVersion:
    return published_plan(flat_fee("500"))


@pytest.fixture
def customer() -> Customer:
    return CustomerFactory(name="Lumen Robotics", timezone="Europe/Berlin")


def contract_fields(customer: Customer, plan_version: PlanVersion, /, **changes: Any) -> dict[str, Any]:
    return {
        "customer": customer.pk,
        "name": "Enterprise 2026",
        "plan_version": plan_version.pk,
        "start_date": "2026-01-01",
        "last_date": "2026-12-31",
        "billing_anchor_day": "1",
        "timezone": "",
        "payment_terms_days": "",
        "grace_period_hours": "",
        "purchase_order": "PO-7",
        **changes,
    }


def test_every_page_answers(page: Client, customer: Customer, plan_version: PlanVersion) -> None:
    post(page, url_of(CONTRACT, "add"), contract_fields(customer, plan_version))
    draft, active = Contract.objects.get(), active_contract(plan_version)
    page_text(page, url_of(CONTRACT))
    page_text(page, url_of(CONTRACT, "add"))
    for contract in (draft, active):
        page_text(page, url_of(CONTRACT, "change", contract.pk))
        page_text(page, url_of(CONTRACT, "history", contract.pk))


def test_an_empty_list_says_how_to_begin(page: Client) -> None:
    assert "No contracts yet" in page_text(page, url_of(CONTRACT))


def test_a_contract_is_drafted_with_inclusive_days_in_the_customers_zone(
    page: Client, customer: Customer, plan_version: PlanVersion
) -> None:
    response = post(page, url_of(CONTRACT, "add"), contract_fields(customer, plan_version))
    contract = Contract.objects.get()
    assert response.url == url_of(CONTRACT, "change", contract.pk)
    assert (contract.start_date, contract.end_date) == (dt.date(2026, 1, 1), dt.date(2027, 1, 1))
    assert (contract.timezone, contract.currency, contract.purchase_order) == ("Europe/Berlin", "USD", "PO-7")
    assert contract.phases.get().plan_version == plan_version
    form = page.get(response.url).context["adminform"].form
    assert form.initial["last_date"] == dt.date(2026, 12, 31)


@pytest.mark.parametrize(
    ("changes", "field", "fault"),
    [
        ({"last_date": "2025-12-31"}, "last_date", "cannot lie before the first"),
        ({"start_date": ""}, "start_date", "required"),
        ({"billing_anchor_day": "32"}, "billing_anchor_day", "less than or equal to 31"),
        ({"timezone": "Mars/Olympus"}, "timezone", "valid choice"),
        ({"payment_terms_days": "999"}, "payment_terms_days", "less than or equal to 365"),
        ({"customer": ""}, "customer", "required"),
    ],
)
def test_a_fault_is_named_at_its_field_and_nothing_is_stored(
    page: Client, customer: Customer, plan_version: PlanVersion, changes: dict[str, Any], field: str, fault: str
) -> None:
    response = post(page, url_of(CONTRACT, "add"), contract_fields(customer, plan_version, **changes))
    assert fault in errors_of(response)[field][0]
    assert not Contract.objects.exists()


def test_a_draft_plan_is_refused(page: Client, customer: Customer) -> None:
    response = post(page, url_of(CONTRACT, "add"), contract_fields(customer, PlanVersionFactory()))
    assert "Choose a published version" in errors_of(response)["plan_version"][0]
    assert not Contract.objects.exists()


def test_what_the_service_refuses_stands_at_the_forms_own_field(
    page: Client, customer: Customer, plan_version: PlanVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The service calls it end_date; the form asks for the last day.
    monkeypatch.setattr("apps.contracts.forms.ContractForm.clean", lambda form: form.cleaned_data)
    fields = contract_fields(customer, plan_version, timezone="UTC", last_date="2025-12-30")
    response = post(page, url_of(CONTRACT, "add"), fields)
    assert "cannot lie before" in errors_of(response)["last_date"][0]
    assert not Contract.objects.exists()


def test_a_draft_can_be_changed_but_not_moved_to_another_customer(
    page: Client, customer: Customer, plan_version: PlanVersion
) -> None:
    post(page, url_of(CONTRACT, "add"), contract_fields(customer, plan_version))
    contract = Contract.objects.get()
    changes = {"last_date": "", "timezone": "UTC", "customer": CustomerFactory().pk}
    post(page, url_of(CONTRACT, "change", contract.pk), contract_fields(customer, plan_version, **changes))
    contract.refresh_from_db()
    assert (contract.end_date, contract.timezone, contract.customer) == (None, "UTC", customer)
    assert contract.phases.get().end_date is None


def test_activating_asks_first_and_opens_the_first_period(
    page: Client, customer: Customer, plan_version: PlanVersion
) -> None:
    post(page, url_of(CONTRACT, "add"), contract_fields(customer, plan_version))
    contract = Contract.objects.get()
    address = url_of(CONTRACT, "activate", contract.pk)
    assert "its first period is 1 – 31 Jan 2026" in page_text(page, address)
    contract.refresh_from_db()
    assert contract.status == ContractStatus.DRAFT

    confirm(page, address)

    contract.refresh_from_db()
    assert (contract.status, contract.closed_through) == (ContractStatus.ACTIVE, contract.starts_at)


def test_an_active_contract_shows_its_terms_and_keeps_them(page: Client, plan_version: PlanVersion) -> None:
    contract = active_contract(plan_version, end=dt.date(2024, 11, 1), name="Standard")
    address = url_of(CONTRACT, "change", contract.pk)
    text = page_text(page, address)
    for words in ("1 Nov 2023 – 31 Oct 2024", "Nothing yet", "Plan v1", "30 days, as"):
        assert words in text
    assert 'name="start_date"' not in text
    assert post(page, address, contract_fields(contract.customer, plan_version)).status_code == 403
    assert page.post(url_of(CONTRACT, "delete", contract.pk), {"post": "yes"}).status_code == 403
    contract.refresh_from_db()
    assert contract.name == "Standard"


def test_a_contract_is_ended_on_its_last_day(page: Client, plan_version: PlanVersion) -> None:
    contract = active_contract(plan_version)
    confirm(page, url_of(CONTRACT, "end", contract.pk), last_date="2024-06-30")
    contract.refresh_from_db()
    assert contract.end_date == dt.date(2024, 7, 1)
    assert contract.phases.get().end_date == dt.date(2024, 7, 1)


def test_a_last_day_before_the_first_is_refused_in_the_dialog(page: Client, plan_version: PlanVersion) -> None:
    contract = active_contract(plan_version)
    response = confirm(page, url_of(CONTRACT, "end", contract.pk), last_date="2023-10-01")
    assert "cannot lie before" in response.context["form"].errors["last_date"][0]
    contract.refresh_from_db()
    assert contract.end_date is None


def test_a_draft_is_not_ended_and_an_active_contract_not_activated_again(
    page: Client, customer: Customer, plan_version: PlanVersion
) -> None:
    post(page, url_of(CONTRACT, "add"), contract_fields(customer, plan_version))
    draft, active = Contract.objects.get(), active_contract(plan_version)
    assert confirm(page, url_of(CONTRACT, "end", draft.pk), last_date="2026-06-30").status_code == 403
    assert confirm(page, url_of(CONTRACT, "activate", active.pk)).status_code == 403
    draft.refresh_from_db()
    assert draft.status == ContractStatus.DRAFT


def test_a_reader_sees_a_contract_and_can_move_nothing(
    client: Client, customer: Customer, plan_version: PlanVersion, clerk: User
) -> None:
    client.force_login(clerk)
    post(client, url_of(CONTRACT, "add"), contract_fields(customer, plan_version))
    draft = Contract.objects.get()
    client.force_login(viewer("contracts.contract"))
    text = page_text(client, url_of(CONTRACT, "change", draft.pk))
    assert "1 Jan – 31 Dec 2026" in text
    assert url_of(CONTRACT, "activate", draft.pk) not in text
    assert confirm(client, url_of(CONTRACT, "activate", draft.pk)).status_code == 403
    assert client.get(url_of(CONTRACT, "add")).status_code == 403
    draft.refresh_from_db()
    assert draft.status == ContractStatus.DRAFT


def test_the_list_costs_the_same_however_long_it_is(
    page: Client, plan_version: PlanVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in (3, 9):
        for _ in range(number):
            active_contract(plan_version)
        # Session, user; the badge of drafts; count, contracts, their phases.
        with django_assert_num_queries(6):
            page_text(page, url_of(CONTRACT))


# --- Currencies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def duo(db: None) -> PlanVersion:
    return plan_in_two_currencies(BillableMetricFactory())


def test_a_contract_on_a_plan_in_several_currencies_is_billed_in_the_chosen_one(
    page: Client, customer: Customer, duo: PlanVersion
) -> None:
    post(page, url_of(CONTRACT, "add"), contract_fields(customer, duo, billing_currency="EUR"))
    contract = Contract.objects.get()
    assert contract.currency == "EUR"
    form = page.get(url_of(CONTRACT, "change", contract.pk)).context["adminform"].form
    assert form.initial["billing_currency"] == "EUR"


@pytest.mark.parametrize("currency", ["", "GBP"])
def test_a_currency_that_the_plan_is_not_sold_in_is_refused(
    page: Client, customer: Customer, duo: PlanVersion, currency: str
) -> None:
    fields = contract_fields(customer, duo, billing_currency=currency)
    errors = errors_of(post(page, url_of(CONTRACT, "add"), fields))
    assert errors == {"billing_currency": ["Duo is sold in USD and EUR. Choose one of them."]}
    assert not Contract.objects.exists()


def test_the_form_learns_which_currencies_a_plan_is_sold_in(page: Client, duo: PlanVersion) -> None:
    address = url_of(CONTRACT, "currencies")
    assert page.get(address, {"plan_version": duo.pk}).json() == {"currencies": ["USD", "EUR"]}
    assert page.get(address, {"plan_version": "x"}).json() == {"currencies": []}


# --- Prices that are kept --------------------------------------------------------------------------------------------


def contract_in(plan: PlanVersion, currency: str = "USD", *, name: str = "Standard") -> Contract:
    contract = create_contract(
        customer=CustomerFactory(), name=name, plan_version=plan, start_date=dt.date(2023, 11, 1), currency=currency
    )
    return activate_contract(contract_id=contract.pk, now=SET_UP_AT)


def test_a_contract_says_that_it_keeps_prices_and_why(page: Client, duo: PlanVersion) -> None:
    contract = contract_in(duo)
    address = url_of(CONTRACT, "change", contract.pk)
    assert "Follows the list prices" in page_text(page, address)
    confirm(page, url_of(CONTRACT, "keep_prices", contract.pk), day="2023-11-03", reason="loyalty agreement")
    text = page_text(page, address)
    assert "Keeps the prices of 3 Nov 2023: loyalty agreement" in text
    assert url_of(CONTRACT, "keep_prices", contract.pk) not in text

    confirm(page, url_of(CONTRACT, "follow_prices", contract.pk), reason="new agreement")
    assert "Follows the list prices" in page_text(page, address)


@pytest.mark.parametrize(
    ("fields", "field", "fault"),
    [
        ({"day": "2199-01-01", "reason": "x"}, "day", "future"),
        ({"day": "2020-01-01", "reason": "x"}, "day", "was published on"),
        ({"day": "2023-11-03", "reason": ""}, "reason", "required"),
    ],
)
def test_what_cannot_be_kept_is_said_in_the_dialog(
    page: Client, duo: PlanVersion, fields: dict[str, str], field: str, fault: str
) -> None:
    contract = contract_in(duo)
    response = confirm(page, url_of(CONTRACT, "keep_prices", contract.pk), **fields)
    assert fault in response.context["form"].errors[field][0]
    assert contract.phases.get().grandfathered_at is None


def test_all_contracts_on_a_plan_keep_todays_prices_by_one_dialog(page: Client, duo: PlanVersion) -> None:
    contract_in(duo)
    contract_in(duo, "EUR")
    address = url_of(CONTRACT, "keep_for_all", duo.pk)
    assert address in page_text(page, url_of("products_plan", "change", duo.plan_id))
    assert "2 contracts" in page_text(page, address)
    assert not confirm(page, address, reason="").context["form"].is_valid()

    response = confirm(page, address, reason="existing customers stay")

    assert response.url == url_of("products_plan", "change", duo.plan_id)
    reasons = ContractPhase.objects.values_list("grandfather_reason", flat=True)
    assert list(reasons) == ["existing customers stay"] * 2
    assert address not in page_text(page, url_of("products_plan", "change", duo.plan_id))


def test_a_reader_cannot_keep_prices(client: Client, duo: PlanVersion) -> None:
    contract = contract_in(duo)
    client.force_login(viewer("contracts.contract", "products.plan"))
    assert confirm(client, url_of(CONTRACT, "keep_prices", contract.pk), reason="x").status_code == 403
    assert confirm(client, url_of(CONTRACT, "keep_for_all", duo.pk), reason="x").status_code == 403
    assert "Follows the list price" in page_text(client, url_of(CONTRACT, "who_pays", duo.pk))
    assert contract.phases.get().grandfathered_at is None


# --- Who pays what ---------------------------------------------------------------------------------------------------


def test_the_page_of_payers_says_what_each_pays_since_when_and_why(page: Client, duo: PlanVersion) -> None:
    today = timezone.now()
    contract_in(duo, name="Follower")
    contract_in(duo, "EUR", name="European")
    kept = contract_in(duo, name="Loyal")
    grandfather_contract(contract_id=kept.pk, at=utc(2023, 11, 3), now=today, reason="promised")
    change_price(duo, "0.20", from_day=dt.date(2023, 12, 1))
    scheduled = change_price(duo, "0.30", from_day=today.date() + dt.timedelta(days=40), currency="EUR")
    text = page_text(page, url_of(CONTRACT, "who_pays", duo.pk))
    for words in (
        "$0.20 per token",
        "1 Dec 2023",
        "Follows the list price.",
        "Keeps the prices of 3 Nov 2023: promised.",
        f"Will follow from {scheduled.effective_from:%-d %b %Y}: scheduled change.",
        "€0.09 per token",
        "Then €0.30 per token",
    ):
        assert words in text


@pytest.mark.parametrize(("why", "name"), [("follows", "Follower"), ("changes", "European"), ("keeps", "Loyal")])
def test_payers_are_listed_by_the_reason(page: Client, duo: PlanVersion, why: str, name: str) -> None:
    now = timezone.now()
    contract_in(duo, name="Follower")
    contract_in(duo, "EUR", name="European")
    grandfather_contract(contract_id=contract_in(duo, name="Loyal").pk, at=now, now=now, reason="promised")
    change_price(duo, "0.30", from_day=now.date() + dt.timedelta(days=40), currency="EUR")
    response = page.get(url_of(CONTRACT, "who_pays", duo.pk), {"why": why})
    assert [row["paid"].contract.name for row in response.context["rows"]] == [name]
    assert {each.value: number for each, number in response.context["counts"]} == {
        "follows": 1,
        "changes": 1,
        "keeps": 1,
    }


def test_the_payers_cost_the_same_however_many_they_are(
    page: Client, duo: PlanVersion, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in (2, 8):
        for _ in range(number):
            contract_in(duo)
        # Session, user; the badge; the plan; price, amounts, tiers, rows, the metric's versions; counts, page, total.
        with django_assert_num_queries(12):
            page_text(page, url_of(CONTRACT, "who_pays", duo.pk))
