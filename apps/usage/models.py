"""What was used: the append-only log of usage events, and the events that were refused as conflicts.

The tables are made by hand-written SQL (``migrations/0001_initial``): events are partitioned by month, and
the keys that make an event unique for ever stand in a table of their own. The models below read them; rows
are written by ``apps.usage.services`` only.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q

from apps.access.models import ApiKey
from apps.common.history import tracked
from apps.customers.models import Customer
from apps.usage.events import ExactDecoder


class UsageSource(models.Model):
    """A system that sends events, as named by their ``source``."""

    id = models.AutoField(primary_key=True)
    name = models.TextField(unique=True)

    class Meta:
        db_table = "usage_source"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class EventType(models.Model):
    """An event type that was seen at least once, so that staff find the ones that no metric measures."""

    name = models.TextField(primary_key=True)
    first_seen_at = models.DateTimeField()

    class Meta:
        db_table = "usage_event_type"
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class UsageEventKey(models.Model):
    """What makes an event unique for ever: its source and ID, with the hash of the payload that was kept.

    ``kind`` 0: the ID is a canonical UUID, kept as it is, so that time-ordered IDs stay in order; 1: any other
    ID, as its 128-bit hash. ``event_pk`` is the primary key of the event.
    """

    # The key first: it tells rows apart at the first comparison, which the index makes for every event.
    pk = models.CompositePrimaryKey("key", "source_id", "kind")
    source = models.ForeignKey(
        UsageSource, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    kind = models.SmallIntegerField()
    key = models.UUIDField()
    event_pk = models.BigIntegerField()
    payload_hash = models.UUIDField()
    occurred_at = models.DateTimeField()

    class Meta:
        db_table = "usage_event_key"

    def __str__(self) -> str:
        return str(self.key)


class UsageEventQuerySet(models.QuerySet["UsageEvent"]):
    def unattributed(self) -> UsageEventQuerySet:
        """Events whose subject was no customer when we last looked."""
        return self.filter(customer__isnull=True, voided_at__isnull=True)


class UsageEvent(models.Model):
    """One usage event, as it was received. Only its attribution may be filled in later, and its voiding.

    ``occurred_at`` is the event's own time and decides its billing period. ``stored_at`` is when we stored
    it, ``attributed_at`` when its customer became known: at once, as a rule. Both are stamped by the
    database so that a *stored-before* cutoff is exact (see ``services.settle_cutoff``).

    A corrected event stays with ``voided_at``, from which on it does not count, and the ``correction`` that says why;
    what counts in its place is a row of its own that names it in ``replaces_id``.
    """

    # Unique by its sequence. A BRIN index finds it: a B-tree would be one more to keep for every event.
    id = models.BigAutoField(primary_key=True)
    # No foreign keys in the database: each would cost a lookup per event. Services resolve all three.
    source = models.ForeignKey(
        UsageSource, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    event_id = models.TextField("event ID")
    type = models.TextField()
    subject = models.TextField()
    customer = models.ForeignKey(
        Customer,
        null=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="usage_events",
    )
    attributed_at = models.DateTimeField(null=True)
    occurred_at = models.DateTimeField()
    stored_at = models.DateTimeField()
    data = models.JSONField(default=dict, decoder=ExactDecoder)
    api_key = models.ForeignKey(
        ApiKey,
        null=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name="API key",
    )
    voided_at = models.DateTimeField(null=True)
    correction = models.ForeignKey(
        "usage.UsageCorrection",
        null=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="voided_events",
    )
    replaces_id = models.BigIntegerField("replaces", null=True)

    objects = UsageEventQuerySet.as_manager()

    class Meta:
        db_table = "usage_event"
        ordering = ["-id"]
        indexes = [
            models.Index(
                name="usage_event_of_customer",
                fields=["customer", "type", "occurred_at"],
                condition=Q(customer__isnull=False),
            ),
            models.Index(
                name="usage_event_unattributed",
                fields=["subject", "type", "occurred_at"],
                condition=Q(customer__isnull=True),
            ),
            # Of the few that were corrected; every other event costs them nothing.
            models.Index(name="usage_event_voided", fields=["correction"], condition=Q(correction__isnull=False)),
            models.Index(name="usage_event_replacing", fields=["replaces_id"], condition=Q(replaces_id__isnull=False)),
            BrinIndex(name="usage_event_by_id", fields=["id"], autosummarize=True),
            BrinIndex(name="usage_event_by_time", fields=["occurred_at"], autosummarize=True),
        ]
        constraints = [
            models.CheckConstraint(
                name="usage_event_voided_at_goes_with_correction",
                condition=Q(voided_at=None, correction=None) | Q(voided_at__isnull=False, correction__isnull=False),
            ),
            models.CheckConstraint(
                name="usage_event_attributed_at_goes_with_customer",
                condition=Q(customer=None, attributed_at=None) | Q(customer__isnull=False, attributed_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.event_id


class Unattributed(UsageEvent):
    """The events without a customer, as a page of their own. It has no permissions but those of events."""

    class Meta:
        proxy = True
        default_permissions = ()
        verbose_name = verbose_name_plural = "unattributed usage"


class UsageConflict(models.Model):
    """An event that was refused since its (source, id) was stored before with another payload.

    ``first_event_id`` is the primary key of the event that stays. The same payload sent again is counted in
    ``times_received``.
    """

    source = models.ForeignKey(UsageSource, on_delete=models.PROTECT, related_name="conflicts")
    event_id = models.TextField("event ID")
    first_event_id = models.BigIntegerField("first event")
    payload_hash = models.UUIDField()
    type = models.TextField()
    subject = models.TextField()
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict, decoder=ExactDecoder)
    received_at = models.DateTimeField("first received at")
    last_received_at = models.DateTimeField()
    times_received = models.PositiveIntegerField(default=1)
    api_key = models.ForeignKey(
        ApiKey,
        null=True,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        related_name="+",
        verbose_name="API key",
    )

    class Meta:
        db_table = "usage_conflict"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(name="usage_conflict_once", fields=["first_event_id", "payload_hash"]),
            models.CheckConstraint(
                name="usage_conflict_received_in_order", condition=Q(last_received_at__gte=F("received_at"))
            ),
        ]

    def __str__(self) -> str:
        return self.event_id


class CorrectionKind(models.TextChoices):
    VOID = "void", "Void"
    REPLACE = "replace", "Replace"


@tracked()
class UsageCorrection(models.Model):
    """Why events were voided or replaced, by whom and when. ``selection`` says in words which they were."""

    kind = models.CharField(max_length=10, choices=CorrectionKind.choices)
    reason = models.TextField()
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    selection = models.TextField(blank=True)
    event_count = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "correction"
        ordering = ["-id"]
        constraints = [models.CheckConstraint(name="usage_correction_has_a_reason", condition=~Q(reason=""))]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} of {self.event_count:,} event{'' if self.event_count == 1 else 's'}"


class QuarantineState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RELEASED = "released", "Released"
    DISCARDED = "discarded", "Discarded"


class QuarantinedEventQuerySet(models.QuerySet["QuarantinedEvent"]):
    def waiting(self) -> QuarantinedEventQuerySet:
        return self.filter(state=QuarantineState.WAITING)


class QuarantinedEvent(models.Model):
    """An event that was not refused and not stored either: staff release it or discard it.

    ``reason`` says why it was held; ``decision_reason`` why it was let in, or not. Once for each source and ID: what
    comes again is counted in ``times_received``, also after the decision.
    """

    source = models.ForeignKey(UsageSource, on_delete=models.PROTECT, related_name="quarantined")
    event_id = models.TextField("event ID")
    type = models.TextField()
    subject = models.TextField()
    occurred_at = models.DateTimeField()
    data = models.JSONField(default=dict, decoder=ExactDecoder)
    reason = models.TextField()
    received_at = models.DateTimeField("first received at")
    last_received_at = models.DateTimeField()
    times_received = models.PositiveIntegerField(default=1)
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="+", verbose_name="API key")
    state = models.CharField(max_length=10, choices=QuarantineState.choices, default=QuarantineState.WAITING)
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    decision_reason = models.TextField(blank=True)

    objects = QuarantinedEventQuerySet.as_manager()

    class Meta:
        db_table = "usage_quarantined_event"
        verbose_name = "quarantined event"
        ordering = ["-id"]
        indexes = [models.Index(name="usage_quarantine_waiting", fields=["-id"], condition=Q(state="waiting"))]
        constraints = [
            models.UniqueConstraint(name="usage_quarantined_once", fields=["source", "event_id"]),
            models.CheckConstraint(
                name="usage_quarantine_decision_is_whole",
                condition=Q(state="waiting", decided_at=None) | (~Q(state="waiting") & Q(decided_at__isnull=False)),
            ),
        ]

    def __str__(self) -> str:
        return self.event_id


class IgnoredKind(models.TextChoices):
    SUBJECT = "subject", "Subject"
    TYPE = "type", "Type"


@tracked()
class IgnoredUsage(models.Model):
    """A subject or a type that is not billable, so that the list of what is unattributed can be emptied.

    Its events are stored as ever, and are attributed should the subject become a customer.
    """

    kind = models.CharField(max_length=10, choices=IgnoredKind.choices)
    name = models.TextField()
    reason = models.TextField()
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        verbose_name = "ignored usage"
        verbose_name_plural = "ignored usage"
        ordering = ["kind", "name"]
        constraints = [
            models.UniqueConstraint(name="usage_ignored_once", fields=["kind", "name"]),
            models.CheckConstraint(name="usage_ignored_has_a_reason", condition=~Q(reason="")),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.name}"


class CacheState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    BUILDING = "building", "Building"
    READY = "ready", "Ready"


class UsageCache(models.Model):
    """Whether the buckets of a metric version hold all of its events: a job until they do.

    While it is not ready, quantities are measured from the events themselves. ``next_partition`` is where a builder
    goes on; ``claimed_until`` keeps a second one off.
    """

    metric_version_id = models.BigIntegerField(primary_key=True)
    state = models.CharField(max_length=10, choices=CacheState.choices, default=CacheState.WAITING)
    partitions_done = models.PositiveIntegerField(default=0)
    partitions_total = models.PositiveIntegerField(default=0)
    next_partition = models.TextField(blank=True)
    claimed_until = models.DateTimeField(null=True)
    requested_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "usage_cache"
        verbose_name = "usage cache"

    def __str__(self) -> str:
        return f"Cache of metric version {self.metric_version_id}: {self.get_state_display()}"
