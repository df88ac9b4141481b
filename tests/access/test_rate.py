"""How often a key may ask: counted here, or together over Redis."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from apps.access import rate
from apps.access.models import Scope
from apps.access.rate import RateLimited, forget_requests, take_request, waits_for_network
from apps.access.selectors import LiveKey, forget_keys
from apps.access.services import create_api_key
from tests.conftest import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate, "time", clock)
    forget_requests()
    return clock


def key(limit: int | None, *, key_id: int = 1) -> LiveKey:
    return LiveKey(id=key_id, name="gateway", scopes=frozenset(["ingest"]), requests_per_minute=limit)


def taken(of: LiveKey, attempts: int) -> int:
    """How many of some requests at once are let in."""
    count = 0
    for _ in range(attempts):
        try:
            take_request(of)
        except RateLimited:
            continue
        count += 1
    return count


def test_a_bucket_holds_a_minutes_requests_and_refills_evenly(clock: Clock) -> None:
    assert taken(key(60), 100) == 60
    clock.now += 1
    assert taken(key(60), 100) == 1
    clock.now += 10
    assert taken(key(60), 100) == 10
    clock.now += 3600
    assert taken(key(60), 100) == 60


@pytest.mark.parametrize("limit", [1, 7, 1_000_000])
def test_a_limit_is_what_it_says(clock: Clock, limit: int) -> None:
    attempts = min(limit + 5, 2000)
    assert taken(key(limit), attempts) == min(limit, attempts)


def test_a_refusal_says_when_to_come_again(clock: Clock) -> None:
    taken(key(6), 6)
    clock.now += 3.5
    with pytest.raises(RateLimited, match=r"6 requests a minute\. Wait 7 s") as refusal:
        take_request(key(6))
    assert refusal.value.headers["Retry-After"] == "7"
    clock.now += 7
    assert taken(key(6), 1) == 1


def test_a_refused_request_uses_nothing_up(clock: Clock) -> None:
    assert taken(key(60), 1000) == 60
    clock.now += 60
    assert taken(key(60), 1000) == 60


def test_keys_have_buckets_of_their_own(clock: Clock) -> None:
    assert taken(key(2), 5) == 2
    assert taken(key(2, key_id=2), 5) == 2


def test_the_setting_is_for_keys_without_a_limit_of_their_own(clock: Clock, settings: Settings) -> None:
    assert taken(key(None), 1000) == 1000
    settings.API_REQUESTS_PER_MINUTE = 5
    assert taken(key(None, key_id=2), 10) == 5
    assert taken(key(8, key_id=3), 10) == 8


@pytest.mark.django_db
def test_reading_counts_too_and_a_lack_of_scope_does_not(client: Client) -> None:
    forget_keys()
    forget_requests()
    _, secret = create_api_key(
        name="reader", scopes=[Scope.READ], created_by=None, now=timezone.now(), requests_per_minute=2
    )
    headers = {"Authorization": f"Bearer {secret}"}

    assert client.post("/api/v1/events", headers=headers).status_code == 403
    assert [client.get("/api/v1/products", headers=headers).status_code for _ in range(3)] == [200, 200, 429]
    refused = client.get("/api/v1/customers", headers=headers)
    assert refused["Content-Type"] == "application/problem+json"
    assert (refused.json()["code"], refused["Retry-After"]) == ("rate_limited", "30")


# --- Over Redis ------------------------------------------------------------------------------------------------------


@pytest.fixture
def redis_url(tmp_path: Path, settings: Settings) -> Iterator[str]:
    if not shutil.which("redis-server"):
        pytest.skip("there is no redis-server on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)  # noqa: S607
    url = f"redis://127.0.0.1:{port}/0"
    wait_until(lambda: answers(url), what="Redis")
    settings.API_RATE_LIMIT_REDIS_URL = url
    yield url
    server.kill()
    server.wait()


def answers(url: str) -> bool:
    try:
        return bool(redis.Redis.from_url(url).ping())
    except redis.ConnectionError:
        return False


def test_processes_share_their_buckets_over_redis(redis_url: str) -> None:
    forget_requests()
    assert waits_for_network(key(5))
    assert not waits_for_network(key(None))
    assert taken(key(5), 4) == 4
    forget_requests()  # as another process would begin
    assert taken(key(5), 4) == 1
    with pytest.raises(RateLimited) as refusal:
        take_request(key(5))
    assert 10 <= int(refusal.value.headers["Retry-After"]) <= 12
    [name] = redis.Redis.from_url(redis_url).keys("countinghouse:*")
    assert 60 < int(redis.Redis.from_url(redis_url).ttl(name)) <= 120


def test_while_redis_is_away_each_process_counts_for_itself(
    settings: Settings, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.API_RATE_LIMIT_REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(rate, "_shared", rate._SharedBuckets())

    assert taken(key(5), 8) == 5

    assert len([record for record in caplog.records if "Redis is away" in record.message]) == 1
