"""How one logs in to the demo. Known to everybody, so never for an installation that others can reach."""

from __future__ import annotations

from typing import Final

ADMIN_USERNAME: Final = "admin"
ADMIN_PASSWORD: Final = "countinghouse"  # noqa: S105  (printed by the demo itself)
API_KEY_FILE: Final = "demo-api-key"  # In VAR_DIR, readable by its owner only.
