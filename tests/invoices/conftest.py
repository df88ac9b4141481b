"""Fixtures of the invoice tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.invoices import pdf


@pytest.fixture
def without_pango(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine on which WeasyPrint finds no Pango."""

    def no_library() -> None:
        raise OSError("cannot load library 'libpango-1.0-0'")

    monkeypatch.setattr(pdf, "_weasyprint", no_library)
    pdf._missing_library.cache_clear()
    yield
    pdf._missing_library.cache_clear()
