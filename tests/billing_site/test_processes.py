"""Programs in one terminal stop together and leave nothing behind."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from billing_site import processes
from billing_site.processes import Ended, ProcessGroup, Program, free_port_from, listening_problem

WAIT = "import time; print('up'); time.sleep(60)"
STUBBORN = r"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
os.write(1, b"%d\n" % os.getpid())  # In one piece: both write to the same pipe.
time.sleep(60)
"""


def group(programs: dict[str, str], printed: list[str]) -> ProcessGroup:
    return ProcessGroup(
        [Program(name, [sys.executable, "-c", code]) for name, code in programs.items()],
        environment=os.environ,
        directory=Path.cwd(),
        print_line=printed.append,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within ten seconds"
        time.sleep(0.02)


def is_there(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_the_first_to_end_is_told_with_its_code_and_its_last_words() -> None:
    printed: list[str] = []
    with group({"web": WAIT, "worker": "print('broken'); raise SystemExit(3)"}, printed) as running:
        assert running.wait_for_an_end() == Ended(name="worker", returncode=3)

    assert "worker | broken" in printed


def test_a_program_that_does_not_want_to_end_is_ended_with_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.3)
    printed: list[str] = []
    with group({"web": STUBBORN}, printed):
        wait_until(lambda: len(printed) == 2)
    pids = [int(line.removeprefix("web | ")) for line in printed]

    # Killed they are; the kernel takes a moment to bury them.
    wait_until(lambda: not any(is_there(pid) for pid in pids))


def test_a_program_that_cannot_be_started_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    started = ProcessGroup(
        [Program("web", [sys.executable, "-c", WAIT]), Program("worker", ["/no/such/program"])],
        environment=os.environ,
        directory=Path.cwd(),
        print_line=print,
    )

    with pytest.raises(FileNotFoundError), started:
        pass

    assert started.first_ended() is None


def test_a_port_in_use_is_a_problem_and_a_free_one_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert f"Port {port} on 127.0.0.1 cannot be used" in str(listening_problem("127.0.0.1", port))

    assert listening_problem("127.0.0.1", port) is None


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no.such.host.invalid", 8000)])
def test_an_address_that_cannot_be_is_a_problem_too(host: str, port: int) -> None:
    assert "cannot be used" in str(listening_problem(host, port))


def test_the_next_free_port_is_found() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        found = free_port_from("127.0.0.1", port)
        assert found is not None
        assert port < found < port + 20
        assert free_port_from("127.0.0.1", port, tries=1) is None
