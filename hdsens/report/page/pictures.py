"""Drawings as inline SVG, with what a page needs to point at their cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hdsens.report.drawing.canvas import inline_svg
from hdsens.report.drawing.drawings import Drawing
from hdsens.report.drawing.heatmap import Heatmap


@dataclass(frozen=True)
class Grid:
    """Where a heatmap's cells lie, so that a page can tell which one is pointed at.

    `box` is left, top, width and height in percent of the picture; `points` are labels of rows of
    `point_table`, row by row, -1 where the grid has none; `start`: which of them to show first, the
    best.
    """

    box: tuple[float, ...]
    n_rows: int
    n_columns: int
    points: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Picture:
    """An inline SVG and what stands beside it (plain text)."""

    svg: Markup
    title: str
    note: str
    grid: Grid | None


def pictures(drawings: Iterable[Drawing], key: str) -> tuple[Picture, ...]:
    """Drawings in the colours `PAGE` as pictures; `key` distinguishes them within the page."""
    return tuple(_picture(drawing, f"{key}-{i}") for i, drawing in enumerate(drawings))


def _picture(drawing: Drawing, key: str) -> Picture:
    svg = Markup(inline_svg(drawing.figure, key, drawing.words))
    grid = _grid(drawing, drawing.heatmap) if drawing.heatmap is not None else None
    return Picture(svg, drawing.title, drawing.note, grid)


def _grid(drawing: Drawing, shown: Heatmap) -> Grid:
    box = drawing.figure.axes[0].get_position()
    percent = [round(100 * v, 3) for v in (box.x0, 1 - box.y1, box.width, box.height)]
    points = tuple(shown.point.ravel().tolist())
    n_rows, n_columns = shown.value.shape
    best = np.where((shown.state == "completed") & (shown.point >= 0), shown.value, np.inf)
    return Grid(tuple(percent), n_rows, n_columns, points, int(best.argmin()))
