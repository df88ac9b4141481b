"""Export usage events to a file or to the standard output, streamed."""

from __future__ import annotations

import datetime as dt
import gzip
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from apps.common.errors import BillingError
from apps.usage.export_filters import EventFilter
from apps.usage.exporting import (
    ExportFormat,
    event_lines,
    event_rows,
    export_events,
    read_table,
)
from apps.usage.management.commands.partitions import month_from
from apps.usage.partitions import Month, archive_table


class Command(BaseCommand):
    help = (
        "Write usage events as CSV or NDJSON, in the order in which they were stored. An import with "
        "--mapping=countinghouse brings every value back. Any number of events takes the same memory."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--output", default="-", metavar="FILE", help="- for standard output; .gz is packed")
        parser.add_argument("--format", choices=list(ExportFormat), default=None, help="default: by the file's name")
        parser.add_argument("--start", type=instant_from, default=None, metavar="TIME", help="first event time")
        parser.add_argument("--end", type=instant_from, default=None, metavar="TIME", help="first time outside")
        for name in ("customer", "type", "source", "subject"):
            parser.add_argument(f"--{name}", default="", metavar="NAME")
        parser.add_argument("--data", choices=["columns", "json"], default="columns", help="a column for each property")
        parser.add_argument("--archived", type=month_from, default=None, metavar="MONTH", help="a detached month")

    def handle(self, **options: Any) -> None:
        name: str = options["output"]
        file_format = ExportFormat(options["format"] or _format_of(name))
        flat = options["data"] == "columns"
        try:
            pieces = (
                _archived(options["archived"], file_format, flat_data=flat)
                if options["archived"]
                else export_events(_filter(options).events(), file_format, flat_data=flat)
            )
            with ExitStack() as stack:
                write = self.stdout.write if name == "-" else stack.enter_context(_opened(name)).write
                for piece in pieces:
                    write(piece, ending="") if name == "-" else write(piece)
        except BillingError as refusal:
            raise CommandError(refusal.detail) from refusal
        except BrokenPipeError:
            sys.stderr.close()  # The reader has seen enough, as “head” does.


def _filter(options: dict[str, Any]) -> EventFilter:
    return EventFilter(
        start_at=options["start"],
        end_at=options["end"],
        customer=options["customer"],
        type=options["type"],
        source=options["source"],
        subject=options["subject"],
    )


def _archived(month: Month, file_format: ExportFormat, *, flat_data: bool) -> Iterator[str]:
    table = archive_table(month)
    with transaction.atomic():
        if file_format == ExportFormat.NDJSON:
            yield from event_lines(read_table(table), flat_data=flat_data)
        else:
            yield from event_rows(read_table(table), ())


def _opened(name: str) -> Any:
    opened: Any = gzip.open if name.endswith(".gz") else open
    return opened(name, "wt", newline="", encoding="utf-8")


def _format_of(name: str) -> ExportFormat:
    plain = name.lower().removesuffix(".gz")
    return ExportFormat.NDJSON if plain.endswith((".ndjson", ".jsonl")) else ExportFormat.CSV


def instant_from(text: str) -> dt.datetime:
    """A time with its zone, or a day, which begins in UTC."""
    instant = dt.datetime.fromisoformat(text)
    if instant.tzinfo is None and len(text) > 10:
        raise ValueError(text)
    return instant.replace(tzinfo=dt.UTC) if instant.tzinfo is None else instant


instant_from.__name__ = "time with a zone (2026-01-31T12:00:00Z) or day"  # What argparse calls it.
