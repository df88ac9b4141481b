"""The official clients of other products, pointed at a real server of ours. How to run them: README.md."""

from __future__ import annotations

from typing import Any

import pytest


def client(package: str) -> Any:
    """The client's package; without it, the module that asks is skipped."""
    return pytest.importorskip(package, reason=f"{package} is not installed; see tests/clients/README.md")
