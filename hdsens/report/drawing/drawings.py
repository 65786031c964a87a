"""The figures of a report, each with its name, its title and its numbers in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from matplotlib.figure import Figure

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing import curves, heatmap, trajectories
from hdsens.report.drawing.canvas import new_figure
from hdsens.report.drawing.looks import looks
from hdsens.report.drawing.palette import Palette
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of
from hdsens.report.evidence.curves import loss_curves, thin
from hdsens.report.evidence.gather import Evidence
from hdsens.report.evidence.heatmap_measures import Measure
from hdsens.report.evidence.points import METRICS, family_points
from hdsens.report.words import sentences as words
from hdsens.text import count, join, level, setting_words

CURVE_SIZE = (4.2, 2.95)
ALONE_SIZE = (4.9, 3.2)  # a family alone has the width of the page
PATH_SIZE = (3.1, 2.5)
MAX_PANELS = 6

T = TypeVar("T")


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
        looks([curve.setting for curve in few], family, evidence.hd_arms, palette),
        label=label,
        limits=evidence.limits,
        palette=palette,
        initial=float(rows["initial_loss"].mean()),
    )
    thinned = len(few) < len(shown)
    note = f"{len(few)} of {len(shown)} curves; the tables have all" if thinned else ""
    idle = words.idle_words(rows, family)
    notes = "; ".join(text for text in (at(first), note, idle) if text)
    said = f"Mean {label} against initial lr. {words.curve_text(rows, family)}."
    yield Drawing(figure, " and ".join(family.arms), said, _sentence(notes))


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def heatmap_drawings(
    evidence: Evidence, measure: Measure, family: Family, palette: Palette
) -> Iterator[Drawing]:
    """A heatmap for each group of arms, for each level of other factors, on one scale."""
    cuts = [
        (fixed, rows[rows["arm"].isin([family.base, *arms])])
        for arms in _side_by_side(evidence, family)
        for fixed in evidence.settings[family.name][:MAX_PANELS]
        if len(rows := family_points(measure.rows, family, fixed))
    ]
    maps = [
        (fixed, heatmap.heatmap(rows, family, "value", capped=measure.capped))
        for fixed, rows in cuts
        if len(rows)
    ]
    if not maps:
        return
    scale = heatmap.color_scale([shown for _, shown in maps], measure)
    for fixed, shown in maps:
        figure = new_figure(*heatmap.size(shown))
        heatmap.draw_heatmap(figure.subplots(), shown, scale, palette=palette)
        title = _title(shown)
        idle = words.idle_words(family_points(evidence.points, family, fixed), family)
        notes = [at(fixed), f"over {count(shown.expected, 'seed')}", idle]
        note = "; ".join(text for text in notes if text)
        yield Drawing(figure, title, f"{title}. {heatmap_text(shown, scale)}", note, shown)


def _side_by_side(evidence: Evidence, family: Family) -> list[tuple[str, ...]]:
    """Compared arms that share a heatmap: those with one setting each; each other has its own."""
    rows = family_points(evidence.points, family, evidence.settings[family.name][0])
    shown = [setting.arm for setting, _ in settings_of(rows, family)]
    single = tuple(arm for arm in family.compared if shown.count(arm) == 1)
    groups = [(arm,) for arm in family.compared if shown.count(arm) > 1]
    return [*groups, *([single] if single or not groups else [])]


def _title(shown: heatmap.Heatmap) -> str:
    if not shown.n_base or shown.n_base == len(shown.columns):
        return join(list(shown.arms))
    beside = "them" if len(shown.arms) > 1 else "it"
    return f"{join(list(shown.arms))}, with {shown.columns[0].arm} beside {beside}"


def heatmap_text(shown: heatmap.Heatmap, scale: heatmap.Scale) -> str:
    """A heatmap's numbers, row by row, for a screen reader; large ones in summary."""
    if shown.value.size > heatmap.MAX_NUMBERED:
        return f"{scale.label}, {shown.value.shape[0]} by {shown.value.shape[1]} points."
    heads = [setting.name for setting in shown.columns]
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
    """How each HD arm moved lr: a drawing a setting, on one scale an arm."""
    for arm in family.arms:
        if arm in evidence.hd_arms:
            yield from _paths_of_arm(evidence, family, arm, palette)


def _paths_of_arm(
    evidence: Evidence, family: Family, arm: str, palette: Palette
) -> Iterator[Drawing]:
    fixed = evidence.tested(family)[0]
    paths = _paths(evidence, family, arm, fixed)
    limits = trajectories.lr_limits([path for _, group in paths for path in group])
    last = int(evidence.results.traces["step"].max())
    for setting, group in paths:
        title = setting_words(arm, {k: v for k, v in setting.levels if k not in fixed})
        figure = new_figure(*PATH_SIZE)
        trajectories.draw_lr_paths(
            figure.subplots(), group, limits=limits, last_step=last, palette=palette
        )
        ends = [trajectories.path_words(path) for path in group]
        said = f"Learning rate over training, {title}: {'; '.join(ends)}."
        notes = (at(fixed), trajectories.lost_words(group))
        yield Drawing(figure, title, said, "; ".join(text for text in notes if text))


def _paths(
    evidence: Evidence, family: Family, arm: str, fixed: Mapping[str, Any]
) -> list[tuple[ArmSetting, tuple[trajectories.Path, ...]]]:
    """Paths of at most `MAX_PANELS` settings of an arm, at one level of other factors."""
    own = family_points(evidence.results.cells, family, fixed)
    own = own[own["arm"] == arm]
    groups = _spread(list(settings_of(own, family, evidence.factors)))
    traces = evidence.results.traces
    traces = traces[traces["cell_id"].isin(own["cell_id"])]
    found = [(setting, trajectories.lr_paths(group, traces)) for setting, group in groups]
    return [(setting, trajectories.thin_paths(paths)) for setting, paths in found if paths]


def _spread(things: Sequence[T]) -> list[T]:
    """At most `MAX_PANELS` of them, evenly chosen, both ends included."""
    if len(things) <= MAX_PANELS:
        return list(things)
    last = len(things) - 1
    return [things[round(i * last / (MAX_PANELS - 1))] for i in range(MAX_PANELS)]
