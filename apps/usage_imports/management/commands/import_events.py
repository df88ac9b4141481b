"""Import usage events from a file on this machine, of any size, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.common.errors import BillingError
from apps.usage_imports.mapping import EventMapping, with_fixed
from apps.usage_imports.mapping_forms import mapping_from_flags
from apps.usage_imports.models import ImportState, OnError, UsageImport
from apps.usage_imports.ready import READY
from apps.usage_imports.selectors import mapping_named
from apps.usage_imports.services import (
    OpenFile,
    create_import,
    import_batch,
    resume_import,
    start_import,
    unfinished_import_of,
)

FAULTS_SHOWN = 20


class Command(BaseCommand):
    help = (
        "Import usage events from FILE: CSV or NDJSON in UTF-8, also gzipped. Rows that were imported before count as "
        "duplicates, so running it again does no harm. Ends with an error when rows could not be taken."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--mapping", default="", help=f"a saved mapping, or one of {', '.join(READY)}")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="FIELD=COLUMN",
            help=(
                "a mapping written here: id=COLUMN[+COLUMN] or id=:row-hash or id=:row-number; source=, type=, "
                "subject=COLUMN or =:TEXT for all rows; time=COLUMN[:epoch_seconds|epoch_milliseconds|"
                "epoch_nanoseconds|ZONE]; data=:rest, data=COLUMN with JSON, or data.PROPERTY=COLUMN"
            ),
        )
        for name in ("source", "type", "subject"):
            parser.add_argument(f"--{name}", default="", metavar="NAME", help=f"one {name} for all rows")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen and store nothing")
        parser.add_argument("--resume", action="store_true", help="go on with the last unfinished import of FILE")
        parser.add_argument(
            "--on-error",
            choices=OnError.values,
            default=None,
            help="at a row that cannot be taken: stop (default), or skip it, list it and go on",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if not path.is_file():
            raise CommandError(f"There is no file {path}.")
        try:
            job = self._resumed(path, options) if options["resume"] else self._begun(path, options)
        except BillingError as refusal:
            raise CommandError(refusal.detail) from refusal
        self.stdout.write(f"{job} ({job.mapping_name})")
        opened = OpenFile()
        while import_batch(import_id=job.pk, file=opened, now=timezone.now()):
            if options["verbosity"] > 1:
                job.refresh_from_db()
                self.stdout.write(f"  {job.rows_read:,} rows" + (f", {job.percent} %" if job.size else ""))
        job.refresh_from_db()
        self._report(job)

    def _begun(self, path: Path, options: dict[str, Any]) -> UsageImport:
        name, mapping = self._mapping(options)
        mapping = with_fixed(mapping, **{part: options[part] for part in ("source", "type", "subject")})
        job = create_import(path=path, mapping=mapping, mapping_name=name, now=timezone.now())
        return start_import(
            import_id=job.pk,
            is_dry_run=options["dry_run"],
            on_error=OnError(options["on_error"] or OnError.STOP),
            now=timezone.now(),
        )

    def _mapping(self, options: dict[str, Any]) -> tuple[str, EventMapping]:
        if bool(options["mapping"]) == bool(options["map"]):
            raise CommandError("Name a mapping with --mapping, or write one with --map; one of the two.")
        if options["mapping"]:
            return mapping_named(options["mapping"])
        return "from the command line", mapping_from_flags(options["map"])

    def _resumed(self, path: Path, options: dict[str, Any]) -> UsageImport:
        job = unfinished_import_of(path)
        on_error = OnError(options["on_error"] or job.on_error)
        return resume_import(import_id=job.pk, on_error=on_error, now=timezone.now())

    def _report(self, job: UsageImport) -> None:
        self.stdout.write(
            f"  {job.rows_read:,} read: {job.accepted:,} accepted"
            f" (of them {job.unattributed:,} unattributed), {job.duplicates:,} duplicates,"
            f" {job.conflicts:,} conflicts, {job.rejected:,} rejected"
        )
        faults = list(job.faults.all()[: FAULTS_SHOWN + 1])
        for fault in faults[:FAULTS_SHOWN]:
            place = f", {fault.column}" if fault.column else ""
            self.stderr.write(f"  row {fault.row_number:,}{place}: {fault.detail}")
        if len(faults) > FAULTS_SHOWN:
            self.stderr.write("  … the others are listed in the admin, under Usage › Imports")
        if job.state == ImportState.RUNNING:
            raise CommandError("Another process is importing this file right now.")
        if job.state == ImportState.STOPPED:
            again = " Mend it, or go on with --resume --on-error=skip." if job.stop_code == "faulty_row" else ""
            raise CommandError(f"{job.stop_detail}{again}")
        if job.rejected:
            raise CommandError(f"{job.rejected:,} rows were left out.")
