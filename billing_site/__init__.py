"""The site: settings, addresses, the commands that run it. Whoever imports it has the Celery app set up."""

from billing_site.celery import app as celery_app

__all__ = ["celery_app"]
