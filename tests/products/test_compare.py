"""Plans side by side: the same charges in one row, and what the same usage costs on each, to the cent."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client

from apps.billable_metrics.models import BillableMetric
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.comparison import Comparison, MonthlyUse, compare_plans
from apps.products.models import ChargeModelName, PlanVersion, Recurrence
from apps.products.services import ChargedFor, add_price, create_plan, publish_plan_version
from apps.products.terms import PriceTerms
from tests.builders import SET_UP_AT, flat_fee, graduated, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, ProductFactory
from tests.pages import page_text, url_of, viewer
from tests.price_changes import change_price, plan_in_two_currencies

pytestmark = pytest.mark.django_db

NOW = utc(2024, 1, 1)


@pytest.fixture
def tokens(db: None) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory()
    return metric


def compared(*versions: PlanVersion, use: dict[int, MonthlyUse] | None = None, currency: str = "USD") -> Comparison:
    return compare_plans(versions, currency=currency, use=use or {}, now=NOW)


def monthly(comparison: Comparison) -> list[str | None]:
    return [None if total.monthly is None else str(total.monthly) for total in comparison.totals]


def plan_with(
    name: str, terms: PriceTerms, metric: BillableMetric | None, recurrence: Recurrence = Recurrence.RECURRING
) -> PlanVersion:
    version = create_plan(code=name, name=name.title(), currencies=["USD"])
    product = ProductFactory(code=f"{name}-product")
    charged = ChargedFor(product=product, metric=metric, name="Line", recurrence=recurrence)
    add_price(plan_version=version, charged=charged, terms=terms, now=SET_UP_AT)
    return publish_plan_version(plan_version_id=version.pk, now=SET_UP_AT)


def test_the_same_usage_on_two_plans_and_the_cheaper_one(tokens: BillableMetric) -> None:
    payg = published_plan(per_unit(tokens, "0.01"), code="payg")
    scale = published_plan(flat_fee("50"), graduated(tokens, ("10000", "0.005"), (None, "0.002")), code="scale")
    light = compared(payg, scale, use={tokens.pk: MonthlyUse(Decimal(1000))})
    heavy = compared(payg, scale, use={tokens.pk: MonthlyUse(Decimal(20_000))})
    # 1,000 × 0.01 against 50 + 1,000 × 0.005; then 200 against 50 + 10,000 × 0.005 + 10,000 × 0.002.
    assert (monthly(light), monthly(heavy)) == (["10.00", "55.00"], ["200.00", "120.00"])
    assert [total.is_cheapest for total in light.totals] == [True, False]
    assert [total.is_cheapest for total in heavy.totals] == [False, True]


def test_each_line_is_rounded_before_it_is_added(tokens: BillableMetric) -> None:
    calls = BillableMetricFactory()
    plan = published_plan(per_unit(tokens, "0.004", name="A"), per_unit(calls, "0.004", name="B"))
    use = {tokens.pk: MonthlyUse(Decimal(1)), calls.pk: MonthlyUse(Decimal(1))}
    assert monthly(compared(plan, plan, use=use)) == ["0.00", "0.00"]


def test_a_metric_of_one_product_is_one_row_whatever_the_lines_are_called(tokens: BillableMetric) -> None:
    product = ProductFactory()
    versions = []
    for code, name in (("one", "Tokens"), ("two", "Input tokens")):
        version = create_plan(code=code, name=code, currencies=["USD"])
        terms = PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(1))
        charged = ChargedFor(product=product, metric=tokens, name=name)
        add_price(plan_version=version, charged=charged, terms=terms, now=SET_UP_AT)
        versions.append(version)
    [row] = compared(*versions).rows
    assert row.label == "Tokens / Input tokens"
    assert all(row.cells)


def test_a_plan_that_does_not_charge_for_something_has_no_cell_there(tokens: BillableMetric) -> None:
    free, paid = published_plan(flat_fee("5"), code="free"), published_plan(per_unit(tokens, "1"), code="paid")
    rows = {row.label: [cell is not None for cell in row.cells] for row in compared(free, paid).rows}
    assert rows == {"Platform fee": [True, False], "Input tokens": [False, True]}


def test_a_yearly_plan_is_compared_by_the_month(tokens: BillableMetric) -> None:
    year = published_plan(flat_fee("1200"), per_unit(tokens, "0.01"), code="year", billing_months=12)
    month = published_plan(flat_fee("110"), per_unit(tokens, "0.01"), code="month")
    found = compared(year, month, use={tokens.pk: MonthlyUse(Decimal(1000))})
    assert [str(total.period) for total in found.totals] == ["1320.00", "120.00"]
    assert monthly(found) == ["110.00", "120.00"]


def test_a_one_off_fee_is_no_part_of_a_month() -> None:
    terms = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(900))
    found = compared(plan_with("setup", terms, None, recurrence=Recurrence.ONE_OFF), published_plan(flat_fee("5")))
    assert monthly(found) == ["0.00", "5.00"]
    assert [str(total.once) for total in found.totals] == ["900.00", "0.00"]


def test_a_plan_that_is_not_sold_in_the_currency_has_no_total(tokens: BillableMetric) -> None:
    duo, dollars = plan_in_two_currencies(tokens), published_plan(flat_fee("5"))
    found = compared(duo, dollars, currency="EUR", use={tokens.pk: MonthlyUse(Decimal(100))})
    assert monthly(found) == ["9.00", None]
    assert [total.is_sold for total in found.totals] == [True, False]
    assert not any(total.is_cheapest for total in found.totals)


def test_prices_are_those_of_the_day(tokens: BillableMetric) -> None:
    duo = plan_in_two_currencies(tokens)
    change_price(duo, "0.20", from_day=dt.date(2023, 12, 1))
    change_price(duo, "0.40", from_day=dt.date(2024, 2, 1))
    assert monthly(compared(duo, use={tokens.pk: MonthlyUse(Decimal(100))})) == ["20.00"]


def test_a_percentage_is_told_for_so_many_transactions(tokens: BillableMetric) -> None:
    terms = PriceTerms(ChargeModelName.PERCENTAGE, rate_percent=Decimal("2.9"), fixed_amount=Decimal("0.30"))
    card = plan_with("card", terms, tokens)
    found = compared(card, use={tokens.pk: MonthlyUse(Decimal(1000), transactions=20)})
    assert monthly(found) == ["35.00"]  # 2.9% of 1,000, and 20 × 0.30
    assert found.asks_transactions(tokens)


def test_a_matrix_is_told_by_its_row_for_all_other_usage() -> None:
    metric = BillableMetricFactory(group_by=("model",))

    def matrix(*rows: tuple[str | None, str]) -> PriceTerms:
        made = tuple(MatrixRow((value,), Decimal(amount)) for value, amount in rows)
        return PriceTerms(ChargeModelName.MATRIX, dimensions=("model",), rows=made)

    with_default = plan_with("default", matrix(("large", "3"), (None, "2")), metric)
    without = plan_with("strict", matrix(("large", "3")), metric)
    found = compared(with_default, without, use={metric.pk: MonthlyUse(Decimal(10))})
    assert monthly(found) == ["20.00", None]
    assert any(cell is not None and cell.fault for row in found.rows for cell in row.cells)


# --- The page --------------------------------------------------------------------------------------------------------

PLAN = "products_plan"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


def test_the_page_lays_prices_side_by_side_and_calculates(page: Client, tokens: BillableMetric) -> None:
    payg = published_plan(per_unit(tokens, "0.01", included="100"), code="payg")
    scale = published_plan(flat_fee("50"), per_unit(tokens, "0.002"), code="scale")
    text = page_text(page, f"{url_of(PLAN, 'compare')}?v={payg.pk}&v={scale.pk}&v=&q_{tokens.pk}=1000")
    for words in ("$0.01 per token", "100 tokens included", "$50.00 per month", "$9.00", "$52.00", "Cheapest"):
        assert words in text


def test_the_page_without_plans_says_how_to_begin(page: Client) -> None:
    assert "Choose plans to compare" in page_text(page, url_of(PLAN, "compare"))


@pytest.mark.parametrize(
    ("entered", "fault"),
    [("q_{}=1,000", "without commas"), ("q_{}=-1", "without commas"), ("q_{}=NaN", "without commas")],
)
def test_a_quantity_that_is_none_is_named(page: Client, tokens: BillableMetric, entered: str, fault: str) -> None:
    plan = published_plan(per_unit(tokens, "0.01"))
    assert fault in page_text(page, f"{url_of(PLAN, 'compare')}?v={plan.pk}&{entered.format(tokens.pk)}")


def test_selected_plans_are_compared_by_the_versions_that_are_sold(page: Client) -> None:
    plans = [published_plan(flat_fee("5"), code=f"plan-{at}") for at in range(5)]
    action = {"action": "compare_selected", "index": "0"}
    chosen = [plans[0].plan_id, plans[1].plan_id]
    response = page.post(url_of(PLAN), {**action, "_selected_action": chosen})
    assert set(response["Location"].split("?")[1].split("&")) == {f"v={plans[0].pk}", f"v={plans[1].pk}"}
    for number in (1, 5):
        chosen = [version.plan_id for version in plans[:number]]
        refused = page.post(url_of(PLAN), {**action, "_selected_action": chosen}, follow=True)
        assert "Select from two to 4 plans" in refused.content.decode()


def test_the_button_of_a_plan_compares_its_newest_versions(page: Client) -> None:
    plan = published_plan(flat_fee("5"))
    assert page.get(url_of(PLAN, "compare", plan.plan_id))["Location"] == f"{url_of(PLAN, 'compare')}?v={plan.pk}"


def test_a_stranger_to_plans_sees_no_comparison(client: Client) -> None:
    client.force_login(viewer("contracts.contract"))
    assert client.get(url_of(PLAN, "compare")).status_code == 403
