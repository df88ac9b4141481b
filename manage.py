#!/usr/bin/env python
"""Django's management commands. ``./dev manage …`` runs this in the right environment."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

from billing_site.embedded_postgres import EmbeddedPostgresError

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_site.settings")
    try:
        execute_from_command_line(sys.argv)
    except EmbeddedPostgresError as error:
        sys.exit(str(error))
