"""A price version in a cell of the admin: its lines in words, or the first rows of its matrix."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from apps.products.models import PriceMatrixRow, PriceVersion
from apps.products.wording import MOST_ROWS_IN_WORDS, amount_in_words, matrix_rows, price_in_words


def price_lines(version: PriceVersion) -> SafeString:
    lines = format_html_join("", "<div>{}</div>", ((line,) for line in price_in_words(version)))
    return format_html("<div>{}</div>", lines)


def matrix_table(version: PriceVersion, *, whole: bool) -> SafeString:
    """The first rows of a matrix, and how many more there are: with ``whole`` they unfold."""
    rows = matrix_rows(version)
    first, rest = rows[:MOST_ROWS_IN_WORDS], rows[MOST_ROWS_IN_WORDS:]
    more = f"and {len(rest)} more"
    unfolded = SafeString("")
    if rest and whole:
        unfolded = format_html(
            '<details class="ch-matrix-rest"><summary>{}</summary>{}</details>', more, _rows_table(version, rest)
        )
    elif rest:
        unfolded = format_html('<div class="ch-muted ch-small">{}</div>', more)
    words = price_in_words(version)[0].rstrip(":")
    return format_html("<div><div>{}</div>{}{}</div>", words, _rows_table(version, first), unfolded)


def _rows_table(version: PriceVersion, rows: Sequence[PriceMatrixRow]) -> SafeString:
    head = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in version.dimensions))
    body = format_html_join(
        "",
        '<tr>{}<td class="ch-right">{}</td></tr>',
        (
            (
                format_html_join("", "<td>{}</td>", (("any" if value is None else value,) for value in row.values)),
                amount_in_words(version, row.unit_amount),
            )
            for row in rows
        ),
    )
    return format_html(
        '<table class="ch-table ch-small ch-matrix"><thead><tr>{}<th scope="col" class="ch-right">Unit price</th></tr>'
        "</thead><tbody>{}</tbody></table>",
        head,
        body,
    )
