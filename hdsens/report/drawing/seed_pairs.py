"""Seed by seed: what each run of an arm came to against its baseline's, same lr, same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from hdsens.report.drawing.canvas import bare, plain_log
from hdsens.report.drawing.curves import LOG_FROM_RATIO
from hdsens.report.drawing.looks import Look
from hdsens.report.drawing.palette import PRINT, Palette
from hdsens.report.evidence.arm_settings import ArmSetting, short

MOST_DOTS = 600  # more are drawn as pixels


Pairs = Sequence[tuple[ArmSetting, pd.DataFrame]]


def draw_seed_pairs(
    ax: Axes,
    pairs: Pairs,
    looks: Sequence[Look],
    *,
    base: str,
    label: str = "training loss",
    palette: Palette = PRINT,
) -> Axes:
    """Draw a dot a seed and lr: the base arm's loss across, the other's up, lower is better.

    Diamonds start at lr = 0; crosses diverged in one of the arms. `pairs` are settings with their
    rows of `seed_pairs`; `looks`: of each of them.
    """
    rows = pd.concat([part for _, part in pairs])
    both = rows[["own", "base"]].to_numpy(np.float64)
    low, high = both.min(), both.max()
    ax.plot([low, high], [low, high], color=palette.muted, lw=0.8, zorder=1)
    for (setting, part), look in zip(pairs, looks, strict=True):
        _dots(ax, part, look.color, setting.name, len(rows) > MOST_DOTS)
    if low > 0 and high / low >= LOG_FROM_RATIO:
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            plain_log(axis, low, high)
    bare(ax)
    arms = dict.fromkeys(short(setting.arm) for setting, _ in pairs)
    ax.set_xlabel(f"{short(base)}: {label} (nats)")
    ax.set_ylabel(f"{next(iter(arms)) if len(arms) == 1 else 'compared arm'} (nats)")
    return ax


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


def seed_pairs_text(pairs: Pairs) -> str:
    """How often each setting ended lower than the base arm."""
    said = []
    for setting, part in pairs:
        lower, equal = (part["own"] < part["base"]).sum(), (part["own"] == part["base"]).sum()
        said.append(f"{setting.name}: lower in {lower} of {len(part)} pairs, equal in {equal}")
    return ". ".join(said)
