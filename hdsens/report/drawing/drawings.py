"""The figures of a report, each with its name, its title and its numbers in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing import curves, heatmap, trajectories
from hdsens.report.drawing.canvas import new_figure
from hdsens.report.drawing.palette import Palette
from hdsens.report.evidence.curves import loss_curves, thin
from hdsens.report.evidence.gather import Evidence
from hdsens.report.evidence.heatmap_measures import Measure
from hdsens.report.evidence.points import METRICS, family_points
from hdsens.report.words import sentences as words
from hdsens.study import Arm
from hdsens.text import count, level

CURVE_SIZE = (4.2, 2.95)
ALONE_SIZE = (4.9, 3.2)  # a family alone has the width of the page
PATH_SIZE = (3.1, 2.5)
MAX_PANELS = 6


@dataclass(frozen=True)
class Drawing:
    """A figure with its title, what to know beside it, and its numbers in words.

    `heatmap` is what the figure shows where it is a heatmap. All text is plain.
    """

    figure: Figure
    title: str
    words: str
    note: str = ""
    heatmap: heatmap.Heatmap | None = None


def at(fixed: Mapping[str, Any]) -> str:
    """Levels of other factors in words, empty without any."""
    return ", ".join(f"{name} = {level(value)}" for name, value in fixed.items())


def curve_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """Final loss against lr: one drawing, none where the first setting has no result."""
    first = evidence.tested(family)[0]
    rows = family_points(evidence.points, family, first)
    if not len(rows):
        return
    shown = loss_curves(rows, family)
    few = thin(shown)
    label = METRICS[evidence.metric]
    figure = new_figure(*(CURVE_SIZE if len(evidence.families) > 1 else ALONE_SIZE))
    curves.draw_loss_curves(
        figure.subplots(),
        few,
        label=label,
        limits=evidence.limits,
        palette=palette,
        initial=float(rows["initial_loss"].mean()),
    )
    names = [arm.name for arm in family.arms]
    thinned = len(few) < len(shown)
    note = f"{len(few)} of {len(shown)} curves; the tables have all" if thinned else ""
    idle = words.idle_words(rows, family.base.name if family.base else None)
    notes = "; ".join(text for text in (at(first), note, idle) if text)
    said = f"Mean {label} against initial lr. {words.curve_text(rows, names)}."
    yield Drawing(figure, " and ".join(names), said, _sentence(notes))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def heatmap_drawings(
    evidence: Evidence, measure: Measure, family: Family, palette: Palette
) -> Iterator[Drawing]:
    """A heatmap for each HD arm (or for a base arm alone), for each level of other factors."""
    base = family.base.name if family.base else None
    cuts = [
        (arm, fixed, _with_base(family_points(measure.rows, family, fixed), arm, base))
        for arm in family.others or family.arms
        for fixed in evidence.settings[:MAX_PANELS]
    ]
    maps = [
        (arm, fixed, heatmap.heatmap(rows, base, "value", capped=measure.capped))
        for arm, fixed, rows in cuts
        if len(rows)
    ]
    if not maps:
        return
    scale = heatmap.color_scale([shown for _, _, shown in maps], measure)
    for arm, fixed, shown in maps:
        figure = new_figure(*heatmap.size(shown))
        heatmap.draw_heatmap(figure.subplots(), shown, scale, palette=palette)
        beside = shown.columns[0] is None and bool(family.others)
        title = f"{arm.name}, with {base} beside it" if beside else arm.name
        idle = words.idle_words(family_points(evidence.points, family, fixed), base)
        notes = [at(fixed), f"over {count(shown.expected, 'seed')}", idle]
        note = "; ".join(text for text in notes if text)
        yield Drawing(figure, title, f"{title}. {heatmap_text(shown, scale)}", note, shown)


def _with_base(rows: pd.DataFrame, arm: Arm, base: str | None) -> pd.DataFrame:
    return rows[rows["arm"].isin([arm.name, base])]


def heatmap_text(shown: heatmap.Heatmap, scale: heatmap.Scale) -> str:
    """A heatmap's numbers, row by row, for a screen reader; large ones in summary."""
    if shown.value.size > heatmap.MAX_NUMBERED:
        return f"{scale.label}, {shown.value.shape[0]} by {shown.value.shape[1]} points."
    heads = [heatmap.BASE if c is None else f"hypergrad_lr {level(c)}" for c in shown.columns]
    untrained = np.where(shown.untrained, " (no better than untrained)", "")
    lines = []
    for i, lr in enumerate(shown.lr):
        cells = [
            f"{head} {scale.write(value) if state == 'completed' else state}{note}"
            for head, value, state, note in zip(
                heads, shown.value[i], shown.state[i], untrained[i], strict=True
            )
        ]
        lines.append(f"lr {level(lr)}: {', '.join(cells)}")
    return f"{scale.label}. {'. '.join(lines)}."


def path_drawings(evidence: Evidence, family: Family, palette: Palette) -> Iterator[Drawing]:
    """How each HD arm moved lr: a drawing a level of hypergrad_lr, on one scale an arm."""
    for arm in family.arms:
        if arm.hypergrad_lr is not None:
            yield from _paths_of_arm(evidence, arm, evidence.tested(family)[0], palette)


def _paths_of_arm(
    evidence: Evidence, arm: Arm, fixed: Mapping[str, Any], palette: Palette
) -> Iterator[Drawing]:
    paths = _paths(evidence, arm, fixed)
    limits = trajectories.lr_limits([path for _, group in paths for path in group])
    last = int(evidence.results.traces["step"].max())
    for hypergrad_lr, group in paths:
        title = f"{arm.name}, hypergrad_lr {level(hypergrad_lr)}"
        figure = new_figure(*PATH_SIZE)
        trajectories.draw_lr_paths(
            figure.subplots(), group, limits=limits, last_step=last, palette=palette
        )
        ends = [trajectories.path_words(path) for path in group]
        said = f"Learning rate over training, {title}: {'; '.join(ends)}."
        notes = (at(fixed), trajectories.lost_words(group))
        yield Drawing(figure, title, said, "; ".join(text for text in notes if text))


def _paths(
    evidence: Evidence, arm: Arm, fixed: Mapping[str, Any]
) -> list[tuple[float, tuple[trajectories.Path, ...]]]:
    """Paths by level of hypergrad_lr, of at most `MAX_PANELS` levels, at one setting."""
    own = evidence.results.cells
    own = own[own["arm"] == arm.name]
    for factor, value in fixed.items():
        own = own[own[factor].isna() | (own[factor] == value)]
    levels = _spread(sorted(own["hypergrad_lr"].dropna().unique()))
    own = own[own["hypergrad_lr"].isin(levels)]
    traces = evidence.results.traces
    traces = traces[traces["cell_id"].isin(own["cell_id"])]
    found = [(h, trajectories.lr_paths(own[own["hypergrad_lr"] == h], traces)) for h in levels]
    return [(float(h), trajectories.thin_paths(paths)) for h, paths in found if paths]


def _spread(levels: Sequence[float]) -> list[float]:
    if len(levels) <= MAX_PANELS:
        return list(levels)
    last = len(levels) - 1
    return [levels[round(i * last / (MAX_PANELS - 1))] for i in range(MAX_PANELS)]
