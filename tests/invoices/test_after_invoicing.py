"""Usage that changed after it was invoiced, and the way from an event to its price and line."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from apps.billable_metrics.models import BillableMetric
from apps.closing.services import start_close_run, work_run
from apps.contracts.models import Contract
from apps.customers.models import Customer
from apps.invoices import after_invoicing
from apps.invoices.after_invoicing import ChangedLine, changed_after_invoicing
from apps.invoices.billing_of_events import billing_of
from apps.invoices.models import Invoice
from apps.invoices.selectors import average_rates
from apps.invoices.services.issuing import issue_invoices
from apps.pricing.charge_models.matrix import MatrixRow
from apps.products.models import ChargeModelName
from apps.products.terms import PriceTerms
from apps.usage.models import UsageEvent
from apps.usage.selectors import place_of, unattributed_groups
from apps.usage.selectors.way import measurements_of
from apps.usage.services import (
    EventChanges,
    EventInput,
    backfill_metrics,
    fold_usage,
    record_events,
    replace_event,
    void_events,
)
from tests.builders import PlannedPrice, active_contract, flat_fee, graduated, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory

pytestmark = pytest.mark.django_db
DECEMBER_3 = utc(2023, 12, 3)
NOVEMBER_10 = utc(2023, 11, 10)


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture(autouse=True)
def _december(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pages look from 2023."""
    monkeypatch.setattr(after_invoicing, "watched_since", lambda now: utc(2023, 6, 1))


@pytest.fixture
def lumen() -> Contract:
    metric: BillableMetric = BillableMetricFactory(code="input_tokens", name="Input tokens")
    plan = published_plan(flat_fee("49.00"), graduated(metric, ("1000", "0.10"), (None, "0.05"), name="Input tokens"))
    customer: Customer = CustomerFactory(external_id="lumen", name="Lumen Robotics", timezone="UTC")
    return active_contract(plan, customer=customer)


def use(event_id: str, tokens: int, *, at: dt.datetime = NOVEMBER_10, subject: str = "lumen") -> None:
    sent = EventInput("gateway", event_id, "llm.completion", subject, at, {"input_tokens": tokens})
    record_events(events=[sent], api_key_id=None)


def close_and_issue() -> Invoice:
    run = start_close_run(as_of=utc(2023, 12, 2, 12))
    work_run(run_id=run.pk, now=utc(2023, 12, 2, 12))
    [issued], _ = issue_invoices(
        invoice_ids=list(Invoice.objects.drafts().values_list("pk", flat=True)),
        issued_at=utc(2023, 12, 2, 13),
        actor=None,
    )
    return issued


def changed() -> list[ChangedLine]:
    return changed_after_invoicing(now=DECEMBER_3)


def place(event_id: str) -> UsageEvent:
    return UsageEvent.objects.filter(event_id=event_id).order_by("-pk")[0]


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_late_event_is_listed_with_what_it_would_have_cost(lumen: Contract, is_cached: bool) -> None:
    use("a", 900)
    if is_cached:
        backfill_metrics()
        fold_usage()
    close_and_issue()
    assert changed() == []

    use("late", 300)

    [found] = changed()
    assert [found.line.quantity, found.quantity_now, found.quantity_difference] == [900, 1200, 300]
    # Billed: 900 at 0.10. Now: 1,000 at 0.10 and 200 at 0.05.
    assert (found.line.amount.amount, found.amount_now, found.amount_difference) == (
        Decimal("90.00"),
        Decimal("110.00"),
        Decimal("20.00"),
    )
    fold_usage()
    assert len(changed()) == 1


def test_a_correction_after_the_invoice_is_listed_and_one_before_is_not(lumen: Contract) -> None:
    backfill_metrics()
    use("a", 100)
    use("b", 50)
    void_events(events=[place_of(place("a"))], reason="Before", actor=None)
    close_and_issue()
    assert changed() == []
    replace_event(event=place_of(place("b")), changes=EventChanges(data={"input_tokens": 30}), reason="x", actor=None)
    [found] = changed()
    assert (found.quantity_difference, found.amount_difference) == (Decimal(-20), Decimal("-2.00"))


def test_a_change_that_leaves_the_quantity_alone_is_not_listed(lumen: Contract) -> None:
    backfill_metrics()
    use("a", 100)
    close_and_issue()
    use("late", 0)
    replace_event(
        event=place_of(place("a")), changes=EventChanges(occurred_at=utc(2023, 11, 11)), reason="x", actor=None
    )
    assert changed() == []


def test_usage_of_another_period_or_customer_touches_no_line(lumen: Contract) -> None:
    backfill_metrics()
    CustomerFactory(external_id="other")
    use("a", 100)
    close_and_issue()
    use("next", 1, at=utc(2023, 12, 1))
    use("before", 1, at=utc(2023, 10, 31, 23, 59))
    use("other", 1, subject="other")
    assert changed() == []


def test_lines_of_drafts_and_of_long_ago_are_not_watched(lumen: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    use("a", 100)
    close_and_issue()
    use("late", 1)
    assert changed_after_invoicing(now=DECEMBER_3, customer_ids=[]) == []
    monkeypatch.setattr(after_invoicing, "watched_since", lambda now: utc(2023, 12, 2))
    assert changed() == []


@pytest.fixture
def matrix() -> Contract:
    """Tokens by model: gpt-4 at 0.10, and all others at 0.01."""
    metric: BillableMetric = BillableMetricFactory(code="tokens", name="Tokens", group_by=("model",))
    rows = (MatrixRow(("gpt-4",), Decimal("0.10")), MatrixRow((None,), Decimal("0.01")))
    terms = PriceTerms(ChargeModelName.MATRIX, dimensions=("model",), rows=rows)
    plan = published_plan(PlannedPrice("Tokens", terms, metric), code="matrix")
    return active_contract(plan, customer=CustomerFactory(external_id="matrix", timezone="UTC"))


def use_model(event_id: str, model: str, tokens: int) -> None:
    data = {"input_tokens": tokens, "model": model}
    record_events(
        events=[EventInput("gateway", event_id, "llm.completion", "matrix", NOVEMBER_10, data)], api_key_id=None
    )


def test_late_usage_of_a_matrix_is_rated_by_its_row(matrix: Contract) -> None:
    use_model("a", "gpt-4", 100)
    use_model("b", "haiku", 100)
    close_and_issue()

    use_model("late", "gpt-4", 50)

    [found] = changed()
    assert (found.name, found.quantity_difference, found.amount_difference) == (
        "Tokens: gpt-4",
        Decimal(50),
        Decimal("5.00"),
    )


def test_late_usage_of_a_row_that_had_none_is_listed(matrix: Contract) -> None:
    use_model("a", "gpt-4", 100)
    close_and_issue()

    use_model("late", "haiku", 200)

    [found] = changed()
    assert (found.name, found.quantity_billed, found.amount_difference) == (
        "Tokens: all other usage",
        Decimal(0),
        Decimal("2.00"),
    )


def test_an_event_stands_on_the_line_of_its_row_only(page: Client, matrix: Contract) -> None:
    use_model("a", "gpt-4", 100)
    use_model("b", "haiku", 100)
    close_and_issue()

    event = place("b")
    found = billing_of(event, counted_by=counted_by(event), now=DECEMBER_3)

    assert [on.line.description for on in found.lines] == ["Tokens: all other usage"]


def counted_by(event: UsageEvent) -> dict[int, int]:
    return {one.version.pk: one.version.metric_id for one in measurements_of(event) if one.is_counted}


def test_seats_that_were_held_on_other_days_are_listed_though_there_are_as_many() -> None:
    metric: BillableMetric = BillableMetricFactory(code="seats", carries_over=True)
    terms = PriceTerms(ChargeModelName.SEATS, unit_amount=Decimal(30), prorates_removed=False)
    contract = active_contract(published_plan(PlannedPrice("Seats", terms, metric), code="seats"))
    name = contract.customer.external_id
    # Two seats for five days, and none before and after: from their day on they are charged to the end.
    use("add", 2, at=utc(2023, 11, 21), subject=name)
    use("remove", -2, at=utc(2023, 11, 26), subject=name)
    invoice = close_and_issue()
    assert str(invoice.total.amount) == "20.0000"

    for event_id, day in (("add", 11), ("remove", 16)):
        changes = EventChanges(occurred_at=utc(2023, 11, day))
        replace_event(event=place_of(place(event_id)), changes=changes, reason="x", actor=None)

    [found] = changed()
    assert (found.quantity_difference, found.amount_difference) == (Decimal(0), Decimal("20.00"))


def test_only_what_may_have_changed_is_measured_again(
    lumen: Contract, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    backfill_metrics()
    use("a", 100)
    close_and_issue()
    # The lines, beside the one look at the buckets: neither quantities nor price versions.
    with django_assert_num_queries(1):
        changed()


def test_the_pages_show_the_difference(page: Client, lumen: Contract) -> None:
    backfill_metrics()
    address = reverse("admin:invoices_usage_after_invoicing")
    use("a", 900)
    invoice = close_and_issue()
    assert "Every issued line still says what was used" in page.get(address).content.decode()
    use("late", 300)
    correction = void_events(events=[place_of(place("a"))], reason="x", actor=None)

    text = " ".join(page.get(address).content.decode().split())

    assert invoice.number is not None
    assert invoice.number in text
    assert "-600 tokens" in text
    assert "-$60.00" in text
    assert "nothing is adjusted by itself" in text
    for url in (
        reverse("admin:customers_customer_change", args=[lumen.customer_id]),
        reverse("admin:usage_usagecorrection_change", args=[correction.pk]),
        f"{address}?customer={lumen.customer_id}",
        f"{address}?customer=x",
    ):
        assert "-$60.00" in page.get(url).content.decode(), url


def test_the_page_of_an_event_leads_to_its_price_and_line(page: Client, lumen: Contract) -> None:
    backfill_metrics()
    use("a", 900)
    url = reverse("admin:usage_usageevent_change", args=[place("a").pk])
    before = page.get(url).content.decode()
    assert "Its billing period is not closed yet: it ends on 30 Nov 2023" in before
    assert "per token $0.10 up to 1,000, $0.05 above 1,000" in before
    invoice = close_and_issue()
    text = page.get(url).content.decode()
    assert reverse("admin:invoices_invoice_change", args=[invoice.pk]) in text
    assert "why this amount" in text
    use("late", 1)
    late = page.get(reverse("admin:usage_usageevent_change", args=[place("late").pk])).content.decode()
    assert "It became known after the invoice of its period was made" in late


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"subject": "nobody"}, "Nobody can be billed for it"),
        ({"subject": "poor"}, "The customer had no contract in force"),
        ({"at": utc(2020, 1, 1)}, "The customer had no contract in force"),
    ],
)
def test_the_page_of_an_event_says_why_it_is_not_billed(
    page: Client, lumen: Contract, sent: dict[str, object], said: str
) -> None:
    CustomerFactory(external_id="poor")
    use("a", 1, **sent)  # type: ignore[arg-type]
    assert said in page.get(reverse("admin:usage_usageevent_change", args=[place("a").pk])).content.decode()


def test_an_event_that_no_price_charges_for_says_so(page: Client) -> None:
    BillableMetricFactory(code="input_tokens")
    calls: BillableMetric = BillableMetricFactory(
        code="calls", event_type="call", aggregation="count", value_property=""
    )
    active_contract(published_plan(per_unit(calls, "1")), customer=CustomerFactory(external_id="lumen"))
    use("a", 1)
    text = page.get(reverse("admin:usage_usageevent_change", args=[place("a").pk])).content.decode()
    assert "No price of the customer&#x27;s contracts charges for a metric that counts it." in text


def test_missing_revenue_is_estimated_by_what_others_paid(page: Client, lumen: Contract) -> None:
    use("a", 900)
    close_and_issue()
    use("unknown", 500, subject="ghost")
    metric = BillableMetric.objects.get()
    rates = average_rates([metric.pk], since=utc(2023, 12, 1))
    assert rates == {metric.pk: {"USD": Decimal("0.1")}}
    assert average_rates([metric.pk], since=utc(2023, 12, 3)) == {}
    [group] = unattributed_groups(after="", limit=10)
    assert group.quantities == {metric: Decimal(500)}


def test_late_usage_is_shown_on_the_customer_s_page(page: Client, lumen: Contract) -> None:
    backfill_metrics()
    now = dt.datetime.now(dt.UTC)
    use("late", 1, at=now - dt.timedelta(days=3))
    use("in time", 1, at=now - dt.timedelta(minutes=3))
    text = page.get(reverse("admin:customers_customer_change", args=[lumen.customer_id])).content.decode()
    assert "Late usage" in text
    assert f"{now - dt.timedelta(days=3):%-d %b %Y}</th>" in text
