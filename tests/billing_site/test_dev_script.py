"""./dev: what it refuses, how it recovers, and what it takes from the network."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK_FILES = ["requirements.lock", "requirements-dev.lock"]


def run_dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "dev", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, for a checkout of its own with lock files and nothing installed."""
    loader = importlib.machinery.SourceFileLoader("dev_script", str(ROOT / "dev"))
    spec = importlib.util.spec_from_loader("dev_script", loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(script)
    locks = {"runtime": tmp_path / "requirements.lock", "dev": tmp_path / "requirements-dev.lock"}
    for lock_file in locks.values():
        lock_file.write_text(lock_file.name)
    script.__dict__.update(
        ROOT=tmp_path, VENV=tmp_path / ".venv", PYTHON=tmp_path / ".venv" / "bin" / "python", LOCKS=locks
    )
    return script


def test_help_names_every_command() -> None:
    shown = run_dev("--help")

    assert shown.returncode == 0
    for command in ("demo", "test", "manage", "check", "lock"):
        assert f"./dev {command}" in shown.stdout


def test_a_port_in_use_is_one_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        refused = run_dev("--var", str(tmp_path / "var"), "demo", "--port", str(port))

    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.startswith(f"Port {port} on 127.0.0.1 cannot be used")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "var").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--var", "elsewhere", "demo"],
        ["demo", "--var", "elsewhere"],
        ["test", "--var=elsewhere", "-k", "money"],
    ],
)
def test_the_data_directory_may_stand_before_or_after_the_command(dev: ModuleType, arguments: list[str]) -> None:
    assert dev.parse(arguments).var == Path.cwd() / "elsewhere"


def test_a_management_command_keeps_all_its_own_options(dev: ModuleType) -> None:
    options = dev.parse(["manage", "load_traces", "--var", "x", "--help"])

    assert options.rest == ["load_traces", "--var", "x", "--help"]


@pytest.mark.parametrize(
    ("own", "passed_on"),
    [
        ([], ["-n", "2"]),
        (["-k", "money"], ["-n", "2", "-k", "money"]),
        (["-n", "0"], ["-n", "0"]),
        (["-p", "no:xdist"], ["-p", "no:xdist"]),
        (["--pdb"], ["--pdb"]),
    ],
)
def test_tests_run_in_two_processes_unless_told_otherwise(
    dev: ModuleType, own: list[str], passed_on: list[str]
) -> None:
    assert dev.pytest_arguments(own) == passed_on


class TestInstalling:
    @pytest.fixture
    def done(self, dev: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What was done, with the slow parts left out."""
        done: list[str] = []

        def make_venv() -> None:
            done.append("made")
            dev.VENV.mkdir(exist_ok=True)

        monkeypatch.setattr(dev, "make_venv", make_venv)
        monkeypatch.setattr(dev, "pip_install", lambda lock_file: done.append(lock_file.name))
        monkeypatch.setattr(dev, "venv_python_version", lambda: "3.11.2")
        return done

    def prepare(self, dev: ModuleType, level: str) -> None:
        dev.prepare(level, dev.parse(["--no-apt", "check"]))

    def test_the_second_start_installs_nothing(self, dev: ModuleType, done: list[str]) -> None:
        self.prepare(dev, "runtime")
        self.prepare(dev, "runtime")

        assert done == ["made", "requirements.lock"]

    def test_the_tools_for_development_are_added(self, dev: ModuleType, done: list[str]) -> None:
        self.prepare(dev, "runtime")
        self.prepare(dev, "dev")
        self.prepare(dev, "runtime")

        assert done == ["made", "requirements.lock", "requirements-dev.lock"]

    def test_a_new_lock_file_is_installed(self, dev: ModuleType, done: list[str]) -> None:
        self.prepare(dev, "runtime")
        dev.LOCKS["runtime"].write_text("new")
        self.prepare(dev, "runtime")

        assert done == ["made", "requirements.lock", "requirements.lock"]

    def test_an_interrupted_installation_is_made_anew(
        self, dev: ModuleType, done: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_: Path) -> None:
            raise KeyboardInterrupt

        self.prepare(dev, "runtime")
        with monkeypatch.context() as patch:
            patch.setattr(dev, "pip_install", interrupt)
            with pytest.raises(KeyboardInterrupt):
                self.prepare(dev, "dev")
        self.prepare(dev, "runtime")

        assert done == ["made", "requirements.lock", "made", "requirements.lock"]

    def test_another_python_makes_it_anew(
        self, dev: ModuleType, done: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.prepare(dev, "runtime")
        monkeypatch.setattr(dev, "venv_python_version", lambda: "3.12.0")
        self.prepare(dev, "runtime")

        assert done == ["made", "requirements.lock", "made", "requirements.lock"]


class TestFetchingPip:
    CONTENT = b"a wheel"
    SHA256 = "69f51477f05c46bfa5ff0027a1fcde274695311a38adfb85611ffeb93c8b146b"

    @pytest.fixture
    def index(self, dev: ModuleType) -> Iterator[str]:
        """A package index on this machine that offers the pinned file name."""

        class Index(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_page = self.path == "/simple/pip/"
                page = f'<a href="old.whl">old</a><a href="../../files/{dev.PIP_WHEEL}#sha256=ab">new</a>'
                self.send_response(200 if is_page or self.path.startswith("/files/") else 404)
                self.end_headers()
                self.wfile.write(page.encode() if is_page else TestFetchingPip.CONTENT)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/simple"
            server.shutdown()

    def test_a_file_with_another_checksum_is_refused(self, dev: ModuleType, index: str) -> None:
        with pytest.raises(ValueError, match="another checksum"):
            dev.download_pip(index)

    def test_the_known_file_is_taken(self, dev: ModuleType, index: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(dev, "PIP_SHA256", self.SHA256)

        assert dev.download_pip(index + "/") == self.CONTENT

    def test_the_index_is_the_one_that_pip_would_ask(
        self, dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = tmp_path / "pip.conf"
        config.write_text("[global]\nindex-url = https://packages.example.com/simple\n")
        monkeypatch.delenv("PIP_INDEX_URL", raising=False)
        monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
        assert dev.index_url() == "https://packages.example.com/simple"

        monkeypatch.setenv("PIP_INDEX_URL", "https://other.example.com/simple")
        assert dev.index_url() == "https://other.example.com/simple"


@pytest.mark.parametrize("name", LOCK_FILES)
def test_lock_files_pin_everything_by_hash_and_name_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    pinned = re.findall(r"^[a-z0-9][^\n]*", text, flags=re.MULTILINE | re.IGNORECASE)

    assert pinned
    assert all(re.match(r"[\w.-]+==[^ ]+( ; .+)? \\$", line) for line in pinned)
    assert text.count("--hash=sha256:") >= len(pinned)
    assert "://" not in text


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        "requirements.lock": project["dependencies"],
        "requirements-dev.lock": project["dependencies"] + project["optional-dependencies"]["dev"],
    }
    for name, requirements in wanted.items():
        locked = set(re.findall(r"^([\w.-]+)==", (ROOT / name).read_text(), flags=re.MULTILINE))
        asked = {re.split(r"[\[~=<> ]", text)[0].lower().replace("_", "-") for text in requirements}
        assert asked <= locked
