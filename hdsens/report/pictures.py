"""Figures as pictures for the page: in its colours, with a caption and their numbers in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes

from hdsens.report import curves, heatmap, trajectories
from hdsens.report.families import Family
from hdsens.report.figure import inline_svg, new_figure, style
from hdsens.report.measures import Measure
from hdsens.report.palette import PAGE
from hdsens.report.points import METRICS, family_points
from hdsens.report.text import count, level, number
from hdsens.report.words import curve_text
from hdsens.study import Arm

CURVE_SIZE = (4.2, 3.3)
PATH_SIZE = (3.1, 2.5)
MAX_PANELS = 6


@dataclass(frozen=True)
class Grid:
    """Where a heatmap's cells lie, so that a page can tell which one is pointed at.

    `box` is left, top, width and height in percent of the picture; `points` are labels of rows of
    `point_table`, row by row, -1 where the grid has none; `has_base`: its first column is the base
    arm's.
    """

    box: tuple[float, ...]
    n_rows: int
    n_columns: int
    points: tuple[int, ...]
    has_base: bool


@dataclass(frozen=True)
class Picture:
    """An inline SVG and what stands beside it (plain text)."""

    svg: Markup
    title: str
    note: str = ""
    grid: Grid | None = None


def at(fixed: Mapping[str, Any]) -> str:
    """Levels of other factors in words, empty without any."""
    return ", ".join(f"{name} = {level(value)}" for name, value in fixed.items())


def curve_picture(
    rows: pd.DataFrame, family: Family, metric: str, limits: tuple[float, float], key: str
) -> Picture:
    """Loss against lr of a family."""
    shown = curves.loss_curves(rows, family)
    few = curves.thin(shown)
    with style(PAGE):
        figure = new_figure(*CURVE_SIZE)
        curves.draw_loss_curves(
            figure.subplots(),
            few,
            label=METRICS[metric],
            limits=limits,
            palette=PAGE,
            initial=float(rows["initial_loss"].mean()),
        )
        said = curve_text(rows, [arm.name for arm in family.arms])
        svg = inline_svg(figure, key, f"Mean {METRICS[metric]} against initial lr. {said}.")
    left_out = len(shown) - len(few)
    note = f"{len(few)} of {len(shown)} curves; the table below has all." if left_out else ""
    return Picture(Markup(svg), " and ".join(arm.name for arm in family.arms), note)


@dataclass(frozen=True)
class MeasureView:
    """The heatmaps of one measure, for the page's switch."""

    name: str
    title: str
    pictures: tuple[Picture, ...]


def measure_view(
    measure: Measure, family: Family, settings: Sequence[dict[str, Any]], key: str
) -> MeasureView:
    """A heatmap for each HD arm (or for a base arm alone), for each level of other factors."""
    base = family.base.name if family.base else None
    cuts = [
        (arm, fixed, _with_base(family_points(measure.rows, family, fixed), arm, base))
        for arm in family.others or family.arms
        for fixed in settings[:MAX_PANELS]
    ]
    maps = [
        (a, fixed, heatmap.heatmap(rows, base, "value")) for a, fixed, rows in cuts if len(rows)
    ]
    if not maps:
        return MeasureView(measure.name, measure.title, ())
    scale = heatmap.color_scale([shown for _, _, shown in maps], measure)
    shared = None in maps[0][2].columns and family.others
    return MeasureView(
        measure.name,
        measure.title,
        tuple(
            _heatmap_picture(
                shown,
                scale,
                f"{arm.name}, with {base} beside it" if shared else arm.name,
                at(fixed),
                f"{key}-{i}",
            )
            for i, (arm, fixed, shown) in enumerate(maps)
        ),
    )


def _with_base(rows: pd.DataFrame, arm: Arm, base: str | None) -> pd.DataFrame:
    return rows[rows["arm"].isin([arm.name, base])]


def _heatmap_picture(
    shown: heatmap.Heatmap, scale: heatmap.Scale, title: str, where: str, key: str
) -> Picture:
    with style(PAGE):
        figure = new_figure(*heatmap.size(shown))
        ax = heatmap.draw_heatmap(figure.subplots(), shown, scale, palette=PAGE)
        svg = inline_svg(figure, key, f"{title}. {heatmap_text(shown, scale)}")
    notes = [where, f"over {count(shown.expected, 'seed')}"]
    grid = Grid(
        _percentages(ax),
        len(shown.lr),
        len(shown.columns),
        tuple(shown.point.ravel().tolist()),
        shown.columns[0] is None,
    )
    return Picture(Markup(svg), title, "; ".join(note for note in notes if note), grid)


def _percentages(ax: Axes) -> tuple[float, ...]:
    """Left, top, width and height of an axes within its figure, in percent."""
    box = ax.get_position()
    return tuple(round(100 * v, 3) for v in (box.x0, 1 - box.y1, box.width, box.height))


def heatmap_text(shown: heatmap.Heatmap, scale: heatmap.Scale) -> str:
    """A heatmap's numbers, row by row, for a screen reader; large ones in summary."""
    if shown.value.size > heatmap.MAX_NUMBERED:
        return f"{scale.label}, {shown.value.shape[0]} by {shown.value.shape[1]} points."
    heads = [heatmap.BASE if c is None else f"hypergrad_lr {level(c)}" for c in shown.columns]
    lines = []
    for i, lr in enumerate(shown.lr):
        cells = [
            f"{head} {scale.write(value) if state == 'completed' else state}"
            for head, value, state in zip(heads, shown.value[i], shown.state[i], strict=True)
        ]
        lines.append(f"lr {level(lr)}: {', '.join(cells)}")
    return f"{scale.label}. {'. '.join(lines)}."


def path_pictures(
    cells: pd.DataFrame, traces: pd.DataFrame, arm: Arm, fixed: Mapping[str, Any], key: str
) -> list[Picture]:
    """How an HD arm moved lr: one picture a level of hypergrad_lr, on one scale."""
    own = cells[cells["arm"] == arm.name]
    for factor, value in fixed.items():
        own = own[own[factor].isna() | (own[factor] == value)]
    levels = sorted(own["hypergrad_lr"].dropna().unique())
    groups = [(float(h), own[own["hypergrad_lr"] == h]) for h in levels]
    chosen = groups if len(groups) <= MAX_PANELS else _spread(groups)
    paths = [(h, trajectories.thin_paths(trajectories.lr_paths(g, traces))) for h, g in chosen]
    paths = [(h, p) for h, p in paths if p]
    limits = trajectories.lr_limits([path for _, group in paths for path in group])
    return [
        _path_picture(arm, h, group, limits, f"{key}-{i}") for i, (h, group) in enumerate(paths)
    ]


def _spread(groups: list[tuple[float, pd.DataFrame]]) -> list[tuple[float, pd.DataFrame]]:
    last = len(groups) - 1
    return [groups[round(i * last / (MAX_PANELS - 1))] for i in range(MAX_PANELS)]


def _path_picture(
    arm: Arm,
    hypergrad_lr: float,
    paths: Sequence[trajectories.Path],
    limits: tuple[float, float, float],
    key: str,
) -> Picture:
    ends = [f"from {level(p.initial_lr)} to {number(float(p.lr[-1]))}" for p in paths]
    title = f"{arm.name}, hypergrad_lr {level(hypergrad_lr)}"
    with style(PAGE):
        figure = new_figure(*PATH_SIZE)
        trajectories.draw_lr_paths(figure.subplots(), paths, limits=limits, palette=PAGE)
        svg = inline_svg(figure, key, f"Learning rate over training, {title}: {'; '.join(ends)}.")
    return Picture(Markup(svg), title)
