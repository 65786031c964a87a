"""How HD moved the learning rate, from every initial lr, zero among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from hdsens.report.drawing.canvas import bare, plain_log
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.text import level, number

MAX_PATHS = 14
MAX_STEPS = 120
MAX_GROWTH = 100.0


@dataclass(frozen=True)
class Path:
    """Learning rate along training from one initial lr; arrays are (n_steps,).

    `lr` is the median over `n_seeds` seeds of the lr that the step's update used. It ends where the
    first seed ends: a median over those that are left would show another set of runs, and an arm
    that diverges as one that recovers. `n_diverged` seeds diverged at that step or later.
    """

    initial_lr: float
    step: NDArray[np.int64]
    lr: NDArray[np.float64]
    n_seeds: int
    n_diverged: int


def lr_paths(cells: pd.DataFrame, traces: pd.DataFrame) -> tuple[Path, ...]:
    """One path an initial lr, falling.

    Args:
        cells: of one arm at one level of its other factors; failed ones are left out.
        traces: of `read_traces`, of these cells and any others.
    """
    used = cells[cells["outcome"] != "failed"].rename(columns={"lr": "initial_lr"})
    labels = used[["cell_id", "initial_lr"]]
    rows = traces[["cell_id", "step", "lr"]].merge(labels, on="cell_id")
    rows = until_one_ends(rows[np.isfinite(rows["lr"])], used, "initial_lr")
    lost = (used["outcome"] == "diverged").groupby(used["initial_lr"]).sum()
    seeds = used.groupby("initial_lr")["seed"].nunique()
    paths = []
    for initial in sorted(seeds.index, reverse=True):
        median = rows[rows["initial_lr"] == initial].groupby("step", sort=True)["lr"].median()
        paths.append(_path(float(initial), median, int(seeds[initial]), int(lost[initial])))
    return tuple(paths)


def until_one_ends(rows: pd.DataFrame, cells: pd.DataFrame, by: str) -> pd.DataFrame:
    """Rows of traces up to the step at which the first of a group's cells ends.

    Args:
        rows: traces with the column `by`. cells: all cells of the groups, with cell_id and `by`; a
        diverged one without a row ended before its first.
    """
    last = rows.groupby("cell_id")["step"].max().reindex(cells["cell_id"])
    last = last.mask(last.isna() & (cells["outcome"] == "diverged").to_numpy(), 0.0)
    first_end = last.groupby(cells[by].to_numpy()).min()
    return rows[rows["step"] <= rows[by].map(first_end)]


def _path(initial: float, median: pd.Series[float], n_seeds: int, n_diverged: int) -> Path:
    chosen = np.unique(np.linspace(0, len(median) - 1, min(len(median), MAX_STEPS)).round())
    kept = median.iloc[chosen.astype(int)]
    step, lr = kept.index.to_numpy(np.int64), np.asarray(kept, np.float64)
    return Path(initial, step, lr, n_seeds, n_diverged)


def path_words(path: Path) -> str:
    """Where a path went, for a screen reader."""
    start = f"from {level(path.initial_lr)}"
    lost = f"{path.n_diverged} of {path.n_seeds} seeds diverged"
    if not len(path.lr):
        return f"{start}: {lost} at once" if path.n_diverged else f"{start}: not recorded"
    end = f"{start} to {number(float(path.lr[-1]))}"
    return f"{end} at step {path.step[-1]}, where the first of {lost}" if path.n_diverged else end


def lost_words(paths: Sequence[Path]) -> str:
    """Which initial lr lost seeds, and how many; empty where none did."""
    lost = [f"{level(p.initial_lr)} ({p.n_diverged}/{p.n_seeds})" for p in paths if p.n_diverged]
    return f"seeds diverged from lr {', '.join(lost)}" if lost else ""


def thin_paths(paths: Sequence[Path], most: int = MAX_PATHS) -> tuple[Path, ...]:
    """At most `most` paths, evenly chosen, the highest and the lowest initial lr among them."""
    if len(paths) <= most:
        return tuple(paths)
    return tuple(paths[i] for i in np.linspace(0, len(paths) - 1, most).round().astype(int))


def lr_limits(paths: Sequence[Path]) -> tuple[float, float, float]:
    """Lowest and highest lr to show, and the smallest positive initial one, where the log begins.

    An lr that explodes is followed to `MAX_GROWTH` times the highest initial one, on both sides.
    """
    every = np.concatenate([p.lr for p in paths]) if paths else np.array([0.0, 1.0])
    positive = [p.initial_lr for p in paths if p.initial_lr > 0] or [1e-3]
    most = MAX_GROWTH * max(positive)
    return max(float(every.min()), -most), min(float(every.max()), most), min(positive)


def draw_lr_paths(
    ax: Axes,
    paths: Sequence[Path],
    *,
    limits: tuple[float, float, float] | None = None,
    last_step: int | None = None,
    palette: Palette = PRINT,
) -> Axes:
    """Draw lr against step; linear around zero and logarithmic beyond, so zero and signs show.

    A cross ends a path where its first seed diverged. The axis goes on to `last_step`.
    """
    low, high, threshold = limits or lr_limits(paths)
    positive = [p for p in paths if p.initial_lr > 0]
    for i, path in enumerate(reversed(positive)):
        share = i / (len(positive) - 1) if len(positive) > 1 else 0.5
        ax.plot(path.step, path.lr, color=palette.ramp("lr", share), lw=1.3, marker="", zorder=3)
    for path in (p for p in paths if p.initial_lr == 0):
        color = palette.ramp("hd", 0.75)
        ax.plot(path.step, path.lr, color=color, lw=2.0, ls=(0, (4, 1.5)), zorder=4)
    ax.set_yscale("symlog", linthresh=threshold, linscale=0.6)
    ax.set_ylim(-threshold / 2 if low >= 0 else low * 3, max(high, threshold) * 3)
    for path in (p for p in paths if p.n_diverged and len(p.lr)):
        y = np.clip(path.lr[-1], *ax.get_ylim())
        ax.plot(path.step[-1], y, "x", color=palette.ink, ms=5, mew=1.2, zorder=5, clip_on=False)
    _ticks(ax, low, max(high, threshold), threshold)
    ax.set_xscale("log")
    last = last_step or max((int(p.step[-1]) for p in paths if len(p.step)), default=1)
    ax.set_xlim(0.85, 1.2 * max(last, 2))
    plain_log(ax.xaxis, 1.0, float(last))
    bare(ax)
    ax.grid(axis="y", color=palette.rule, lw=0.6)
    ax.set_axisbelow(True)
    ax.set_xlabel("step")
    ax.set_ylabel("lr")
    return ax


def _ticks(ax: Axes, low: float, high: float, threshold: float) -> None:
    """Decades on both sides of zero, thinned to about six."""
    first = round(np.log10(threshold))
    ups = [10.0**e for e in range(first, int(np.floor(np.log10(high) + 1e-9)) + 1)]
    every = max(1, -(-len(ups) // 6))
    ups = ups[::-1][::every][::-1]
    downs = [-t for t in ups if -t >= low * 1.001] if low < -threshold else []
    if downs:  # the first decades would lie on the zero between them
        ups, downs = ([t for t in side if abs(t) > 1.01 * threshold] for side in (ups, downs))
    ticks = [*downs, 0.0, *ups]
    ax.set_yticks(ticks, [level(t) for t in ticks], minor=False)
    ax.yaxis.set_minor_locator(NullLocator())
