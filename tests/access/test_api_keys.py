"""API keys: made once, stored hashed, ended for good."""

from __future__ import annotations

import datetime as dt

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError
from django.test import Client
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from apps.access import selectors, services
from apps.access.models import ApiKey, Scope
from apps.access.selectors import forget_keys, live_key
from apps.access.services import (
    KeyRevoked,
    create_api_key,
    limit_api_key,
    note_key_used,
    revoke_api_key,
    rotate_api_key,
)
from apps.common.errors import InvalidInput
from tests.conftest import utc

pytestmark = pytest.mark.django_db
NOON = utc(2023, 11, 16, 12)


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    forget_keys()
    monkeypatch.setattr(services, "_noted_use", {})


def make(*scopes: str) -> tuple[ApiKey, str]:
    return create_api_key(name="gateway", scopes=scopes or [Scope.INGEST], created_by=None, now=NOON)


def test_a_key_is_long_random_and_stored_as_its_digest(clerk: User) -> None:
    key, secret = create_api_key(name=" gateway ", scopes=["read", "ingest", "read"], created_by=clerk, now=NOON)

    assert secret.startswith("ch_")
    assert len(secret) == 46
    key.refresh_from_db()
    assert (key.name, key.scopes, key.created_by, key.created_at) == ("gateway", ["ingest", "read"], clerk, NOON)
    assert secret.startswith(key.prefix)
    assert secret not in str(ApiKey.objects.values().get())
    assert make()[1] != secret


@pytest.mark.parametrize(
    ("name", "scopes", "field"), [(" ", ["read"], "name"), ("x", [], "scopes"), ("x", ["read", "all"], "scopes")]
)
def test_a_key_needs_a_name_and_known_scopes(name: str, scopes: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        create_api_key(name=name, scopes=scopes, created_by=None, now=NOON)
    assert refusal.value.field == field
    assert not ApiKey.objects.exists()


def test_the_database_refuses_a_key_without_a_scope() -> None:
    with pytest.raises(IntegrityError):
        ApiKey.objects.create(name="x", prefix="x", digest="x", scopes=[], created_at=NOON)


def test_a_secret_finds_its_key_and_nothing_else_does() -> None:
    key, secret = make("read", "ingest")
    found = live_key(secret)
    assert found is not None
    assert (found.id, found.name, found.scopes) == (key.pk, "gateway", frozenset({"read", "ingest"}))
    assert live_key(secret + "x") is None
    assert live_key("") is None


def test_a_key_is_looked_up_once_in_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, secret = make()
    clock = [1000.0]
    monkeypatch.setattr("apps.access.selectors.time.monotonic", lambda: clock[0])
    for later, queries in [(0, 1), (29, 0), (2, 1), (0, 0)]:
        clock[0] += later
        with django_assert_num_queries(queries):
            assert live_key(secret) is not None


def test_an_unknown_secret_is_not_remembered() -> None:
    secret = "ch_not-yet"
    assert live_key(secret) is None
    ApiKey.objects.create(name="x", prefix="x", digest=selectors.digest_of(secret), scopes=["read"], created_at=NOON)
    assert live_key(secret) is not None


def test_a_revoked_key_is_gone_and_keeps_its_first_date(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    key, secret = make()
    assert live_key(secret) is not None

    with django_capture_on_commit_callbacks(execute=True):
        revoke_api_key(key=key, now=NOON)
        revoke_api_key(key=key, now=NOON + dt.timedelta(days=1))

    assert live_key(secret) is None
    key.refresh_from_db()
    assert key.revoked_at == NOON


def test_a_rotated_key_has_a_new_secret_and_the_old_one_ends(
    clerk: User, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    key, secret = make("read")
    with django_capture_on_commit_callbacks(execute=True):
        fresh, fresh_secret = rotate_api_key(key=key, created_by=clerk, now=NOON)
    assert (fresh.name, fresh.scopes, fresh.created_by) == ("gateway", ["read"], clerk)
    assert live_key(secret) is None
    assert live_key(fresh_secret) is not None


@pytest.mark.parametrize("limit", [0, -1, 10_000_001])
def test_a_limit_that_lets_nothing_through_is_refused(limit: int) -> None:
    key, _ = make()
    with pytest.raises(InvalidInput) as refusal:
        limit_api_key(key=key, requests_per_minute=limit)
    assert refusal.value.field == "requests_per_minute"
    with pytest.raises(InvalidInput):
        create_api_key(name="x", scopes=["read"], created_by=None, now=NOON, requests_per_minute=limit)
    assert ApiKey.objects.get().requests_per_minute is None


def test_the_database_refuses_a_limit_of_none_at_all() -> None:
    with pytest.raises(IntegrityError):
        ApiKey.objects.create(name="x", prefix="x", digest="x", scopes=["read"], created_at=NOON, requests_per_minute=0)


def test_a_new_limit_holds_at_once_in_this_process(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    key, secret = make()
    assert live_key(secret) is not None
    with django_capture_on_commit_callbacks(execute=True):
        limit_api_key(key=key, requests_per_minute=60)
    found = live_key(secret)
    assert found is not None
    assert found.requests_per_minute == 60


def test_a_revoked_key_has_no_limit_to_change() -> None:
    key, _ = make()
    revoke_api_key(key=key, now=NOON)
    with pytest.raises(KeyRevoked):
        limit_api_key(key=key, requests_per_minute=60)


def test_a_revoked_key_cannot_be_rotated() -> None:
    key, _ = make()
    revoke_api_key(key=key, now=NOON)
    with pytest.raises(KeyRevoked, match="Make a new key"):
        rotate_api_key(key=key, created_by=None, now=NOON)
    assert ApiKey.objects.count() == 1


def test_the_last_use_is_noted_once_a_minute(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    key, _ = make()
    note_key_used(key_id=key.pk, now=NOON)
    with django_assert_num_queries(0):
        note_key_used(key_id=key.pk, now=NOON + dt.timedelta(seconds=59))
    key.refresh_from_db()
    assert key.last_used_at == NOON

    note_key_used(key_id=key.pk, now=NOON + dt.timedelta(seconds=60))
    key.refresh_from_db()
    assert key.last_used_at == NOON + dt.timedelta(seconds=60)


def test_another_process_has_noted_a_later_use() -> None:
    key, _ = make()
    ApiKey.objects.update(last_used_at=NOON + dt.timedelta(seconds=30))
    note_key_used(key_id=key.pk, now=NOON)
    key.refresh_from_db()
    assert key.last_used_at == NOON + dt.timedelta(seconds=30)


def test_a_request_notes_the_use(client: Client) -> None:
    key, secret = make("read")
    assert client.get("/api/v1/products", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    key.refresh_from_db()
    assert key.last_used_at is not None
