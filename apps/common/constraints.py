"""Parts of database constraints that several apps share."""

from __future__ import annotations

from django.db.models import F, Func, Value


def same_row(column: str) -> Func:
    """Stands for “the same ``column``” in an exclusion constraint, to be used with ``&&`` (overlaps).

    A range over the one integer replaces equality, which GiST offers for integers only with an extension.
    """
    return Func(F(column), F(column), Value("[]"), function="int8range")
