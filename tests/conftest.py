"""Fixtures and profiles that the whole suite shares."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from django.contrib.auth.models import User
from django.db import connection
from hypothesis import HealthCheck, settings

from apps.billable_metrics import catalogue

settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile("explore", settings.get_profile("suite"), derandomize=False, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_metrics_of_other_tests() -> None:
    """What this process knows of metrics outlives a test that is rolled back."""
    catalogue.forget()


@pytest.fixture
def clerk(db: None) -> User:
    """A finance clerk who may do everything."""
    return User.objects.create_superuser("clerk", "clerk@example.com", "a long passphrase")


def database_url() -> str:
    """The address of the database that the tests run on, for processes of their own."""
    settings_of = connection.settings_dict
    host, port = str(settings_of["HOST"]), str(settings_of["PORT"] or "5432")
    login = quote(settings_of["USER"], safe="")
    if settings_of["PASSWORD"]:
        login += ":" + quote(settings_of["PASSWORD"], safe="")
    if host.startswith("/"):
        query = urlencode({"host": host, "port": port})
        return f"postgres://{login}@/{settings_of['NAME']}?{query}"
    return f"postgres://{login}@{host}:{port}/{settings_of['NAME']}"


class Processes:
    """Real processes of the product, on the test's database and a broker of their own."""

    def __init__(self, var_dir: Path) -> None:
        self.var_dir = var_dir
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        log = (self.var_dir / f"{len(self.running)}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={
                **os.environ,
                "DATABASE_URL": database_url(),
                "COUNTINGHOUSE_VAR": str(self.var_dir),
                "DJANGO_SETTINGS_MODULE": "billing_site.settings",
                **environment,
            },
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def worker(self) -> subprocess.Popen[str]:
        """A Celery worker with two threads, and no beat."""
        return self.start(
            "celery",
            "-A",
            "billing_site",
            "worker",
            "-P",
            "threads",
            "-c",
            "2",
            "-l",
            "warning",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        )

    def send(self, task_name: str, **kwargs: object) -> None:
        """Put a message for the worker on these processes' own broker, as the product would."""
        call = self.start("celery", "-A", "billing_site", "call", task_name, "--kwargs", json.dumps(kwargs))
        assert call.wait(timeout=60) == 0, self.logs()

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.var_dir.glob("*.log")))

    def stop(self) -> None:
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    running = Processes(tmp_path)
    yield running
    running.stop()


def wait_until(condition: Callable[[], bool], *, seconds: float = 30, what: str = "the condition") -> None:
    """Wait for another process to bring something about."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about within {seconds} seconds")
        time.sleep(0.05)


def utc(*parts: int) -> dt.datetime:
    return dt.datetime(*parts, tzinfo=dt.UTC)  # type: ignore[arg-type, misc]
