"""The whole product in one terminal: database, demo company, web and ingest server, worker and scheduler."""

from __future__ import annotations

import fcntl
import http.client
import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections
from django.urls import reverse

from billing_site import embedded_postgres
from billing_site.demo_credentials import ADMIN_PASSWORD, ADMIN_USERNAME, API_KEY_FILE
from billing_site.processes import ProcessGroup, Program, free_port_from, ingest_command, listening_problem

READY_SECONDS = 90.0
ANY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  (compared with, not bound)


class Command(BaseCommand):
    help = (
        "Run web server, ingest server, worker and scheduler in one terminal, with a demo company. "
        "Ctrl-C stops all of them; when one of them dies the others are stopped and the exit code is 1."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")

    def handle(self, *, host: str, port: int, **_: object) -> None:
        problem = listening_problem(host, port)
        if problem:
            raise CommandError(problem)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            with _only_one_demo():
                self._prepare_database()
                self._run(host, port)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            connections.close_all()
            embedded_postgres.release_all()

    def _prepare_database(self) -> None:
        self.stdout.write("Preparing the database…")
        call_command("migrate", verbosity=0, interactive=False)
        call_command("seed_demo", stdout=self.stdout, stderr=self.stderr)
        # Nothing below needs the database: the programs have connections of their own.
        connections.close_all()

    def _run(self, host: str, port: int) -> None:
        self.stdout.write("Starting web server, ingest server, worker and scheduler…")
        self.stdout.flush()
        ingest_port = free_port_from(host, port + 1)
        if ingest_port is None:
            raise CommandError(f"No port after {port} is free for the ingest server. Choose another one with --port.")
        group = ProcessGroup(
            _programs(host, port, ingest_port),
            environment=_environment(host),
            directory=settings.BASE_DIR,
            print_line=self._print_line,
        )
        with group:
            _wait_until_ready(group, host, ingest_port, "/healthz")
            _wait_until_ready(group, host, port, "/readyz")
            self._print_line(_welcome(host, port, ingest_port))
            ended = group.wait_for_an_end()
            raise CommandError(f"{ended.name} ended with code {ended.returncode}; the others are being stopped.")

    def _print_line(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _interrupt(*_: object) -> NoReturn:
    # Once: a second Ctrl-C must not break off the stopping.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _only_one_demo() -> Iterator[None]:
    """Keep a second demo off the same data: two schedulers would do everything twice."""
    with (settings.VAR_DIR / "demo.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"A demo runs on {settings.VAR_DIR} already. Stop it, or choose another directory with --var."
            ) from None
        yield


def _programs(host: str, port: int, ingest_port: int) -> list[Program]:
    """The programs in the order in which they stop: what makes work first, what does it last."""
    python = [sys.executable, "-m"]
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    gunicorn = [*python, "gunicorn", "billing_site.wsgi", "--bind", address]
    # The control socket would be one file in the home directory for all servers of this user.
    gunicorn += ["--worker-class", "gthread", "--workers", "2", "--threads", "4", "--no-control-socket"]
    celery = [*python, "celery", "--quiet", "--app", "billing_site"]
    schedule = str(settings.VAR_DIR / "beat-schedule")
    quiet = ["--loglevel", "warning"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    return [
        Program("beat", [*celery, "beat", "--schedule", schedule, "--pidfile", "", *quiet]),
        Program("web", [*gunicorn, "--log-level", "warning"]),
        Program("ingest", [*python, *ingest_command(host, ingest_port)]),
        Program(
            "worker",
            [*celery, "worker", "--pool", "threads", "--concurrency", "2", *alone, *quiet],
        ),
    ]


def _environment(host: str) -> dict[str, str]:
    """What the programs see: ours, with logs that a person reads, and the host name that was asked for."""
    defaults = {"LOG_FORMAT": "text", "LOG_LEVEL": "WARNING", "ENVIRONMENT_LABEL": "Demo"}
    # In a container there may be no user but root, and a demo needs no lecture about it.
    defaults["PYTHONWARNINGS"] = "ignore:You're running the worker with superuser privileges"
    if host not in settings.ALLOWED_HOSTS:
        defaults["ALLOWED_HOSTS"] = "*" if host in ANY_ADDRESS else ",".join([*settings.ALLOWED_HOSTS, host])
    return {**defaults, **os.environ}


def _wait_until_ready(group: ProcessGroup, host: str, port: int, address: str) -> None:
    """Wait until a server says that it can serve. Raises ``CommandError`` when it does not get there."""
    deadline = time.monotonic() + READY_SECONDS
    answer = "no answer"
    while time.monotonic() < deadline:
        ended = group.first_ended()
        if ended:
            raise CommandError(f"{ended.name} ended with code {ended.returncode} before the site was ready.")
        status, answer = _ask("127.0.0.1" if host in ANY_ADDRESS else host, port, address)
        if status == http.client.OK:
            return
        time.sleep(0.2)
    raise CommandError(f"The site did not get ready within {READY_SECONDS:.0f} seconds: {answer}")


def _ask(host: str, port: int, address: str) -> tuple[int, str]:
    """The status and the text of an address; status 0 while nothing listens."""
    # No proxy that the environment may name comes between, as it would with urllib.
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", address, headers={"Host": "localhost"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def _welcome(host: str, port: int, ingest_port: int) -> str:
    shown = "localhost" if host in ANY_ADDRESS else f"[{host}]" if ":" in host else host
    site = f"http://{shown}:{port}"
    ingest = f"http://{shown}:{ingest_port}"
    key_file = settings.VAR_DIR / API_KEY_FILE
    key = key_file.read_text().strip() if key_file.exists() else f"none in {key_file}; make one in the admin"
    return "\n".join(
        [
            "",
            "Countinghouse is running.",
            "",
            f"Admin:   {site}{reverse('admin:index')}",
            f"Login:   {ADMIN_USERNAME} / {ADMIN_PASSWORD}",
            f"API key: {key}",
            f"API:     {site}{reverse('api-docs')}",
            f"Events:  {ingest} (the same addresses for events as on {port}, and faster)",
            f"Data:    {settings.VAR_DIR} (kept for the next start)",
            "Stop:    Ctrl-C",
            "",
        ]
    )
