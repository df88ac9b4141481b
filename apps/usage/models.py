"""What was used: the append-only log of usage events, and the events that were refused as conflicts.

The tables are made by hand-written SQL (``migrations/0001_initial``): events are partitioned by month, and
the keys that make an event unique for ever stand in a table of their own. The models below read them; rows
are written by ``apps.usage.services`` only.
"""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.access.models import ApiKey
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

    pk = models.CompositePrimaryKey("source_id", "kind", "key")
    source = models.ForeignKey(
        UsageSource, on_delete=models.PROTECT, db_constraint=False, db_index=False, related_name="+"
    )
    kind = models.SmallIntegerField()
    key = models.UUIDField()
    event_pk = models.BigIntegerField()
    payload_hash = models.BinaryField(max_length=16)
    occurred_at = models.DateTimeField()

    class Meta:
        db_table = "usage_event_key"

    def __str__(self) -> str:
        return str(self.key)


class UsageEventQuerySet(models.QuerySet["UsageEvent"]):
    def unattributed(self) -> UsageEventQuerySet:
        """Events whose subject was no customer when we last looked."""
        return self.filter(customer__isnull=True)


class UsageEvent(models.Model):
    """One usage event, as it was received. Only its attribution may be filled in later.

    ``occurred_at`` is the event's own time and decides its billing period. ``stored_at`` is when we stored
    it, ``attributed_at`` when its customer became known: at once, as a rule. Both are stamped by the
    database so that a *stored-before* cutoff is exact (see ``services.settle_cutoff``).
    """

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
        ]
        constraints = [
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
    payload_hash = models.BinaryField(max_length=16)
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
