"""The entry for the server that takes usage events: ``uvicorn billing_site.asgi:application``.

Only the addresses of events are here; the admin and the rest of the API are served by ``billing_site.wsgi``.
"""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
django.setup(set_prefix=False)

from apps.usage.ingest import IngestApplication  # noqa: E402  (needs the settings)

application = IngestApplication()
