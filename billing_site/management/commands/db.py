"""The embedded PostgreSQL server by hand."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from billing_site import embedded_postgres


class Command(BaseCommand):
    help = "Show or stop the embedded PostgreSQL server. It starts by itself whenever a command needs it."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["status", "stop"])
        parser.add_argument("--force", action="store_true", help="stop it even while another program uses it")

    def handle(self, *, action: str, force: bool, **_: object) -> None:
        if not embedded_postgres.servers_in_use():
            raise CommandError("DATABASE_URL names a server of its own, which is looked after elsewhere.")
        (data_dir,) = embedded_postgres.servers_in_use()
        if action == "status":
            self._show(data_dir)
        else:
            self._stop(data_dir, force=force)

    def _show(self, data_dir: Path) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version")
            (version,) = cursor.fetchone()
        address = connection.settings_dict
        self.stdout.write(
            f"PostgreSQL {version} runs in {data_dir}.\n"
            f"Connect with: psql -h '{address['HOST']}' -U {address['USER']} {address['NAME']}"
        )

    def _stop(self, data_dir: Path, *, force: bool) -> None:
        was_stopped = embedded_postgres.release_and_stop_if_last(data_dir)
        if not was_stopped and not force:
            raise CommandError("Another program uses the server. Stop that first, or insist with --force.")
        embedded_postgres.stop(data_dir)
        self.stdout.write("PostgreSQL is stopped.")
