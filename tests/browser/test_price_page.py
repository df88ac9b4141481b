"""Prices as sales ops builds them: fields by charge model, tables, and the calculator beside the form."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from apps.billable_metrics.models import BillableMetric
from apps.products.models import PlanVersion, PriceMatrixRow, PriceVersion
from apps.products.services import publish_plan_version
from tests.browser.test_main_job import choose
from tests.builders import graduated, published_plan
from tests.factories import BillableMetricFactory, PlanVersionFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

ADD = "/admin/products/priceversion/add/"


def open_form(page: Page, version: PlanVersion, line: str, model: str, metric: BillableMetric) -> None:
    page.goto(f"{ADD}?plan_version={version.pk}")
    choose(page, "product", "Chat", "Chat API")
    page.fill("[name=name]", line)
    page.select_option("[name=charge_model]", model)
    choose(page, "metric", metric.name, metric.name)


def tokens(**definition: object) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="tokens", name="Tokens", **definition)
    return metric


def test_a_graduated_price_is_built_published_and_changed(signed_in: Page) -> None:
    page = signed_in
    version: PlanVersion = PlanVersionFactory(plan__name="Growth")
    ProductFactory(name="Chat API")
    open_form(page, version, "Tokens", "graduated", tokens())
    calculator = page.locator(".ch-preview")
    expect(page.locator("[name=flat_amount]")).to_be_hidden()
    expect(page.locator("[name=package_size]")).to_be_hidden()
    expect(calculator).to_contain_text("There are no tiers. Add at least one")

    page.fill("[name=per_units]", "1,000,000")
    page.locator("[name=tiers-up_to]").nth(0).fill("1,000,000")
    page.locator("[name=tiers-unit_amount]").nth(0).fill("10")
    page.locator("[name=tiers-unit_amount]").nth(1).fill("8")
    calculator.locator("[name=try_quantity]").fill("2,500,000")
    # 1,000,000 at 10 and 1,500,000 at 8 per million.
    expect(calculator.locator("[data-ch-total]")).to_have_text("$22.00")
    expect(calculator).to_contain_text("effectively $8.80 per 1,000,000 tokens")
    rows = calculator.locator(".ch-try-line tbody tr")
    expect(rows.nth(0)).to_contain_text("10.00 USD")
    expect(rows.nth(1)).to_contain_text("12.00 USD")
    expect(calculator).to_contain_text("Above 1,000,000: 1,500,000 tokens × 8.00 USD per 1,000,000 = 12.00 USD.")
    expect(calculator.get_by_role("img", name="Total")).to_be_visible()
    expect(calculator.get_by_role("img", name="Effective unit price")).to_have_attribute(
        "aria-label",
        "Effective unit price. On average it goes from $10.00 per 1,000,000 tokens to $8.40 per 1,000,000 tokens.",
    )

    page.locator("[name=tiers-unit_amount]").nth(1).fill("80")
    expect(calculator.locator("[data-ch-rule=rates_rise]")).to_contain_text("Tier 2 has a price of $80.00")
    page.locator("[name=tiers-unit_amount]").nth(1).fill("8")
    expect(calculator.locator("[data-ch-rule=rates_rise]")).to_have_count(0)
    page.click("[name=_save]")
    expect(page.get_by_text("was added successfully")).to_be_visible()

    publish_plan_version(plan_version_id=version.pk, now=timezone.now())
    page.goto(f"/admin/products/priceversion/{PriceVersion.objects.get().pk}/change/")
    page.get_by_role("link", name="Schedule a new price").first.click()
    expect(page.locator("[name=tiers-unit_amount]").nth(0)).to_have_value("10")
    expect(page.locator("[name=seen_impact]")).to_be_hidden()
    page.fill("[name=effective_from]", "2020-01-01")
    expect(page.locator("[name=seen_impact]")).to_be_visible()
    page.fill("[name=effective_from]", "2030-01-01")
    page.locator("[name=tiers-unit_amount]").nth(0).fill("9")
    page.locator("[name=try_quantity]").fill("2,500,000")
    expect(page.locator("[data-ch-total]")).to_have_text("$21.00")
    page.click("[name=_save]")
    expect(page.get_by_text("was added successfully")).to_be_visible()
    newest = PriceVersion.objects.get(effective_from=dt.date(2030, 1, 1))
    assert [tier.unit_amount for tier in newest.tiers.all()] == [Decimal(9), Decimal(8)]


def paste(page: Page, cell: str, text: str) -> None:
    """Paste as a person does who copied cells of a spreadsheet."""
    page.locator(cell).first.evaluate(
        """(input, text) => {
            const copied = new DataTransfer();
            copied.setData("text/plain", text);
            input.dispatchEvent(new ClipboardEvent("paste", {clipboardData: copied, bubbles: true, cancelable: true}));
        }""",
        text,
    )


def test_a_matrix_price_is_pasted_from_a_spreadsheet(signed_in: Page) -> None:
    page = signed_in
    version: PlanVersion = PlanVersionFactory(plan__name="Growth")
    ProductFactory(name="Chat API")
    open_form(page, version, "Tokens", "matrix", tokens(group_by=("model", "direction")))
    calculator = page.locator(".ch-preview")

    page.get_by_role("button", name="model", exact=True).click()
    page.get_by_role("button", name="direction", exact=True).click()
    page.fill("[name=per_units]", "1,000,000")
    paste(page, "[name=rows-value-model]", "large\tinput\t2.50\nlarge\toutput\t10\nsmall\t\t0.60\n")
    expect(page.locator("[name=rows-value-model]")).to_have_count(3)
    expect(calculator.locator("[data-ch-rule=no_default_row]")).to_be_visible()
    page.get_by_role("button", name="Add row").click()
    page.locator("[name=rows-unit_amount]").nth(3).fill("1")
    expect(calculator.locator("[data-ch-rule=no_default_row]")).to_have_count(0)

    for row, quantity in enumerate(["2,000,000", "500,000", "0", "1,000,000"]):
        calculator.locator("[name=try_row]").nth(row).fill(quantity)
    # 2 × 2.50 and 0.5 × 10 and 1 × 1.
    expect(calculator.locator("[data-ch-total]")).to_have_text("$11.00")
    expect(calculator.get_by_role("heading", name="large, output")).to_contain_text("$5.00")
    expect(calculator.get_by_role("heading", name="all other usage")).to_contain_text("$1.00")
    page.click("[name=_save]")

    expect(page.get_by_text("was added successfully")).to_be_visible()
    assert list(PriceMatrixRow.objects.values_list("values", "unit_amount")) == [
        (["large", "input"], Decimal("2.5")),
        (["large", "output"], Decimal(10)),
        (["small", None], Decimal("0.6")),
        ([None, None], Decimal(1)),
    ]


def test_a_fault_stands_at_its_row_and_everything_typed_is_kept(signed_in: Page) -> None:
    page = signed_in
    version: PlanVersion = PlanVersionFactory(plan__name="Growth")
    ProductFactory(name="Chat API")
    open_form(page, version, "Tokens", "graduated", tokens())
    paste(page, "[name=tiers-up_to]", "1000\t3\n500\t2\n\t1\n")
    page.click("[name=_save]")

    expect(page.locator(".ch-row-faults")).to_contain_text("Let it end above 1,000, where tier 1 ends.")
    expect(page.locator("[name=tiers-up_to]").nth(1)).to_have_value("500")
    assert not PriceVersion.objects.exists()


def test_a_day_in_the_past_asks_whether_the_impact_was_seen(signed_in: Page) -> None:
    page = signed_in
    published_plan(graduated(tokens(), ("1000", "3"), (None, "2")))
    first = PriceVersion.objects.get()
    page.goto(f"{ADD}?schedule={first.price_id}")
    page.fill("[name=effective_from]", "2023-10-01")
    page.click("[name=_save]")
    expect(page.get_by_text("say here that you have seen what changes")).to_be_visible()
    page.locator("[name=seen_impact]").check(force=True)
    page.click("[name=_save]")
    expect(page.get_by_text("was added successfully")).to_be_visible()
