"""Make the demo company, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from apps.access.models import ApiKey, Scope
from billing_site import demo_company
from billing_site.local_keys import kept_api_key

KEY_NAME = "demo"


class Command(BaseCommand):
    help = "Make the demo company with its usage, invoices, admin user and API key, unless it is there already."

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        # The key is made last, so it tells a finished seeding from an interrupted one.
        if not ApiKey.objects.filter(name=KEY_NAME).exists():
            self.stdout.write("Making the demo company (first time only)…")
            demo_company.seed(now=now)
        demo_company.ensure_admin_user()
        kept_api_key(KEY_NAME, scopes=[Scope.INGEST, Scope.READ, Scope.MANAGE], now=now)
