"""Figures as pictures for the page: in its colours, with a caption and their numbers in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from hdsens.report import curves, heatmap, trajectories
from hdsens.report.families import Family
from hdsens.report.figure import inline_svg, new_figure, style
from hdsens.report.palette import PAGE
from hdsens.report.points import METRICS, family_points
from hdsens.report.text import count, level, number
from hdsens.report.words import curve_text
from hdsens.study import Arm

CURVE_SIZE = (4.2, 3.3)
PATH_SIZE = (3.1, 2.5)
MAX_PANELS = 6


@dataclass(frozen=True)
class Picture:
    """An inline SVG and what stands beside it (plain text)."""

    svg: Markup
    title: str
    note: str = ""


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


def heatmap_pictures(
    points: pd.DataFrame, family: Family, metric: str, settings: Sequence[dict[str, Any]], key: str
) -> list[Picture]:
    """A heatmap for each HD arm (or for a base arm alone), for each level of other factors."""
    base = family.base.name if family.base else None
    cuts = [
        (arm, fixed, _with_base(family_points(points, family, fixed), arm, base))
        for arm in family.others or family.arms
        for fixed in settings[:MAX_PANELS]
    ]
    maps = [heatmap.heatmap(rows, base) for _, _, rows in cuts if len(rows)]
    limits = (0.0, float(points["initial_loss"].max()))
    norm = heatmap.color_norm([m.value[m.state == "completed"] for m in maps], limits)
    kept = [(arm, fixed) for arm, fixed, rows in cuts if len(rows)]
    return [
        _heatmap_picture(shown, norm, arm, base, fixed, metric, f"{key}-{i}")
        for i, (shown, (arm, fixed)) in enumerate(zip(maps, kept, strict=True))
    ]


def _with_base(rows: pd.DataFrame, arm: Arm, base: str | None) -> pd.DataFrame:
    return rows[rows["arm"].isin([arm.name, base])]


def _heatmap_picture(
    shown: heatmap.Heatmap,
    norm: Any,
    arm: Arm,
    base: str | None,
    fixed: Mapping[str, Any],
    metric: str,
    key: str,
) -> Picture:
    with style(PAGE):
        figure = new_figure(*heatmap.size(shown))
        heatmap.draw_heatmap(
            figure.subplots(), shown, norm=norm, label=METRICS[metric], palette=PAGE
        )
        title = arm.name if base in (None, arm.name) else f"{arm.name}, with {base} beside it"
        svg = inline_svg(figure, key, f"{title}. {heatmap_text(shown, METRICS[metric])}")
    notes = [at(fixed), f"mean of {count(shown.expected, 'seed')}"]
    return Picture(Markup(svg), title, "; ".join(note for note in notes if note))


def heatmap_text(shown: heatmap.Heatmap, label: str) -> str:
    """A heatmap's numbers, row by row, for a screen reader; large ones in summary."""
    if shown.value.size > heatmap.MAX_NUMBERED:
        return f"Mean {label}, {shown.value.shape[0]} by {shown.value.shape[1]} points."
    heads = [heatmap.BASE if c is None else f"hypergrad_lr {level(c)}" for c in shown.columns]
    lines = []
    for i, lr in enumerate(shown.lr):
        cells = [
            f"{head} {number(value) if state == 'completed' else state}"
            for head, value, state in zip(heads, shown.value[i], shown.state[i], strict=True)
        ]
        lines.append(f"lr {level(lr)}: {', '.join(cells)}")
    return f"Mean {label}. {'. '.join(lines)}."


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
