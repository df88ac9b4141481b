"""The months of the event log: list them, make them ahead, take old ones out, put them back, drop them."""

from __future__ import annotations

import re
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from apps.common.errors import BillingError
from apps.usage import partitions, services
from apps.usage.partitions import Month


class Command(BaseCommand):
    help = (
        "list: every month with its state, rows (estimated) and size. make MONTH [MONTH]: the months from the first to "
        "the last. detach MONTH: out of the log, into a table of its own. attach MONTH: back into the log. drop MONTH "
        "--yes: delete a detached month for good. Months are YYYY-MM, in UTC."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=["list", "make", "detach", "attach", "drop"])
        parser.add_argument("months", nargs="*", type=month_from, metavar="MONTH")
        parser.add_argument("--yes", action="store_true", help="drop without asking")
        parser.add_argument(
            "--leave-unattributed",
            action="store_true",
            help="detach a month also when it holds events without a customer, which will then never be billed",
        )

    def handle(self, *, action: str, months: list[Month], **options: Any) -> None:
        if (action == "list") == bool(months) or (len(months) > 1 and action != "make"):
            raise CommandError(f"“{action}” takes {'no month' if action == 'list' else 'one month, as YYYY-MM'}.")
        try:
            getattr(self, f"_{action}")(months, options)
        except (BillingError, ImproperlyConfigured) as refusal:
            raise CommandError(str(refusal)) from refusal

    def _list(self, months: list[Month], options: dict[str, Any]) -> None:
        for one in partitions.partitions():
            rows = "not counted yet" if one.estimated_rows is None else f"about {one.estimated_rows:,} rows"
            self.stdout.write(f"{one.name}  {one.state:<10} {rows:>24} {filesizeformat(one.size_bytes):>12}")
        kept = partitions.keep_months()
        self.stdout.write(
            "Events are kept for ever (EVENTS_KEEP_MONTHS is not set)."
            if kept is None
            else f"Events are kept for {kept} months (EVENTS_KEEP_MONTHS)."
        )

    def _make(self, months: list[Month], options: dict[str, Any]) -> None:
        first, last = min(months), max(months)
        today = timezone.now().date()
        partitions.ensure_partitions(
            today.replace(year=first[0], month=first[1], day=1), today.replace(year=last[0], month=last[1], day=1)
        )

    def _detach(self, months: list[Month], options: dict[str, Any]) -> None:
        table = partitions.detach_partition(
            months[0], today=timezone.now().date(), leave_unattributed=options["leave_unattributed"]
        )
        self.stdout.write(f"{partitions.month_name(months[0])} is out of the log, in the table {table}.")

    def _attach(self, months: list[Month], options: dict[str, Any]) -> None:
        services.restore_month(months[0])
        self.stdout.write(f"{partitions.month_name(months[0])} is back in the log.")

    def _drop(self, months: list[Month], options: dict[str, Any]) -> None:
        table = partitions.archive_table(months[0])
        if not options["yes"]:
            raise CommandError(
                f"This deletes {table} for good. Export it first (export_events --archived "
                f"{partitions.month_name(months[0])}), then insist with --yes."
            )
        partitions.drop_partition(months[0])
        self.stdout.write(f"{table} is gone. An event of it that is sent again still counts as a duplicate.")


def month_from(text: str) -> Month:
    found = re.fullmatch(r"([0-9]{4})-(0[1-9]|1[0-2])", text)
    if found is None:
        raise ValueError(text)
    return int(found[1]), int(found[2])


month_from.__name__ = "month"  # What argparse calls it in its complaint.
