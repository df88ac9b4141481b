"""API keys: what a program may do here."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MinValueValidator
from django.db import models

from apps.common.history import tracked


class Scope(models.TextChoices):
    """What a key allows. ``manage`` does not include the other two: a key holds the scopes it lists."""

    INGEST = "ingest", "Send usage events"
    READ = "read", "Read customers, usage and invoices"
    MANAGE = "manage", "Change customers, prices and contracts"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    def live(self) -> ApiKeyQuerySet:
        return self.filter(revoked_at__isnull=True)


@tracked(exclude=("last_used_at", "digest"))
class ApiKey(models.Model):
    """A secret that a program presents as ``Authorization: Bearer …``.

    Only the SHA-256 digest is stored; the secret is shown once, when it is made. ``prefix`` is its first
    characters, so that staff can tell keys apart.
    """

    name = models.CharField(max_length=100, help_text="Where this key is used, such as “inference gateway”.")
    prefix = models.CharField(max_length=16, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=16, choices=Scope.choices), default=list)
    requests_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="More are refused with status 429. Empty: the limit for all keys, if there is one.",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, editable=False, related_name="+"
    )
    created_at = models.DateTimeField(editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(name="api_key_has_a_scope", condition=models.Q(scopes__len__gt=0)),
            models.CheckConstraint(
                name="api_key_allows_requests",
                condition=models.Q(requests_per_minute=None) | models.Q(requests_per_minute__gt=0),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    def allows(self, scope: str) -> bool:
        """Whether the key is live and lists ``scope``."""
        return self.revoked_at is None and scope in self.scopes
