"""Seed by seed: what each run of an HD arm came to against its baseline's, same lr, same seed."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hdsens.report.drawing.canvas import bare, plain_log
from hdsens.report.drawing.curves import LOG_FROM_RATIO, family_colors
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.curves import setting_name

MOST_DOTS = 600  # more are drawn as pixels


def draw_seed_pairs(
    ax: Axes, rows: pd.DataFrame, *, label: str = "training loss", palette: Palette = PRINT
) -> Axes:
    """Draw a dot a seed and lr, the baseline's loss across, HD's up; below the line HD is better.

    Diamonds start at lr = 0; crosses diverged in one of the arms.
    """
    both = rows[["own", "base"]].to_numpy(np.float64)
    low, high = both.min(), both.max()
    groups = _groups(rows)
    colors = family_colors([0.0] * len(groups), palette)
    ax.plot([low, high], [low, high], color=palette.muted, lw=0.8, zorder=1)
    for (name, part), color in zip(groups, colors, strict=True):
        _dots(ax, part, color, name, len(rows) > MOST_DOTS)
    if low > 0 and high / low >= LOG_FROM_RATIO:
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            plain_log(axis, low, high)
    bare(ax)
    ax.set_xlabel(f"baseline: {label} (nats)")
    ax.set_ylabel("HD (nats)")
    return ax


def _groups(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Pairs by arm and level of hypergrad_lr, named."""
    keys = list(zip(rows["arm"], rows["hypergrad_lr"].fillna(math.nan), strict=True))
    names = pd.Series([setting_name(arm, value) for arm, value in keys], index=rows.index)
    order = rows.sort_values(["arm", "hypergrad_lr"], kind="stable").index
    return [(str(name), part) for name, part in rows.loc[order].groupby(names[order], sort=False)]


def _dots(ax: Axes, part: pd.DataFrame, color: str, name: str, many: bool) -> None:
    shape = np.select([part["lost"], part["lr"] == 0], ["x", "D"], "o")
    for marker in "oDx":
        chosen = part[shape == marker]
        ax.plot(
            chosen["base"],
            chosen["own"],
            ls="none",
            marker=marker,
            ms=2.5 if many else 3.5,
            mew=0.9 if marker == "x" else 0,
            color=color,
            label=name if marker == "o" else None,
            rasterized=many,
        )


def seed_pairs_text(rows: pd.DataFrame) -> str:
    """How often HD ended lower, by setting."""
    said = []
    for name, part in _groups(rows):
        lower, equal = (part["own"] < part["base"]).sum(), (part["own"] == part["base"]).sum()
        said.append(f"{name}: lower in {lower} of {len(part)} pairs, equal in {equal}")
    return ". ".join(said)
