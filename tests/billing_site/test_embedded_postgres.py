"""The embedded server comes up whatever happened before, once for all who ask, and goes with the last one."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from billing_site import embedded_postgres
from billing_site.embedded_postgres import DATABASE, EmbeddedPostgresError, EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
START_AND_TELL = """
import sys
from pathlib import Path
from billing_site import embedded_postgres
data_dir = Path(sys.argv[1])
embedded_postgres.ensure_running(data_dir)
print((data_dir / "postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def made_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cluster for the tests of this file; each finds it running."""
    data_dir = tmp_path_factory.mktemp("embedded") / "pg"
    embedded_postgres.ensure_running(data_dir)
    yield data_dir
    embedded_postgres.release_and_stop_if_last(data_dir)
    embedded_postgres.stop(data_dir)


@pytest.fixture
def data_dir(made_data_dir: Path) -> Path:
    embedded_postgres.ensure_running(made_data_dir)
    return made_data_dir


def connect(server: EmbeddedServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(server.host), port=server.port, user=server.user, dbname=DATABASE)


def server_pid(data_dir: Path) -> int:
    return int((data_dir / "postmaster.pid").read_text().split()[0])


def wait_until_gone(pid: int) -> None:
    """A killed process takes a moment to die. Nobody collects this one, so it may stay a zombie."""
    deadline = time.monotonic() + 10
    with contextlib.suppress(FileNotFoundError):
        while Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < deadline
            time.sleep(0.005)


def start_in_another_process(data_dir: Path) -> subprocess.Popen[str]:
    """It prints the server's process id, and uses the server until its input is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", START_AND_TELL, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_a_running_server_is_found_again(data_dir: Path) -> None:
    before = server_pid(data_dir)

    embedded_postgres.ensure_running(data_dir)

    assert server_pid(data_dir) == before


def test_nothing_is_unsafe_and_nothing_listens_on_the_network(data_dir: Path) -> None:
    with connect(embedded_postgres.ensure_running(data_dir)) as connection:
        names = ["fsync", "full_page_writes", "synchronous_commit", "listen_addresses", "TimeZone"]
        found = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]

    assert found == [("on",), ("on",), ("on",), ("",), ("UTC",)]
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_after_kill_9_it_starts_again_with_what_was_committed(data_dir: Path) -> None:
    with connect(embedded_postgres.ensure_running(data_dir)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    killed = server_pid(data_dir)
    os.kill(killed, signal.SIGKILL)
    wait_until_gone(killed)

    server = embedded_postgres.ensure_running(data_dir)

    assert server_pid(data_dir) != killed
    with connect(server) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_an_old_process_id_that_now_is_another_program_does_not_hinder(data_dir: Path) -> None:
    stale = (data_dir / "postmaster.pid").read_text().split("\n", 1)[1]
    embedded_postgres.stop(data_dir)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other:
        try:
            (data_dir / "postmaster.pid").write_text(f"{other.pid}\n{stale}")

            assert not embedded_postgres.is_running(data_dir)
            server = embedded_postgres.ensure_running(data_dir)

            assert other.poll() is None
            connect(server).close()
        finally:
            other.kill()


def test_starters_at_the_same_time_get_one_server(data_dir: Path) -> None:
    embedded_postgres.stop(data_dir)

    starters = [start_in_another_process(data_dir) for _ in range(3)]
    told = {starter.communicate()[0].strip() for starter in starters}

    assert told == {str(server_pid(data_dir))}


def test_whoever_leaves_last_stops_it(data_dir: Path) -> None:
    other = start_in_another_process(data_dir)
    assert other.stdout is not None
    other.stdout.readline()

    assert not embedded_postgres.release_and_stop_if_last(data_dir)
    assert embedded_postgres.is_running(data_dir)

    other.communicate()
    assert embedded_postgres.release_and_stop_if_last(data_dir)
    assert not embedded_postgres.is_running(data_dir)


def test_a_user_that_was_killed_no_longer_counts(data_dir: Path) -> None:
    other = start_in_another_process(data_dir)
    assert other.stdout is not None
    other.stdout.readline()
    other.kill()
    other.communicate()

    assert embedded_postgres.release_and_stop_if_last(data_dir)


def test_a_start_that_cannot_succeed_says_why(data_dir: Path) -> None:
    embedded_postgres.stop(data_dir)
    settings = data_dir / "postgresql.conf"
    good = settings.read_text()
    settings.write_text(good + "\nmax_connections = many\n")
    try:
        with pytest.raises(EmbeddedPostgresError, match="max_connections"):
            embedded_postgres.ensure_running(data_dir)
    finally:
        settings.write_text(good)


class TestAPathTooLongForASocket:
    @pytest.fixture
    def long_data_dir(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        # The socket goes into the temporary folder; one of our own, which is gone afterwards.
        folder = tempfile.mkdtemp(prefix="ch-")
        monkeypatch.setattr(tempfile, "tempdir", folder)
        data_dir = tmp_path / ("long" * 25) / "pg"
        yield data_dir
        embedded_postgres.release_and_stop_if_last(data_dir)
        shutil.rmtree(folder)

    def test_works_also_over_the_rest_of_an_interrupted_first_start(self, long_data_dir: Path) -> None:
        unfinished = Path(f"{long_data_dir}.new")
        unfinished.mkdir(parents=True)
        (unfinished / "PG_VERSION").write_text("18")

        server = embedded_postgres.ensure_running(long_data_dir)

        assert stat.S_IMODE(server.host.stat().st_mode) == 0o700
        connect(server).close()

    def test_a_folder_that_others_can_enter_is_refused(self, long_data_dir: Path) -> None:
        embedded_postgres.ensure_running(long_data_dir)
        embedded_postgres.stop(long_data_dir)
        (socket_folder,) = Path(tempfile.gettempdir()).iterdir()
        socket_folder.chmod(0o777)

        with pytest.raises(EmbeddedPostgresError, match="not ours alone"):
            embedded_postgres.ensure_running(long_data_dir)
