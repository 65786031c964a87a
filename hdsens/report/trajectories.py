"""How HD moved the learning rate, from every initial lr, zero among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from hdsens.report.figure import bare, plain_ticks
from hdsens.report.palette import PRINT, Palette
from hdsens.report.text import level

MAX_PATHS = 14
MAX_STEPS = 120
MAX_GROWTH = 100.0


@dataclass(frozen=True)
class Path:
    """Learning rate along training from one initial lr; arrays are (n_steps,).

    `lr` is the median over `n_seeds` seeds of the lr that the step's update used; a seed that
    diverged counts until it did.
    """

    initial_lr: float
    step: NDArray[np.int64]
    lr: NDArray[np.float64]
    n_seeds: int


def lr_paths(cells: pd.DataFrame, traces: pd.DataFrame) -> tuple[Path, ...]:
    """One path an initial lr, falling.

    Args:
        cells: of one arm at one level of its other factors; failed ones are left out.
        traces: of `read_traces`, of these cells and any others.
    """
    used = cells[cells["outcome"] != "failed"]
    rows = traces[["cell_id", "step", "lr"]].merge(
        used[["cell_id", "lr"]].rename(columns={"lr": "initial_lr"}), on="cell_id"
    )
    rows = rows[np.isfinite(rows["lr"])]
    seeds = used.groupby("lr")["seed"].nunique()
    paths = []
    for initial, group in rows.groupby("initial_lr", sort=True):
        median = group.groupby("step", sort=True)["lr"].median()
        paths.append(_path(float(initial), median, int(seeds[initial])))
    return tuple(reversed(paths))


def _path(initial: float, median: pd.Series[float], n_seeds: int) -> Path:
    chosen = np.unique(np.linspace(0, len(median) - 1, min(len(median), MAX_STEPS)).round())
    kept = median.iloc[chosen.astype(int)]
    return Path(initial, kept.index.to_numpy(np.int64), np.asarray(kept, np.float64), n_seeds)


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
    palette: Palette = PRINT,
) -> Axes:
    """Draw lr against step; linear around zero and logarithmic beyond, so zero and signs show."""
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
    _ticks(ax, low, max(high, threshold), threshold)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(plain_ticks)
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
    ticks = [*downs, 0.0, *ups]
    ax.set_yticks(ticks, [level(t) for t in ticks], minor=False)
    ax.yaxis.set_minor_locator(NullLocator())
