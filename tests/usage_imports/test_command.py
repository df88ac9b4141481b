"""The command: mappings by name and by flags, killed and resumed, and files larger than memory should hold."""

from __future__ import annotations

import gzip
import io
import os
import signal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.usage.models import UsageEvent
from apps.usage_imports.models import ImportState, UsageImport
from tests.conftest import Processes, wait_until
from tests.usage_imports.files import HEADER, counts, csv_file, packed, row

FLAGS = [
    "--map",
    "id=request",
    "--map",
    "source=:gateway",
    "--map",
    "type=:llm.completion",
    "--map",
    "subject=customer",
    "--map",
    "time=at",
]
FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "traces"


def run(path: Path, *arguments: str) -> str:
    out = io.StringIO()
    call_command("import_events", str(path), *arguments, stdout=out, stderr=out)
    return out.getvalue()


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.csv"
    path.write_bytes(csv_file(row("one"), row("two")))
    return path


@pytest.mark.django_db
def test_a_file_is_imported_by_flags(events: Path) -> None:
    text = run(events, *FLAGS)

    assert "2 read: 2 accepted (of them 2 unattributed), 0 duplicates, 0 conflicts, 0 rejected" in text
    assert UsageEvent.objects.get(event_id="one").data == {"input_tokens": 100, "model": "large"}
    assert "0 accepted (of them 0 unattributed), 2 duplicates" in run(events, *FLAGS)


@pytest.mark.django_db
def test_a_trace_is_imported_by_name_and_a_dry_run_stores_nothing(tmp_path: Path) -> None:
    path = packed(tmp_path / "code.csv.gz", (FIXTURES / "AzureLLMInferenceTrace_code.csv").read_bytes())

    assert "8,819 read: 8,819 accepted" in run(path, "--mapping", "azure-llm-code", "--dry-run")
    assert UsageEvent.objects.count() == 0
    run(path, "--mapping", "azure-llm-code", "--subject", "someone", "--source", "elsewhere")
    event = UsageEvent.objects.select_related("source").get(event_id="someone-1")
    assert (event.subject, event.source.name) == ("someone", "elsewhere")


@pytest.mark.django_db
def test_a_faulty_row_stops_the_command_and_it_resumes_past_it(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(csv_file(row("one"), row("two", at="soon"), row("three")))

    with pytest.raises(CommandError, match=r"Row 3 cannot be taken: .* go on with --resume"):
        run(path, *FLAGS)
    with pytest.raises(CommandError, match="1 rows were left out"):
        run(path, "--resume", "--on-error=skip")

    assert counts(UsageImport.objects.get()) == (3, 2, 0, 0, 1)
    with pytest.raises(CommandError, match="nothing to resume"):
        run(path, "--resume")


@pytest.mark.django_db
def test_a_file_that_changed_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "events.csv"
    path.write_bytes(csv_file(row("one"), row("two", at="soon")))
    with pytest.raises(CommandError):
        run(path, *FLAGS)
    path.write_bytes(csv_file(row("another"), row("two")))

    with pytest.raises(CommandError, match="has changed since its import was begun"):
        run(path, "--resume")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "one of the two"),
        (["--mapping", "none"], "There is no mapping “none”. There are: countinghouse,"),
        (["--map", "id"], "“id” is no FIELD=COLUMN"),
        (["--map", "colour=x"], "“colour” is no field of an event"),
        (["--map", "id=:luck"], "Use :row-hash or :row-number"),
        (FLAGS[:-2], "Name the column of the event time"),
        (FLAGS[2:], "what makes a row's event unique"),
        ([*FLAGS[:-1], "time=at:Mars/Phobos"], "“Mars/Phobos” is not a time zone"),
        ([*FLAGS, "--map", "data.tokens=tokens"], "The file has no column “tokens”"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(events: Path, arguments: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        run(events, *arguments)

    assert UsageEvent.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_packed", [False, True])
def test_an_import_that_is_killed_goes_on_where_it_was_and_doubles_nothing(
    processes: Processes, tmp_path: Path, is_packed: bool
) -> None:
    total = 30_000
    content = csv_file(*(row(f"request-{number}") for number in range(total)))
    path = tmp_path / "events.csv"
    path.write_bytes(gzip.compress(content) if is_packed else content)
    command = ["django", "import_events", str(path)]
    first = processes.start(*command, *FLAGS)
    wait_until(
        lambda: UsageImport.objects.filter(rows_read__gt=0).exists(), seconds=60, what=f"a batch\n{processes.logs()}"
    )
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    killed = UsageImport.objects.get()
    assert killed.state == ImportState.RUNNING
    assert 0 < killed.rows_read < total
    wait_until(lambda: UsageEvent.objects.count() == UsageImport.objects.get().accepted, what="the rollback")

    assert processes.start(*command, "--resume").wait(timeout=120) == 0, processes.logs()

    job = UsageImport.objects.get()
    assert job.state == ImportState.FINISHED
    assert counts(job) == (total, total, 0, 0, 0)
    assert UsageEvent.objects.count() == UsageEvent.objects.values("event_id").distinct().count() == total


MEASURE = """
import resource, sys, django
django.setup()
from django.core.management import call_command
call_command("import_events", *{arguments!r})
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_a_large_file_takes_no_more_memory_than_a_small_one(processes: Processes, tmp_path: Path) -> None:
    def peak_kib(rows: int) -> int:
        path = tmp_path / f"{rows}.csv"
        with path.open("w", newline="") as file:
            file.write(HEADER)
            file.writelines(row(f"request-{number}") for number in range(rows))
        program = MEASURE.format(arguments=[str(path), *FLAGS, "--dry-run"])
        process = processes.start("timeit", "-n", "1", "-r", "1", program)
        assert process.wait(timeout=300) == 0, processes.logs()
        return int(processes.logs().rpartition("peak ")[2].split()[0])

    small, large = peak_kib(4_000), peak_kib(100_000)

    assert UsageImport.objects.order_by("-pk")[0].accepted == 100_000
    assert large - small < 40 * 1024
