"""Settings that hold when several processes start at once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from billing_site import settings


def test_processes_that_start_at_once_share_one_kept_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "VAR_DIR", tmp_path)

    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: settings._kept_secret("secret-key"), range(40)))

    kept = tmp_path / "secret-key"
    assert secrets == {kept.read_text()}
    assert len(kept.read_text()) > 40
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [kept]
