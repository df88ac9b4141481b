"""Load a price list from a file, or one of the vendors' lists that come with the product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from apps.common.errors import BillingError
from apps.products.price_lists.applying import apply_price_list, plan_import
from apps.products.price_lists.changes import ImportPlan, Item, Kind
from apps.products.price_lists.files import read_file
from apps.products.price_lists.nodes import PriceListRefused
from apps.products.price_lists.taking import ImportOptions

FOLDER = Path(settings.BASE_DIR) / "fixtures" / "price_lists"
CHANGES_SHOWN = 6


class Command(BaseCommand):
    help = (
        "Load a price list: FILE (.yaml, .csv or .xlsx), or a vendor whose list comes with the product (--list names "
        "them). New plans become drafts, and published versions never change. Loading it again changes nothing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("list", nargs="?", default="", metavar="VENDOR|FILE")
        parser.add_argument("--list", action="store_true", dest="names", help="name the vendors' lists, and stop")
        parser.add_argument("--publish", action="store_true", help="publish the drafts, so that contracts can use them")
        parser.add_argument("--dry-run", action="store_true", help="say what would change and store nothing")
        parser.add_argument(
            "--remove-missing", action="store_true", help="take what the list does not state out of the drafts"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["names"]:
            self._name_lists()
            return
        path = self._path(options["list"])
        chosen = ImportOptions(publish=options["publish"], remove_missing=options["remove_missing"])
        load = plan_import if options["dry_run"] else apply_price_list
        try:
            done = load(read_file(path.read_bytes(), path.name), options=chosen, now=timezone.now())
        except PriceListRefused as refusal:
            for fault in refusal.faults:
                self.stderr.write(f"  {fault}")
            raise CommandError(f"{path.name} was not loaded: {len(refusal.faults)} to mend.") from refusal
        except BillingError as refusal:
            raise CommandError(refusal.detail) from refusal
        self._tell(path, done, is_dry_run=options["dry_run"], verbosity=options["verbosity"])

    def _path(self, named: str) -> Path:
        if not named:
            raise CommandError("Name a vendor or a file; --list names the vendors.")
        for path in (FOLDER / f"{named}.yaml", Path(named)):
            if path.is_file():
                return path
        raise CommandError(f"There is no list and no file “{named}”. --list names the vendors.")

    def _name_lists(self) -> None:
        for path in sorted(FOLDER.glob("*.yaml")):
            document = read_file(path.read_bytes(), path.name).document
            plans = "1 plan" if len(document.plans) == 1 else f"{len(document.plans)} plans"
            as_of = f", as of {document.as_of}" if document.as_of else ""
            self.stdout.write(f"{path.stem:<18} {document.vendor}: {plans}{as_of}")

    def _tell(self, path: Path, done: ImportPlan, *, is_dry_run: bool, verbosity: int) -> None:
        for remark in done.remarks:
            self.stdout.write(remark)
        for item in done.items:
            if item.kind != Kind.UNCHANGED or verbosity > 1:
                self.stdout.write(f"  {told(item)}")
        if not done.changes_anything:
            self.stdout.write(f"{path.name}: nothing to change.")
            return
        counts = ", ".join(f"{len(done.of(kind)):,} {kind.value}" for kind in Kind if done.of(kind))
        self.stdout.write(f"{path.name}{' would be' if is_dry_run else ''} loaded: {counts}.")


def told(item: Item) -> str:
    """``changed price: Tokens, USD (chat): unit_amount 10 → 12``."""
    plan = f" ({item.plan})" if item.plan and item.subject != "plan" else ""
    changes = ""
    if item.kind == Kind.CHANGED:
        shown = [f"{one.field} {one.before or '–'} → {one.after or '–'}" for one in item.changes[:CHANGES_SHOWN]]
        more = [f"and {len(item.changes) - CHANGES_SHOWN} more"] if len(item.changes) > CHANGES_SHOWN else []
        changes = ": " + ", ".join([*shown, *more])
    return f"{item.kind.value} {item.subject}: {item.name}{plan}{changes}" + (f" – {item.note}" if item.note else "")
