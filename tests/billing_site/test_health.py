"""Machines learn whether the process lives and whether it can serve."""

from __future__ import annotations

import logging

import pytest
from django.test import Client

from billing_site import health


def test_alive_needs_no_database(client: Client) -> None:
    # Without the django_db mark any query would fail here.
    assert client.get("/healthz").content == b"ok"


@pytest.mark.django_db
def test_ready_when_every_check_passes(client: Client) -> None:
    response = client.get("/readyz")

    assert response.status_code == 200
    assert response.json()["checks"] == {"database": "ok", "migrations": "ok"}
    assert response.json()["information"]["broker"] == "ok"


@pytest.mark.django_db
def test_not_ready_when_one_fails_and_the_reason_is_only_in_the_log(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise ConnectionError("secret address")

    monkeypatch.setitem(health.CHECKS, "migrations", refuse)
    with caplog.at_level(logging.ERROR):
        response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json()["status"] == "not ready"
    assert response.json()["checks"] == {"database": "ok", "migrations": "failed"}
    assert b"secret address" not in response.content
    assert "secret address" in caplog.text


@pytest.mark.django_db
def test_a_broker_that_is_away_is_told_and_takes_no_web_server_out(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ConnectionError

    monkeypatch.setattr(health, "check_broker", refuse)

    response = client.get("/readyz")

    assert (response.status_code, response.json()["information"]["broker"]) == (200, "failed")
