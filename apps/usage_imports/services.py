"""Importing usage events from files, resumably.

The row of an import is the truth. Each batch of rows is read from ``position`` on, and what becomes of it (events,
faults, counts and the new position) is committed together. The lock on the row, held until then, is the claim: a
killed worker's lock goes with its session, the batch is undone, and the next one begins where it began.
"""

from __future__ import annotations

import datetime as dt
import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DataError, IntegrityError, transaction
from django.db.models import Q

from apps.common.errors import BillingError, InvalidInput
from apps.common.jobs import enqueue_after_commit
from apps.usage.events import EventInput
from apps.usage.services import RecordedBatch, record_events
from apps.usage_imports.checking import CheckedRows, RowFault, check_rows, import_rules
from apps.usage_imports.foresight import foresee
from apps.usage_imports.mapper import Mapper
from apps.usage_imports.mapping import (
    EventMapping,
    FileFormat,
    check_mapping,
    definition_of,
    require_columns,
)
from apps.usage_imports.models import (
    ImportFault,
    ImportFile,
    ImportFileChunk,
    ImportState,
    OnError,
    UsageImport,
)
from apps.usage_imports.reading import (
    ByteSource,
    Layout,
    LocalFile,
    ReadRow,
    UnreadableFile,
    find_layout,
    read_rows,
)
from apps.usage_imports.selectors import CHUNK_SIZE, StoredFile

logger = logging.getLogger(__name__)

ROWS_AT_ONCE = 2_000
BYTES_AT_ONCE = 8 * 1024 * 1024
MOST_FAULTS_KEPT = 10_000
# A worker gives way after this long, so that one huge file does not hold up everything else.
SECONDS_AT_ONCE = 60
FINGERPRINT_BYTES = 64 * 1024


class FileTooLarge(BillingError):
    code = "file_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Files up to {limit // 1024**2:,} MiB, unpacked, are taken here. Import a larger one on the server with "
            "“manage.py import_events”, or split it."
        )


class ImportNotReady(BillingError):
    code = "import_not_ready"


# --- Files and imports -----------------------------------------------------------------------------------------------


@transaction.atomic
def store_file(*, name: str, blocks: Iterator[bytes], now: dt.datetime) -> ImportFile:
    """Keep an unpacked file in chunks, a chunk in memory at a time. Raises FileTooLarge."""
    limit: int = settings.IMPORTS_MAX_UPLOAD_BYTES
    file = ImportFile.objects.create(name=Path(name).name[-255:], uploaded_at=now)
    pending = bytearray()
    for block in blocks:
        pending += block
        if file.size + len(pending) > limit:
            raise FileTooLarge(limit)
        while len(pending) >= CHUNK_SIZE:
            _add_chunk(file, bytes(pending[:CHUNK_SIZE]))
            del pending[:CHUNK_SIZE]
    if pending:
        _add_chunk(file, bytes(pending))
    file.save(update_fields=["size"])
    return file


def _add_chunk(file: ImportFile, content: bytes) -> None:
    ImportFileChunk.objects.create(file=file, number=file.size // CHUNK_SIZE, content=content)
    file.size += len(content)


def create_import(
    *,
    file: ImportFile | None = None,
    path: Path | None = None,
    mapping: EventMapping,
    mapping_name: str,
    now: dt.datetime,
    actor: User | None = None,
) -> UsageImport:
    """Make an import that is not started yet, of an uploaded file or of a local one. Raises InvalidMapping."""
    check_mapping(mapping)
    return UsageImport.objects.create(
        file=file,
        path=str(path.resolve()) if path else "",
        fingerprint=fingerprint(path) if path else "",
        size=file.size if file else _plain_size(path),
        mapping_name=mapping_name,
        definition=definition_of(mapping),
        created_at=now,
        started_by=actor,
    )


def fingerprint(path: Path) -> str:
    """What tells whether a file is still the one that was begun: its size and its beginning."""
    with path.open("rb") as file:
        digest = blake2b(file.read(FINGERPRINT_BYTES), digest_size=16).hexdigest()
    return f"{path.stat().st_size}-{digest}"


def _plain_size(path: Path | None) -> int | None:
    return path.stat().st_size if path and not LocalFile(path).is_packed() else None


@transaction.atomic
def change_mapping(*, import_id: int, mapping: EventMapping, mapping_name: str) -> UsageImport:
    """Read the file by another mapping, as long as the import is not started."""
    job = UsageImport.objects.select_for_update().get(pk=import_id)
    if job.state != ImportState.DRAFT:
        raise ImportNotReady(f"{job} was started and keeps its mapping. Upload the file again to use another one.")
    job.definition = definition_of(check_mapping(mapping))
    job.mapping_name = mapping_name
    job.save(update_fields=["definition", "mapping_name"])
    return job


@transaction.atomic
def start_import(
    *, import_id: int, is_dry_run: bool, on_error: OnError, now: dt.datetime, actor: User | None = None
) -> UsageImport:
    """Start an import, or after a dry run the import itself, and wake a worker. A dry run always reads on."""
    job = UsageImport.objects.select_for_update().get(pk=import_id)
    if job.file is not None and job.file.content_removed_at:
        raise ImportNotReady("The file is no longer kept. Upload it again.")
    if job.is_dry_run and job.state != ImportState.RUNNING and not is_dry_run:
        job = UsageImport.objects.create(
            file=job.file,
            path=job.path,
            fingerprint=job.fingerprint,
            size=job.size,
            mapping_name=job.mapping_name,
            definition=job.definition,
            created_at=now,
        )
    if job.state != ImportState.DRAFT:
        raise ImportNotReady(f"{job} was started already.")
    job.state = ImportState.RUNNING
    job.is_dry_run = is_dry_run
    job.on_error = OnError.SKIP if is_dry_run else on_error
    job.started_at = now
    job.started_by = actor
    job.save()
    if job.file_id is not None:
        enqueue_after_commit("usage_imports.work_import", import_id=job.pk)
    return job


@transaction.atomic
def stop_import(*, import_id: int, now: dt.datetime) -> None:
    """Stop after the batch that is being stored. What was imported stays; the rest can be resumed."""
    job = UsageImport.objects.select_for_update().get(pk=import_id)
    if job.state != ImportState.RUNNING:
        raise ImportNotReady(f"{job} is not running.")
    _stop(job, "stopped_by_hand", "Stopped by hand. Resume to go on behind the last row that was settled.", now)
    job.save()


@transaction.atomic
def resume_import(*, import_id: int, on_error: OnError, now: dt.datetime) -> UsageImport:
    """Go on where an import stopped, or where the process of one from the command line was killed.

    Should that process live after all, whichever of the two holds the row does the work.
    """
    job = UsageImport.objects.select_for_update().get(pk=import_id)
    is_killed = job.state == ImportState.RUNNING and job.file_id is None
    if job.state != ImportState.STOPPED and not is_killed:
        raise ImportNotReady(f"{job} has not stopped.")
    if job.file is not None and job.file.content_removed_at:
        raise ImportNotReady("The file is no longer kept. Upload it again; what was imported counts as duplicate.")
    # The row that it stopped at is read again, and listed again if it is left out now.
    job.faults.filter(row_number__gt=job.row_number).delete()
    job.state = ImportState.RUNNING
    job.on_error = OnError.SKIP if job.is_dry_run else on_error
    job.stop_code = job.stop_detail = ""
    job.finished_at = None
    job.save()
    if job.file_id is not None:
        enqueue_after_commit("usage_imports.work_import", import_id=job.pk)
    return job


def remove_old_files(*, now: dt.datetime) -> int:
    """Remove the contents of files that were uploaded a while ago and are not being imported; return how many."""
    before = now - dt.timedelta(days=settings.IMPORTS_KEEP_DAYS)
    old = ImportFile.objects.filter(uploaded_at__lt=before, content_removed_at=None).exclude(
        imports__state=ImportState.RUNNING
    )
    removed = 0
    for file_id in old.values_list("pk", flat=True):
        with transaction.atomic():
            file = ImportFile.objects.select_for_update().get(pk=file_id)
            file.chunks.all().delete()
            file.content_removed_at = now
            file.save(update_fields=["content_removed_at"])
        removed += 1
    return removed


# --- The work --------------------------------------------------------------------------------------------------------


class OpenFile:
    """A file that is being read for an import; opened anew when another process has moved the import on."""

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None
        self._rows: Iterator[ReadRow] = iter(())

    def batch(self, job: UsageImport, layout: Layout) -> list[ReadRow]:
        """The next rows behind the import's position; none at the end of the file."""
        if self._place != (job.pk, job.position):
            self._rows = read_rows(
                source_of(job),
                layout,
                at=job.position,
                number=job.row_number,
                ordinal=job.rows_read,
            )
        batch: list[ReadRow] = []
        size = 0
        for row in itertools.islice(self._rows, ROWS_AT_ONCE):
            batch.append(row)
            size += row.end - row.start
            if size >= BYTES_AT_ONCE:
                break
        self._place = (job.pk, batch[-1].end) if batch else None
        return batch

    def forget(self) -> None:
        self._place = None


def source_of(job: UsageImport) -> ByteSource:
    if job.file_id is not None:
        return StoredFile(job.file_id)
    path = Path(job.path)
    if not path.is_file():
        raise UnreadableFile(f"There is no file {path} on this machine.")
    return LocalFile(path)


def work_import(*, import_id: int, now: dt.datetime, seconds: float | None = None) -> bool:
    """Import batch after batch, and return whether there may be more to do. Safe to call at any time.

    With ``seconds`` it gives way after that long.
    """
    file, began = OpenFile(), time.monotonic()
    while import_batch(import_id=import_id, file=file, now=now):
        if seconds is not None and time.monotonic() - began > seconds:
            return True
    return False


@transaction.atomic
def import_batch(*, import_id: int, file: OpenFile, now: dt.datetime) -> bool:
    """Settle the next batch of rows in one transaction; False when nothing is left, or another process is at it."""
    running = UsageImport.objects.select_for_update(skip_locked=True, of=("self",)).select_related("file")
    job = running.filter(pk=import_id, state=ImportState.RUNNING).first()
    if job is None:
        return False
    try:
        layout = _layout_of(job)
        batch = file.batch(job, layout)
        if batch:
            _settle(job, batch, layout, file, now)
        else:
            job.state, job.finished_at = ImportState.FINISHED, now
    except BillingError as refusal:
        _stop(job, refusal.code, refusal.detail, now)
    job.save()
    return job.state == ImportState.RUNNING


def _layout_of(job: UsageImport) -> Layout:
    """How the file is to be read; found and kept when its first batch is."""
    if job.layout is not None:
        return msgspec.convert(job.layout, Layout)
    mapping = job.mapping
    layout = find_layout(source_of(job), file_name=job.file_name, file_format=mapping.file_format)
    if layout.file_format == FileFormat.CSV:
        require_columns(mapping, layout.header)
    job.layout = msgspec.to_builtins(layout)
    job.position, job.row_number = layout.first_row_at, layout.header_rows
    return layout


def _settle(job: UsageImport, batch: Sequence[ReadRow], layout: Layout, file: OpenFile, now: dt.datetime) -> None:
    """Store the good rows of a batch, list the others, and move the import behind what was settled."""
    is_text = layout.file_format == FileFormat.CSV
    mapper = Mapper(job.mapping, file_name=job.file_name, is_text=is_text)
    checked = check_rows(batch, mapper, import_rules(now))
    settled = list(batch)
    if checked.faults and job.on_error == OnError.STOP:
        first = checked.faults[0].row_number
        settled = [row for row in batch if row.number < first]
        faults = [fault for fault in checked.faults if fault.row_number == first]
        checked = _before(checked, first)
        _stop(job, "faulty_row", f"Row {first:,} cannot be taken: {faults[0].detail}", now)
        _list_faults(job, faults)
        file.forget()
    recorded = _record(checked.events, is_dry_run=job.is_dry_run)
    if recorded is None:
        _stop(
            job,
            "refused_by_database",
            f"The database refused rows {batch[0].number:,} to {batch[-1].number:,}; see the log for the reason.",
            now,
        )
        file.forget()
        return
    _list_faults(job, [*checked.faults, *_conflicts(checked, recorded)])
    job.rows_read += len(checked.events) + checked.rejected
    job.accepted += recorded.accepted
    job.duplicates += recorded.duplicates
    job.conflicts += len(recorded.conflicts)
    job.unattributed += recorded.unattributed
    job.rejected += checked.rejected
    if settled:
        job.position, job.row_number = settled[-1].end, settled[-1].number


def _before(checked: CheckedRows, row_number: int) -> CheckedRows:
    """The good rows before the first faulty one."""
    kept = [index for index, row in enumerate(checked.rows) if row.number < row_number]
    return CheckedRows(
        events=[checked.events[index] for index in kept],
        rows=[checked.rows[index] for index in kept],
    )


def _record(events: Sequence[EventInput], *, is_dry_run: bool) -> RecordedBatch | None:
    """Store events, or in a dry run find out what would become of them.

    None when the database refuses them, which the checks before should have kept from happening.
    """
    if is_dry_run:
        return foresee(events)
    try:
        with transaction.atomic():
            recorded = record_events(events=events, api_key_id=None)
    except (DataError, IntegrityError):
        logger.exception("a batch of an import was refused by the database")
        return None
    return recorded


def _conflicts(checked: CheckedRows, recorded: RecordedBatch) -> list[RowFault]:
    return [
        RowFault(
            checked.rows[conflict.index].number,
            "",
            "id",
            "conflict",
            f"An event of the source “{conflict.source}” with the ID “{conflict.event_id}” is stored already, with "
            "other content. The stored one stays. If both are right, give this one another ID.",
        )
        for conflict in recorded.conflicts
    ]


def _list_faults(job: UsageImport, faults: Sequence[RowFault]) -> None:
    if not faults:
        return
    room = MOST_FAULTS_KEPT - job.faults.count()
    ImportFault.objects.bulk_create(
        [
            ImportFault(
                usage_import=job,
                row_number=fault.row_number,
                column=fault.column,
                field=fault.field,
                code=fault.code,
                detail=fault.detail,
            )
            for fault in faults[: max(0, room)]
        ]
    )


def _stop(job: UsageImport, code: str, detail: str, now: dt.datetime) -> None:
    job.state = ImportState.STOPPED
    job.stop_code = code
    job.stop_detail = detail
    job.finished_at = now


def unfinished_import_of(path: Path) -> UsageImport:
    """The last import of a local file that was killed or stopped. Raises InvalidInput when it cannot be resumed."""
    unfinished = Q(state=ImportState.RUNNING) | Q(state=ImportState.STOPPED)
    job = UsageImport.objects.filter(unfinished, path=str(path.resolve())).order_by("-pk").first()
    if job is None:
        raise InvalidInput(f"No import of {path} is unfinished, so there is nothing to resume.")
    if job.fingerprint != fingerprint(path):
        raise InvalidInput(
            f"{path} has changed since its import was begun. Import it anew: what was imported counts as duplicate."
        )
    return job
