"""Build the usage cache anew."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from apps.billable_metrics.models import BillableMetric, MetricVersion
from apps.usage import services


class Command(BaseCommand):
    help = (
        "Build the buckets of usage anew from the events. Until they are whole again, usage is measured from the "
        "events: slower, and just as right. A run that was broken off goes on with the next."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--metric", action="append", help="code of a metric; may be given several times")

    def handle(self, *, metric: list[str] | None, **_: object) -> None:
        versions = None if metric is None else _versions_of(metric)
        count = services.request_rebuild(versions)
        self.stdout.write(f"Building the cache of {count} metric version{'s' * (count != 1)}…")
        services.backfill_metrics()
        self.stdout.write("Done.")


def _versions_of(codes: list[str]) -> list[MetricVersion]:
    unknown = set(codes) - set(BillableMetric.objects.filter(code__in=codes).values_list("code", flat=True))
    if unknown:
        raise CommandError(f"There is no metric with the code {min(unknown)}.")
    return list(MetricVersion.objects.filter(metric__code__in=codes))
