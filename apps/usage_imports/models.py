"""Imports of usage events from files: the file, how its rows become events, and how far it was read."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from apps.common.errors import BillingError
from apps.common.fields import CodeField
from apps.common.history import tracked
from apps.usage_imports.mapping import EventMapping, check_mapping, mapping_from


@tracked()
class ImportMapping(models.Model):
    """A saved mapping. ``definition`` is an ``EventMapping`` as JSON; ready ones are in ``ready.py``."""

    code = CodeField(unique=True)
    name = models.CharField(max_length=200)
    definition = models.JSONField(default=dict)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        try:
            check_mapping(mapping_from(self.definition))
        except BillingError as refusal:
            raise ValidationError(refusal.detail) from refusal

    @property
    def mapping(self) -> EventMapping:
        return mapping_from(self.definition)


class ImportFile(models.Model):
    """A file that was uploaded, kept unpacked in chunks, so that any worker on any machine can read it.

    ``content_removed_at`` is set when the chunks were removed after a while; the row stays as a record.
    """

    name = models.CharField(max_length=255)
    size = models.BigIntegerField(default=0)
    uploaded_at = models.DateTimeField()
    content_removed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.name


class ImportFileChunk(models.Model):
    """A piece of a file, ``CHUNK_SIZE`` bytes but for the last."""

    file = models.ForeignKey(ImportFile, on_delete=models.CASCADE, related_name="chunks")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ["file_id", "number"]
        constraints = [models.UniqueConstraint(name="one_chunk_per_place", fields=["file", "number"])]

    def __str__(self) -> str:
        return f"{self.file} [{self.number}]"


class ImportState(models.TextChoices):
    DRAFT = "draft", "Not started"
    RUNNING = "running", "Running"
    FINISHED = "finished", "Finished"
    STOPPED = "stopped", "Stopped"


class OnError(models.TextChoices):
    STOP = "stop", "Stop at the first row that cannot be taken"
    SKIP = "skip", "Leave such rows out and go on"


class UsageImport(models.Model):
    """One pass over a file.

    ``position`` is the offset, in the unpacked file, behind the last row that was settled; it is committed together
    with what became of the rows before it. ``definition`` is a copy of the mapping, which may be edited meanwhile.
    An import from the command line reads ``path`` itself and has no ``file``.
    """

    file = models.ForeignKey(ImportFile, null=True, blank=True, on_delete=models.PROTECT, related_name="imports")
    path = models.TextField(blank=True)
    fingerprint = models.CharField(max_length=64, blank=True)
    mapping_name = models.CharField("mapping", max_length=200)
    definition = models.JSONField(default=dict)
    is_dry_run = models.BooleanField("dry run", default=False)
    on_error = models.CharField(max_length=4, choices=OnError.choices, default=OnError.STOP)
    state = models.CharField(max_length=10, choices=ImportState.choices, default=ImportState.DRAFT)
    stop_code = models.CharField(max_length=64, blank=True)
    stop_detail = models.TextField(blank=True)
    layout = models.JSONField(null=True, blank=True)
    size = models.BigIntegerField(null=True, blank=True)
    position = models.BigIntegerField(default=0)
    row_number = models.BigIntegerField(default=0)
    rows_read = models.BigIntegerField("read", default=0)
    accepted = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    conflicts = models.BigIntegerField(default=0)
    unattributed = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = "import"
        constraints = [
            models.CheckConstraint(
                name="import_rows_add_up",
                condition=Q(rows_read=F("accepted") + F("duplicates") + F("conflicts") + F("rejected")),
            ),
            models.CheckConstraint(name="stopped_import_says_why", condition=~Q(state="stopped") | ~Q(stop_detail="")),
        ]

    def __str__(self) -> str:
        return f"{'Dry run' if self.is_dry_run else 'Import'} {self.pk}: {self.file_name}"

    @property
    def file_name(self) -> str:
        return self.file.name if self.file else self.path.rpartition("/")[2]

    @property
    def mapping(self) -> EventMapping:
        return mapping_from(self.definition)

    @property
    def percent(self) -> int:
        """How much of the file was read, in whole percent, rounded down."""
        if self.state == ImportState.FINISHED:
            return 100
        return min(99, 100 * self.position // self.size) if self.size else 0


class ImportFault(models.Model):
    """One thing that is wrong with one row. ``column`` names where in the file, ``field`` where in the event."""

    usage_import = models.ForeignKey(UsageImport, on_delete=models.CASCADE, related_name="faults")
    row_number = models.BigIntegerField("row")
    column = models.TextField(blank=True)
    field = models.TextField(blank=True)
    code = models.CharField(max_length=64)
    detail = models.TextField()

    class Meta:
        ordering = ["usage_import_id", "id"]

    def __str__(self) -> str:
        return f"Row {self.row_number}: {self.detail}"
