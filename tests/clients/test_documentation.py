"""The examples in docs/integrations.md run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients import client
from tests.clients.conftest import Server
from tests.conftest import ROOT
from tests.factories import CustomerFactory

PAGE: Path = ROOT / "docs" / "integrations.md"
EXAMPLES = dict(re.findall(r"^## (\w+)\n\n```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL))
PACKAGES = {
    "OpenMeter": "openmeter",
    "CloudEvents": "cloudevents.http",
    "Lago": "lago_python_client",
    "Orb": "orb",
    "Metronome": "metronome",
    "Stripe": "stripe",
}
for package in PACKAGES.values():
    client(package)
pytestmark = pytest.mark.slow


def test_every_client_has_an_example() -> None:
    assert EXAMPLES.keys() == PACKAGES.keys()


@pytest.mark.parametrize("name", PACKAGES)
def test_an_example_sends_one_event(server: Server, name: str) -> None:
    CustomerFactory(external_id="northwind")
    names: dict[str, Any] = {"BASE": server.url, "KEY": server.key}
    exec(compile(EXAMPLES[name], str(PAGE), "exec"), names)  # noqa: S102  (our own page)

    tokens = 0 if name == "Stripe" else 1830  # Stripe's property is called “value”, which no metric here adds up.
    assert server.usage(customer="northwind")[0] == tokens
    assert server.usage(metric="completions", customer="northwind") == (1, 1)
