"""Several programs in one terminal: started together, stopped together, and never left behind.

The module imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

STOP_SECONDS = 20.0
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run; ``name`` stands before each line that it prints."""

    name: str
    command: Sequence[str]


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended by itself, with its exit code (negative: the signal that killed it)."""

    name: str
    returncode: int


class ProcessGroup:
    """The running programs. Use it in a ``with`` block: leaving it stops them all, in their order.

    Each runs in a session of its own, so that a Ctrl-C in the terminal reaches only us and the programs are
    stopped one after another: what makes work first, what does work last.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environment: Mapping[str, str],
        directory: Path,
        print_line: Callable[[str], object],
    ) -> None:
        self._programs = programs
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._directory = directory
        self._print_line = print_line
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._printers: list[threading.Thread] = []

    def __enter__(self) -> ProcessGroup:
        try:
            for program in self._programs:
                self._start(program)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, program: Program) -> None:
        # Should we be killed with no chance to clean up, the kernel ends the programs in our place.
        leash = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
        process = subprocess.Popen(  # noqa: S603  (commands of our own)
            [*leash, *program.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=self._environment,
            cwd=self._directory,
            start_new_session=True,
        )
        self._running[program.name] = process
        printer = threading.Thread(target=self._print_output, args=(program.name, process.stdout), daemon=True)
        printer.start()
        self._printers.append(printer)

    def _print_output(self, name: str, output: IO[str]) -> None:
        width = max(len(program.name) for program in self._programs)
        for line in output:
            self._print_line(f"{name:>{width}} | {line.rstrip()}")

    def first_ended(self) -> Ended | None:
        """The first program that is no longer there, None while all run."""
        for name, process in self._running.items():
            returncode = process.poll()
            if returncode is not None:
                return Ended(name=name, returncode=returncode)
        return None

    def wait_for_an_end(self) -> Ended:
        """Wait until one of the programs ends by itself."""
        while (ended := self.first_ended()) is None:
            time.sleep(POLL_SECONDS)
        return ended

    def stop(self) -> None:
        """Ask each program to end, in their order, and end with force whatever is left after 20 seconds."""
        for process in self._running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            # Also the children of a program that was killed and could not take them along.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for printer in self._printers:
            printer.join(timeout=1)
        self._running.clear()


def ingest_command(host: str, port: int) -> list[str]:
    """What a Python runs, after ``-m``, to serve the addresses of events."""
    command = ["uvicorn", "billing_site.asgi:application", "--host", host, "--port", str(port)]
    command += ["--interface", "asgi3", "--loop", "uvloop", "--http", "httptools"]
    # Longer than proxies keep an idle connection, so that none sends into one that is just being closed.
    command += ["--timeout-keep-alive", "75", "--timeout-graceful-shutdown", "20"]
    return [*command, "--no-access-log", "--no-proxy-headers", "--no-server-header", "--log-level", "warning"]


def listening_problem(host: str, port: int) -> str | None:
    """Why no server can listen there, in a sentence; None when one can."""
    if not 0 < port < 65536:
        return f"Port {port} on {host} cannot be used: ports go from 1 to 65535."
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As web servers do: a port that was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return f"Port {port} on {host} cannot be used: {error.strerror}. Choose another one with --port."
    return None


def free_port_from(host: str, first: int, *, tries: int = 20) -> int | None:
    """The first port from this one on at which a server can listen; None when there is none among the next few."""
    return next((port for port in range(first, first + tries) if listening_problem(host, port) is None), None)
