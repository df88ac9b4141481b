"""Curves as SVG: where points that ``estimates`` computed lie on the paper. No amount is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT = Decimal(420), Decimal(112)
TOP, BOTTOM = Decimal(6), Decimal(106)
_TENTH = Decimal("0.1")

Pair = tuple[Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points, in a box of 420 by 112: its path, its marked point, and where bounds lie across."""

    path: str
    area: str
    marker: Pair | None
    bounds: tuple[Decimal, ...]
    highest: Decimal


def draw(points: Sequence[Pair], *, marked: Pair | None = None, bounds: Sequence[Decimal] = ()) -> Curve | None:
    """Lay out a curve over quantities from 0 on. None where there is nothing to draw."""
    if len(points) < 2 or not points[-1][0]:
        return None
    reach = points[-1][0]
    highest = max(value for _, value in points)
    placed = [_place(point, reach, highest) for point in points]
    path = " ".join(f"{x},{y}" for x, y in placed)
    is_within = marked is not None and Decimal(0) <= marked[0] <= reach and marked[1] <= highest
    return Curve(
        path=path,
        area=f"{placed[0][0]},{BOTTOM} {path} {placed[-1][0]},{BOTTOM}",
        marker=_place(marked, reach, highest) if marked is not None and is_within else None,
        bounds=tuple(_place((bound, Decimal(0)), reach, highest)[0] for bound in bounds if bound < reach),
        highest=highest,
    )


def _place(point: Pair, reach: Decimal, highest: Decimal) -> Pair:
    across = point[0] / reach * WIDTH
    up = point[1] / highest * (BOTTOM - TOP) if highest else Decimal(0)
    return across.quantize(_TENTH), (BOTTOM - up).quantize(_TENTH)
