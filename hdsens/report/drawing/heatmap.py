"""Heatmaps: lr down, a column for each setting of an arm, the base arm first, lr = 0 apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import AsinhNorm, Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from hdsens.analysis.panel.families import Family
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of, short
from hdsens.report.evidence.heatmap_measures import Measure
from hdsens.text import level, number

MAX_NUMBERED = 400
LOG_FROM_RATIO = 20.0
SIGNS = {"diverged": "×", "failed": "!", "missing": "–", "beyond": ">"}
HATCHES = {"diverged": "xxxx", "beyond": "----"}
DOTS = {"diverged": "x", "failed": "$!$", "missing": "_", "beyond": ">", "untrained": "."}
MAX_UPRIGHT = 8  # characters of a column's name that fit above it
VALUES: Final = ListedColormap(sns.color_palette("mako", 64)[9:60], name="hdsens")
DIFFERENCES: Final = sns.color_palette("vlag", as_cmap=True)
WASHED_OUT = "#3f7a5c"  # dots on the lightest of the colours
WHITE_BELOW = 0.195  # luminance where white and near-black contrast alike


@dataclass(frozen=True)
class Heatmap:
    """What a heatmap shows; arrays are (n_lr, n_columns), lr falling so that zero is last.

    Attributes:
        lr: (n_lr,) levels. columns: (n_columns,) settings, those of the base arm first.
        value: mean over seeds of what is shown, NaN where there is no result.
        state: "completed", "diverged" (all seeds), "failed", "missing", or "beyond" where the value
            is infinite (a target that half of the seeds did not reach).
        untrained: no seed did better than the untrained model, though one completed; the value is
            then the untrained model's.
        point: label of the point's row, -1 where the grid has none.
        n_seeds, n_diverged: seeds with a result, and those of them that diverged.
        expected: seeds that a point should have.
    """

    lr: tuple[float, ...]
    columns: tuple[ArmSetting, ...]
    value: NDArray[np.float64]
    state: NDArray[np.str_]
    untrained: NDArray[np.bool_]
    n_seeds: NDArray[np.int64]
    n_diverged: NDArray[np.int64]
    point: NDArray[np.int64]
    expected: int

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms shown, without the base arm where others are."""
        others = [c.arm for c in self.columns if c.side != "base"]
        return tuple(dict.fromkeys(others or [c.arm for c in self.columns]))

    @property
    def n_base(self) -> int:
        """Columns of the base arm."""
        return sum(column.side == "base" for column in self.columns)


def heatmap(
    rows: pd.DataFrame, family: Family, value: str = "loss_mean", *, capped: bool = True
) -> Heatmap:
    """Arrange rows of `point_table`, those of one or several arms of a family.

    `capped`: whether a point no better than untrained shows the untrained model's value.
    """
    groups = list(settings_of(rows, family))
    columns = [setting for setting, _ in groups]
    column = pd.concat([pd.Series(i, group.index) for i, (_, group) in enumerate(groups)])
    rows = rows.loc[column.index]
    lr = sorted(set(rows["lr"]), reverse=True)
    at = ([lr.index(v) for v in rows["lr"]], column.to_numpy())
    shape = (len(lr), len(columns))

    def spread(name: str) -> NDArray[np.int64]:
        out = np.zeros(shape, dtype=np.int64)
        out[at] = rows[name]
        return out

    values = np.full(shape, np.nan)
    values[at] = rows[value]
    names = ("n_seeds", "n_diverged", "n_failed", "n_missing", "n_untrained")
    counts = {n: spread(n) for n in names}
    expected = int((counts["n_seeds"] + counts["n_failed"] + counts["n_missing"]).max())
    state = _state(counts["n_seeds"], counts["n_diverged"], counts["n_failed"])
    state[(state == "completed") & np.isinf(values)] = "beyond"
    point = np.full(shape, -1)
    point[at] = rows.index
    state = np.where((state == "completed") & np.isnan(values), "missing", state)
    n_seeds, n_diverged = counts["n_seeds"], counts["n_diverged"]
    learnt = n_seeds - n_diverged - counts["n_untrained"]
    untrained = (state == "completed") & (learnt == 0) & (counts["n_untrained"] > 0) & capped
    return Heatmap(
        tuple(lr), tuple(columns), values, state, untrained, n_seeds, n_diverged, point, expected
    )


def _state(used: Any, diverged: Any, failed: Any) -> NDArray[np.str_]:
    state = np.full(used.shape, "completed", dtype="<U9")
    state[(used > 0) & (diverged == used)] = "diverged"
    state[used == 0] = "missing"
    state[(used == 0) & (failed > 0)] = "failed"
    return state


@dataclass(frozen=True)
class Scale:
    """How values become colours and text; `label` names them, with their unit."""

    norm: Normalize
    colors: Colormap
    label: str
    write: Callable[[float], str] = number


def color_scale(shown: Sequence[Heatmap], measure: Measure) -> Scale:
    """One scale for several heatmaps of a measure.

    Log where positive values span much; where lr lies on both sides of zero, linear around it;
    for differences symmetric about 0.
    """
    every = np.concatenate([m.value[m.state == "completed"] for m in shown])
    every = every if every.size else np.array([0.0, 1.0])
    low, high = float(every.min()), float(every.max())
    positive = float(every[every > 0].min(initial=np.inf))
    if measure.diverging:
        most = max(-low, high) or 1.0
        return Scale(Normalize(-most, most), DIFFERENCES, measure.title, measure.write)
    if low > 0 and high / low >= LOG_FROM_RATIO:
        norm: Normalize = LogNorm(low, high)
    elif measure.wide and high / positive >= LOG_FROM_RATIO:
        norm = AsinhNorm(positive, low, high)
    else:
        norm = Normalize(low, high if high > low else low + 1.0)
    return Scale(norm, VALUES, measure.title, measure.write)


def size(shown: Heatmap) -> tuple[float, float]:
    """Width and height in inches."""
    n_rows, n_columns = shown.value.shape
    bar = 0.0 if _numbered(shown) else 0.8
    longest = max(len(name) for name in column_names(shown))
    names = 0.055 * longest if longest > MAX_UPRIGHT else 0.0
    height = 0.95 + names + min(0.3 * max(n_rows, 2), 7.0)
    return 0.85 + bar + min(0.56 * max(n_columns, 3), 7.0), height


def draw_heatmap(ax: Axes, shown: Heatmap, scale: Scale, *, palette: Palette = PRINT) -> Axes:
    """Draw a heatmap.

    A hatch with a cross: every seed diverged; dots with "≥": no better than untrained; other signs:
    failed, missing, beyond the budget.
    """
    visible = shown.state == "completed"
    numbered = _numbered(shown)
    values = np.where(visible, shown.value, np.nan)
    texts: dict[str, Any] = {"annot": _texts(shown, scale), "fmt": "", "linewidths": 0.8}
    sns.heatmap(
        values,
        ax=ax,
        norm=scale.norm,
        vmin=scale.norm.vmin,
        vmax=scale.norm.vmax,
        cmap=scale.colors,
        cbar=False,
        mask=~visible,
        annot_kws={"size": 7.5, "linespacing": 0.95},
        linecolor=palette.paper,
        rasterized=not numbered,
        **(texts if numbered else {}),
    )
    ax.collections[0].set_clip_on(False)
    _readable(ax, shown, scale)
    _ticks(ax, shown)
    if not numbered:
        _color_bar(ax, scale.label)
    _mark_others(ax, shown, palette)
    _separate(ax, shown, palette)
    ax.set_title(scale.label, loc="left", color=palette.muted, fontsize=8)
    ax.set_ylabel("initial lr")
    ax.set_xlabel(_axis_name(shown))
    return ax


def _numbered(shown: Heatmap) -> bool:
    return shown.value.size <= MAX_NUMBERED and shown.value.shape[1] <= 12


def _texts(shown: Heatmap, scale: Scale) -> NDArray[np.str_]:
    """The number in each cell; below it what is unusual about its seeds."""
    texts = np.full(shown.value.shape, "", dtype="<U32")
    for at, value in np.ndenumerate(shown.value):
        n, lost = shown.n_seeds[at], shown.n_diverged[at]
        notes = [f"×{lost}/{n}"] * bool(lost) + [f"n={n}"] * bool(n < shown.expected)
        capped = "≥" if shown.untrained[at] else ""
        texts[at] = "\n".join([capped + scale.write(value), " ".join(notes)]).strip()
    return texts


def _readable(ax: Axes, shown: Heatmap, scale: Scale) -> None:
    """White or black numbers, whichever stands out more from its cell (WCAG contrast)."""
    for text in ax.texts:
        x, y = text.get_position()
        red, green, blue, _ = scale.colors(scale.norm(shown.value[int(y), int(x)]))
        linear = [((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
        luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
        text.set_color("#ffffff" if luminance < WHITE_BELOW else "#101418")
        if shown.untrained[int(y), int(x)]:
            text.set_bbox({"boxstyle": "square,pad=0.1", "fc": (red, green, blue), "ec": "none"})


def _ticks(ax: Axes, shown: Heatmap) -> None:
    """Every level where there are few, else about eight."""
    n_rows, n_columns = shown.value.shape
    most = max(n_rows, n_columns) if _numbered(shown) else 8
    across, down = column_names(shown), [level(value) for value in shown.lr]
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    for axis, n, names, turn in (
        (ax.yaxis, n_rows, down, {}),
        (ax.xaxis, n_columns, across, turned if max(map(len, across)) > MAX_UPRIGHT else {}),
    ):
        chosen = sorted({*range(0, n, math.ceil(n / most)), n - 1})
        axis.set_ticks([i + 0.5 for i in chosen], [names[i] for i in chosen])
        axis.set_tick_params(rotation=0)
        for text in axis.get_ticklabels():
            text.set(**turn)
    ax.tick_params(length=0, axis="both")


def column_names(shown: Heatmap) -> list[str]:
    """What stands under each column: a name, or a level of the factor that the axis names."""
    across = _factor_across(shown)
    return [
        c.name if c.side == "base" or across is None else level(dict(c.levels)[across])
        for c in shown.columns
    ]


def _factor_across(shown: Heatmap) -> str | None:
    """The factor whose levels the columns are, where they are of one arm and differ in one."""
    named = {c.shown for c in shown.columns if c.arm in shown.arms}
    return next(iter(named))[0] if len(shown.arms) == 1 and {*map(len, named)} == {1} else None


def _axis_name(shown: Heatmap) -> str:
    factor = _factor_across(shown)
    return "" if factor is None else f"{short(shown.arms[0])}: {factor}"


def _color_bar(ax: Axes, label: str) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    bar = figure.colorbar(ax.collections[0], ax=ax, aspect=30, pad=0.02, label=label)
    if bar.solids is not None:
        bar.solids.set_rasterized(True)
    bar.outline.set_visible(False)


def _mark_others(ax: Axes, shown: Heatmap, palette: Palette) -> None:
    """Points without a number of their own, told apart by hatch and sign, not by colour alone."""
    marks = np.where(shown.untrained, "untrained", shown.state)
    if not _numbered(shown):
        _mark_small(ax, marks, palette)
        return
    for (row, column), state in np.ndenumerate(marks):
        if state == "untrained":
            _dot(ax, column, row)
        elif state != "completed":
            box: dict[str, Any] = {"facecolor": palette.wash, "edgecolor": palette.muted, "lw": 0}
            box |= {"hatch": HATCHES.get(state)}
            if state == "missing":
                box |= {"facecolor": "none", "lw": 0.6, "ls": (0, (2, 2))}
            ax.add_patch(Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, **box))
            _sign(ax, column, row, str(state), palette)


def _dot(ax: Axes, column: int, row: int) -> None:
    """Fill a cell with dots: the shortest strokes, a tenth of the size of a hatch in a file."""
    across, down = np.meshgrid((np.arange(9) + 0.5) / 9, (np.arange(5) + 0.5) / 5)
    starts = np.stack([column + across.ravel(), row + down.ravel()], axis=1)
    strokes = np.stack([starts, starts + np.array([0.01, 0.0])], axis=1).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, Path.LINETO], len(starts))
    dots: dict[str, Any] = {"fill": False, "lw": 1.1, "capstyle": "round"}
    ax.add_patch(PathPatch(Path(strokes, codes), edgecolor=WASHED_OUT, **dots))


def _mark_small(ax: Axes, marks: NDArray[np.str_], palette: Palette) -> None:
    """In a grid too fine for text a small sign in each such cell; as pixels, for size's sake."""
    box = ax.get_window_extent()
    side = min(box.width / marks.shape[1], box.height / marks.shape[0]) * 0.6 * 72 / 100
    for state, marker in DOTS.items():
        rows, columns = np.nonzero(marks == state)
        color = WASHED_OUT if state == "untrained" else palette.muted
        ax.scatter(
            columns + 0.5,
            rows + 0.5,
            s=side**2,
            marker=marker,
            color=color,
            lw=0.6,
            rasterized=True,
        )


def _sign(ax: Axes, column: int, row: int, state: str, palette: Palette) -> None:
    plate = {"boxstyle": "round,pad=0.15", "fc": palette.wash, "ec": "none"}
    ax.text(
        column + 0.5,
        row + 0.5,
        SIGNS[state],
        ha="center",
        va="center",
        fontsize=8,
        color=palette.ink,
        bbox=plate if state in HATCHES else None,
    )


def _separate(ax: Axes, shown: Heatmap, palette: Palette) -> None:
    """Set lr = 0 and the base arm apart, and mark the axis as broken there."""
    gap: dict[str, Any] = {"color": palette.paper, "lw": 5, "zorder": 4}
    n_rows, n_columns = shown.value.shape
    if shown.lr[-1] == 0 and n_rows > 1:
        ax.axhline(n_rows - 1, **gap)
        _break(ax, 0.0, n_rows - 1.0, "y", palette)
    edges = [i for i in range(1, n_columns) if shown.columns[i - 1].arm != shown.columns[i].arm]
    for i in edges if len(edges) < n_columns - 1 else [shown.n_base] * bool(shown.n_base):
        ax.axvline(i, **gap)
    for i in _after_zero(shown):
        ax.axvline(i, **gap)
        _break(ax, float(i), float(n_rows), "x", palette)


def _after_zero(shown: Heatmap) -> list[int]:
    """Edges between an arm's column at hypergrad_lr = 0 and its next one."""
    return [
        i
        for i, (left, right) in enumerate(pairwise(shown.columns), 1)
        if left.arm == right.arm
        and dict(left.levels).get("hypergrad_lr") == 0.0
        and dict(right.levels)["hypergrad_lr"] != 0.0
    ]


def _break(ax: Axes, x: float, y: float, side: str, palette: Palette) -> None:
    for shift in (-1, 1):
        stroke = [(-1.5 + 2 * shift, -4.0), (1.5 + 2 * shift, 4.0)]
        if side == "y":
            stroke = [(-4.0, -1.5 + 2 * shift), (4.0, 1.5 + 2 * shift)]
        ax.plot(x, y, marker=stroke, ms=8, mew=0.8, mec=palette.ink, clip_on=False, zorder=6)
