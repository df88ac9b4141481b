"""API keys, users and groups in the admin."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from apps.access.models import ApiKey, Scope
from apps.access.selectors import digest_of
from apps.access.services import create_api_key
from tests.conftest import utc
from tests.pages import confirm, errors_of, page_text, post, url_of, viewer

pytestmark = pytest.mark.django_db
KEY = "access_apikey"


@pytest.fixture
def page(client: Client, clerk: User) -> Client:
    client.force_login(clerk)
    return client


@pytest.fixture
def key() -> ApiKey:
    return create_api_key(name="gateway", scopes=[Scope.INGEST], created_by=None, now=utc(2023, 11, 1))[0]


def secret_in(text: str) -> str:
    found = re.search(r'id="api-key-secret"[^>]*value="([^"]+)"', text)
    assert found is not None
    return found.group(1)


def test_every_page_answers(page: Client, key: ApiKey) -> None:
    group = Group.objects.create(name="Finance")
    user = User.objects.get()
    for address in (
        url_of(KEY),
        url_of(KEY, "add"),
        url_of(KEY, "change", key.pk),
        url_of(KEY, "history", key.pk),
        url_of("auth_user"),
        url_of("auth_user", "add"),
        url_of("auth_user", "change", user.pk),
        url_of("auth_group"),
        url_of("auth_group", "change", group.pk),
    ):
        page_text(page, address)


def test_a_new_key_is_shown_once_with_an_example(page: Client, clerk: User) -> None:
    response = post(page, url_of(KEY, "add"), {"name": "gateway", "scopes": ["ingest", "read"]})
    secret = secret_in(response.content.decode())
    key = ApiKey.objects.get()
    assert (key.digest, key.scopes, key.created_by) == (digest_of(secret), ["ingest", "read"], clerk)
    assert f"Bearer {secret}" in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    for address in (url_of(KEY), url_of(KEY, "change", key.pk), url_of(KEY, "history", key.pk)):
        text = page_text(page, address)
        assert secret not in text
        assert key.digest not in text


@pytest.mark.parametrize(
    ("fields", "field"), [({"name": "", "scopes": ["ingest"]}, "name"), ({"name": "gateway"}, "scopes")]
)
def test_a_key_needs_a_name_and_a_scope(page: Client, fields: dict[str, object], field: str) -> None:
    assert field in errors_of(post(page, url_of(KEY, "add"), fields))
    assert not ApiKey.objects.exists()


def test_a_key_is_revoked_and_stays_so(page: Client, key: ApiKey) -> None:
    confirm(page, url_of(KEY, "revoke", key.pk))
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert confirm(page, url_of(KEY, "revoke", key.pk)).status_code == 403
    assert page.post(url_of(KEY, "rotate", key.pk)).status_code == 403


def test_rotating_asks_first_and_shows_the_new_secret(page: Client, key: ApiKey) -> None:
    assert "Rotate" in page_text(page, url_of(KEY, "rotate", key.pk))
    assert ApiKey.objects.count() == 1

    secret = secret_in(page.post(url_of(KEY, "rotate", key.pk)).content.decode())

    key.refresh_from_db()
    assert key.revoked_at is not None
    fresh = ApiKey.objects.live().get()
    assert (fresh.digest, fresh.name, fresh.scopes) == (digest_of(secret), "gateway", ["ingest"])


def test_of_a_key_only_its_limit_changes(page: Client, key: ApiKey) -> None:
    fields = {"name": "other", "scopes": ["manage"], "requests_per_minute": "600"}
    assert post(page, url_of(KEY, "change", key.pk), fields).status_code == 302
    key.refresh_from_db()
    assert (key.name, key.scopes, key.requests_per_minute) == ("gateway", ["ingest"], 600)

    post(page, url_of(KEY, "change", key.pk), {"requests_per_minute": ""})
    key.refresh_from_db()
    assert key.requests_per_minute is None


def test_a_limit_is_set_when_a_key_is_made_and_goes_with_its_rotation(page: Client) -> None:
    post(page, url_of(KEY, "add"), {"name": "gateway", "scopes": ["ingest"], "requests_per_minute": "60"})
    page.post(url_of(KEY, "rotate", ApiKey.objects.get().pk))
    assert [key.requests_per_minute for key in ApiKey.objects.all()] == [60, 60]


@pytest.mark.parametrize("limit", ["0", "-1", "many", "10000001"])
def test_a_limit_is_a_number_of_requests(page: Client, key: ApiKey, limit: str) -> None:
    response = post(page, url_of(KEY, "change", key.pk), {"requests_per_minute": limit})
    assert "requests_per_minute" in errors_of(response)
    key.refresh_from_db()
    assert key.requests_per_minute is None


def test_a_key_is_not_deleted_and_a_revoked_one_not_changed(page: Client, key: ApiKey) -> None:
    assert page.post(url_of(KEY, "delete", key.pk), {"post": "yes"}).status_code == 403
    confirm(page, url_of(KEY, "revoke", key.pk))
    assert post(page, url_of(KEY, "change", key.pk), {"requests_per_minute": "5"}).status_code == 403
    key.refresh_from_db()
    assert key.requests_per_minute is None


def test_a_reader_makes_and_ends_no_key(client: Client, key: ApiKey) -> None:
    client.force_login(viewer("access.apikey"))
    page_text(client, url_of(KEY, "change", key.pk))
    assert client.get(url_of(KEY, "add")).status_code == 403
    assert post(client, url_of(KEY, "change", key.pk), {"requests_per_minute": "5"}).status_code == 403
    assert confirm(client, url_of(KEY, "revoke", key.pk)).status_code == 403
    assert client.post(url_of(KEY, "rotate", key.pk)).status_code == 403
    key.refresh_from_db()
    assert key.revoked_at is None
