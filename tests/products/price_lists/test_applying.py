"""What an import makes of the catalogue, and what it leaves alone."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import InvalidInput
from apps.products.models import Plan, PlanStatus, PlanVersion, Price, PriceVersion, Product
from apps.products.price_lists.applying import apply_price_list, plan_import
from apps.products.price_lists.changes import Change, Item, Kind
from apps.products.price_lists.exporting import price_list_of
from apps.products.price_lists.nodes import PriceListRefused
from apps.products.price_lists.taking import ImportOptions
from apps.products.services import publish_plan_version
from tests.products.price_lists.files import CHAT, NOW, newest, read, table, taken

pytestmark = pytest.mark.django_db

DEARER = CHAT.replace('"2.5"', '"2.75"')
CHANGED_TIER = Change("tier 2: unit_amount", "2.5", "2.75")


def changed(items: tuple[Item, ...]) -> list[tuple[str, str, str]]:
    return [(item.kind.value, item.subject, item.name) for item in items if item.kind != Kind.UNCHANGED]


def test_a_new_plan_becomes_a_draft_with_what_the_file_defines() -> None:
    done = taken(CHAT)

    assert changed(done.items) == [
        ("new", "product", "Chat API"),
        ("new", "metric", "Tokens"),
        ("new", "plan", "Chat"),
        ("new", "price", "Fee, USD"),
        ("new", "price", "Tokens, USD"),
    ]
    assert newest().is_draft
    assert [price.name for price in newest().prices.all()] == ["Fee", "Tokens"]


def test_the_same_file_again_changes_nothing() -> None:
    taken(CHAT)
    before = list(PriceVersion.objects.values_list("pk", "recorded_at"))

    assert not taken(CHAT, now=NOW + dt.timedelta(days=1)).changes_anything
    assert list(PriceVersion.objects.values_list("pk", "recorded_at")) == before


def test_a_draft_is_changed_and_the_change_is_told_by_field() -> None:
    taken(CHAT)

    done = taken(DEARER)

    assert [item.changes for item in done.of(Kind.CHANGED)] == [(CHANGED_TIER,)]
    assert PlanVersion.objects.count() == 1


def test_a_published_version_stands_and_the_difference_becomes_a_draft() -> None:
    taken(CHAT, publish=True)

    done = taken(DEARER)

    assert changed(done.items) == [
        ("new", "version", "Chat v2 (USD, monthly)"),
        ("changed", "price", "Tokens, USD"),
    ]
    assert [(version.number, version.status) for version in PlanVersion.objects.order_by("number")] == [
        (1, PlanStatus.PUBLISHED),
        (2, PlanStatus.DRAFT),
    ]


def test_a_published_version_with_the_same_amounts_gets_no_draft() -> None:
    taken(CHAT, publish=True)

    assert not taken(CHAT).changes_anything
    assert PlanVersion.objects.count() == 1


def test_amounts_that_differ_are_scheduled_where_that_is_asked_for() -> None:
    taken(CHAT, publish=True)
    day = dt.date(2026, 7, 1)

    done = taken(DEARER, schedule_from=day)

    assert [(item.name, item.changes, item.note) for item in done.of(Kind.CHANGED)] == [
        ("Tokens, USD", (CHANGED_TIER,), "Scheduled from 1 July 2026.")
    ]
    assert list(PriceVersion.objects.exclude(effective_from=None).values_list("price__name", "effective_from")) == [
        ("Tokens", day)
    ]
    assert not taken(DEARER, schedule_from=day).changes_anything


def test_nothing_is_scheduled_in_the_past() -> None:
    taken(CHAT, publish=True)

    with pytest.raises(InvalidInput, match="from today on"):
        taken(DEARER, schedule_from=dt.date(2026, 4, 30))


def test_a_new_line_is_not_scheduled() -> None:
    taken(CHAT.replace("line: Fee", "line: Old fee"), publish=True)

    with pytest.raises(PriceListRefused, match="“Fee” is new in this plan"):
        taken(CHAT, schedule_from=dt.date(2026, 7, 1))


def test_dated_amounts_of_a_first_version_are_scheduled_once_it_is_published() -> None:
    fee = '          - {currency: USD, flat_amount: "99"}\n'
    dated = CHAT.replace(fee, fee + '          - {currency: USD, effective_from: 2026-07-01, flat_amount: "120"}\n')

    waiting = taken(dated)
    assert [item.name for item in waiting.of(Kind.WAITS)] == ["Fee, USD, from 1 July 2026"]
    publish_plan_version(plan_version_id=newest().pk, now=NOW)
    done = taken(dated)

    assert changed(done.items) == [("new", "price", "Fee, USD, from 1 July 2026")]
    assert not taken(dated).changes_anything


def test_what_the_file_does_not_state_stays_unless_it_is_to_go() -> None:
    taken(CHAT)
    without_fee = CHAT.replace(CHAT[CHAT.index("      - line: Fee") : CHAT.index("      - line: Tokens")], "")

    assert changed(taken(without_fee).items) == [("missing", "price", "Fee")]
    assert Price.objects.count() == 2
    assert changed(taken(without_fee, remove_missing=True).items) == [("removed", "price", "Fee")]
    assert [price.name for price in Price.objects.all()] == ["Tokens"]


def test_a_line_charged_for_something_else_keeps_its_place() -> None:
    taken(CHAT)
    as_fee = CHAT.replace(
        'model: flat\n        amounts:\n          - {currency: USD, flat_amount: "99"}',
        'metric: tokens\n        model: per_unit\n        amounts:\n          - {currency: USD, unit_amount: "1"}',
    )

    done = taken(as_fee)

    assert [change.field for change in done.of(Kind.CHANGED)[0].changes] == [
        "metric",
        "model",
        "unit_amount",
        "flat_amount",
    ]
    assert [price.name for price in newest().prices.all()] == ["Fee", "Tokens"]


def test_another_order_of_lines_is_taken_into_a_draft() -> None:
    taken(CHAT)
    fee = CHAT[CHAT.index("      - line: Fee") : CHAT.index("      - line: Tokens")]

    taken(CHAT.replace(fee, "") + fee)

    assert [price.name for price in newest().prices.all()] == ["Tokens", "Fee"]


def test_a_dry_run_shows_what_is_then_done_and_stores_nothing() -> None:
    planned = plan_import(read(CHAT), options=ImportOptions(publish=True), now=NOW)

    assert not Plan.objects.exists()
    assert not BillableMetric.objects.exists()
    assert planned == apply_price_list(read(CHAT), options=ImportOptions(publish=True), now=NOW)


def test_an_export_brings_back_what_was_imported() -> None:
    document = read(CHAT).document
    taken(CHAT)

    exported = price_list_of([newest()], as_of=NOW.date())

    assert (exported.products, exported.metrics) == (document.products, document.metrics)
    assert exported.plans[0].prices == document.plans[0].prices


# --- Refusals --------------------------------------------------------------------------------------------------------


def test_codes_that_nothing_has_are_told_by_name_and_nothing_is_changed() -> None:
    Product.objects.create(code="chat", name="Chat API")
    rows = table("new,New,Fee,caht,,flat,USD,,,9,,", "new,,T,chat,tokens,per_unit,USD,,,,,1")

    with pytest.raises(PriceListRefused) as refused:
        apply_price_list(rows, options=ImportOptions(), now=NOW)

    assert [(str(fault.place), fault.field, fault.detail) for fault in refused.value.faults] == [
        ("row 2", "product", "There is no product with the code “caht”. Did you mean “chat”?"),
        (
            "row 3",
            "metric",
            "There is no metric with the code “tokens”. Add the metric first, or define it in a YAML file.",
        ),
    ]
    assert not Plan.objects.exists()


def test_faults_of_reading_and_of_terms_are_told_together_each_at_its_place() -> None:
    faulty = (
        CHAT.replace('"99"', "-99").replace('up_to: "1000000"', "up_to: 0").replace("billing: monthly", "billing: x")
    )

    with pytest.raises(PriceListRefused) as refused:
        taken(faulty)

    assert [fault.place.path for fault in refused.value.faults] == [
        "plans[0].billing",
        "plans[0].prices[0].amounts[0].flat_amount",
        "plans[0].prices[1].amounts[0].tiers[0]",
    ]


def test_a_metric_that_measures_something_else_is_refused() -> None:
    taken(CHAT)

    with pytest.raises(PriceListRefused, match="measures something else"):
        taken(CHAT.replace("event_type: completion", "event_type: embedding"))


def test_a_new_plan_needs_a_name() -> None:
    with pytest.raises(PriceListRefused, match="“chat” is a new plan"):
        taken(CHAT.replace("    name: Chat\n", ""))


def test_a_plan_in_a_currency_that_a_line_lacks_is_not_published() -> None:
    with pytest.raises(PriceListRefused, match="has no price in EUR"):
        taken(CHAT.replace("[USD]", "[USD, EUR]"), publish=True)

    assert not Plan.objects.exists()


def test_amounts_are_stored_to_the_last_digit() -> None:
    taken(CHAT.replace('"99"', '"0.000000000003"'))

    assert PriceVersion.objects.get(price__name="Fee").flat_amount == Decimal("0.000000000003")


def test_amounts_in_a_currency_that_the_plan_is_not_sold_in_are_refused() -> None:
    with pytest.raises(PriceListRefused, match="is not priced in USD") as refused:
        taken(CHAT.replace("[USD]", "[EUR]"), publish=True)

    assert [str(fault.place) for fault in refused.value.faults] == [
        "plans[0].prices[0] (line 12)",
        "plans[0].prices[1] (line 17)",
    ]
