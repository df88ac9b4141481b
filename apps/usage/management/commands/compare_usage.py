"""Compare the usage cache with the events."""

from __future__ import annotations

from django.core.management.base import BaseCommand, CommandError

from apps.customers.models import Customer
from apps.usage import services

MOST_SHOWN = 100


class Command(BaseCommand):
    help = "Compare every bucket of usage with the events, report each difference, and end with 1 if there is any."

    def handle(self, **_: object) -> None:
        differences = services.compare_usage()
        names = dict(
            Customer.objects.filter(pk__in={found.customer_id for found in differences[:MOST_SHOWN]}).values_list(
                "pk", "external_id"
            )
        )
        for found in differences[:MOST_SHOWN]:
            dimensions = ", ".join(text or "(none)" for text in found.dimensions)
            self.stdout.write(
                f"{found.version.metric.code} v{found.version.number}, {names.get(found.customer_id, '?')}, "
                f"{found.grain} {found.starts_at:%Y-%m-%d %H:%M} {dimensions}: "
                f"cache {found.cached}, events {found.true}"
            )
        if differences:
            raise CommandError(
                f"The cache differs from the events in {len(differences):,} places. Run rebuild_usage to mend it."
            )
        self.stdout.write("The cache says what the events say.")
