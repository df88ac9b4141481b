"""The command that loads a price list."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.products.models import Plan, PlanStatus, PlanVersion
from tests.products.price_lists.files import CHAT

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    told = StringIO()
    call_command("load_price_list", *arguments, stdout=told, stderr=told)
    return told.getvalue()


def test_the_lists_are_named() -> None:
    assert "openai             OpenAI: 3 plans, as of 2025-12-01" in run("--list").splitlines()


def test_a_vendor_is_loaded_and_published_and_loading_it_again_changes_nothing() -> None:
    assert "new plan: Midjourney Basic" in run("midjourney", "--publish")
    assert {version.status for version in PlanVersion.objects.all()} == {PlanStatus.PUBLISHED}
    assert run("midjourney", "--publish") == "midjourney.yaml: nothing to change.\n"


def test_a_dry_run_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(CHAT)

    assert "chat.yaml would be loaded: 5 new." in run(str(path), "--dry-run")
    assert not Plan.objects.exists()


def test_faults_are_told_each_on_a_line(tmp_path: Path) -> None:
    path = tmp_path / "chat.yaml"
    path.write_text(CHAT.replace('"99"', "x").replace('"2.5"', "y"))

    with pytest.raises(CommandError, match=r"chat\.yaml was not loaded: 2 to mend"):
        run(str(path))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(CommandError, match="--list names the vendors"):
        run("nobody")
