"""Usage for staff: find any event and follow its way, correct it, and match what is still without a customer."""

from __future__ import annotations

from apps.usage.admin import conflicts, corrections, events, quarantine, unattributed

__all__ = ["conflicts", "corrections", "events", "quarantine", "unattributed"]
