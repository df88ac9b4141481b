"""What every benchmark shares: a database of its own, and two sides measured in turn in one run.

Machines are noisy, so a round runs both sides one after the other and only the ratio of a round counts; the
score is the median of the rounds' ratios, printed with the smallest and the largest.
"""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import django


def set_up() -> None:
    """Load Django with the test settings. Call it before the apps are imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings_test")
    django.setup()


@contextmanager
def own_database(name: str) -> Iterator[None]:
    """Migrate a fresh database for this benchmark alone, and remove it afterwards."""
    from django.db import connection

    connection.settings_dict["TEST"]["NAME"] = f"countinghouse_bench_{name}"
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        yield
    finally:
        connection.close()
        connection.creation.destroy_test_db(f"countinghouse_bench_{name}", verbosity=0)


@contextmanager
def serve(command: Callable[[int], Sequence[str]]) -> Iterator[int]:
    """Run a web server of ours on a free port, on the benchmark's database, and give that port."""
    from tests.conftest import ROOT, database_url

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as var_dir:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url(),
            "COUNTINGHOUSE_VAR": var_dir,
            "DJANGO_SETTINGS_MODULE": "billing_site.settings",
            "LOG_LEVEL": "WARNING",
        }
        server = subprocess.Popen(command(port), cwd=ROOT, env=environment)
        try:
            _wait_for(port)
            yield port
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server did not come up")


@dataclass(frozen=True, slots=True)
class Score:
    """Speed of our side over speed of the limit, round by round; 1 means as fast as the limit."""

    ratios: tuple[float, ...]
    ours_seconds: float
    limit_seconds: float

    def __str__(self) -> str:
        ordered = sorted(self.ratios)
        return f"{statistics.median(ordered):.2f} (min {ordered[0]:.2f}, max {ordered[-1]:.2f})"


def compare(*, ours: Callable[[int], object], limit: Callable[[int], object], rounds: int) -> Score:
    """Run both sides once in each round, whose number they are given, and return the score.

    Which side goes first alternates, so that neither always finds the warmer cache.
    """
    timed: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            limit_seconds = _seconds(limit, number)
            ours_seconds = _seconds(ours, number)
        else:
            ours_seconds = _seconds(ours, number)
            limit_seconds = _seconds(limit, number)
        timed.append((ours_seconds, limit_seconds))
    return Score(
        ratios=tuple(limit_seconds / ours_seconds for ours_seconds, limit_seconds in timed),
        ours_seconds=statistics.median(ours_seconds for ours_seconds, _ in timed),
        limit_seconds=statistics.median(limit_seconds for _, limit_seconds in timed),
    )


def report(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _seconds(side: Callable[[int], object], number: int) -> float:
    started = time.perf_counter()
    side(number)
    return time.perf_counter() - started
