"""What is wrong with the settings of usage, said before anything starts."""

from __future__ import annotations

from typing import Any

from django.core import checks

from apps.usage.partitions import retention_problem


@checks.register
def check_retention(**_: Any) -> list[checks.CheckMessage]:
    problem = retention_problem()
    return [checks.Error(problem, id="usage.E001")] if problem else []
