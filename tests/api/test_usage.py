"""From a metric to its usage over the API alone: every aggregation, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
from pytest_django import DjangoAssertNumQueries

from apps.customers.models import Customer
from apps.usage.services import backfill_metrics, fold_usage
from tests.api.client import ApiCaller
from tests.factories import BillableMetricFactory, BillingEntityFactory, CustomerFactory

pytestmark = pytest.mark.django_db

DAY = {"start": "2024-05-06T00:00:00Z", "end": "2024-05-07T00:00:00Z"}


@pytest.fixture(autouse=True)
def _any_age_is_taken(settings: Any) -> None:
    settings.EVENTS_MAX_AGE_DAYS = 10_000


@pytest.fixture
def api() -> ApiCaller:
    return ApiCaller()


@pytest.fixture
def acme(api: ApiCaller) -> str:
    BillingEntityFactory()
    api.ok("POST", "customers", {"external_id": "acme", "name": "Acme"}, status=201)
    return "acme"


def send(api: ApiCaller, *events: tuple[str, dict[str, Any]], subject: str = "acme") -> None:
    """Events of the type ``work`` at times on 6 May 2024, or at instants that are given whole."""
    batch = [
        {
            "id": f"{at}-{number}-{subject}",
            "source": "test",
            "type": "work",
            "subject": subject,
            "time": at if "T" in at else f"2024-05-06T{at}:00Z",
            "data": data,
        }
        for number, (at, data) in enumerate(events)
    ]
    api.ok("POST", "events", batch, status=204)


def measure(api: ApiCaller, definition: dict[str, Any], **asked: str) -> Any:
    """Make a metric and read the usage of acme on 6 May 2024."""
    code = f"metric-{len(api.ok('GET', 'billable-metrics')['results'])}"
    made = {"code": code, "name": code, "event_type": "work", "aggregation": "sum", "value_property": "n", **definition}
    if made["aggregation"] == "count" or "value_expression" in made:
        del made["value_property"]
    api.ok("POST", "billable-metrics", made, status=201)
    return api.ok("GET", "customers/acme/usage", metric=code, **{**DAY, **asked})


# Before the day: a level of 10, then on the day +4 at 06:00, -2 at 12:00, and 5 at 18:00.
LEVELS = [
    ("2024-05-05T12:00:00Z", {"n": 10}),
    ("06:00", {"n": 4}),
    ("12:00", {"n": -2}),
    ("18:00", {"n": 5}),
]


@pytest.mark.parametrize("is_cached", [False, True])
@pytest.mark.parametrize(
    ("definition", "quantity", "event_count"),
    [
        ({"aggregation": "count"}, "3", 3),
        ({"aggregation": "sum"}, "7", 3),
        ({"aggregation": "sum", "carries_over": True}, "17", 3),
        ({"aggregation": "max"}, "5", 3),
        ({"aggregation": "max", "carries_over": True}, "10", 3),
        ({"aggregation": "min"}, "-2", 3),
        ({"aggregation": "average"}, "2.333333333333", 3),
        ({"aggregation": "latest"}, "5", 3),
        ({"aggregation": "unique_count"}, "3", 3),
        ({"aggregation": "unique_count", "carries_over": True}, "4", 3),
        ({"aggregation": "percentile", "percentile_rank": 50}, "4", 3),
        ({"aggregation": "percentile", "percentile_rank": "66.6"}, "4", 3),
        ({"aggregation": "percentile", "percentile_rank": "66.7"}, "5", 3),
        ({"aggregation": "percentile", "percentile_rank": 100}, "5", 3),
        # Changes: 4 for 18 hours, -2 for 12, 5 for 6.
        ({"aggregation": "time_weighted_sum"}, "78", 3),
        ({"aggregation": "time_weighted_sum", "time_unit": "day"}, "3.25", 3),
        # And 10 that stood all day: 78 + 240.
        ({"aggregation": "time_weighted_sum", "carries_over": True}, "318", 3),
        ({"aggregation": "time_weighted_sum", "carries_over": True, "time_unit": "period"}, "13.25", 3),
        # Levels: 4 from 6 to 12, -2 to 18, 5 to 24.
        ({"aggregation": "time_weighted_sum", "values_are": "levels"}, "42", 3),
        # And 10 from 0 to 6.
        ({"aggregation": "time_weighted_sum", "values_are": "levels", "carries_over": True}, "102", 3),
        (
            {
                "aggregation": "time_weighted_sum",
                "values_are": "levels",
                "carries_over": True,
                "time_unit": "period",
            },
            "4.25",
            3,
        ),
        ({"value_expression": "n * n / 3600"}, "0.0125", 3),
        ({"value_expression": "max(n, 0)"}, "9", 3),
        ({"aggregation": "max", "value_expression": "ceil(n / 3)"}, "2", 3),
    ],
)
def test_an_aggregation_is_worked_out(
    api: ApiCaller, acme: str, definition: dict[str, Any], quantity: str, event_count: int, is_cached: bool
) -> None:
    send(api, *LEVELS)

    usage = measure(api, definition)
    if is_cached:
        backfill_metrics()
        fold_usage()
        usage = api.ok("GET", "customers/acme/usage", metric=usage["metric"], **DAY)

    assert (usage["quantity"], usage["event_count"]) == (quantity, event_count)


DESCRIBED = [
    ("01:00", {"n": 1, "model": "large", "status": "ok", "size": 10}),
    ("02:00", {"n": 2, "model": "small", "status": "failed", "size": "20"}),
    ("03:00", {"n": 4, "model": "large", "status": "ok", "size": "many"}),
    ("04:00", {"n": 8, "status": "timeout", "size": 20.5, "user": {"tier": "free"}}),
    ("05:00", {"n": "16", "model": 7, "status": "ok", "flag": True}),
]


@pytest.mark.parametrize(
    ("filters", "quantity"),
    [
        ([], "31"),
        ([["model", "eq", "large"]], "5"),
        ([["model", "eq", 7]], "16"),
        ([["flag", "eq", True]], "16"),
        ([["user.tier", "eq", "free"]], "8"),
        ([["model", "ne", "large"]], "26"),
        ([["model", "in", "large", "small"]], "7"),
        ([["model", "not_in", "large", "small"]], "24"),
        ([["model", "exists"]], "23"),
        ([["model", "not_exists"]], "8"),
        ([["size", "gt", 10]], "10"),
        ([["size", "gte", "10"]], "11"),
        ([["size", "lt", 20.5]], "3"),
        ([["size", "lte", "20.5"]], "11"),
        ([["model", "eq", "large"], ["n", "gt", 1]], "4"),
        ([["nothing", "eq", "x"]], "0"),
    ],
)
def test_filters_choose_the_events(api: ApiCaller, acme: str, filters: list[list[Any]], quantity: str) -> None:
    send(api, *DESCRIBED)
    sent = [{"property": name, "operator": operator, "values": values} for name, operator, *values in filters]
    assert measure(api, {"filters": sent})["quantity"] == quantity


@pytest.mark.parametrize(
    ("policy", "quantity"),
    [
        ({}, "31"),
        ({"outcome_policy": "exclude", "outcome_values": ["failed", "timeout"]}, "21"),
        ({"outcome_policy": "only", "outcome_values": ["failed"]}, "2"),
    ],
)
def test_the_outcome_decides_whether_an_event_counts(
    api: ApiCaller, acme: str, policy: dict[str, Any], quantity: str
) -> None:
    send(api, *DESCRIBED)
    outcome = {"outcome_property": "status", **policy} if policy else {}
    assert measure(api, outcome)["quantity"] == quantity


@pytest.mark.parametrize("own", [[], ["model"], ["status", "model"]])
def test_usage_is_split_by_any_properties(api: ApiCaller, acme: str, own: list[str]) -> None:
    send(api, *DESCRIBED)
    usage = measure(api, {"group_by": own}, group_by="model,status")
    backfill_metrics()

    assert usage["groups"] == [
        {"dimensions": {"model": "7", "status": "ok"}, "quantity": "16", "event_count": 1},
        {"dimensions": {"model": "large", "status": "ok"}, "quantity": "5", "event_count": 2},
        {"dimensions": {"model": "small", "status": "failed"}, "quantity": "2", "event_count": 1},
        {"dimensions": {"model": None, "status": "timeout"}, "quantity": "8", "event_count": 1},
    ]
    asked = {"metric": usage["metric"], "group_by": "model,status", **DAY}
    assert api.ok("GET", "customers/acme/usage", **asked) == usage


def test_distinct_values_are_counted_in_each_group(api: ApiCaller, acme: str) -> None:
    send(api, *DESCRIBED, ("06:00", {"model": "large", "status": "failed"}))

    usage = measure(api, {"aggregation": "unique_count", "value_property": "model"}, group_by="status")

    assert [(group["dimensions"]["status"], group["quantity"], group["event_count"]) for group in usage["groups"]] == [
        ("failed", "2", 2),
        ("ok", "2", 3),
    ]
    assert (usage["quantity"], usage["event_count"]) == ("3", 5)


def test_numbers_of_any_size_come_back_plain(api: ApiCaller, acme: str) -> None:
    send(api, ("01:00", {"n": 10**60}), ("02:00", {"n": 1e-12}))
    assert measure(api, {})["quantity"] == f"1{'0' * 60}.000000000001"


def test_each_window_is_a_row(api: ApiCaller, acme: str) -> None:
    send(api, ("00:00", {"n": 1}), ("00:59", {"n": 2}), ("01:00", {"n": 4}), ("02:30", {"n": 8}))
    asked = {"start": "2024-05-06T00:30:00Z", "end": "2024-05-06T03:15:00Z", "window": "hour"}

    usage = measure(api, {}, **asked)

    assert [(row["start"][11:16], row["end"][11:16], row["quantity"]) for row in usage["windows"]] == [
        ("00:30", "01:00", "2"),
        ("01:00", "02:00", "4"),
        ("02:00", "03:00", "8"),
        ("03:00", "03:15", "0"),
    ]
    assert (usage["quantity"], usage["event_count"], usage["groups"]) == ("14", 3, [])


def test_days_and_months_are_those_of_the_customer(api: ApiCaller) -> None:
    CustomerFactory(external_id="acme", timezone="America/New_York")
    # The clocks of New York go forward on 10 March 2024: that day has 23 hours and begins at 05:00 in UTC.
    send(
        api,
        ("2024-03-10T04:59:59Z", {"n": 1}),
        ("2024-03-10T05:00:00Z", {"n": 2}),
        ("2024-03-11T03:59:59Z", {"n": 4}),
        ("2024-03-11T04:00:00Z", {"n": 8}),
        ("2024-04-01T03:59:59Z", {"n": 16}),
        ("2024-04-01T04:00:00Z", {"n": 32}),
    )
    days = measure(api, {}, start="2024-03-09T05:00:00Z", end="2024-03-12T04:00:00Z", window="day")
    months = measure(api, {}, start="2024-03-01T00:00:00-05:00", end="2024-05-01T00:00:00-04:00", window="month")

    assert days["timezone"] == "America/New_York"
    assert [(row["start"], row["quantity"]) for row in days["windows"]] == [
        ("2024-03-09T05:00:00Z", "1"),
        ("2024-03-10T05:00:00Z", "6"),
        ("2024-03-11T04:00:00Z", "8"),
    ]
    assert [(row["start"], row["quantity"]) for row in months["windows"]] == [
        ("2024-03-01T05:00:00Z", "31"),
        ("2024-04-01T04:00:00Z", "32"),
    ]


def test_a_day_that_a_zone_left_out_is_no_window(api: ApiCaller) -> None:
    CustomerFactory(external_id="acme", timezone="Pacific/Apia")  # It had no 30 December 2011.
    usage = measure(api, {}, start="2011-12-29T10:00:00Z", end="2011-12-31T10:00:00Z", window="day")
    assert [row["start"] for row in usage["windows"]] == ["2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"]


def test_each_window_goes_by_the_version_in_force_when_it_begins(api: ApiCaller, acme: str) -> None:
    send(api, *LEVELS)
    code = measure(api, {})["metric"]
    change = {"aggregation": "max", "effective_from": "2024-05-06T12:00:00Z"}
    api.ok("PATCH", f"billable-metrics/{code}", change)

    usage = api.ok("GET", "customers/acme/usage", metric=code, window="hour", **DAY)

    assert (usage["quantity"], usage["metric_version"]) == ("7", 1)
    assert [(row["quantity"], row["metric_version"]) for row in usage["windows"]][6::6] == [
        ("4", 1),
        ("-2", 2),
        ("5", 2),
    ]


def test_only_the_customers_own_events_count(api: ApiCaller, acme: str) -> None:
    CustomerFactory(external_id="globex")
    send(api, ("01:00", {"n": 1}))
    send(api, ("01:00", {"n": 2}), subject="globex")
    send(api, ("01:00", {"n": 4}), subject="nobody")
    assert measure(api, {})["quantity"] == "1"


def test_many_windows_cost_no_more_queries(
    api: ApiCaller, acme: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    send(api, *LEVELS)
    code = measure(api, {})["metric"]
    backfill_metrics()
    with django_assert_max_num_queries(8):
        year = {"start": "2024-01-01T00:00:00Z", "end": "2025-01-01T00:00:00Z"}
        usage = api.ok("GET", "customers/acme/usage", metric=code, window="day", **year)
    assert len(usage["windows"]) == 366


@pytest.mark.parametrize(
    ("asked", "field", "sentence"),
    [
        ({"metric": "none"}, "metric", "does not exist"),
        ({"metric": ""}, "metric", "by its code"),
        ({"start": "yesterday"}, "start", "wrong format"),
        ({"start": "2023-11-16T00:00:00"}, "start", "Add the zone"),
        ({"start": "0001-01-01T00:00:00+01:00"}, "start", "1970 to 2199"),
        ({"end": "9999-12-31T23:59:59-12:00"}, "end", "1970 to 2199"),
        ({"end": "2024-05-06T00:00:00Z"}, "end", "after the start"),
        ({"window": "week"}, "window", "not a valid choice"),
        ({"window": "hour", "start": "2020-01-01T00:00:00Z"}, "window", "more than 1,000 hours"),
        ({"window": "day", "start": "1970-01-01T00:00:00Z"}, "window", "more than 1,000 days"),
        ({"group_by": "a,a"}, "group_by", "each property once"),
        ({"group_by": "a,,b"}, "group_by", "each property once"),
        ({"group_by": "a,b,c,d,e,f,g,h,i"}, "group_by", "at most 8"),
        ({"granularity": "day"}, "granularity", "Known are metric, start, end, window, group_by"),
    ],
)
def test_a_wrong_question_names_the_parameter(api: ApiCaller, asked: dict[str, str], field: str, sentence: str) -> None:
    CustomerFactory(external_id="acme")
    BillableMetricFactory(code="tokens")

    faults = api.refused("GET", "customers/acme/usage", **{"metric": "tokens", **DAY, **asked})

    assert list(faults) == [field]
    assert sentence in faults[field]


def test_a_parameter_that_is_missing_or_given_twice_is_named(api: ApiCaller) -> None:
    CustomerFactory(external_id="acme")
    assert set(api.refused("GET", "customers/acme/usage")) == {"metric", "start", "end"}
    assert api.refused("GET", "customers/acme/usage?group_by=a&group_by=b", **{}) == {"group_by": "Give this once."}
    assert api.refused("GET", "customers/nobody/usage", status=404)
    assert Customer.objects.count() == 1
