"""Plans as sales ops and finance work with them: currencies, kept prices, who pays what, impact, comparison."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from apps.billable_metrics.models import BillableMetric
from apps.contracts.grandfathering import grandfather_contract
from apps.contracts.models import Contract
from apps.contracts.services import activate_contract, close_open_periods, create_contract
from apps.products.models import PlanVersion, Price
from tests.browser.test_main_job import choose
from tests.builders import flat_fee, graduated, per_unit, published_plan, record_usage
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.price_changes import change_price, plan_in_two_currencies

pytestmark = pytest.mark.django_db(transaction=True)
SHOTS = os.environ.get("SCREENSHOTS")


def look(page: Page, name: str) -> None:
    """Keep a picture for those who ask for it."""
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


def tokens() -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="tokens", name="Input tokens")
    return metric


def last_month() -> dt.date:
    return (timezone.now().date().replace(day=1) - dt.timedelta(days=1)).replace(day=1)


def contract_on(plan: PlanVersion, name: str, currency: str = "USD") -> Contract:
    """An active contract since the first day of last month, which is closed."""
    contract = create_contract(
        customer=CustomerFactory(external_id=name.lower(), name=name),
        name="Standard",
        plan_version=plan,
        start_date=last_month(),
        currency=currency,
    )
    contract = activate_contract(contract_id=contract.pk, now=timezone.now())
    period = contract.period_at(contract.starts_at)
    assert period is not None
    close_open_periods({contract: period})
    return contract


def test_a_contract_chooses_its_currency_and_keeps_its_prices(signed_in: Page) -> None:
    page = signed_in
    plan_in_two_currencies(tokens())
    published_plan(flat_fee("5"), code="dollars")
    CustomerFactory(name="Lumen Robotics")
    page.goto("/admin/contracts/contract/add/")
    currency = page.locator("[name=billing_currency]")
    expect(currency).to_be_hidden()
    choose(page, "customer", "Lumen", "Lumen Robotics")
    page.fill("[name=name]", "Enterprise")
    choose(page, "plan_version", "Dollars", "Dollars v1")
    expect(currency).to_be_hidden()
    choose(page, "plan_version", "Duo", "Duo v1")
    expect(currency).to_be_visible()
    expect(currency.locator("option")).to_have_text(["Choose one", "USD", "EUR"])
    look(page, "contract-form")
    page.click("[name=_save]")
    expect(page.get_by_text("Duo is sold in USD and EUR. Choose one of them.")).to_be_visible()
    page.select_option("[name=billing_currency]", "EUR")
    page.click("[name=_save]")

    expect(page.get_by_text("was added successfully")).to_be_visible()
    page.get_by_role("link", name="Keep prices").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("no longer follows the list prices")
    dialog.locator("[name=reason]").fill("loyalty agreement")
    look(page, "keep-dialog")
    dialog.get_by_role("button", name="Keep these prices").click()
    expect(page.get_by_text("Enterprise keeps the prices of")).to_be_visible()
    contract = Contract.objects.get()
    assert (contract.currency, contract.phases.get().grandfather_reason) == ("EUR", "loyalty agreement")
    expect(page.get_by_label("Phases")).to_contain_text("loyalty agreement")
    page.get_by_role("link", name="Activate").click()
    page.locator("#dialog").get_by_role("button", name="Activate").click()
    expect(page.get_by_text("Enterprise is active")).to_be_visible()
    expect(page.get_by_text("loyalty agreement")).to_be_visible()
    look(page, "contract")


def test_who_pays_what_and_keeping_todays_prices_for_all(signed_in: Page) -> None:
    page = signed_in
    plan = plan_in_two_currencies(tokens())
    contract_on(plan, "Northwind")
    contract_on(plan, "Lumière", "EUR")
    now = timezone.now()
    grandfather_contract(contract_id=contract_on(plan, "Tinkerbox").pk, at=now, now=now, reason="promised in 2025")
    change_price(plan, "0.30", from_day=now.date() + dt.timedelta(days=40), currency="EUR", now=now, note="New year")

    page.goto(f"/admin/products/plan/{plan.plan_id}/change/")
    look(page, "plan")
    page.get_by_role("link", name="Version 1: who pays what").click()
    expect(page.get_by_role("row", name="Tinkerbox")).to_contain_text("promised in 2025")
    expect(page.get_by_role("row", name="Lumière")).to_contain_text("scheduled change")
    look(page, "who-pays")
    page.select_option("[name=why]", "follows")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)

    page.get_by_role("link", name="Keep existing contracts on today's prices").click()
    dialog = page.locator("#dialog")
    expect(dialog).to_contain_text("2 contracts")
    dialog.locator("[name=reason]").fill("existing customers stay")
    look(page, "keep-for-all")
    dialog.get_by_role("button", name="Keep today's prices").click()
    expect(page.get_by_text("2 contracts keep today's prices")).to_be_visible()


def test_a_scheduled_price_shows_its_impact_before_it_is_recorded(signed_in: Page) -> None:
    page = signed_in
    metric = tokens()
    plan = plan_in_two_currencies(metric)
    used = dt.datetime.combine(last_month() + dt.timedelta(days=3), dt.time(12), dt.UTC)
    for name, quantity in (("Northwind", 400_000), ("Harbor", 20_000)):
        record_usage(contract_on(plan, name).customer, metric, (used, quantity))
    contract_on(plan, "Lumière", "EUR")
    price = Price.objects.get()
    page.goto(f"/admin/products/priceversion/add/?schedule={price.pk}")
    page.fill("[name=unit_amount]", "0.125")
    page.get_by_role("button", name="Preview impact").click()
    impact = page.get_by_label("Impact of the new price")
    # 400,000 and 20,000 units at 0.10 and at 0.125.
    expect(impact.get_by_role("row", name="Northwind")).to_contain_text("+$10,000.00")
    expect(impact.locator("tfoot")).to_contain_text("+$10,500.00")
    expect(impact).to_contain_text("1 contract is billed in EUR")
    look(page, "impact-future")
    page.fill("[name=effective_from]", f"{last_month():%Y-%m-%d}")
    page.get_by_role("button", name="Preview impact").click()
    expect(impact).to_contain_text("What was billed stands")
    look(page, "impact-backdated")
    assert price.versions.count() == 2


def test_plans_are_compared_and_the_cheapest_is_marked(signed_in: Page) -> None:
    page = signed_in
    metric = tokens()
    published_plan(per_unit(metric, "10", per=1_000_000, included="100000"), code="payg")
    published_plan(
        flat_fee("50"), graduated(metric, ("5000000", "6"), (None, "4"), per=1_000_000, name="Tokens"), code="scale"
    )
    page.goto("/admin/products/plan/")
    for box in page.locator("#result_list tbody input[type=checkbox]").all():
        box.check()
    page.select_option("select[name=action]", "compare_selected")
    page.locator("button[name=index]").click()
    expect(page.get_by_label("Prices", exact=True)).to_contain_text("$10.00 per 1,000,000 tokens")
    page.locator(f"[name=q_{metric.pk}]").fill("20000000")
    page.get_by_role("button", name="Calculate").click()
    total = page.locator("tfoot tr").first
    # 19,900,000 at 10 per million; 50, 5,000,000 at 6 and 15,000,000 at 4 per million.
    expect(total.locator("td").nth(0)).to_have_text("$199.00")
    expect(total.locator("td").nth(1)).to_contain_text("$140.00")
    expect(total.locator("td").nth(1)).to_contain_text("Cheapest")
    page.wait_for_load_state("networkidle")
    look(page, "compare")


def test_a_price_tells_what_changed(signed_in: Page) -> None:
    page = signed_in
    plan = plan_in_two_currencies(tokens())
    change_price(plan, "0.20", from_day=last_month(), note="Costs have doubled")
    now = timezone.now()
    change_price(plan, "0.25", from_day=now.date() + dt.timedelta(days=40), now=now, note="New year")
    page.goto(f"/admin/products/plan/{plan.plan_id}/change/")
    panel = page.get_by_label("Price changes of version 1")
    expect(panel.get_by_role("row", name="Costs have doubled")).to_contain_text("$0.10 → $0.20")
    look(page, "plan-changes")
    page.goto(f"/admin/products/priceversion/{Price.objects.get().versions.earliest('pk').pk}/change/")
    expect(page.get_by_label("History of this price")).to_contain_text("Scheduled")
    look(page, "price-history")
