"""Texts in files that people open with a spreadsheet program."""

from __future__ import annotations

# A spreadsheet runs a cell that begins with one of these as a formula. An apostrophe in front makes it a text. A text
# that looks escaped already gets one more, so that taking it off again gives back what was.
_STARTS_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_AFTER_ESCAPE = (*_STARTS_FORMULA, "'")


def escaped(text: str) -> str:
    """A text that no spreadsheet takes for a formula. ``without_escape`` undoes it."""
    return f"'{text}" if text.startswith(_STARTS_FORMULA) or _looks_escaped(text) else text


def without_escape(cell: str) -> str:
    return cell[1:] if _looks_escaped(cell) else cell


def _looks_escaped(text: str) -> bool:
    return text.startswith("'") and text.startswith(_AFTER_ESCAPE, 1)
