"""What a charge model asks of usage beyond a quantity: parts by dimension and outcome, transactions, days."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from apps.billable_metrics.models import BillableMetric
from apps.contracts.models import Contract
from apps.pricing.charge_models.base import Tier
from apps.pricing.charge_models.matrix import Matrix, MatrixRow
from apps.pricing.charge_models.seats import Seats
from apps.pricing.charges import Charge
from apps.pricing.periods import Period
from apps.products.models import ChargeModelName, FailurePolicy, Price
from apps.products.services import schedule_price_version
from apps.products.terms import PriceTerms
from apps.rating.measuring import MetricDoesNotFit, meter_of
from apps.rating.services import rate_periods
from apps.rating.values import RatedPeriod, RatingRefused
from apps.usage.models import UsageEvent
from apps.usage.selectors import place_of
from apps.usage.services import EventInput, backfill_metrics, fold_usage, record_events, void_events
from tests.builders import PlannedPrice, active_contract, per_unit, published_plan
from tests.conftest import utc
from tests.factories import BillableMetricFactory, CustomerFactory
from tests.rating.conftest import KNOWN_AT, NOVEMBER_15, amounts_of, rate_at
from tests.rating.test_rate_periods import counted_statements, to_rate

pytestmark = pytest.mark.django_db
D = Decimal

MATRIX = PriceTerms(
    ChargeModelName.MATRIX,
    dimensions=("model", "direction"),
    rows=(MatrixRow(("gpt-4", "input"), D("0.01")), MatrixRow(("gpt-4", None), D("0.03"))),
)
SEATS = PriceTerms(ChargeModelName.SEATS, unit_amount=D(30))
PERCENTAGE = PriceTerms(ChargeModelName.PERCENTAGE, rate_percent=D(10), free_transactions=1, transaction_maximum=D(5))


@pytest.fixture
def tokens_by_model(db: None) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="by_model", group_by=("region", "direction", "model"))
    return metric


@pytest.fixture
def payouts(db: None) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(code="payouts", event_type="payout", value_property="amount")
    return metric


@pytest.fixture
def seats(db: None) -> BillableMetric:
    metric: BillableMetric = BillableMetricFactory(
        code="seats", event_type="seats", value_property="change", carries_over=True
    )
    return metric


def contract_on(terms: PriceTerms, metric: BillableMetric, *, zone: str = "UTC", code: str = "plan") -> Contract:
    plan = published_plan(PlannedPrice("Usage", terms, metric), code=code)
    return active_contract(plan, customer=CustomerFactory(timezone=zone))


def use(contract: Contract, metric: BillableMetric, *sent: tuple[dt.datetime, dict[str, Any]]) -> None:
    subject, event_type = contract.customer.external_id, metric.current_version.event_type
    events = [
        EventInput(
            "test",
            f"{contract.pk}-{occurred_at}-{number}",
            event_type,
            subject,
            occurred_at,
            data,
        )
        for number, (occurred_at, data) in enumerate(sent)
    ]
    record_events(events=events, api_key_id=None)


def tokens_of(model: str | None, quantity: int, direction: str = "input", **others: str) -> dict[str, Any]:
    data: dict[str, Any] = {"input_tokens": quantity, "direction": direction, **others}
    return data if model is None else {**data, "model": model}


# --- By dimensions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_cached", [True, False])
def test_usage_has_the_price_of_the_row_that_fits_it_best(tokens_by_model: BillableMetric, is_cached: bool) -> None:
    contract = contract_on(MATRIX, tokens_by_model)
    if is_cached:
        backfill_metrics()
    use(
        contract,
        tokens_by_model,
        (NOVEMBER_15, tokens_of("gpt-4", 100, region="eu")),
        (NOVEMBER_15, tokens_of("gpt-4", 200, region="us")),
        (NOVEMBER_15, tokens_of("gpt-4", 400, "output")),
    )
    fold_usage()

    assert [(line.name, line.rated.quantity, str(line.amount)) for line in rate_at(contract).lines] == [
        ("Usage: gpt-4, input", D(300), "3.00"),
        ("Usage: gpt-4", D(400), "12.00"),
    ]


def test_usage_that_no_row_prices_is_refused_by_name_and_stops_no_other_contract(
    tokens_by_model: BillableMetric,
) -> None:
    broken = contract_on(MATRIX, tokens_by_model)
    sound = active_contract(broken.phases.get().plan_version)
    use(broken, tokens_by_model, (NOVEMBER_15, tokens_of("haiku", 5)))
    use(sound, tokens_by_model, (NOVEMBER_15, tokens_of("gpt-4", 100)))

    refused, rated = rate_periods([to_rate(broken), to_rate(sound)], as_of=KNOWN_AT)

    assert isinstance(refused, RatingRefused)
    assert (refused.code, refused.detail) == (
        "usage_without_price",
        "“Usage” does not price all usage of 1 – 30 Nov 2023. No row prices model = haiku, direction = input. "
        "Add a row for it, or a default row.",
    )
    assert isinstance(rated, RatedPeriod)
    assert str(rated.totals.total) == "1.00"


def test_usage_above_a_closed_last_tier_is_refused_by_name(tokens: BillableMetric) -> None:
    terms = PriceTerms(ChargeModelName.VOLUME, tiers=(Tier(D(10), D(1)),))
    contract = contract_on(terms, tokens)
    use(contract, tokens, (NOVEMBER_15, tokens_of(None, 11)))

    [refused] = rate_periods([to_rate(contract)], as_of=KNOWN_AT)

    assert isinstance(refused, RatingRefused)
    assert refused.code == "usage_without_price"
    assert "A quantity of 11 lies above the last tier" in refused.detail


def test_an_unused_matrix_has_no_line_and_its_minimum_has_one(tokens_by_model: BillableMetric) -> None:
    plain = contract_on(MATRIX, tokens_by_model)
    with_minimum = PriceTerms(ChargeModelName.MATRIX, dimensions=MATRIX.dimensions, rows=MATRIX.rows, minimum=D(20))

    assert rate_at(plain).lines == ()
    assert amounts_of(rate_at(contract_on(with_minimum, tokens_by_model, code="minimum"))) == [("Usage", "20.00")]


# --- By outcome ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dimensions", [(), ("status",)])
@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize(
    ("policy", "free", "amount"),
    [
        (FailurePolicy.CHARGED, None, "10.00"),
        (FailurePolicy.FREE, None, "6.00"),
        (FailurePolicy.FREE_UP_TO, D(3), "7.00"),
    ],
)
def test_failed_units_are_charged_as_the_price_says(
    dimensions: tuple[str, ...], is_cached: bool, policy: FailurePolicy, free: Decimal | None, amount: str
) -> None:
    metric = BillableMetricFactory(
        code="m", outcome_property="status", outcome_values=("failed", "timeout"), group_by=dimensions
    )
    terms = PriceTerms(ChargeModelName.PER_UNIT, unit_amount=D(1), failures=policy, free_failures=free)
    contract = contract_on(terms, metric)
    if is_cached:
        backfill_metrics()
    use(
        contract,
        metric,
        (NOVEMBER_15, {"input_tokens": 5, "status": "ok"}),
        (NOVEMBER_15, {"input_tokens": 1}),
        (NOVEMBER_15, {"input_tokens": 3, "status": "failed"}),
        (NOVEMBER_15, {"input_tokens": 1, "status": "timeout"}),
    )

    [line] = rate_at(contract).lines

    assert (line.rated.quantity, line.event_count, str(line.amount)) == (D(10), 4, amount)


# --- By transaction --------------------------------------------------------------------------------------------------


def test_transactions_count_in_the_order_of_time_and_a_voided_one_not_at_all(payouts: BillableMetric) -> None:
    contract = contract_on(PERCENTAGE, payouts)
    use(
        contract,
        payouts,
        (utc(2023, 11, 20), {"amount": 20}),
        (utc(2023, 11, 10), {"amount": 30}),
        (utc(2023, 11, 12), {"amount": 100}),
        (utc(2023, 11, 5), {"amount": 7}),
    )
    void_events(events=[place_of(UsageEvent.objects.get(data__amount=7))], reason="x", actor=None)

    [line] = rate_at(contract).lines

    # The first that stands, 30, is free; then 5.00 of 10.00, and 2.00.
    assert (line.rated.quantity, line.event_count, str(line.amount)) == (D(150), 3, "7.00")


def test_a_transaction_that_was_stored_after_the_cutoff_is_not_known(payouts: BillableMetric) -> None:
    contract = contract_on(PERCENTAGE, payouts)
    use(contract, payouts, (utc(2023, 11, 10), {"amount": 30}), (utc(2023, 11, 11), {"amount": 20}))
    cutoff = UsageEvent.objects.get(data__amount=20).attributed_at
    use(contract, payouts, (utc(2023, 11, 12), {"amount": 40}))

    assert amounts_of(rate_at(contract)) == [("Usage", "6.00")]
    assert amounts_of(rate_at(contract, stored_before=cutoff)) == [("Usage", "0.00")]


# --- By day ----------------------------------------------------------------------------------------------------------


def test_seats_are_charged_by_what_is_held_at_the_end_of_each_day(seats: BillableMetric) -> None:
    contract = contract_on(SEATS, seats)
    use(
        contract,
        seats,
        (utc(2023, 10, 20), {"change": 2}),
        (utc(2023, 11, 11, 12), {"change": 3}),
        (utc(2023, 11, 21), {"change": -4}),
        # Added and removed on one day.
        (utc(2023, 11, 25, 8), {"change": 9}),
        (utc(2023, 11, 25, 9), {"change": -9}),
    )

    [line] = rate_at(contract).lines

    # 2 for 10 days, 5 for 10, 1 for 10: 80 days of a seat at 1.00.
    assert (str(line.amount), line.rated.quantity, line.event_count) == ("80.00", D("2.666666666667"), 4)


def test_days_of_seats_are_those_of_the_contract_s_zone(seats: BillableMetric) -> None:
    contract = contract_on(SEATS, seats, zone="Europe/Berlin")
    use(contract, seats, (utc(2023, 11, 20, 23, 30), {"change": 1}))

    # In Berlin it is the 21st already: ten days are left.
    assert amounts_of(rate_at(contract)) == [("Usage", "10.00")]


@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize("aggregation", ["sum", "latest", "max", "unique_count"])
def test_a_day_s_level_is_what_the_metric_measures_by_then(aggregation: str, is_cached: bool) -> None:
    metric = BillableMetricFactory(code="m", aggregation=aggregation, carries_over=True)
    contract = contract_on(SEATS, metric)
    if is_cached:
        backfill_metrics()
    use(
        contract,
        metric,
        (utc(2023, 10, 20), {"input_tokens": 1}),
        (utc(2023, 11, 16), {"input_tokens": 3}),
    )
    expected = {"sum": "75.00", "latest": "60.00", "max": "60.00", "unique_count": "45.00"}

    assert amounts_of(rate_at(contract)) == [("Usage", expected[aggregation])]


def test_seats_keep_the_price_of_each_day(seats: BillableMetric) -> None:
    contract = contract_on(SEATS, seats)
    schedule_price_version(
        price=Price.objects.get(),
        effective_from=dt.date(2023, 11, 16),
        terms=PriceTerms(ChargeModelName.SEATS, unit_amount=D(60)),
        now=utc(2023, 10, 2),
    )
    use(contract, seats, (utc(2023, 11, 1), {"change": 1}))

    assert amounts_of(rate_at(contract)) == [("Usage", "15.00"), ("Usage", "30.00")]


# --- All together ----------------------------------------------------------------------------------------------------


def test_the_number_of_statements_follows_from_the_kinds_of_charges_not_from_the_contracts(
    tokens_by_model: BillableMetric,
    payouts: BillableMetric,
    seats: BillableMetric,
    calls: BillableMetric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = published_plan(
        PlannedPrice("Tokens", MATRIX, tokens_by_model),
        PlannedPrice("Payouts", PERCENTAGE, payouts),
        PlannedPrice("Seats", SEATS, seats),
        per_unit(calls, "0.10"),
    )
    contracts = [active_contract(plan) for _ in range(8)]
    backfill_metrics()
    for contract in contracts:
        use(contract, tokens_by_model, (NOVEMBER_15, tokens_of("gpt-4", 1)))
        use(contract, payouts, (NOVEMBER_15, {"amount": 1}))
        use(contract, seats, (NOVEMBER_15, {"change": 1}))

    with counted_statements(monkeypatch) as for_two:
        rate_periods([to_rate(contract) for contract in contracts[:2]], as_of=KNOWN_AT)
    with counted_statements(monkeypatch) as for_eight:
        rate_periods([to_rate(contract) for contract in contracts], as_of=KNOWN_AT)

    assert len(for_two) == len(for_eight)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Seats(D(1)), "begins anew with each period"),
        (Matrix(("model",), (MatrixRow((None,), D(1)),)), "is no count and no sum"),
    ],
)
def test_a_metric_that_no_longer_fits_is_refused_by_name(model: Any, sentence: str) -> None:
    metric = BillableMetricFactory(name="Tokens", aggregation="average")
    period = Period(utc(2023, 11, 1), utc(2023, 12, 1), "UTC")

    with pytest.raises(MetricDoesNotFit, match=f"“Tokens” {sentence}"):
        meter_of(Charge(model), metric.current_version, period, 30)
