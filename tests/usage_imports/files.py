"""Files for tests of imports, and mappings for them."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from pathlib import Path

from django.utils import timezone

from apps.usage_imports.mapping import Data, EventMapping, Id, Text, Time
from apps.usage_imports.models import OnError, UsageImport
from apps.usage_imports.reading import unpacked
from apps.usage_imports.services import create_import, start_import, store_file, work_import

HEADER = "request,customer,at,input_tokens,model\r\n"
TOKENS = EventMapping(
    id=Id(columns=(("request",),)),
    source=Text(fixed="gateway"),
    type=Text(fixed="llm.completion"),
    subject=Text(columns=("customer",)),
    time=Time(columns=("at",)),
    data=Data(rest=True),
)


def row(request: str, *, at: str = "2026-11-16T12:00:00Z", tokens: str = "100") -> str:
    return f"{request},acme,{at},{tokens},large\r\n"


def csv_file(*rows: str) -> bytes:
    return (HEADER + "".join(rows)).encode()


class Held:
    """A file in memory, as a source of bytes, in blocks of any size."""

    def __init__(self, content: bytes, block: int = 7) -> None:
        self.content = content
        self.block = block

    def blocks(self, offset: int) -> Iterator[bytes]:
        for start in range(offset, len(self.content), self.block):
            yield self.content[start : start + self.block]


def uploaded(content: bytes, mapping: EventMapping = TOKENS, *, name: str = "events.csv") -> UsageImport:
    """An import of this file that is not started."""
    file = store_file(name=name, blocks=unpacked(io.BytesIO(content)), now=timezone.now())
    return create_import(file=file, mapping=mapping, mapping_name="test", now=timezone.now())


def imported(
    content: bytes,
    mapping: EventMapping = TOKENS,
    *,
    name: str = "events.csv",
    on_error: OnError = OnError.SKIP,
    is_dry_run: bool = False,
) -> UsageImport:
    """The import of this file, run to its end."""
    job = uploaded(content, mapping, name=name)
    start_import(import_id=job.pk, is_dry_run=is_dry_run, on_error=on_error, now=timezone.now())
    work_import(import_id=job.pk, now=timezone.now())
    job.refresh_from_db()
    return job


def counts(job: UsageImport) -> tuple[int, int, int, int, int]:
    """Read, accepted, duplicates, conflicts and rejected."""
    return job.rows_read, job.accepted, job.duplicates, job.conflicts, job.rejected


def faults(job: UsageImport) -> list[tuple[int, str, str, str]]:
    return list(job.faults.values_list("row_number", "column", "field", "code"))


def packed(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path
