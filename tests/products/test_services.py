"""Plans, their versions and prices: what is written, what is refused, and what the database itself holds fast."""

from __future__ import annotations

import dataclasses
import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from apps.billable_metrics.models import BillableMetric
from apps.common.errors import BillingError, InvalidInput
from apps.pricing.charge_models.base import Tier
from apps.products.models import (
    BillingTiming,
    ChargeModelName,
    Plan,
    PlanStatus,
    PlanVersion,
    Price,
    PriceMatrixRow,
    PriceTier,
    PriceVersion,
    PricingUnit,
    Recurrence,
)
from apps.products.services import (
    ChargedFor,
    PlanVersionIsFixed,
    PlanVersionNotPublishable,
    PriceNotSchedulable,
    add_currency,
    add_price,
    archive_plan_version,
    change_draft_price,
    copy_plan_version,
    create_plan,
    new_plan_version,
    publish_plan_version,
    remove_draft_price,
    save_entry,
    schedule_price_version,
)
from apps.products.terms import PriceTerms, terms_of
from tests.builders import SET_UP_AT, flat_fee, graduated, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, ProductFactory
from tests.refusals import fields_of

pytestmark = pytest.mark.django_db

LATER = utc(2023, 12, 1)
NEW_YEAR = dt.date(2024, 1, 1)
CHARGED_FOR = [field.name for field in dataclasses.fields(ChargedFor)]
CHEAP = PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("2.50"), per_units=Decimal(1_000_000))
DEAR = PriceTerms(
    ChargeModelName.PER_UNIT, unit_amount=Decimal("3.00"), per_units=Decimal(1_000_000), included_units=Decimal(1000)
)
TIERED = PriceTerms(
    ChargeModelName.GRADUATED,
    tiers=(Tier(Decimal(1000), Decimal("0.10")), Tier(None, Decimal("0.05"), flat_amount=Decimal("2.00"))),
)


@pytest.fixture
def tokens() -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(name="Input tokens")
    return metric


@pytest.fixture
def draft() -> PlanVersion:
    return create_plan(code="scale", name="Scale", currencies=["EUR"])


def priced(plan_version: PlanVersion, metric: BillableMetric | None, **changes: Any) -> PriceVersion:
    """Add a charge for tokens, changed in whatever a test is about."""
    names = {name: changes.pop(name) for name in CHARGED_FOR if name in changes}
    charged = ChargedFor(**{"product": ProductFactory(), "name": "Input tokens", "metric": metric, **names})
    return add_price(plan_version=plan_version, charged=charged, **{"terms": DEAR, "now": SET_UP_AT, **changes})


def catalogue() -> list[list[tuple[Any, ...]]]:
    """Everything that is stored about plans and prices."""
    models = (Plan, PlanVersion, Price, PriceVersion, PriceTier, PriceMatrixRow)
    return [list(model._default_manager.order_by("pk").values_list()) for model in models]


# --- Plans and their versions ----------------------------------------------------------------------------------------


def test_a_plan_begins_with_a_first_draft() -> None:
    version = create_plan(code="scale", name="Scale", currencies=["EUR"], billing_months=3, description="For teams.")

    assert (version.plan.code, version.plan.name, version.plan.description) == ("scale", "Scale", "For teams.")
    assert (version.number, version.status, version.published_at) == (1, PlanStatus.DRAFT, None)
    assert (version.currencies, version.billing_months) == (["EUR"], 3)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"code": "with space"}, "code"),
        ({"code": ""}, "code"),
        ({"code": "taken"}, "code"),
        ({"name": ""}, "name"),
        ({"currencies": ["XXX"]}, "currencies"),
        ({"currencies": []}, "currencies"),
        ({"currencies": ["USD", "USD"]}, "currencies"),
        ({"billing_months": 2}, "billing_months"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_by_field(changes: dict[str, Any], field: str) -> None:
    create_plan(code="taken", name="Taken", currencies=["USD"])
    before = catalogue()

    with pytest.raises((InvalidInput, ValidationError)) as refusal:
        create_plan(**{"code": "scale", "name": "Scale", "currencies": ["USD"], **changes})

    assert fields_of(refusal.value) == [field]
    assert catalogue() == before


def test_versions_of_a_plan_are_numbered(draft: PlanVersion) -> None:
    second = new_plan_version(plan=draft.plan, currencies=["USD"])
    other = create_plan(code="other", name="Other", currencies=["USD"])

    assert [draft.number, second.number, other.number] == [1, 2, 1]


def test_a_copy_is_a_draft_with_the_amounts_that_hold_now(tokens: BillableMetric) -> None:
    original = published_plan(
        flat_fee("49.00"),
        per_unit(tokens, "3.00", per=1_000_000),
        graduated(tokens, ("1000", "0.10"), (None, "0.05"), included="10", name="Requests"),
        billing_months=3,
        currency="JPY",
    )
    metered = original.prices.get(name="Input tokens")
    for effective_from, recorded_at, amount in [
        (dt.date(2023, 11, 1), utc(2023, 10, 2), "2.90"),
        (dt.date(2023, 11, 1), utc(2023, 12, 2), "1.00"),  # Recorded after the copy.
        (dt.date(2023, 12, 2), utc(2023, 10, 3), "2.00"),  # Begins after the copy.
    ]:
        schedule_price_version(
            price=metered,
            effective_from=effective_from,
            terms=PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(amount), per_units=Decimal(1_000_000)),
            now=recorded_at,
        )

    copy = copy_plan_version(plan_version=original, now=LATER)

    assert (copy.plan, copy.number, copy.status) == (original.plan, 2, PlanStatus.DRAFT)
    assert (copy.currencies, copy.billing_months) == (["JPY"], 3)
    copied = PriceVersion.objects.filter(price__plan_version=copy).order_by("price__position")
    assert [(version.price.name, version.price.position, terms_of(version)) for version in copied] == [
        ("Platform fee", 10, PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal("49.00"))),
        (
            "Input tokens",
            20,
            PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("2.90"), per_units=Decimal(1_000_000)),
        ),
        (
            "Requests",
            30,
            PriceTerms(
                ChargeModelName.GRADUATED,
                included_units=Decimal(10),
                tiers=(Tier(Decimal(1000), Decimal("0.10")), Tier(None, Decimal("0.05"))),
            ),
        ),
    ]
    assert {(version.effective_from, version.recorded_at, version.is_sealed) for version in copied} == {
        (None, LATER, False)
    }
    assert set(Price.objects.values_list("product", flat=True)) == {metered.product_id}


def test_a_copy_keeps_the_order_of_the_charges(draft: PlanVersion, tokens: BillableMetric) -> None:
    for name, position in [("last", 30), ("first", 5), ("second", 7)]:
        priced(draft, tokens, name=name, position=position)

    copy = copy_plan_version(plan_version=draft, now=LATER)

    assert list(copy.prices.values_list("name", "position")) == [("first", 5), ("second", 7), ("last", 30)]


# --- Charges of a draft ----------------------------------------------------------------------------------------------


def test_a_charge_is_added_with_amounts_that_hold_from_the_beginning(
    draft: PlanVersion, tokens: BillableMetric
) -> None:
    version = priced(draft, tokens)

    stored = PriceVersion.objects.select_related("price").get()
    assert stored == version
    assert (stored.price.plan_version, stored.price.metric) == (draft, tokens)
    assert (stored.effective_from, stored.recorded_at, stored.is_sealed) == (None, SET_UP_AT, False)
    assert terms_of(stored) == DEAR


def test_charges_stand_on_the_invoice_in_the_order_in_which_they_were_added(
    draft: PlanVersion, tokens: BillableMetric
) -> None:
    for name in ["Input tokens", "Output tokens", "Requests"]:
        priced(draft, tokens, name=name)
    priced(draft, tokens, name="Between", position=15)

    assert list(draft.prices.values_list("name", "position")) == [
        ("Input tokens", 10),
        ("Between", 15),
        ("Output tokens", 20),
        ("Requests", 30),
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT)}, "unit_amount"),
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(-1))}, "unit_amount"),
        ({"terms": PriceTerms(ChargeModelName.GRADUATED)}, "tiers"),
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal("0.0000000000001"))}, "unit_amount"),
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(10) ** 12)}, "unit_amount"),
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT, unit_amount=Decimal(1), per_units=Decimal(0))}, "per_units"),
        (
            {
                "terms": PriceTerms(
                    ChargeModelName.GRADUATED,
                    tiers=(Tier(Decimal("0.0000000000001"), Decimal(1)), Tier(None, Decimal(1))),
                ),
            },
            "up_to",
        ),
        ({"currency": "USD"}, "currency"),
        ({"timing": BillingTiming.ADVANCE}, "__all__"),
        ({"recurrence": Recurrence.ONE_OFF}, "__all__"),
        ({"name": ""}, "name"),
        ({"name": "Taken"}, "__all__"),
        ({"metric": None}, "metric"),
        ({"terms": PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(1))}, "metric"),
    ],
)
def test_a_charge_that_cannot_be_is_refused_and_nothing_is_stored(
    draft: PlanVersion, tokens: BillableMetric, changes: dict[str, Any], field: str
) -> None:
    priced(draft, tokens, name="Taken")
    before = catalogue()

    with pytest.raises((InvalidInput, ValidationError)) as refusal:
        priced(draft, **{"metric": tokens, **changes})

    assert fields_of(refusal.value) == [field]
    assert catalogue() == before


def test_a_charge_of_a_draft_can_become_another(draft: PlanVersion, tokens: BillableMetric) -> None:
    version = priced(draft, tokens)
    product = ProductFactory()

    for terms, metric in [
        (TIERED, tokens),
        (PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal("9.00")), None),
        (PriceTerms(ChargeModelName.GRADUATED, tiers=TIERED.tiers[1:]), tokens),
    ]:
        charged = ChargedFor(product=product, name="Changed", metric=metric)
        change_draft_price(price_version=version, charged=charged, terms=terms, now=LATER, position=7)

        stored = PriceVersion.objects.select_related("price").get()
        assert (stored.pk, terms_of(stored), stored.recorded_at) == (version.pk, terms, LATER)
        assert (stored.price.name, stored.price.product, stored.price.metric) == ("Changed", product, metric)
        assert stored.price.position == 7


def test_a_change_that_cannot_be_leaves_the_charge_as_it_was(draft: PlanVersion, tokens: BillableMetric) -> None:
    version = priced(draft, tokens, terms=TIERED)
    before = catalogue()

    for terms in [
        PriceTerms(ChargeModelName.GRADUATED),
        PriceTerms(ChargeModelName.GRADUATED, tiers=(Tier(None, Decimal(10) ** 12),)),
    ]:
        with pytest.raises((InvalidInput, ValidationError)):
            change_draft_price(price_version=version, charged=ChargedFor.of(version.price), terms=terms, now=LATER)

        assert catalogue() == before


def test_a_charge_is_taken_out_of_a_draft(draft: PlanVersion, tokens: BillableMetric) -> None:
    kept = priced(draft, tokens, name="Kept")
    removed = priced(draft, tokens, terms=TIERED)

    remove_draft_price(price=removed.price)

    assert list(PriceVersion.objects.all()) == [kept]
    assert not PriceTier.objects.exists()


@pytest.mark.parametrize("status", [PlanStatus.PUBLISHED, PlanStatus.ARCHIVED])
def test_the_charges_of_a_plan_that_was_published_stand(tokens: BillableMetric, status: PlanStatus) -> None:
    plan_version = published_plan(per_unit(tokens, "3.00"))
    if status == PlanStatus.ARCHIVED:
        archive_plan_version(plan_version_id=plan_version.pk)
    version = PriceVersion.objects.select_related("price").get()
    before = catalogue()

    with pytest.raises(PlanVersionIsFixed, match=f"is {status}, so its charges stand") as refusal:
        priced(plan_version, tokens, name="One more")
    with pytest.raises(PlanVersionIsFixed):
        remove_draft_price(price=version.price)
    with pytest.raises(PlanVersionIsFixed):
        change_draft_price(price_version=version, charged=ChargedFor.of(version.price), terms=CHEAP, now=LATER)

    assert refusal.value.code == "plan_version_is_fixed"
    assert catalogue() == before


# --- Publishing and archiving ----------------------------------------------------------------------------------------


def test_publishing_seals_every_amount(draft: PlanVersion, tokens: BillableMetric) -> None:
    priced(draft, tokens)
    priced(draft, tokens, name="Requests", terms=TIERED)

    published = publish_plan_version(plan_version_id=draft.pk, now=LATER)

    assert PlanVersion.objects.get() == published
    assert (published.status, published.published_at) == (PlanStatus.PUBLISHED, LATER)
    assert list(PriceVersion.objects.values_list("is_sealed", flat=True)) == [True, True]


def test_a_plan_without_prices_is_not_published(draft: PlanVersion) -> None:
    before = catalogue()

    with pytest.raises(PlanVersionNotPublishable, match="has no prices yet") as refusal:
        publish_plan_version(plan_version_id=draft.pk, now=LATER)

    assert refusal.value.code == "plan_version_not_publishable"
    assert catalogue() == before


def test_an_archived_version_is_off_sale_and_keeps_its_terms(tokens: BillableMetric) -> None:
    plan_version = published_plan(per_unit(tokens, "3.00"))

    archived = archive_plan_version(plan_version_id=plan_version.pk)

    assert archived.status == PlanStatus.ARCHIVED
    assert archived.published_at == SET_UP_AT
    assert not PlanVersion.objects.published().exists()
    assert PriceVersion.objects.get().unit_amount == Decimal("3.00")


def test_a_version_goes_from_draft_to_published_to_archived_and_no_other_way(
    draft: PlanVersion, tokens: BillableMetric
) -> None:
    priced(draft, tokens)

    def refused(sentence: str, service: Any, **arguments: Any) -> None:
        before = catalogue()
        with pytest.raises(PlanVersionNotPublishable, match=sentence):
            service(plan_version_id=draft.pk, **arguments)
        assert catalogue() == before

    refused("is draft and cannot become archived", archive_plan_version)
    publish_plan_version(plan_version_id=draft.pk, now=LATER)
    refused("is published and cannot become published", publish_plan_version, now=LATER)
    archive_plan_version(plan_version_id=draft.pk)
    refused("is archived and cannot become published", publish_plan_version, now=LATER)
    refused("is archived and cannot become archived", archive_plan_version)


# --- Scheduled prices ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effective_from", [NEW_YEAR, dt.date(2023, 1, 1)])
def test_new_amounts_are_recorded_beside_the_old_ones(tokens: BillableMetric, effective_from: dt.date) -> None:
    plan_version = published_plan(graduated(tokens, ("1000", "0.20"), (None, "0.10")))
    first = PriceVersion.objects.get()

    recorded = schedule_price_version(
        price=first.price, effective_from=effective_from, terms=TIERED, now=LATER, note="Cheaper for all"
    )

    assert set(PriceVersion.objects.filter(price__plan_version=plan_version)) == {first, recorded}
    stored = PriceVersion.objects.get(pk=recorded.pk)
    assert (stored.effective_from, stored.recorded_at, stored.note) == (effective_from, LATER, "Cheaper for all")
    assert stored.is_sealed
    assert terms_of(stored) == TIERED


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"terms": PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(1))}, "metric"),
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT)}, "unit_amount"),
        ({"currency": "EUR"}, "currency"),
        ({"note": "x" * 201}, "note"),
        ({"effective_from": dt.date(1, 1, 1)}, "effective_from"),
        ({"effective_from": dt.date(1969, 12, 31)}, "effective_from"),
        ({"effective_from": dt.date(2200, 1, 1)}, "effective_from"),
    ],
)
def test_amounts_that_cannot_be_are_not_scheduled(tokens: BillableMetric, changes: dict[str, Any], field: str) -> None:
    published_plan(per_unit(tokens, "3.00"))
    price = Price.objects.get()
    before = catalogue()

    with pytest.raises((InvalidInput, ValidationError)) as refusal:
        schedule_price_version(**{"price": price, "effective_from": NEW_YEAR, "terms": CHEAP, "now": LATER, **changes})

    assert fields_of(refusal.value) == [field]
    assert catalogue() == before


def test_prices_of_a_draft_are_changed_and_not_scheduled(draft: PlanVersion, tokens: BillableMetric) -> None:
    price = priced(draft, tokens).price
    before = catalogue()

    with pytest.raises(PriceNotSchedulable, match=r"Scale v1 .* is draft.*Change the draft instead") as refusal:
        schedule_price_version(price=price, effective_from=NEW_YEAR, terms=CHEAP, now=LATER)

    assert refusal.value.code == "price_not_schedulable"
    assert catalogue() == before


def test_prices_of_an_archived_plan_are_not_scheduled(tokens: BillableMetric) -> None:
    archive_plan_version(plan_version_id=published_plan(per_unit(tokens, "3.00")).pk)
    before = catalogue()

    with pytest.raises(PriceNotSchedulable, match=r"is archived.*Make a new version of the plan") as refusal:
        schedule_price_version(price=Price.objects.get(), effective_from=NEW_YEAR, terms=CHEAP, now=LATER)

    assert isinstance(refusal.value, BillingError)
    assert catalogue() == before


def test_a_price_version_may_change_the_model(tokens: BillableMetric) -> None:
    published_plan(per_unit(tokens, "3.00"))
    price = Price.objects.get()

    recorded = schedule_price_version(price=price, effective_from=NEW_YEAR, terms=TIERED, now=LATER)

    assert recorded.charge_model == ChargeModelName.GRADUATED
    assert price.versions.get(effective_from=None).charge_model == ChargeModelName.PER_UNIT


# --- Currencies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def both() -> PlanVersion:
    """A draft in two currencies."""
    return create_plan(code="scale", name="Scale", currencies=["EUR", "USD"])


def test_a_charge_is_priced_in_each_currency_by_its_own_figures(both: PlanVersion, tokens: BillableMetric) -> None:
    first = priced(both, tokens)

    second = add_currency(price=first.price, currency="USD", terms=CHEAP, now=LATER)

    assert (first.currency, terms_of(first)) == ("EUR", DEAR)
    assert (second.currency, terms_of(second), second.effective_from) == ("USD", CHEAP, None)
    assert Price.objects.get().versions.count() == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"currency": "EUR"}, "currency"),
        ({"currency": "JPY"}, "currency"),
        ({"terms": PriceTerms(ChargeModelName.PER_UNIT)}, "unit_amount"),
        ({"terms": PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(1))}, "metric"),
    ],
)
def test_a_currency_that_cannot_be_added_is_refused_by_field(
    both: PlanVersion, tokens: BillableMetric, changes: dict[str, Any], field: str
) -> None:
    price = priced(both, tokens).price
    before = catalogue()

    with pytest.raises(InvalidInput) as refusal:
        add_currency(**{"price": price, "currency": "USD", "terms": CHEAP, "now": LATER, **changes})

    assert refusal.value.field == field
    assert catalogue() == before


def test_no_currency_is_added_to_what_is_published(tokens: BillableMetric) -> None:
    published_plan(per_unit(tokens, "3.00"))

    with pytest.raises(PlanVersionIsFixed):
        add_currency(price=Price.objects.get(), currency="EUR", terms=CHEAP, now=LATER)


def test_a_version_is_published_only_when_each_charge_has_each_currency(
    both: PlanVersion, tokens: BillableMetric
) -> None:
    price = priced(both, tokens).price
    with pytest.raises(PlanVersionNotPublishable, match="“Input tokens” has no price in USD"):
        publish_plan_version(plan_version_id=both.pk, now=LATER)

    add_currency(price=price, currency="USD", terms=CHEAP, now=LATER)

    assert publish_plan_version(plan_version_id=both.pk, now=LATER).status == PlanStatus.PUBLISHED


def test_a_copy_has_all_currencies(both: PlanVersion, tokens: BillableMetric) -> None:
    add_currency(price=priced(both, tokens).price, currency="USD", terms=CHEAP, now=LATER)

    copy = copy_plan_version(plan_version=both, now=LATER)

    assert copy.currencies == ["EUR", "USD"]
    versions = copy.prices.get().versions.all()
    assert {version.currency: terms_of(version) for version in versions} == {"EUR": DEAR, "USD": CHEAP}


def test_what_a_charge_is_for_fits_the_amounts_in_its_other_currencies(
    both: PlanVersion, tokens: BillableMetric
) -> None:
    version = priced(both, tokens)
    add_currency(price=version.price, currency="USD", terms=CHEAP, now=LATER)
    fee = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(9))
    without_metric = dataclasses.replace(ChargedFor.of(version.price), metric=None)

    with pytest.raises(InvalidInput) as refusal:
        change_draft_price(price_version=version, charged=without_metric, terms=fee, now=LATER)

    assert refusal.value.field == "metric"


# --- What a charge is for --------------------------------------------------------------------------------------------


def test_a_fee_may_be_billed_once_and_in_advance(draft: PlanVersion) -> None:
    fee = PriceTerms(ChargeModelName.FLAT, flat_amount=Decimal(500))

    once = priced(draft, None, terms=fee, recurrence=Recurrence.ONE_OFF, timing=BillingTiming.ADVANCE)

    assert (once.price.recurrence, once.price.timing) == (Recurrence.ONE_OFF, BillingTiming.ADVANCE)


def test_an_entry_is_named_and_named_anew(draft: PlanVersion) -> None:
    unit = PricingUnit(code="credit")

    save_entry(unit, {"singular": "credit", "plural": "credits"})
    save_entry(unit, {"plural": "points"})

    stored = PricingUnit.objects.get()
    assert (stored.code, stored.singular, stored.plural) == ("credit", "credit", "points")
    with pytest.raises(ValidationError) as refusal:
        save_entry(unit, {"singular": ""})
    assert fields_of(refusal.value) == ["singular"]
