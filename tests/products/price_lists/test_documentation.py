"""The examples of docs/price_lists.md are read, and say the same."""

from __future__ import annotations

import re
from pathlib import Path

from apps.products.price_lists.document import ListedPlan
from tests.products.price_lists.files import read

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "price_lists.md").read_text()


def plan_in_yaml() -> ListedPlan:
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    result = read(found[1])
    assert result.faults == ()
    return result.document.plans[0]


def test_the_yaml_example_is_read() -> None:
    assert [price.line for price in plan_in_yaml().prices] == ["Platform fee", "Tokens"]


def test_the_table_states_the_same_plan() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(("| plan |", "| chat |"))]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]

    result = read("\n".join(",".join(row) for row in cells), "list.csv")

    assert result.faults == ()
    assert result.document.plans == (plan_in_yaml(),)
